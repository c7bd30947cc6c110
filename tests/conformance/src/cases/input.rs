//! Keys and movements of the mouse that come in from outside: IBM PS/2 Hardware Interface Technical Reference ("PS/2
//! reference"), "Keyboard" with its tables of scan codes and "Auxiliary device"; the wheel after Microsoft's
//! "IntelliMouse" device notes.

use super::ps2::{self, FULL, OF_MOUSE, begin_with, drain};
use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::Input::{self, Button, Key, Move};

pub(super) const GROUP: Group = Group {
    device: "input",
    about: "keys and the mouse, moved from outside",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("keys: make and break", "PS/2 reference, keyboard: scan code set 2", make_and_break),
    case("keys: letters and digits", "PS/2 reference, keyboard: scan code set 2", letters),
    case("keys: function keys", "PS/2 reference, keyboard: scan code set 2", functions),
    case("keys: the grey block", "PS/2 reference, keyboard: scan code set 2, E0h", grey),
    case("keys: pause", "PS/2 reference, keyboard: scan code set 2, key 126", pause),
    case("keys: print screen", "PS/2 reference, keyboard: scan code set 2, key 124", print_screen),
    case("keys: translated to set 1", "PS/2 reference, controller: bit 6", translated),
    case("keys: set 1 without translation", "PS/2 reference, keyboard: F0h", set_one),
    case("keys: in the order they were struck", "PS/2 reference, keyboard: buffer", order),
    case("keys: a keyboard that is off says nothing", "PS/2 reference, keyboard: F5h", keyboard_off),
    case("keys: a shut interface holds them back", "PS/2 reference, controller: ADh", interface_off),
    case("keys: IRQ 1 for each byte", "PS/2 reference, controller: bit 0", keyboard_line),
    case("keys: vector of IRQ 1", "PS/2 reference, controller: bit 0", keyboard_vector),
    case("keys: no interrupt without its bit", "PS/2 reference, controller: bit 0", keyboard_quiet),
    case("keys: more than the keyboard can hold", "PS/2 reference, keyboard: buffer of 16", flood),
    case("mouse: nothing before it is enabled", "PS/2 reference, auxiliary device: F4h", mouse_off),
    case("mouse: a move", "PS/2 reference, auxiliary device: data packet", moves),
    case("mouse: up is positive", "PS/2 reference, auxiliary device: data packet, Y", signs),
    case("mouse: buttons", "PS/2 reference, auxiliary device: data packet, byte 1", buttons),
    case("mouse: a long way", "PS/2 reference, auxiliary device: data packet, overflow", far),
    case("mouse: the wheel", "IntelliMouse: byte 4", wheel),
    case("mouse: no wheel without its knock", "IntelliMouse: 200, 100, 80", no_wheel),
    case("mouse: five buttons", "IntelliMouse Explorer: byte 4", five),
    case("mouse: remote mode is asked", "PS/2 reference, auxiliary device: F0h, EBh", remote),
    case("mouse: a shut interface holds packets back", "PS/2 reference, controller: A7h", aux_off),
    case("mouse: IRQ 12 for each byte", "PS/2 reference, controller: bit 1", mouse_line),
    case("mouse: vector of IRQ 12", "PS/2 reference, controller: bit 1", mouse_vector),
    case("both: each byte says whose it is", "PS/2 reference, controller: status, bit 5", whose),
    case("both: a reset forgets what came in", "PS/2 reference, power-on", forgotten),
];

/// Sends the keyboard bytes and takes its acknowledgements.
fn keyboard(bench: &mut Bench<'_>, bytes: &[u8]) {
    for byte in bytes {
        ps2::keyboard(bench, *byte, 1);
    }
}

/// Sends the mouse bytes and takes its acknowledgements.
fn mouse(bench: &mut Bench<'_>, bytes: &[u8]) {
    for byte in bytes {
        ps2::mouse(bench, *byte, 1);
    }
}

/// As [`begin_with`], and the mouse sends what it is moved.
fn begin_mouse(bench: &mut Bench<'_>, command_byte: u8) {
    begin_with(bench, command_byte);
    mouse(bench, &[0xf6, 0xf4]);
}

