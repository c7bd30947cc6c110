//! How vioinput of virtio-win starts (facts of its public source): it agrees on features and only then, with no queue yet,
//! asks the configuration byte by byte for keys, movements, places and lights, of which it makes a HID report, and for the
//! range of each axis; both queues have one message, whatever it is; it fills the queue of events when it is there. Of each
//! packet it makes a report when SYN comes, and gives every buffer back as soon as it has looked at it. A light is an event
//! of its own. It resets when the computer goes to sleep, and begins again with its queues.

use super::super::super::driver::pci::MESSAGE;
use super::super::super::driver::windows;
use super::*;

/// Asks for the bits of a kind of event.
fn bits(rig: &mut Rig, kind: u8) -> Vec<u8> {
    ask(rig, select::EV_BITS, kind)
}

/// The queues of a driver that has come, or has come again.
fn queues(rig: &mut Rig, cell: &Cell) -> Started {
    let features = feature::VERSION_1;
    let [events, status] =
        windows::find_queues(rig, features, &[(64, QUEUES, Some(0)), (64, QUEUES + 0x1_0000, Some(0))])
            .try_into()
            .ok()
            .unwrap();
    windows::ready(rig);
    events.want_interrupts(true);
    status.want_interrupts(true);
    let mut started = Started { cell: cell.clone(), events, status, given: 0 };
    started.give(rig, 32);
    rig.take_messages();
    started
}

#[test]
fn a_tablet() {
    scenario(|rig| {
        let cell = attach_as(rig, Kind::Tablet, true);
        driver::use_messages(rig, 2);
        windows::initialize(rig);
        windows::agree(rig, feature::VERSION_1 | feature::ANY_LAYOUT);
        let keys = bits(rig, 1);
        assert_eq!((bits(rig, 2), bits(rig, 3)), (vec![0, 1], vec![3]), "the wheel; both axes");
        assert!(keys.iter().any(|byte| *byte != 0));
        for axis in [0, 1] {
            let range = ask(rig, select::ABS_INFO, axis);
            assert_eq!((range.len(), &range[..8]), (20, &[0, 0, 0, 0, 0xff, 0x7f, 0, 0][..]));
        }
        for _ in 0..2 {
            let mut tablet = queues(rig, &cell);
            tablet.point(Motion::To { x: Some(100), y: Some(0x7fff) }, 0, 1);
            assert_eq!(rig.take_messages(), [(0xfee0_0000, MESSAGE)]);
            assert_eq!(tablet.come(rig), [(3, 0, 100), (3, 1, 0x7fff), (1, 0x110, 1), END]);
            tablet.give(rig, 4);
            tablet.point(Motion::To { x: None, y: None }, -1, 0);
            assert_eq!(tablet.come(rig), [(1, 0x110, 0), (2, 8, 1), END]);
            windows::shut_down(rig, 2);
            assert!(!cell.lock().is_active());
            windows::initialize(rig);
            windows::agree(rig, feature::VERSION_1);
        }
    });
}

#[test]
fn a_keyboard() {
    scenario(|rig| {
        let cell = attach_as(rig, Kind::Keyboard, true);
        driver::use_messages(rig, 2);
        windows::initialize(rig);
        windows::agree(rig, feature::VERSION_1 | feature::ANY_LAYOUT);
        let keys = bits(rig, 1);
        assert_eq!((bits(rig, 2), bits(rig, 3), bits(rig, 0x11)), (vec![], vec![], vec![7]));
        // A and Enter are among them.
        assert!(keys[30 / 8] >> (30 % 8) & 1 == 1 && keys[28 / 8] >> (28 % 8) & 1 == 1);
        let mut keyboard = queues(rig, &cell);
        let key = Key::by_name("a").unwrap();
        for (down, value) in [(true, 1), (false, 0)] {
            cell.lock().key(key, down);
            assert_eq!(rig.take_messages(), [(0xfee0_0000, MESSAGE)]);
            assert_eq!(keyboard.come(rig), [(1, 30, value), END]);
            keyboard.give(rig, 2);
        }
        // Caps Lock: its light is a request that the driver waits for.
        rig.poke(GOT, &[0x11, 0, 1, 0, 1, 0, 0, 0]);
        assert!(keyboard.status.offer(&[Buffer { gpa: GOT, len: 8, write: false }], false, 7));
        driver::notify(rig, queue::STATUS);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, MESSAGE)]);
        assert_eq!(keyboard.status.used(), Some((7, 0)));
    });
}
