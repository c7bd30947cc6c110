//! Queues of what is pressed and pointed at.

use super::*;
use crate::input::Motion;

fn report(device: &mut Hid) -> Option<Vec<u8>> {
    let mut room = [0; 8];
    match device.transfer_in(1, &mut room, 0) {
        Answer::Done(len) => Some(room[..len].to_vec()),
        _ => None,
    }
}

fn to(x: u16, buttons: u8) -> Pointer {
    Pointer { motion: Motion::To { x: Some(x), y: None }, wheel: 0, buttons }
}

#[test]
fn report_descriptors_have_qemus_lengths() {
    let lengths = [Kind::Tablet, Kind::Mouse, Kind::Keyboard].map(|kind| spec::report_descriptor(kind).len());
    assert_eq!(lengths, [74, 52, 63]);
    // A tablet is a mouse by its usage, as QEMU's.
    assert_eq!(spec::report_descriptor(Kind::Tablet)[..6], [5, 1, 9, 2, 0xa1, 1]);
}

#[test]
fn movements_become_one_and_clicks_stay() {
    let mut tablet = Hid::new(Kind::Tablet, "");
    for x in 0..1000 {
        tablet.point(to(x, 0));
    }
    tablet.point(to(1000, 1));
    tablet.point(to(1000, 0));
    assert_eq!(report(&mut tablet), Some(vec![0, 0xe7, 3, 0, 0, 0]));
    assert_eq!(report(&mut tablet), Some(vec![1, 0xe8, 3, 0, 0, 0]));
    assert_eq!(report(&mut tablet), Some(vec![0, 0xe8, 3, 0, 0, 0]));
    assert_eq!(report(&mut tablet), None);
    tablet.point(to(1000, 0));
    assert_eq!(report(&mut tablet), None, "nothing has changed");
    // A tablet cannot be moved by so much, and a mouse cannot be put to a place.
    tablet.point(Pointer { motion: Motion::By { dx: 5, dy: 5 }, wheel: 0, buttons: 0 });
    assert_eq!(report(&mut tablet), None);
    let mut mouse = Hid::new(Kind::Mouse, "");
    mouse.point(to(5, 0));
    assert_eq!(report(&mut mouse), None);
}

#[test]
fn a_full_queue_keeps_the_newest_buttons() {
    let mut tablet = Hid::new(Kind::Tablet, "");
    for n in 0..100u8 {
        tablet.point(to(n.into(), n & 1));
    }
    let reports: Vec<Vec<u8>> = std::iter::from_fn(|| report(&mut tablet)).collect();
    assert_eq!(reports.len(), 16);
    assert_eq!(reports[15], [1, 99, 0, 0, 0, 0]);
    let mut mouse = Hid::new(Kind::Mouse, "");
    for _ in 0..100 {
        let motion = Motion::By { dx: i32::MAX, dy: i32::MIN };
        mouse.point(Pointer { motion, wheel: i32::MIN, buttons: 0xff });
    }
    assert_eq!(report(&mut mouse), Some(vec![7, 127, 0x81, 127]));
}

#[test]
fn keys_never_stick() {
    let mut keyboard = Hid::new(Kind::Keyboard, "");
    let keys: Vec<Key> = Key::all().collect();
    keys.iter().for_each(|key| keyboard.key(*key, true));
    keys.iter().for_each(|key| keyboard.key(*key, false));
    let mut last = vec![0; 8];
    let mut rolled_over = false;
    while let Some(report) = report(&mut keyboard) {
        rolled_over |= report[2..] == [1; 6];
        last = report;
    }
    assert!(rolled_over && last == [0; 8], "{last:?}");
}

#[test]
fn keys_have_usages() {
    let usage = |name: &str| spec::usage(Key::by_name(name).unwrap());
    let some = [
        ("a", 0x04),
        ("z", 0x1d),
        ("1", 0x1e),
        ("0", 0x27),
        ("ret", 0x28),
        ("backslash", 0x31),
        ("semicolon", 0x33),
        ("caps_lock", 0x39),
        ("f12", 0x45),
        ("pause", 0x48),
        ("pgdn", 0x4e),
        ("up", 0x52),
        ("num_lock", 0x53),
        ("kp_enter", 0x58),
        ("kp_1", 0x59),
        ("kp_decimal", 0x63),
        ("less", 0x64),
        ("f13", 0x68),
        ("f24", 0x73),
        ("volumeup", 0x80),
        ("ro", 0x87),
        ("ctrl", 0xe0),
        ("meta_r", 0xe7),
    ];
    for (name, expected) in some {
        assert_eq!(usage(name), Some(expected), "{name}");
    }
    let without: Vec<&str> = Key::all().filter(|key| spec::usage(*key).is_none()).map(Key::name).collect();
    let consumer = ["sleep", "wake", "lf", "audionext", "mail", "calculator"];
    assert!(consumer.iter().all(|name| without.contains(name)));
    assert!(without.len() < 25, "{without:?}");
}
