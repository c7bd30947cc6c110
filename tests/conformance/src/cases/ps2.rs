//! The PS/2 keyboard and mouse: IBM PS/2 Hardware Interface Technical Reference ("PS/2 reference"), "Keyboard" and
//! "Auxiliary device"; the wheel after Microsoft's "IntelliMouse" device notes.

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};

pub(super) const GROUP: Group = Group {
    device: "ps2",
    about: "PS/2 keyboard and mouse",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("keyboard: reset", "PS/2 reference, keyboard: FFh", keyboard_reset),
    case("keyboard: identify", "PS/2 reference, keyboard: F2h", keyboard_identify),
    case("keyboard: echo", "PS/2 reference, keyboard: EEh", echo),
    case("keyboard: lights", "PS/2 reference, keyboard: EDh", lights),
    case("keyboard: scan code sets", "PS/2 reference, keyboard: F0h", sets),
    case("keyboard: a set that does not exist", "PS/2 reference, keyboard: F0h", wrong_set),
    case(
        "keyboard: the set by the translated port",
        "PS/2 reference, keyboard: F0h; controller: bit 6",
        translated_set,
    ),
    case("keyboard: typematic rate", "PS/2 reference, keyboard: F3h", typematic),
    case("keyboard: enable, disable, defaults", "PS/2 reference, keyboard: F4h, F5h, F6h", enable),
    case("keyboard: defaults restore the set", "PS/2 reference, keyboard: F6h", defaults_set),
    case("keyboard: resend", "PS/2 reference, keyboard: FEh", resend),
    case("keyboard: unknown commands", "PS/2 reference, keyboard: resend", keyboard_unknown),
    case(
        "keyboard: a command in place of a parameter",
        "PS/2 reference, keyboard: EDh",
        command_for_parameter,
    ),
    case("keyboard: key types", "PS/2 reference, keyboard: F7h to FAh", key_types),
    case("mouse: reset", "PS/2 reference, auxiliary device: FFh", mouse_reset),
    case("mouse: identify", "PS/2 reference, auxiliary device: F2h", mouse_identify),
    case("mouse: status after reset", "PS/2 reference, auxiliary device: E9h", status),
    case("mouse: resolution", "PS/2 reference, auxiliary device: E8h", resolution),
    case("mouse: sampling rate", "PS/2 reference, auxiliary device: F3h", rate),
    case("mouse: scaling", "PS/2 reference, auxiliary device: E6h, E7h", scaling),
    case("mouse: enable and disable", "PS/2 reference, auxiliary device: F4h, F5h", mouse_enable),
    case("mouse: remote and stream mode", "PS/2 reference, auxiliary device: F0h, EAh", remote),
    case("mouse: read data", "PS/2 reference, auxiliary device: EBh", read_data),
    case("mouse: wrap mode", "PS/2 reference, auxiliary device: EEh, ECh", wrap),
    case("mouse: defaults", "PS/2 reference, auxiliary device: F6h", mouse_defaults),
    case("mouse: unknown commands", "PS/2 reference, auxiliary device: resend", mouse_unknown),
    case("mouse: the knock of a wheel", "IntelliMouse: 200, 100, 80", wheel),
    case("mouse: the knock of five buttons", "IntelliMouse Explorer: 200, 200, 80", explorer),
    case("mouse: another knock", "IntelliMouse: 200, 100, 80", other_knock),
    case("mouse: a reset forgets the wheel", "IntelliMouse: reset", wheel_reset),
    case("neither answers for the other", "PS/2 reference, controller: D4h", apart),
    case("a reset of the machine", "PS/2 reference, power-on", machine_reset),
];

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
/// Of the controller's status: a byte is there, and it is the mouse's.
pub(super) const FULL: u8 = 1;
pub(super) const OF_MOUSE: u8 = 0x20;

/// No interrupts, no translation, both on, nothing in the buffer.
fn begin(bench: &mut Bench<'_>) {
    begin_with(bench, 0);
}

/// The controller's command byte as given, nothing in its buffer.
pub(super) fn begin_with(bench: &mut Bench<'_>, command_byte: u8) {
    bench.outb(0x64, 0x60);
    bench.outb(0x60, command_byte);
    drain(bench);
}

/// Likewise, with the mouse as its reset leaves it.
fn begin_mouse(bench: &mut Bench<'_>) {
    begin(bench);
    mouse(bench, 0xff, 3);
}

/// Bytes until there are no more, and whether they are the mouse's; no more than both devices can hold.
pub(super) fn drain(bench: &mut Bench<'_>) -> Vec<(bool, u8)> {
    let mut bytes = Vec::new();
    while bytes.len() < 40 {
        let status = bench.poll(0x64, 3, |status| status & FULL != 0);
        if status & FULL == 0 {
            break;
        }
        bytes.push((status & OF_MOUSE != 0, bench.inb(0x60)));
    }
    bytes
}

