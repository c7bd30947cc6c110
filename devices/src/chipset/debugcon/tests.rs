use std::sync::{Arc, Mutex};

use devices_core::rig::{FuzzRange, Rig, fuzz};
use devices_core::{Dir, Size};

use super::*;

type Bytes = Arc<Mutex<Vec<u8>>>;

fn board(mut rig: Rig) -> (Rig, Bytes) {
    let bytes = Bytes::default();
    let to = bytes.clone();
    let console = Debugcon::new(Box::new(move |data: &[u8]| to.lock().unwrap().extend_from_slice(data)));
    let wiring = rig.wiring();
    rig.attach(console, &wiring);
    (rig, bytes)
}

#[test]
fn bytes_come_out_as_they_are_and_at_once() {
    let (mut rig, bytes) = board(Rig::new());
    assert_eq!(rig.inb(0x402), 0xe9);
    let mut expected = Vec::new();
    for byte in *b"It's\r\n\x00\x1b[2J\xff" {
        rig.outb(0x402, byte);
        expected.push(byte);
        assert_eq!(*bytes.lock().unwrap(), expected);
    }
    rig.poke(0, b" two\xfe");
    rig.string(Dir::Write, 0x402, Size::B1, 5, 0);
    assert!(bytes.lock().unwrap().ends_with(b"\xff two\xfe"));
}

#[test]
fn nothing_comes_out_twice_after_a_load_or_a_reset() {
    let (mut rig, bytes) = board(Rig::new());
    rig.outb(0x402, b'a');
    rig.save_load();
    rig.outb(0x402, b'b');
    rig.reset();
    assert_eq!(*bytes.lock().unwrap(), b"ab");
}

#[test]
fn fuzzed() {
    fuzz(|| board(Rig::new()), 4, &[FuzzRange::Ports(0x400, 4)], |_, _| {});
}
