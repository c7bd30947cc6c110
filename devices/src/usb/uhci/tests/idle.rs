//! What an idle bus costs: how often the timer fires, in guest time.

use devices_core::rig::scenario;

use super::*;
use crate::usb::frames::{QUIET, TICK};

/// Fires timers for so many milliseconds, and counts.
pub(super) fn wakeups(rig: &mut Rig, milliseconds: u64) -> u32 {
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

fn tablet(rig: &mut Rig) -> (Ports, u64) {
    let ports = attach(rig);
    let port = plug(&ports, Kind::Tablet);
    run(rig);
    configure(rig, port, 2);
    ask(rig, 2);
    (ports, port)
}

#[test]
fn an_idle_tablet_wakes_nobody_a_thousand_times() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        rig.advance(ms(200));
        let count = wakeups(rig, 10_000);
        let expected = (10_000 / TICK) as u32;
        assert!((expected - 1..=expected + 1).contains(&count), "{count} in ten seconds");
        // What it has to say is heard in the next frame all the same.
        point(&ports, port, 3, 4, 0);
        rig.advance(ms(1));
        assert_eq!(answer(rig), Some(vec![0, 3, 0, 4, 0, 0]));
        // And it is quiet again soon.
        ask(rig, 2);
        assert!(wakeups(rig, 1000) < u32::from(QUIET) + 2 + (1000 / TICK) as u32);
    });
}

#[test]
fn a_halted_controller_wakes_nobody() {
    scenario(|rig| {
        tablet(rig);
        write(rig, reg::USBCMD, 0);
        assert_eq!(wakeups(rig, 10_000), 0);
    });
}

#[test]
fn what_a_driver_adds_is_found_in_time() {
    scenario(|rig| {
        tablet(rig);
        rig.advance(ms(1000));
        // With no register written. What follows goes at full speed.
        queue(rig, 2, &[(pid::SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
        rig.advance(ms(TICK));
        assert_eq!(word(rig, TDS + 4) & td::ACTIVE, 0, "after {TICK} ms");
        queue(rig, 2, &[(pid::IN, vec![0; 8])]);
        rig.advance(ms(1));
        assert_eq!(word(rig, TDS + 4) & td::ACTIVE, 0, "after 1 ms");
        // A driver that writes a register, or looks at the status or the frame number, waits no longer than a frame.
        for look in [reg::USBSTS, reg::FRNUM] {
            rig.advance(ms(1000));
            queue(rig, 2, &[(pid::SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
            rig.advance(ms(1));
            read(rig, look);
            assert_eq!(word(rig, TDS + 4) & td::ACTIVE, 0);
        }
        rig.advance(ms(1000));
        queue(rig, 2, &[(pid::SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
        write(rig, reg::USBINTR, 0xf);
        rig.advance(ms(1));
        assert_eq!(word(rig, TDS + 4) & td::ACTIVE, 0);
    });
}

#[test]
fn every_frame_of_a_quiet_schedule_is_walked() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        // The interrupt queue is in one frame of 128 alone.
        for n in 0..1024u64 {
            poke(rig, LIST + 4 * n, &[if n % 128 == 77 { INT_QH } else { QH } as u32 | QUEUE]);
        }
        rig.advance(ms(1000));
        point(&ports, port, 9, 9, 0);
        rig.advance(ms(128));
        assert!(answer(rig).is_some());
    });
}