/// What `count` bytes are that come, at most a second each.
fn take(bench: &mut Bench<'_>, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let status = bench.poll(0x64, 1000, |status| status & FULL != 0);
        if status & FULL == 0 {
            break;
        }
        bytes.push(bench.inb(0x60));
    }
    bytes
}

/// Sends the keyboard a byte, and takes the answer.
pub(super) fn keyboard(bench: &mut Bench<'_>, byte: u8, count: usize) -> Vec<u8> {
    bench.outb(0x60, byte);
    take(bench, count)
}

/// Sends the mouse a byte, and takes the answer.
pub(super) fn mouse(bench: &mut Bench<'_>, byte: u8, count: usize) -> Vec<u8> {
    bench.outb(0x64, 0xd4);
    bench.outb(0x60, byte);
    take(bench, count)
}

/// A keyboard's answer must be this, and no more.
fn key(bench: &mut Bench<'_>, what: &str, byte: u8, want: &[u8]) {
    let got = keyboard(bench, byte, want.len());
    bench.check_bytes(what, &got, want);
    let more = drain(bench);
    bench.check_that(format!("{what}: no more"), more.is_empty(), format!("{more:02x?}"));
}

/// A mouse's answer must be this, and no more.
fn mice(bench: &mut Bench<'_>, what: &str, byte: u8, want: &[u8]) {
    let got = mouse(bench, byte, want.len());
    bench.check_bytes(what, &got, want);
    let more = drain(bench);
    bench.check_that(format!("{what}: no more"), more.is_empty(), format!("{more:02x?}"));
}

/// The mouse's status: modes and buttons, resolution, rate.
fn mouse_status(bench: &mut Bench<'_>, what: &str, want: [u8; 3]) {
    mice(bench, what, 0xe9, &[ACK, want[0], want[1], want[2]]);
}

/// Sets the mouse's rates in turn.
fn knock(bench: &mut Bench<'_>, rates: [u8; 3]) {
    for rate in rates {
        mouse(bench, 0xf3, 1);
        mouse(bench, rate, 1);
    }
}

fn keyboard_reset(bench: &mut Bench<'_>) {
    begin(bench);
    key(bench, "acknowledged and passed", 0xff, &[ACK, 0xaa]);
}

fn keyboard_identify(bench: &mut Bench<'_>) {
    begin(bench);
    key(bench, "id", 0xf2, &[ACK, 0xab, 0x83]);
}

fn echo(bench: &mut Bench<'_>) {
    begin(bench);
    key(bench, "echo", 0xee, &[0xee]);
    key(bench, "echo again", 0xee, &[0xee]);
}

fn lights(bench: &mut Bench<'_>) {
    begin(bench);
    for value in [7u8, 0, 2] {
        key(bench, "command", 0xed, &[ACK]);
        key(bench, &format!("lights {value}"), value, &[ACK]);
    }
}

fn sets(bench: &mut Bench<'_>) {
    begin(bench);
    key(bench, "command", 0xf0, &[ACK]);
    key(bench, "which: 2", 0, &[ACK, 2]);
    for set in [1u8, 3, 2] {
        key(bench, "command", 0xf0, &[ACK]);
        key(bench, &format!("set {set}"), set, &[ACK]);
        key(bench, "command", 0xf0, &[ACK]);
        key(bench, &format!("which: {set}"), 0, &[ACK, set]);
    }
}

fn wrong_set(bench: &mut Bench<'_>) {
    begin(bench);
    key(bench, "command", 0xf0, &[ACK]);
    let answer = keyboard(bench, 7, 1);
    bench.check_that("not acknowledged", answer == [RESEND], format!("{answer:02x?}"));
    drain(bench);
    key(bench, "echo", 0xee, &[0xee]);
    key(bench, "command", 0xf0, &[ACK]);
    key(bench, "which", 0, &[ACK, 2]);
}

fn translated_set(bench: &mut Bench<'_>) {
    begin(bench);
    bench.outb(0x64, 0x60);
    bench.outb(0x60, 0x40);
    key(bench, "command", 0xf0, &[ACK]);
    // 2 of set 2 is the key that set 1 calls 41h.
    key(bench, "which", 0, &[ACK, 0x41]);
}

fn typematic(bench: &mut Bench<'_>) {
    begin(bench);
    for value in [0x00u8, 0x7f, 0x2b] {
        key(bench, "command", 0xf3, &[ACK]);
        key(bench, &format!("rate {value:#x}"), value, &[ACK]);
    }
}