/// The controller's status once a byte is there.
fn full(bench: &mut Bench<'_>) -> u8 {
    bench.arrives(0x64, |status| status & FULL != 0)
}

/// So many bytes that come, or those that there are.
fn arrived(bench: &mut Bench<'_>, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count && full(bench) & FULL != 0 {
        bytes.push(bench.inb(0x60));
    }
    bytes
}

/// What is moved gives these bytes and no more.
fn gives(bench: &mut Bench<'_>, what: &str, inputs: &[Input<'_>], want: &[u8]) {
    bench.input(inputs);
    let got = arrived(bench, want.len());
    bench.check_bytes(what, &got, want);
    nothing(bench, &format!("{what}: no more"));
}

fn nothing(bench: &mut Bench<'_>, what: &str) {
    bench.settle();
    let status = bench.inb(0x64);
    bench.check_bits(what, status, FULL, 0u8);
}

/// A key goes down and up again: its make code, and the same behind F0h (and E0h).
fn stroke(bench: &mut Bench<'_>, key: &str, make: &[u8]) {
    let mut want = make.to_vec();
    let (last, prefix) = make.split_last().unwrap_or((&0, &[]));
    want.extend(prefix.iter().chain(&[0xf0, *last]));
    bench.input(&[Key(key, true), Key(key, false)]);
    let got = arrived(bench, want.len());
    bench.check_bytes(key, &got, &want);
}

fn make_and_break(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    gives(bench, "down", &[Key("a", true)], &[0x1c]);
    gives(bench, "up", &[Key("a", false)], &[0xf0, 0x1c]);
    gives(bench, "control down", &[Key("ctrl", true)], &[0x14]);
    gives(bench, "control up", &[Key("ctrl", false)], &[0xf0, 0x14]);
}

fn letters(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    let codes = [
        ("b", 0x32),
        ("c", 0x21),
        ("d", 0x23),
        ("e", 0x24),
        ("f", 0x2b),
        ("g", 0x34),
        ("h", 0x33),
        ("i", 0x43),
        ("j", 0x3b),
        ("k", 0x42),
        ("l", 0x4b),
        ("m", 0x3a),
        ("n", 0x31),
        ("o", 0x44),
        ("p", 0x4d),
        ("q", 0x15),
        ("r", 0x2d),
        ("s", 0x1b),
        ("t", 0x2c),
        ("u", 0x3c),
        ("v", 0x2a),
        ("w", 0x1d),
        ("x", 0x22),
        ("y", 0x35),
        ("z", 0x1a),
        ("0", 0x45),
        ("1", 0x16),
        ("2", 0x1e),
        ("3", 0x26),
        ("4", 0x25),
        ("5", 0x2e),
        ("6", 0x36),
        ("7", 0x3d),
        ("8", 0x3e),
        ("9", 0x46),
        ("minus", 0x4e),
        ("equal", 0x55),
        ("bracket_left", 0x54),
        ("bracket_right", 0x5b),
        ("backslash", 0x5d),
        ("semicolon", 0x4c),
        ("apostrophe", 0x52),
        ("grave_accent", 0x0e),
        ("comma", 0x41),
        ("dot", 0x49),
        ("slash", 0x4a),
        ("less", 0x61),
        ("spc", 0x29),
        ("ret", 0x5a),
        ("tab", 0x0d),
        ("backspace", 0x66),
        ("esc", 0x76),
        ("caps_lock", 0x58),
        ("shift", 0x12),
        ("shift_r", 0x59),
        ("alt", 0x11),
    ];
    for (key, make) in codes {
        stroke(bench, key, &[make]);
    }
}

fn functions(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    let codes = [0x05, 0x06, 0x04, 0x0c, 0x03, 0x0b, 0x83, 0x0a, 0x01, 0x09, 0x78, 0x07];
    for (number, make) in (1..).zip(codes) {
        stroke(bench, &format!("f{number}"), &[make]);
    }
    for (key, make) in
        [("num_lock", 0x77), ("scroll_lock", 0x7e), ("kp_multiply", 0x7c), ("kp_subtract", 0x7b)]
    {
        stroke(bench, key, &[make]);
    }
    for (key, make) in
        [("kp_0", 0x70), ("kp_5", 0x73), ("kp_9", 0x7d), ("kp_add", 0x79), ("kp_decimal", 0x71)]
    {
        stroke(bench, key, &[make]);
    }
}

