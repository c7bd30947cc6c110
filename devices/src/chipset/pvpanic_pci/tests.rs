//! What Linux's `pvpanic-pci` does.

use devices_core::Size;
use devices_core::power::PowerEvent;
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};

use super::*;

const SLOT: u8 = 5;
const AT: u64 = 0xe000_0000;

fn attach(rig: &mut Rig, events: u8) {
    let wiring = rig.wiring();
    rig.attach_pci(PvpanicPci::new("t", events, rig.recorder()), &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, AT as u32);
    rig.config_write(SLOT, 0, 0x04, Size::B2, 2);
}

#[test]
fn a_crash_is_told() {
    scenario(|rig| {
        attach(rig, 3);
        assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x0011_1b36);
        assert_eq!(rig.mmio_read(AT, Size::B1), 3);
        for (event, told) in [
            (1, Some(PowerEvent::Panicked)),
            (2, Some(PowerEvent::CrashLoaded)),
            (3, Some(PowerEvent::Panicked)),
            (0xfc, None),
        ] {
            rig.mmio_write(AT, Size::B1, event);
            assert_eq!(rig.take_power(), told.into_iter().collect::<Vec<_>>());
        }
        rig.mmio_write(AT + 2, Size::B1, 1);
        assert!(rig.take_power().is_empty(), "behind the register");
    });
}

#[test]
fn what_is_not_offered_does_nothing() {
    scenario(|rig| {
        attach(rig, 1);
        assert_eq!(rig.mmio_read(AT, Size::B1), 1);
        rig.mmio_write(AT, Size::B1, 2);
        assert!(rig.take_power().is_empty());
        rig.mmio_write(AT, Size::B1, 3);
        assert_eq!(rig.take_power(), [PowerEvent::Panicked]);
    });
}

#[test]
fn fuzzed() {
    let board = || {
        let mut rig = Rig::new();
        attach(&mut rig, 3);
        rig
    };
    fuzz(board, 9, &[FuzzRange::Memory(AT, 16), FuzzRange::Config(SLOT, 0)], |_, _| {});
}
