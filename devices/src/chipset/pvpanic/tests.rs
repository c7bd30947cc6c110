use std::mem::take;

use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};

use super::*;

fn board(mut rig: Rig) -> Rig {
    let device = Pvpanic::new(rig.recorder());
    let wiring = rig.wiring();
    rig.attach(device, &wiring);
    rig
}

#[test]
fn a_crash_is_told() {
    scenario(|rig| {
        let mut rig = board(take(rig));
        assert_eq!(rig.inb(0x505), 3);
        for (event, told) in [
            (1, Some(PowerEvent::Panicked)),
            (2, Some(PowerEvent::CrashLoaded)),
            (3, Some(PowerEvent::Panicked)),
            (0xfc, None),
        ] {
            rig.outb(0x505, event);
            assert_eq!(rig.take_power(), told.into_iter().collect::<Vec<_>>());
        }
    });
}

#[test]
fn fuzzed() {
    fuzz(|| board(Rig::new()), 9, &[FuzzRange::Ports(0x504, 3)], |_, _| {});
}