fn grey(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    let codes = [
        ("up", 0x75),
        ("down", 0x72),
        ("left", 0x6b),
        ("right", 0x74),
        ("home", 0x6c),
        ("end", 0x69),
        ("pgup", 0x7d),
        ("pgdn", 0x7a),
        ("insert", 0x70),
        ("delete", 0x71),
        ("ctrl_r", 0x14),
        ("alt_r", 0x11),
        ("kp_enter", 0x5a),
        ("kp_divide", 0x4a),
        ("meta_l", 0x1f),
        ("meta_r", 0x27),
        ("compose", 0x2f),
    ];
    for (key, make) in codes {
        stroke(bench, key, &[0xe0, make]);
    }
}

fn pause(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    let all = [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77];
    gives(bench, "down", &[Key("pause", true)], &all);
    gives(bench, "up", &[Key("pause", false)], &[]);
    bench.input(&[Key("ctrl", true)]);
    arrived(bench, 1);
    gives(bench, "with control", &[Key("pause", true)], &[0xe0, 0x7e, 0xe0, 0xf0, 0x7e]);
}

fn print_screen(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    gives(bench, "down", &[Key("print", true)], &[0xe0, 0x12, 0xe0, 0x7c]);
    gives(bench, "up", &[Key("print", false)], &[0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12]);
    bench.input(&[Key("alt", true)]);
    arrived(bench, 1);
    gives(bench, "with alt, down", &[Key("print", true)], &[0x84]);
    gives(bench, "with alt, up", &[Key("print", false)], &[0xf0, 0x84]);
}

