//! The keyboard controller 8042: IBM PS/2 Hardware Interface Technical Reference ("PS/2 reference"), "Keyboard and
//! Auxiliary Device Controller".

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::Size;

pub(super) const GROUP: Group = Group {
    device: "i8042",
    about: "keyboard controller 8042",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("status after reset", "PS/2 reference, status register", after_reset),
    case("self test", "PS/2 reference, command AAh", self_test),
    case("interface tests", "PS/2 reference, commands A9h and ABh", interface_tests),
    case("command byte holds what is written", "PS/2 reference, commands 20h and 60h", command_byte),
    case("disable and enable the keyboard", "PS/2 reference, commands ADh and AEh", keyboard_off),
    case("disable and enable the mouse", "PS/2 reference, commands A7h and A8h", mouse_off),
    case("status tells command from data", "PS/2 reference, status register bit 3", command_or_data),
    case("input port", "PS/2 reference, command C0h", input_port),
    case("output port", "PS/2 reference, commands D0h and D1h", output_port),
    case("A20 through the output port", "PS/2 reference, command D1h, bit 1", a20),
    case("A20 by DDh and DFh", "common 8042 extension, commands DDh and DFh", a20_commands),
    case("write keyboard output buffer", "PS/2 reference, command D2h", write_keyboard),
    case("write mouse output buffer", "PS/2 reference, command D3h", write_mouse),
    case("write to the mouse", "PS/2 reference, command D4h", to_mouse),
    case("reading empties the buffer", "PS/2 reference, status register bit 0", reading),
    case("IRQ 1", "PS/2 reference, command byte bit 0", irq_1),
    case("IRQ 12", "PS/2 reference, command byte bit 1", irq_12),
    case("no interrupt unless enabled", "PS/2 reference, command byte bits 0 and 1", no_interrupt),
    case("vectors of IRQ 1 and IRQ 12", "PS/2 reference, command byte bits 0 and 1", vectors),
    case("an interrupt for every byte", "PS/2 reference, command byte bit 0", every_byte),
    case("a disabled keyboard waits", "PS/2 reference, command byte bit 4", waits),
    case("translation", "PS/2 reference, command byte bit 6", translation),
    case("an unknown command", "PS/2 reference, commands", unknown),
    case("pulse of the reset line", "PS/2 reference, commands F0h to FFh", pulse),
    case("reset", "PS/2 reference, power-on", reset),
];

const DATA: u16 = 0x60;
const COMMAND: u16 = 0x64;

const FULL: u8 = 0x01;
const INPUT_FULL: u8 = 0x02;
const SYSTEM: u8 = 0x04;
const WAS_COMMAND: u8 = 0x08;
const OF_MOUSE: u8 = 0x20;

/// Gives the controller a command.
fn command(bench: &mut Bench<'_>, command: u8) {
    bench.poll(COMMAND, 100, |status| status & INPUT_FULL == 0);
    bench.outb(COMMAND, command);
}
/// Gives a command and its parameter.
fn command_with(bench: &mut Bench<'_>, code: u8, parameter: u8) {
    command(bench, code);
    data(bench, parameter);
}
/// Writes the data port.
fn data(bench: &mut Bench<'_>, value: u8) {
    bench.poll(COMMAND, 100, |status| status & INPUT_FULL == 0);
    bench.outb(DATA, value);
}
/// Waits for a byte; status and byte.
fn answer(bench: &mut Bench<'_>) -> (u8, u8) {
    let status = bench.poll(COMMAND, 1000, |status| status & FULL != 0);
    (status, bench.inb(DATA))
}
/// Gives a command that is answered; the byte.
fn ask(bench: &mut Bench<'_>, code: u8) -> u8 {
    command(bench, code);
    answer(bench).1
}
/// Nothing in the buffer, this command byte.
fn begin(bench: &mut Bench<'_>, byte: u8) {
    for _ in 0..16 {
        if bench.inb(COMMAND) & FULL == 0 {
            break;
        }
        bench.inb(DATA);
    }
    command_with(bench, 0x60, byte);
}

fn after_reset(bench: &mut Bench<'_>) {
    let status = bench.inb(COMMAND);
    bench.check_bits("input buffer is empty", status, INPUT_FULL, 0u8);
    bench.check_bits("no time-out, no parity error", status, 0xc0u8, 0u8);
    bench.note("status", status);
    let byte = ask(bench, 0x20);
    bench.note("command byte", byte);
    let port = ask(bench, 0xd0);
    bench.check_bits("the processor is not held in reset", port, 1u8, 1u8);
    bench.note("output port", port);
}

