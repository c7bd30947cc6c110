//! What Linux's `ib700wdt` does, and what nobody should.

use std::mem::take;

use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn board(mut rig: Rig) -> Rig {
    let wiring = rig.wiring();
    let device = Ib700::new("watchdog", &wiring, rig.recorder());
    rig.attach(device, &wiring);
    rig
}

#[test]
fn it_barks_once_when_nobody_feeds_it() {
    scenario(|rig| {
        let mut rig = board(take(rig));
        assert_eq!((rig.inb(0x441), rig.inb(0x443)), (0xff, 0xff));
        // 30 s, fed after 20: Linux writes the number of its timeout again.
        rig.outb(0x443, 0xf0);
        rig.advance(20 * SECOND);
        rig.outb(0x443, 0);
        rig.advance(30 * SECOND - 1);
        assert!(rig.take_power().is_empty());
        rig.advance(1);
        assert_eq!(rig.take_power(), [PowerEvent::Watchdog]);
        rig.advance(60 * SECOND);
        assert!(rig.take_power().is_empty(), "it is not begun anew by itself");
    });
}

#[test]
fn each_choice_is_two_seconds_less() {
    for choice in 0..16_u8 {
        let mut rig = board(Rig::new());
        rig.outb(0x443, choice);
        let timeout = u64::from(15 - choice) * 2 * SECOND;
        rig.advance(timeout.saturating_sub(1));
        assert!(choice == 15 || rig.take_power().is_empty(), "{choice}");
        rig.advance(1);
        assert_eq!(rig.take_power(), [PowerEvent::Watchdog], "{choice}");
    }
}

#[test]
fn who_stops_it_or_resets_the_machine_hears_nothing() {
    scenario(|rig| {
        let mut rig = board(take(rig));
        rig.outb(0x443, 14);
        rig.outb(0x441, 0xff);
        rig.advance(40 * SECOND);
        rig.outb(0x443, 14);
        rig.reset();
        rig.advance(40 * SECOND);
        assert!(rig.take_power().is_empty());
    });
}

#[test]
fn a_deadline_that_no_choice_makes_is_refused() {
    let rig = Rig::new();
    let mut device = Ib700::new("watchdog", &rig.wiring(), rig.recorder());
    for (deadline, fits) in [(30 * SECOND, true), (30 * SECOND + 1, false)] {
        device.set_deadline(Some(deadline));
        let saved = device.save().unwrap();
        assert_eq!(device.load(&saved).is_ok(), fits);
    }
}

#[test]
fn fuzzed() {
    fuzz(|| board(Rig::new()), 9, &[FuzzRange::Ports(0x440, 5)], |_, _| {});
}