fn translated(bench: &mut Bench<'_>) {
    begin_with(bench, 0x40);
    for (key, make) in [("a", 0x1eu8), ("esc", 1), ("f12", 0x58), ("f7", 0x41), ("shift_r", 0x36)] {
        gives(bench, key, &[Key(key, true), Key(key, false)], &[make, make | 0x80]);
    }
    gives(bench, "up", &[Key("up", true), Key("up", false)], &[0xe0, 0x48, 0xe0, 0xc8]);
    gives(bench, "pause", &[Key("pause", true)], &[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
}

fn set_one(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    keyboard(bench, &[0xf0, 1]);
    gives(bench, "a", &[Key("a", true), Key("a", false)], &[0x1e, 0x9e]);
    gives(bench, "up", &[Key("up", true), Key("up", false)], &[0xe0, 0x48, 0xe0, 0xc8]);
    keyboard(bench, &[0xf0, 2]);
    gives(bench, "set 2 again", &[Key("a", true), Key("a", false)], &[0x1c, 0xf0, 0x1c]);
}

fn order(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    let keys = [Key("shift", true), Key("a", true), Key("a", false), Key("b", true), Key("shift", false)];
    gives(bench, "five events", &keys, &[0x12, 0x1c, 0xf0, 0x1c, 0x32, 0xf0, 0x12]);
}

fn keyboard_off(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    keyboard(bench, &[0xf5]);
    gives(bench, "off", &[Key("a", true), Key("a", false)], &[]);
    keyboard(bench, &[0xf4]);
    nothing(bench, "on again: nothing of before");
    gives(bench, "on", &[Key("b", true)], &[0x32]);
}

fn interface_off(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    bench.outb(0x64, 0xad);
    gives(bench, "shut", &[Key("a", true)], &[]);
    bench.outb(0x64, 0xae);
    let got = arrived(bench, 1);
    bench.check_bytes("open again", &got, &[0x1c]);
}

fn keyboard_line(bench: &mut Bench<'_>) {
    begin_with(bench, 1);
    bench.interrupts();
    bench.input(&[Key("a", false)]);
    for byte in ["first", "second"] {
        full(bench);
        let asks = bench.irq(1);
        bench.check_that(format!("{byte}: it asks"), asks, "IRR is clear");
        // An edge stays in the 8259 until it is taken; the next one is that of the next byte.
        bench.interrupts();
        bench.inb(0x60);
    }
    bench.settle();
    let asks = bench.irq(1);
    bench.check_that("no third", !asks, "IRR is set");
}

fn keyboard_vector(bench: &mut Bench<'_>) {
    begin_with(bench, 1);
    bench.interrupts();
    bench.outb(0x21, 0xfd);
    bench.input(&[Key("a", true)]);
    full(bench);
    let vector = bench.interrupt(1_000_000);
    bench.check("vector", vector.map_or(0, u16::from), 0x21u16);
    let code = bench.inb(0x60);
    bench.check("code", code, 0x1cu8);
}

fn keyboard_quiet(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    bench.interrupts();
    bench.input(&[Key("a", true)]);
    let code = arrived(bench, 1);
    bench.check_bytes("code", &code, &[0x1c]);
    let asks = bench.irq(1);
    bench.check_that("it does not ask", !asks, "IRR is set");
}

fn flood(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    bench.input(&[Key("a", true); 40]);
    bench.settle();
    let codes = arrived(bench, 15);
    bench.check_bytes("the first 15 are there", &codes, &[0x1c; 15]);
    let rest: Vec<u8> = drain(bench).into_iter().map(|(_, byte)| byte).collect();
    bench.note_bytes("what else was kept", &rest);
    gives(bench, "it goes on", &[Key("b", true)], &[0x32]);
}

fn mouse_off(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    mouse(bench, &[0xf6]);
    gives(bench, "off", &[Move(5, 0)], &[]);
    mouse(bench, &[0xf4]);
    gives(bench, "on", &[Move(7, 0)], &[0x08, 7, 0]);
    mouse(bench, &[0xf5]);
    gives(bench, "off again", &[Move(5, 0)], &[]);
}

fn moves(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    gives(bench, "right", &[Move(5, 0)], &[0x08, 5, 0]);
    gives(bench, "right and down", &[Move(3, 4)], &[0x28, 3, 0xfc]);
    gives(bench, "nowhere", &[Move(0, 0)], &[]);
}

fn signs(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    gives(bench, "up", &[Move(0, -9)], &[0x08, 0, 9]);
    gives(bench, "left", &[Move(-9, 0)], &[0x18, 0xf7, 0]);
    gives(bench, "left and down", &[Move(-1, 1)], &[0x38, 0xff, 0xff]);
}

fn buttons(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    for (button, bit) in [("left", 1u8), ("right", 2), ("middle", 4)] {
        gives(bench, &format!("{button} down"), &[Button(button, true)], &[0x08 | bit, 0, 0]);
        gives(bench, &format!("{button} up"), &[Button(button, false)], &[0x08, 0, 0]);
    }
    bench.input(&[Button("left", true)]);
    arrived(bench, 3);
    gives(bench, "a move with it", &[Move(1, 0)], &[0x09, 1, 0]);
    gives(bench, "two at once", &[Button("right", true)], &[0x0b, 0, 0]);
}

/// The way of packets of three bytes: (right, up), and whether one of them says that it ran over.
fn way(packets: &[u8]) -> (i32, i32, bool) {
    let mut way = (0, 0, false);
    for packet in packets.chunks_exact(3) {
        let axis =
            |value: u8, negative: u8| i32::from(value) - if packet[0] & negative != 0 { 256 } else { 0 };
        way.0 += axis(packet[1], 0x10);
        way.1 += axis(packet[2], 0x20);
        way.2 |= packet[0] & 0xc0 != 0;
    }
    way
}

fn far(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    bench.input(&[Move(600, 300)]);
    bench.settle();
    let mut bytes = Vec::new();
    while bytes.len() < 60 && bench.poll(0x64, 20, |status| status & FULL != 0) & FULL != 0 {
        bytes.push(bench.inb(0x60));
    }
    let (right, up, over) = way(&bytes);
    bench.check_that("all of the way, in parts", (right, up) == (600, -300), format_args!("{right}, {up}"));
    bench.check_that("none ran over", !over, "overflow");
    bench.note_bytes("the parts", &bytes);
}

/// Rates that make a mouse of another kind of it (IntelliMouse), and its packets on.
fn knock(bench: &mut Bench<'_>, rates: &[u8]) {
    for rate in rates {
        mouse(bench, &[0xf3, *rate]);
    }
    mouse(bench, &[0xf4]);
}

fn wheel(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    knock(bench, &[200, 100, 80]);
    for (notch, by) in [("wheel-up", 0xff), ("wheel-down", 1)] {
        bench.input(&[Button(notch, true), Button(notch, false)]);
        let got = arrived(bench, 4);
        bench.check_bytes(notch, &got, &[0x08, 0, 0, by]);
        nothing(bench, &format!("{notch}: no more"));
    }
    gives(bench, "a move has four bytes", &[Move(2, 0)], &[0x08, 2, 0, 0]);
}

fn no_wheel(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    bench.input(&[Button("wheel-up", true), Button("wheel-up", false)]);
    bench.settle();
    gives(bench, "a move has three bytes", &[Move(2, 0)], &[0x08, 2, 0]);
}

fn five(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    knock(bench, &[200, 100, 80, 200, 200, 80]);
    for (button, bit) in [("side", 0x10u8), ("extra", 0x20)] {
        gives(bench, &format!("{button} down"), &[Button(button, true)], &[0x08, 0, 0, bit]);
        gives(bench, &format!("{button} up"), &[Button(button, false)], &[0x08, 0, 0, 0]);
    }
    gives(bench, "the wheel", &[Button("wheel-down", true)], &[0x08, 0, 0, 1]);
}

fn remote(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
    mouse(bench, &[0xf6, 0xf0, 0xf4]);
    gives(bench, "unasked", &[Move(5, 0), Button("left", true)], &[]);
    bench.outb(0x64, 0xd4);
    bench.outb(0x60, 0xeb);
    let got = arrived(bench, 4);
    bench.check_bytes("asked", &got, &[0xfa, 0x09, 5, 0]);
}

fn aux_off(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    bench.outb(0x64, 0xa7);
    gives(bench, "shut", &[Move(5, 0)], &[]);
    bench.outb(0x64, 0xa8);
    let got = arrived(bench, 3);
    bench.check_bytes("open again", &got, &[0x08, 5, 0]);
}

fn mouse_line(bench: &mut Bench<'_>) {
    begin_mouse(bench, 2);
    bench.interrupts();
    bench.input(&[Move(5, 0)]);
    for byte in ["first", "second", "third"] {
        full(bench);
        let asks = bench.irq(12);
        bench.check_that(format!("{byte}: it asks"), asks, "IRR is clear");
        bench.inb(0x60);
    }
    let asks = bench.irq(12);
    bench.check_that("no fourth", !asks, "IRR is set");
}

fn mouse_vector(bench: &mut Bench<'_>) {
    begin_mouse(bench, 2);
    bench.interrupts();
    bench.outb(0x21, 0xfb);
    bench.outb(0xa1, 0xef);
    bench.input(&[Move(5, 0)]);
    full(bench);
    let vector = bench.interrupt(1_000_000);
    bench.check("vector", vector.map_or(0, u16::from), 0x2cu16);
}

fn whose(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    bench.input(&[Key("a", true)]);
    let status = full(bench);
    bench.check_bits("a key's", status, OF_MOUSE, 0u8);
    bench.inb(0x60);
    bench.input(&[Move(5, 0)]);
    for byte in 1..=3 {
        let status = full(bench);
        bench.check_bits(format!("a move's, byte {byte}"), status, OF_MOUSE, OF_MOUSE);
        bench.inb(0x60);
    }
    bench.input(&[Key("b", true)]);
    bench.settle();
    bench.input(&[Move(6, 0)]);
    bench.settle();
    let (mut keys, mut packet) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let status = full(bench);
        let byte = bench.inb(0x60);
        if status & OF_MOUSE != 0 { packet.push(byte) } else { keys.push(byte) }
    }
    bench.check_bytes("of both at once, the key", &keys, &[0x32]);
    bench.check_bytes("and the packet", &packet, &[0x08, 6, 0]);
}

fn forgotten(bench: &mut Bench<'_>) {
    begin_mouse(bench, 0);
    bench.input(&[Key("a", true), Move(5, 0)]);
    bench.settle();
    bench.reset();
    nothing(bench, "neither key nor move");
    begin_with(bench, 0);
    gives(bench, "the mouse is off", &[Move(5, 0)], &[]);
    gives(bench, "the keyboard is on", &[Key("b", true)], &[0x32]);
}