fn self_test(bench: &mut Bench<'_>) {
    let byte = ask(bench, 0xaa);
    bench.check("passed", byte, 0x55u8);
    let status = bench.inb(COMMAND);
    bench.check_bits("system flag", status, SYSTEM, SYSTEM);
    bench.check_bits("buffer is empty again", status, FULL, 0u8);
}

fn interface_tests(bench: &mut Bench<'_>) {
    let keyboard = ask(bench, 0xab);
    bench.check("keyboard", keyboard, 0u8);
    let mouse = ask(bench, 0xa9);
    bench.check("mouse", mouse, 0u8);
}

fn command_byte(bench: &mut Bench<'_>) {
    for byte in [0x30u8, 0x77, 0x74, 0x00, 0x40] {
        command_with(bench, 0x60, byte);
        let got = ask(bench, 0x20);
        bench.check(format!("{byte:#x}"), got, byte);
    }
}

fn keyboard_off(bench: &mut Bench<'_>) {
    switches(bench, [0xad, 0xae], 4);
}

fn mouse_off(bench: &mut Bench<'_>) {
    switches(bench, [0xa7, 0xa8], 5);
}

/// One command sets that bit of the command byte, the other clears it.
fn switches(bench: &mut Bench<'_>, commands: [u8; 2], bit: u32) {
    begin(bench, 0);
    for (name, code, wanted) in [("off", commands[0], 1u8 << bit), ("on", commands[1], 0)] {
        command(bench, code);
        let byte = ask(bench, 0x20);
        bench.check(format!("{name}: bit {bit}"), byte, wanted);
    }
}

fn command_or_data(bench: &mut Bench<'_>) {
    command(bench, 0x60);
    let status = bench.inb(COMMAND);
    bench.check_bits("after a command", status, WAS_COMMAND, WAS_COMMAND);
    data(bench, 0x30);
    let status = bench.inb(COMMAND);
    bench.check_bits("after data", status, WAS_COMMAND, 0u8);
}

fn input_port(bench: &mut Bench<'_>) {
    let port = ask(bench, 0xc0);
    bench.check_bits("keyboard is not locked", port, 0x80u8, 0x80u8);
    bench.note("all bits", port);
}

fn output_port(bench: &mut Bench<'_>) {
    for value in [0x03u8, 0x01, 0x03] {
        command_with(bench, 0xd1, value);
        let got = ask(bench, 0xd0);
        bench.check_bits(format!("{value:#x}: bits 1:0"), got, 3u8, value);
    }
    begin(bench, 0);
    command_with(bench, 0xd2, 0x55);
    bench.poll(COMMAND, 100, |status| status & FULL != 0);
    let status = bench.inb(COMMAND);
    bench.check_bits("a byte waits", status, FULL, FULL);
    bench.inb(DATA);
    let port = ask(bench, 0xd0);
    bench.check_bits("no byte of the keyboard waits", port, 0x10u8, 0u8);
}

const LOW: u64 = 0x20_0000;
const HIGH: u64 = 0x30_0000;

/// Address line 20 is as it should be, by what is read at two places that differ by it. The gate is at the
/// processor: nothing else is held back.
fn line_20(bench: &mut Bench<'_>, what: &str, open: bool) {
    let wanted = if open || !bench.has_cpu() { 0x3333_3333u64 } else { 0x2222_2222 };
    let got = bench.read(HIGH, Size::B4);
    bench.check(what, u8::from(got == wanted), 1u8);
}

/// Port 92h lets the line through as well (82371SB, A20M#): it must not.
fn port_92_off(bench: &mut Bench<'_>) {
    let port = bench.inb(0x92);
    bench.outb(0x92, port & !3);
}

fn a20(bench: &mut Bench<'_>) {
    port_92_off(bench);
    command_with(bench, 0xd1, 3);
    bench.write(LOW, Size::B4, 0x2222_2222);
    bench.write(HIGH, Size::B4, 0x3333_3333);
    line_20(bench, "open", true);
    command_with(bench, 0xd1, 1);
    line_20(bench, "shut", false);
    command_with(bench, 0xd1, 3);
    line_20(bench, "open again", true);
}