fn enable(bench: &mut Bench<'_>) {
    begin(bench);
    key(bench, "disable", 0xf5, &[ACK]);
    key(bench, "enable", 0xf4, &[ACK]);
    key(bench, "defaults", 0xf6, &[ACK]);
    key(bench, "it still answers", 0xee, &[0xee]);
}

fn defaults_set(bench: &mut Bench<'_>) {
    begin(bench);
    for (what, command) in [("F6h", 0xf6u8), ("F5h", 0xf5)] {
        keyboard(bench, 0xf0, 1);
        keyboard(bench, 3, 1);
        key(bench, what, command, &[ACK]);
        keyboard(bench, 0xf0, 1);
        key(bench, &format!("set after {what}"), 0, &[ACK, 2]);
    }
    keyboard(bench, 0xf0, 1);
    keyboard(bench, 1, 1);
    key(bench, "FFh", 0xff, &[ACK, 0xaa]);
    keyboard(bench, 0xf0, 1);
    key(bench, "set after FFh", 0, &[ACK, 2]);
}

fn resend(bench: &mut Bench<'_>) {
    begin(bench);
    key(bench, "identify", 0xf2, &[ACK, 0xab, 0x83]);
    key(bench, "the last byte again", RESEND, &[0x83]);
}

fn keyboard_unknown(bench: &mut Bench<'_>) {
    begin(bench);
    for command in [0xefu8, 0xf1, 0x00, 0x55] {
        key(bench, &format!("{command:#x}"), command, &[RESEND]);
    }
    key(bench, "echo", 0xee, &[0xee]);
}

fn command_for_parameter(bench: &mut Bench<'_>) {
    begin(bench);
    key(bench, "lights", 0xed, &[ACK]);
    key(bench, "enable instead of a value", 0xf4, &[ACK]);
    key(bench, "echo: no value is waited for", 0xee, &[0xee]);
}

fn key_types(bench: &mut Bench<'_>) {
    begin(bench);
    for command in 0xf7..=0xfau8 {
        key(bench, &format!("{command:#x}"), command, &[ACK]);
    }
    key(bench, "echo", 0xee, &[0xee]);
}

fn mouse_reset(bench: &mut Bench<'_>) {
    begin(bench);
    mice(bench, "acknowledged, passed, id", 0xff, &[ACK, 0xaa, 0]);
}

fn mouse_identify(bench: &mut Bench<'_>) {
    begin(bench);
    mice(bench, "id", 0xf2, &[ACK, 0]);
}

fn status(bench: &mut Bench<'_>) {
    begin(bench);
    mice(bench, "reset", 0xff, &[ACK, 0xaa, 0]);
    // Stream mode, disabled, 1:1, no buttons; 4 counts a millimetre; 100 reports a second.
    mouse_status(bench, "status", [0, 2, 100]);
}

fn resolution(bench: &mut Bench<'_>) {
    begin_mouse(bench);
    for value in [0u8, 1, 3, 2] {
        mice(bench, "command", 0xe8, &[ACK]);
        mice(bench, &format!("resolution {value}"), value, &[ACK]);
        mouse_status(bench, &format!("status with {value}"), [0, value, 100]);
    }
}

fn rate(bench: &mut Bench<'_>) {
    begin_mouse(bench);
    for value in [10u8, 20, 40, 60, 80, 100, 200] {
        mice(bench, "command", 0xf3, &[ACK]);
        mice(bench, &format!("rate {value}"), value, &[ACK]);
        mouse_status(bench, &format!("status with {value}"), [0, 2, value]);
    }
}

fn scaling(bench: &mut Bench<'_>) {
    begin_mouse(bench);
    mice(bench, "2:1", 0xe7, &[ACK]);
    mouse_status(bench, "status with 2:1", [0x10, 2, 100]);
    mice(bench, "1:1", 0xe6, &[ACK]);
    mouse_status(bench, "status with 1:1", [0, 2, 100]);
}

fn mouse_enable(bench: &mut Bench<'_>) {
    begin_mouse(bench);
    mice(bench, "enable", 0xf4, &[ACK]);
    mouse_status(bench, "status, enabled", [0x20, 2, 100]);
    mice(bench, "disable", 0xf5, &[ACK]);
    mouse_status(bench, "status, disabled", [0, 2, 100]);
}

fn remote(bench: &mut Bench<'_>) {
    begin_mouse(bench);
    mice(bench, "remote", 0xf0, &[ACK]);
    mouse_status(bench, "status, remote", [0x40, 2, 100]);
    mice(bench, "stream", 0xea, &[ACK]);
    mouse_status(bench, "status, stream", [0, 2, 100]);
}

