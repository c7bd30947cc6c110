//! What an idle bus costs: how often the timer fires, in guest time.

use devices_core::rig::scenario;

use super::super::{QUIET, TICK};
use super::*;

/// Fires timers for so many milliseconds, and counts.
fn wakeups(rig: &mut Rig, milliseconds: u64) -> u64 {
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
fn an_idle_tablet_wakes_nobody() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        ask(rig);
        // As Linux has it: the asynchronous list is off while nobody has a request.
        write(rig, reg::USBCMD, RUN | PERIODIC | THRESHOLD);
        rig.advance(ms(200));
        assert_eq!(wakeups(rig, 10_000), 0);
        // What it has to say is heard in the next frame all the same, and it is quiet again soon.
        point(&ports, port, 3, 4, 0);
        rig.advance(ms(1));
        assert_eq!(answer(rig), Some(vec![0, 3, 0, 4, 0, 0]));
        ask(rig);
        assert!(wakeups(rig, 10_000) <= u64::from(QUIET) + 2);
        assert_eq!(wakeups(rig, 10_000), 0);
        // News that nobody asks for so far is looked after now and then.
        point(&ports, port, 5, 6, 0);
        rig.advance(ms(1));
        point(&ports, port, 7, 8, 0);
        rig.advance(ms(1000));
        assert!(wakeups(rig, 1000) <= 1000 / TICK + 1);
        ask(rig);
        rig.advance(ms(TICK));
        assert_eq!(answer(rig), Some(vec![0, 7, 0, 8, 0, 0]));
    });
}

/// Input goes to a pointer that the guest listens to: that it does is seen when somebody asks, however long nobody did.
#[test]
fn who_begins_to_listen_is_heard_of() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        write(rig, reg::USBCMD, RUN | PERIODIC | THRESHOLD);
        rig.advance(ms(10_000));
        let is_active = |ports: &Ports| {
            let mut active = false;
            ports.with(port, &mut |device| active = device.input().unwrap().is_active());
            active
        };
        assert!(!is_active(&ports));
        rig.advance(ms(10_000));
        // With no register written.
        ask(rig);
        rig.advance(ms(10_000));
        assert!(is_active(&ports));
    });
}

#[test]
fn an_idle_asynchronous_list_costs_little() {
    scenario(|rig| {
        tablet(rig);
        ask(rig);
        rig.advance(ms(200));
        let count = wakeups(rig, 10_000);
        assert!((10_000 / TICK - 1..=10_000 / TICK + 1).contains(&count), "{count} in ten seconds");
        // What a driver adds with no register written is found, and what follows at once.
        aim(rig, 2);
        chain(rig, &[(SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
        go(rig, CONTROL);
        let waited = (0..TICK).take_while(|_| {
            rig.advance(ms(1));
            token(rig, 0) & td::ACTIVE != 0
        });
        assert!(waited.count() < TICK as usize);
        chain(rig, &[(IN | td::TOGGLE, vec![0; 1])]);
        go(rig, CONTROL);
        rig.advance(us(250));
        assert_eq!(token(rig, 0) & td::ACTIVE, 0);
    });
}

#[test]
fn a_device_that_repeats_itself_is_asked_then() {
    scenario(|rig| {
        tablet(rig);
        // Every 100 ms.
        assert_eq!(request(rig, 2, get(0x21, 10, 25 << 8, 0), &[]), Ok(vec![]));
        ask(rig);
        write(rig, reg::USBCMD, RUN | PERIODIC | THRESHOLD);
        rig.advance(ms(102));
        assert_eq!(answer(rig), Some(vec![0; 6]));
    });
}

#[test]
fn a_controller_that_stands_wakes_nobody() {
    scenario(|rig| {
        tablet(rig);
        write(rig, reg::USBCMD, 0);
        assert_eq!(wakeups(rig, 10_000), 0);
        write(rig, reg::USBCMD, RUN);
        rig.advance(ms(1));
        assert_eq!(wakeups(rig, 10_000), 0, "with both lists off");
    });
}