fn a20_commands(bench: &mut Bench<'_>) {
    port_92_off(bench);
    command(bench, 0xdf);
    bench.write(LOW, Size::B4, 0x2222_2222);
    bench.write(HIGH, Size::B4, 0x3333_3333);
    line_20(bench, "DFh", true);
    command(bench, 0xdd);
    line_20(bench, "DDh", false);
    let port = ask(bench, 0xd0);
    bench.check_bits("DDh: output port bit 1", port, 2u8, 0u8);
    command(bench, 0xdf);
    line_20(bench, "DFh again", true);
    let port = ask(bench, 0xd0);
    bench.check_bits("DFh: output port bit 1", port, 2u8, 2u8);
}

fn write_keyboard(bench: &mut Bench<'_>) {
    begin(bench, 0);
    for byte in [0x12u8, 0xff, 0x00] {
        command_with(bench, 0xd2, byte);
        let (status, got) = answer(bench);
        bench.check_bits(format!("{byte:#x}: status"), status, FULL | OF_MOUSE, FULL);
        bench.check(format!("{byte:#x}: data"), got, byte);
    }
}

fn write_mouse(bench: &mut Bench<'_>) {
    begin(bench, 0);
    for byte in [0x12u8, 0xff, 0x00] {
        command_with(bench, 0xd3, byte);
        let (status, got) = answer(bench);
        bench.check_bits(format!("{byte:#x}: status"), status, FULL | OF_MOUSE, FULL | OF_MOUSE);
        bench.check(format!("{byte:#x}: data"), got, byte);
    }
}

fn to_mouse(bench: &mut Bench<'_>) {
    begin(bench, 0);
    command_with(bench, 0xd4, 0xf5);
    let (status, byte) = answer(bench);
    bench.check_bits("status", status, FULL | OF_MOUSE, FULL | OF_MOUSE);
    bench.check("acknowledged", byte, 0xfau8);
    data(bench, 0xee);
    let (status, byte) = answer(bench);
    bench.check_bits("data without D4h go to the keyboard: status", status, FULL | OF_MOUSE, FULL);
    bench.check("echo of the keyboard", byte, 0xeeu8);
}

fn reading(bench: &mut Bench<'_>) {
    begin(bench, 0);
    command_with(bench, 0xd2, 0x77);
    answer(bench);
    let status = bench.inb(COMMAND);
    bench.check_bits("empty", status, FULL, 0u8);
    let again = bench.inb(DATA);
    bench.check("the byte stays at the port", again, 0x77u8);
    let status = bench.inb(COMMAND);
    bench.check_bits("still empty", status, FULL, 0u8);
}

fn irq_1(bench: &mut Bench<'_>) {
    begin(bench, 1);
    bench.interrupts();
    let up = bench.irq(1);
    bench.check("none", up, false);
    command_with(bench, 0xd2, 0x77);
    bench.poll(COMMAND, 100, |status| status & FULL != 0);
    let up = bench.irq(1);
    bench.check("a byte", up, true);
    let other = bench.irq(12);
    bench.check("not the mouse's", other, false);
    bench.inb(DATA);
    bench.interrupts();
    let up = bench.irq(1);
    bench.check("fetched", up, false);
}

fn irq_12(bench: &mut Bench<'_>) {
    begin(bench, 2);
    bench.interrupts();
    let up = bench.irq(12);
    bench.check("none", up, false);
    command_with(bench, 0xd3, 0x77);
    bench.poll(COMMAND, 100, |status| status & FULL != 0);
    let up = bench.irq(12);
    bench.check("a byte", up, true);
    let other = bench.irq(1);
    bench.check("not the keyboard's", other, false);
    bench.inb(DATA);
    let up = bench.irq(12);
    bench.check("fetched", up, false);
}

fn no_interrupt(bench: &mut Bench<'_>) {
    begin(bench, 0);
    bench.interrupts();
    command_with(bench, 0xd2, 0x77);
    answer(bench);
    let up = bench.irq(1);
    bench.check("IRQ 1", up, false);
    command_with(bench, 0xd3, 0x77);
    bench.poll(COMMAND, 100, |status| status & FULL != 0);
    let up = bench.irq(12);
    bench.check("IRQ 12", up, false);
}

