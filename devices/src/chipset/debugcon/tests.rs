use std::sync::{Arc, Mutex};

use devices_core::rig::{Place, Rig, fuzz};
use devices_core::{Dir, Size};

use super::*;
use crate::lines::LINE_MAX;

type Lines = Arc<Mutex<Vec<String>>>;

fn board(mut rig: Rig) -> (Rig, Lines) {
    let lines = Lines::default();
    let to = lines.clone();
    let console = Debugcon::new(Box::new(move |line: &str| to.lock().unwrap().push(line.to_owned())));
    let wiring = rig.wiring();
    rig.attach(console, &wiring);
    (rig, lines)
}

#[test]
fn text_comes_out_in_lines() {
    let (mut rig, lines) = board(Rig::new());
    assert_eq!(rig.inb(0x402), 0xe9);
    for byte in *b"It's \"1\"\r\nand" {
        rig.outb(0x402, byte);
    }
    assert_eq!(*lines.lock().unwrap(), ["It's \"1\""]);
    rig.poke(0, b" two\x1b[2J\n");
    rig.string(Dir::Write, 0x402, Size::B1, 9, 0);
    assert_eq!(lines.lock().unwrap()[1], r"and two\x1b[2J");
}

#[test]
fn a_begun_line_survives_a_load_and_ends_with_a_reset() {
    let (mut rig, lines) = board(Rig::new());
    rig.outb(0x402, b'a');
    // The rig's own reset before the load ends the line too.
    rig.save_load();
    rig.outb(0x402, b'b');
    rig.reset();
    assert_eq!(*lines.lock().unwrap(), ["a", "ab"]);
}

#[test]
fn a_line_without_end_is_cut() {
    let (mut rig, lines) = board(Rig::new());
    for _ in 0..2 * LINE_MAX {
        rig.outb(0x402, b'x');
    }
    let lines = lines.lock().unwrap();
    assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_MAX; 2]);
}

#[test]
fn fuzzed() {
    let (_, lines) = fuzz(|| board(Rig::new()), 4, &[Place::Ports(0x400, 4)], |_, _| {});
    assert!(lines.lock().unwrap().iter().all(|line| line.bytes().all(|b| b.is_ascii_graphic() || b == b' ')));
}
