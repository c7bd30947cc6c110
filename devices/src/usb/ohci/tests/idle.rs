//! What an idle bus costs: how often the timer fires, in guest time.

use devices_core::rig::scenario;

use super::*;
use crate::usb::frames::{QUIET, TICK};

/// Fires timers for so many milliseconds, and counts.
fn wakeups(rig: &mut Rig, milliseconds: u64) -> u32 {
    let end = rig.now() + ms(milliseconds);
    let mut count = 0;
    while let Some(at) = rig.next_deadline().filter(|at| *at <= end) {
        let now = rig.now();
        rig.advance(at - now);
        count += 1;
    }
    let rest = end - rig.now();
    rig.advance(rest);
    count
}

#[test]
fn an_idle_tablet_wakes_nobody_a_thousand_times() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        ask(rig, 2);
        rig.advance(ms(200));
        let count = wakeups(rig, 10_000);
        let expected = (10_000 / TICK) as u32;
        assert!((expected - 1..=expected + 1).contains(&count), "{count} in ten seconds");
        // What it has to say is heard in the next frame all the same.
        point(&ports, port, 3, 4, 0);
        rig.advance(ms(1));
        assert_eq!(answer(rig), Some(vec![0, 3, 0, 4, 0, 0]));
        take_done(rig);
        // And it is quiet again soon.
        ask(rig, 2);
        assert!(wakeups(rig, 1000) < u32::from(QUIET) + 2 + (1000 / TICK) as u32);
    });
}

#[test]
fn a_bus_with_nothing_to_do_wakes_nobody() {
    scenario(|rig| {
        tablet(rig);
        // Both lists are empty, and the periodic one is off.
        write(rig, reg::CONTROL, RUN & !4);
        rig.advance(ms(10));
        // Of FrameNumberOverflow the driver wants to hear: every 32 seconds.
        assert!(wakeups(rig, 30_000) <= 1);
        write(rig, reg::INTERRUPT_DISABLE, 0x20);
        assert_eq!(wakeups(rig, 100_000), 0);
        write(rig, reg::CONTROL, 0xc0 | RUN);
        write(rig, reg::INTERRUPT_ENABLE, 0x8000_007f);
        assert_eq!(wakeups(rig, 100_000), 0, "it sleeps");
    });
}

#[test]
fn who_wants_to_hear_of_frames_hears_of_each() {
    scenario(|rig| {
        tablet(rig);
        rig.advance(ms(1000));
        write(rig, reg::INTERRUPT_STATUS, 4);
        write(rig, reg::INTERRUPT_ENABLE, 4);
        for _ in 0..5 {
            assert!(!rig.irq(IRQ));
            rig.advance(ms(1));
            assert!(rig.irq(IRQ));
            write(rig, reg::INTERRUPT_STATUS, 4);
        }
        // One that it does not take is not told twice.
        rig.advance(ms(1));
        rig.advance(ms(1000));
        assert!(rig.irq(IRQ) && wakeups(rig, 1000) <= (1000 / TICK) as u32 + 1);
    });
}

#[test]
fn what_a_driver_adds_is_found_in_time() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        rig.advance(ms(1000));
        // The tablet has something to say, and nobody asks; then somebody does, with no register written.
        point(&ports, port, 5, 6, 0);
        rig.advance(ms(1000));
        ask(rig, 2);
        rig.advance(ms(TICK));
        assert_eq!(answer(rig), Some(vec![0, 5, 0, 6, 0, 0]));
        take_done(rig);
        // A driver that reads a register that tells of frames waits no longer than one.
        for (x, look) in (7..).zip([reg::INTERRUPT_STATUS, reg::FM_NUMBER, reg::DONE_HEAD]) {
            point(&ports, port, x, 8, 0);
            rig.advance(ms(1000));
            ask(rig, 2);
            rig.advance(ms(1));
            read(rig, look);
            assert!(answer(rig).is_some());
            take_done(rig);
        }
        // What is read from memory alone is not much older.
        let number = word(rig, HCCA + 0x80);
        rig.advance(ms(1000));
        assert!((1000 - TICK as u32..=1000).contains(&(word(rig, HCCA + 0x80) - number)));
    });
}