fn vectors(bench: &mut Bench<'_>) {
    begin(bench, 3);
    bench.interrupts();
    bench.outb(0x21, !(1 << 1 | 1 << 2));
    bench.outb(0xa1, !(1 << 4));
    let early = bench.interrupt(1_000_000);
    bench.check_that("none before", early.is_none(), format!("{early:?}"));
    command_with(bench, 0xd2, 0x77);
    let taken = bench.interrupt(100_000_000);
    bench.check_that("keyboard", taken == Some(0x21), format!("{taken:?}"));
    bench.inb(DATA);
    bench.outb(0x20, 0x20);
    command_with(bench, 0xd3, 0x77);
    let taken = bench.interrupt(100_000_000);
    bench.check_that("mouse", taken == Some(0x2c), format!("{taken:?}"));
    bench.inb(DATA);
}

fn every_byte(bench: &mut Bench<'_>) {
    begin(bench, 1);
    bench.interrupts();
    bench.outb(0x21, !(1 << 1));
    // Identify: three bytes.
    data(bench, 0xf2);
    let mut bytes = Vec::new();
    for index in 0..3 {
        let taken = bench.interrupt(100_000_000);
        bench.check_that(format!("interrupt {index}"), taken == Some(0x21), format!("{taken:?}"));
        bytes.push(bench.inb(DATA));
        bench.outb(0x20, 0x20);
    }
    bench.check_bytes("bytes", &bytes, &[0xfa, 0xab, 0x83]);
    let late = bench.interrupt(10_000_000);
    bench.check_that("no fourth", late.is_none(), format!("{late:?}"));
}

fn waits(bench: &mut Bench<'_>) {
    begin(bench, 0);
    data(bench, 0xf2);
    let (_, first) = answer(bench);
    bench.check("acknowledged", first, 0xfau8);
    // Two more bytes come; one may be in the buffer already.
    command(bench, 0xad);
    bench.wait(20_000_000);
    let mut bytes = Vec::new();
    while bench.inb(COMMAND) & FULL != 0 && bytes.len() < 4 {
        bytes.push(bench.inb(DATA));
        bench.wait(20_000_000);
    }
    bench.check_that("at most one more while it is disabled", bytes.len() <= 1, format!("{bytes:02x?}"));
    command(bench, 0xae);
    for _ in bytes.len()..2 {
        bytes.push(answer(bench).1);
    }
    bench.check_bytes("the rest once it is enabled", &bytes, &[0xab, 0x83]);
}

fn translation(bench: &mut Bench<'_>) {
    begin(bench, 0x40);
    data(bench, 0xf2);
    let bytes = [answer(bench).1, answer(bench).1, answer(bench).1];
    bench.check_bytes("identify, translated", &bytes, &[0xfa, 0xab, 0x41]);
    begin(bench, 0);
    data(bench, 0xf2);
    let bytes = [answer(bench).1, answer(bench).1, answer(bench).1];
    bench.check_bytes("identify, as it is", &bytes, &[0xfa, 0xab, 0x83]);
}

fn unknown(bench: &mut Bench<'_>) {
    begin(bench, 0x30);
    command(bench, 0xb7);
    bench.wait(1_000_000);
    let status = bench.inb(COMMAND);
    bench.check_bits("no answer", status, FULL, 0u8);
    let byte = ask(bench, 0x20);
    bench.check("command byte is kept", byte, 0x30u8);
}

fn pulse(bench: &mut Bench<'_>) {
    command_with(bench, 0xd1, 3);
    bench.set_config(1, 1, 4, Size::B2, 5);
    command(bench, 0xff);
    let kept = bench.config(1, 1, 4, Size::B2);
    bench.check_bits("FFh pulses no line", kept, 5u32, 5u32);
    command(bench, 0xfe);
    bench.wait(1_000_000);
    let cleared = bench.config(1, 1, 4, Size::B2);
    bench.check_bits("FEh resets", cleared, 5u32, 0u32);
}

fn reset(bench: &mut Bench<'_>) {
    let before = ask(bench, 0x20);
    begin(bench, before ^ 0x75);
    command_with(bench, 0xd1, 1);
    bench.reset();
    let after = ask(bench, 0x20);
    bench.check("command byte", after, before);
    let port = ask(bench, 0xd0);
    bench.check_bits("A20 is open, no reset", port, 3u8, 3u8);
}