fn read_data(bench: &mut Bench<'_>) {
    begin(bench);
    mice(bench, "in stream mode", 0xeb, &[ACK, 8, 0, 0]);
    mouse(bench, 0xf0, 1);
    mice(bench, "in remote mode", 0xeb, &[ACK, 8, 0, 0]);
}

fn wrap(bench: &mut Bench<'_>) {
    begin_mouse(bench);
    mice(bench, "wrap", 0xee, &[ACK]);
    for byte in [0x12u8, 0xf4, 0xe9, 0xee] {
        mice(bench, &format!("{byte:#x} comes back"), byte, &[byte]);
    }
    mice(bench, "end", 0xec, &[ACK]);
    mouse_status(bench, "nothing was taken for a command", [0, 2, 100]);
}

fn mouse_defaults(bench: &mut Bench<'_>) {
    begin(bench);
    for (command, value) in [(0xe8u8, 0u8), (0xf3, 200)] {
        mouse(bench, command, 1);
        mouse(bench, value, 1);
    }
    mouse(bench, 0xe7, 1);
    mouse(bench, 0xf4, 1);
    mouse_status(bench, "other values", [0x30, 0, 200]);
    mice(bench, "defaults", 0xf6, &[ACK]);
    mouse_status(bench, "default values", [0, 2, 100]);
}

fn mouse_unknown(bench: &mut Bench<'_>) {
    begin(bench);
    for command in [0x00u8, 0xe5, 0xfb] {
        let answer = mouse(bench, command, 1);
        drain(bench);
        let refused = answer.is_empty() || matches!(answer[0], RESEND | 0xfc);
        bench.check_that(format!("{command:#x} is not acknowledged"), refused, format!("{answer:02x?}"));
    }
    mice(bench, "identify", 0xf2, &[ACK, 0]);
}

fn wheel(bench: &mut Bench<'_>) {
    begin_mouse(bench);
    knock(bench, [200, 100, 80]);
    mice(bench, "id", 0xf2, &[ACK, 3]);
    mice(bench, "read data has four bytes", 0xeb, &[ACK, 8, 0, 0, 0]);
    mouse_status(bench, "status has three", [0, 2, 80]);
}

fn explorer(bench: &mut Bench<'_>) {
    begin(bench);
    knock(bench, [200, 100, 80]);
    mice(bench, "id of the wheel", 0xf2, &[ACK, 3]);
    knock(bench, [200, 200, 80]);
    mice(bench, "id", 0xf2, &[ACK, 4]);
    mice(bench, "read data has four bytes", 0xeb, &[ACK, 8, 0, 0, 0]);
}

fn other_knock(bench: &mut Bench<'_>) {
    begin(bench);
    knock(bench, [100, 200, 80]);
    mice(bench, "id", 0xf2, &[ACK, 0]);
    mice(bench, "read data has three bytes", 0xeb, &[ACK, 8, 0, 0]);
}

fn wheel_reset(bench: &mut Bench<'_>) {
    begin(bench);
    knock(bench, [200, 100, 80]);
    mice(bench, "id", 0xf2, &[ACK, 3]);
    mice(bench, "reset", 0xff, &[ACK, 0xaa, 0]);
    mice(bench, "id after it", 0xf2, &[ACK, 0]);
}

fn apart(bench: &mut Bench<'_>) {
    begin(bench);
    bench.outb(0x60, 0xf2);
    let bytes = drain(bench);
    let from: Vec<u8> = bytes.iter().map(|(mouse, _)| u8::from(*mouse)).collect();
    bench.check_bytes("the keyboard's are its own", &from, &[0, 0, 0]);
    bench.outb(0x64, 0xd4);
    bench.outb(0x60, 0xf2);
    let bytes = drain(bench);
    let from: Vec<u8> = bytes.iter().map(|(mouse, _)| u8::from(*mouse)).collect();
    bench.check_bytes("the mouse's are its own", &from, &[1, 1]);
    mouse(bench, 0xff, 3);
    keyboard(bench, 0xf0, 1);
    keyboard(bench, 3, 1);
    mouse(bench, 0xff, 3);
    keyboard(bench, 0xf0, 1);
    key(bench, "the mouse's reset keeps the keyboard's set", 0, &[ACK, 3]);
}

fn machine_reset(bench: &mut Bench<'_>) {
    begin(bench);
    knock(bench, [200, 100, 80]);
    mouse(bench, 0xf4, 1);
    keyboard(bench, 0xf0, 1);
    keyboard(bench, 3, 1);
    bench.reset();
    begin(bench);
    mouse_status(bench, "mouse: status", [0, 2, 100]);
    mice(bench, "mouse: id", 0xf2, &[ACK, 0]);
    key(bench, "keyboard: command", 0xf0, &[ACK]);
    key(bench, "keyboard: set", 0, &[ACK, 2]);
}
