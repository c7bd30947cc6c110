use devices_core::rig::Rig;

use super::*;
use crate::chipset::harness::{Place, fuzz, scenario};

fn rig() -> Rig {
    let mut rig = Rig::new();
    let device = Pvpanic::new(rig.recorder());
    let wiring = rig.wiring();
    rig.attach(device, &wiring);
    rig
}

#[test]
fn a_crash_is_told() {
    scenario(|then| {
        let mut rig = rig();
        assert_eq!(rig.inb(0x505), 3);
        for (event, told) in [
            (1, Some(PowerEvent::Panicked)),
            (2, Some(PowerEvent::CrashLoaded)),
            (3, Some(PowerEvent::Panicked)),
            (0xfc, None),
        ] {
            rig.outb(0x505, event);
            then(&mut rig);
            assert_eq!(rig.take_power(), told.into_iter().collect::<Vec<_>>());
        }
    });
}

#[test]
fn fuzzed() {
    fuzz(rig, 9, &[Place::Ports(0x504, 3)], |_, _| {});
}
