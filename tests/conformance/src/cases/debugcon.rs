//! The debug port 0x402 and paravirtualised panic port 0x505: QEMU's documentation, "isa-debugcon" and "PVPANIC DEVICE".

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::{FREE_RAM, Op, Size};

pub(super) const GROUP: Group = Group {
    device: "debugcon",
    about: "debug port 0x402 and paravirtualised panic port",
    setup: Setup {
        disks: &[],
        args: &["-debugcon", "file:debug.log", "-global", "isa-debugcon.iobase=0x402", "-device", "pvpanic"],
    },
    cases: CASES,
};

const DEBUGCON: &str = "QEMU, isa-debugcon: readback";
const PVPANIC: &str = "QEMU, PVPANIC DEVICE: guest interface";

const CASES: &[Case] = &[
    case("the debug port reads 0xe9", DEBUGCON, present),
    case("it does so after a write", DEBUGCON, written),
    case("it takes any byte", DEBUGCON, any_byte),
    case("it takes a long line", DEBUGCON, long_line),
    case("it takes a string", DEBUGCON, string),
    case("it gives a string", DEBUGCON, string_in),
    case("it is one port", "QEMU, isa-debugcon: iobase", one_port),
    case("nothing is at the default port", "QEMU, isa-debugcon: iobase", default_port),
    case("it survives a reset", DEBUGCON, reset),
    case("the panic port says what it can", PVPANIC, events),
    case("it says so again and again", PVPANIC, again),
    case("writing no event does nothing", PVPANIC, no_event),
    case("writing unknown events does nothing", PVPANIC, unknown_event),
    case("the panic port is one port", "QEMU, PVPANIC DEVICE: ioport 0x505", panic_port),
    case(
        "a crash kernel that is loaded does not stop the machine",
        "QEMU, PVPANIC DEVICE: bit 1",
        crash_loaded,
    ),
    case("the panic port after a reset", PVPANIC, panic_reset),
];

const PORT: u16 = 0x402;
const PANIC: u16 = 0x505;

/// The machine still runs: time passes.
fn alive(bench: &mut Bench<'_>) {
    let times = bench.perform(&[Op::Now, Op::Wait(100_000), Op::Now]);
    let passed = times[2].saturating_sub(times[0]);
    bench.check_that("time passes", passed >= 100_000, passed);
}

fn read(bench: &mut Bench<'_>, what: &str) {
    let got = bench.inb(PORT);
    bench.check(what, got, 0xe9u8);
}

fn present(bench: &mut Bench<'_>) {
    read(bench, "first");
    read(bench, "again");
}

fn written(bench: &mut Bench<'_>) {
    for byte in *b"text\n" {
        bench.outb(PORT, byte);
        read(bench, &format!("after {byte:#x}"));
    }
}

fn any_byte(bench: &mut Bench<'_>) {
    for byte in 0..=255 {
        bench.outb(PORT, byte);
    }
    read(bench, "after all of them");
    alive(bench);
}

fn long_line(bench: &mut Bench<'_>) {
    for _ in 0..16 {
        bench.perform(&[Op::Out(PORT, Size::B1, 0x61); 64]);
    }
    read(bench, "after a thousand letters");
    alive(bench);
}

fn string(bench: &mut Bench<'_>) {
    bench.poke(FREE_RAM.start, b"a line by string output\n");
    bench.perform(&[Op::OutString(PORT, Size::B1, 24, FREE_RAM.start)]);
    read(bench, "after it");
}

fn string_in(bench: &mut Bench<'_>) {
    bench.poke(FREE_RAM.start, &[0; 9]);
    bench.perform(&[Op::InString(PORT, Size::B1, 8, FREE_RAM.start)]);
    let got = bench.peek(FREE_RAM.start, 9);
    bench.check_bytes("eight bytes", &got, &[0xe9, 0xe9, 0xe9, 0xe9, 0xe9, 0xe9, 0xe9, 0xe9, 0]);
}

fn one_port(bench: &mut Bench<'_>) {
    for port in [PORT - 1, PORT + 1] {
        let got = bench.inb(port);
        bench.check(format!("{port:#x}"), got, 0xffu8);
    }
}

fn default_port(bench: &mut Bench<'_>) {
    let got = bench.inb(0xe9);
    bench.check("port 0xe9", got, 0xffu8);
}

fn reset(bench: &mut Bench<'_>) {
    bench.outb(PORT, 0x61);
    bench.reset();
    read(bench, "after it");
}

fn events(bench: &mut Bench<'_>) {
    let got = bench.inb(PANIC);
    bench.check_bits("bit 0: a panic", got, 1u8, 1u8);
    bench.check_bits("bit 1: a crash kernel is loaded", got, 2u8, 2u8);
    bench.check_bits("bits 7:3", got, 0xf8u8, 0u8);
    bench.note("all bits", got);
}

fn again(bench: &mut Bench<'_>) {
    let first = bench.inb(PANIC);
    for round in 0..4 {
        let got = bench.inb(PANIC);
        bench.check(format!("time {round}"), got, first);
    }
}

fn no_event(bench: &mut Bench<'_>) {
    let first = bench.inb(PANIC);
    bench.outb(PANIC, 0);
    alive(bench);
    let got = bench.inb(PANIC);
    bench.check("it reads the same", got, first);
}

fn unknown_event(bench: &mut Bench<'_>) {
    let first = bench.inb(PANIC);
    for bits in [0x08u8, 0x10, 0x80, 0xf8] {
        bench.outb(PANIC, bits);
    }
    alive(bench);
    let got = bench.inb(PANIC);
    bench.check("it reads the same", got, first);
}

fn panic_port(bench: &mut Bench<'_>) {
    for port in [PANIC - 1, PANIC + 1] {
        let got = bench.inb(port);
        bench.check(format!("{port:#x}"), got, 0xffu8);
    }
}

fn crash_loaded(bench: &mut Bench<'_>) {
    bench.outb(PANIC, 2);
    alive(bench);
    let got = bench.inb(PANIC);
    bench.check_bits("it is still there", got, 3u8, 3u8);
}

fn panic_reset(bench: &mut Bench<'_>) {
    let first = bench.inb(PANIC);
    bench.reset();
    let got = bench.inb(PANIC);
    bench.check("it reads the same", got, first);
}
