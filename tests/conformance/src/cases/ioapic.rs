//! The I/O APIC: Intel 82093AA datasheet (290566); for the end of interrupt register of version 20h, the ICH
//! datasheets, "Advanced Programmable Interrupt Controller", EOIR.
//!
//! Its inputs are moved by COM1's transmitter (pin 4) and the keyboard controller's output buffer (pin 12).
//! Messages go to a destination where nobody is, unless a case says otherwise.

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::{Op, Size};

const BASE: u64 = 0xfec0_0000;
const SELECT: u64 = BASE;
const WINDOW: u64 = BASE + 0x10;
const EOI: u64 = BASE + 0x40;
const PINS: u8 = 24;
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const REMOTE_IRR: u32 = 1 << 14;
const LOW: u32 = 1 << 13;

pub(super) const GROUP: Group = Group {
    device: "ioapic",
    about: "I/O APIC 82093AA",
    setup: Setup { disks: &[], args: &[] },
    cases: &[
        case("the select register holds an index", "82093AA, 3.1.1, IOREGSEL", select),
        case("identification holds four bits", "82093AA, 3.2.1, IOAPICID", id),
        case("version and number of pins", "82093AA, 3.2.2, IOAPICVER", version),
        case("the version cannot be written", "82093AA, 3.2.2, read only", version_fixed),
        case("arbitration is read only", "82093AA, 3.2.3, IOAPICARB", arbitration),
        case("all pins are masked at power-on", "82093AA, 3.2.4, IOREDTBL, default", power_on),
        case("lower halves hold what is written", "82093AA, 3.2.4, IOREDTBL", low_bits),
        case("upper halves hold the destination", "82093AA, 3.2.4, IOREDTBL, destination", high_bits),
        case("entries are apart", "82093AA, 3.2.4, IOREDTBL", apart),
        case("status bits cannot be written", "82093AA, 3.2.4, bits 12 and 14", status_bits),
        case("a level that is asserted sets remote IRR", "82093AA, 3.2.4, remote IRR", level),
        case("a masked level does not", "82093AA, 3.2.4, interrupt mask", masked),
        case("unmasking lets a level through", "82093AA, 3.2.4, interrupt mask", unmask),
        case("an edge leaves remote IRR alone", "82093AA, 3.2.4, remote IRR", edge),
        case("the end of interrupt clears remote IRR", "ICH, EOIR", eoi),
        case("an end while the line is up asks again", "ICH, EOIR", eoi_again),
        case("an end of another vector changes nothing", "ICH, EOIR", eoi_other),
        case("changing to edge clears remote IRR", "no document: drivers end interrupts so", to_edge),
        case("remote IRR outlives the line", "82093AA, 3.2.4, remote IRR", line_falls),
        case("indexes that are not there", "82093AA, 3.1, table 1", no_index),
        case("the window at other widths", "82093AA, 3.1: 32 bits only", widths),
        case("after reset", "82093AA, 3.2, defaults", reset),
    ],
};

fn ask(index: u8) -> [Op; 2] {
    [Op::Write(SELECT, Size::B4, index.into()), Op::Read(WINDOW, Size::B4)]
}

fn get(bench: &mut Bench<'_>, index: u8) -> u32 {
    bench.perform(&ask(index))[1] as u32
}

fn put(bench: &mut Bench<'_>, index: u8, value: u32) {
    bench.perform(&[Op::Write(SELECT, Size::B4, index.into()), Op::Write(WINDOW, Size::B4, value.into())]);
}

fn low(pin: u8) -> u8 {
    0x10 + 2 * pin
}

fn high(pin: u8) -> u8 {
    0x11 + 2 * pin
}

/// Programs pin 4: fixed, physical; the vector is 0x54.
fn program(bench: &mut Bench<'_>, flags: u32) {
    put(bench, high(4), 0x0e00_0000);
    put(bench, low(4), flags | 0x54);
}

/// COM1's line up or down.
fn line(bench: &mut Bench<'_>, up: bool) {
    bench.outb(0x3fc, 8);
    bench.outb(0x3f9, if up { 2 } else { 0 });
}

fn remote_irr(bench: &mut Bench<'_>, what: &str, up: bool) {
    let got = get(bench, low(4));
    bench.check_bits(what, got, REMOTE_IRR, if up { REMOTE_IRR } else { 0 });
}

fn select(bench: &mut Bench<'_>) {
    for value in [0u32, 1, 0x10, 0x3f] {
        bench.writel(SELECT, value);
        let got = bench.readl(SELECT);
        bench.check(format!("{value:#x}"), got, value);
    }
}

fn id(bench: &mut Bench<'_>) {
    let at_first = get(bench, 0);
    bench.check("at power-on", at_first, 0u8);
    for value in [0x0500_0000u32, 0x0a00_0000, 0x0f00_0000] {
        put(bench, 0, value);
        let got = get(bench, 0);
        bench.check(format!("{value:#x}"), got, value);
    }
    put(bench, 0, 0xf0ff_ffff);
    let got = get(bench, 0);
    bench.check("reserved bits", got, 0u8);
}

fn version(bench: &mut Bench<'_>) {
    let got = get(bench, 1);
    bench.check("last pin", got >> 16 & 0xff, PINS - 1);
    bench.check_bits("reserved", got, 0xff00_ff00u32, 0u8);
    bench.note("version", got & 0xff);
}

fn version_fixed(bench: &mut Bench<'_>) {
    let before = get(bench, 1);
    for value in [u32::MAX, 0] {
        put(bench, 1, value);
        let got = get(bench, 1);
        bench.check(format!("after {value:#x}"), got, before);
    }
    bench.check("last pin", before >> 16 & 0xff, PINS - 1);
}

fn arbitration(bench: &mut Bench<'_>) {
    let got = get(bench, 2);
    bench.check("at power-on", got, 0u8);
    put(bench, 2, 0x0f00_0000);
    let got = get(bench, 2);
    bench.check("after a write", got, 0u8);
    // It is loaded with the identification.
    put(bench, 0, 0x0300_0000);
    let got = get(bench, 2);
    bench.note("with identification 3", got);
}

fn defaults(bench: &mut Bench<'_>, when: &str) {
    for pin in 0..PINS {
        let got = get(bench, low(pin));
        bench.check(format!("low {pin} {when}"), got, MASKED);
        let got = get(bench, high(pin));
        bench.check(format!("high {pin} {when}"), got, 0u8);
    }
}

fn power_on(bench: &mut Bench<'_>) {
    defaults(bench, "at power-on");
}

fn low_bits(bench: &mut Bench<'_>) {
    for pin in [0, 4, 23] {
        for value in [MASKED | 0xff, MASKED | 0x55, MASKED | 0x7aa, MASKED | 0xa000, MASKED | 0x0900, MASKED]
        {
            put(bench, low(pin), value);
            let got = get(bench, low(pin));
            bench.check(format!("pin {pin} with {value:#x}"), got, value);
        }
        put(bench, low(pin), 0xfffe_0000 | MASKED);
        let got = get(bench, low(pin));
        bench.check(format!("reserved bits of pin {pin}"), got, MASKED);
    }
}

fn high_bits(bench: &mut Bench<'_>) {
    for pin in [0, 11, 23] {
        for value in [0xff00_0000u32, 0x5500_0000, 0xaa00_0000, 0] {
            put(bench, high(pin), value);
            let got = get(bench, high(pin));
            bench.check(format!("pin {pin} with {value:#x}"), got, value);
        }
    }
    put(bench, high(3), 0x00ff_ffff);
    let got = get(bench, high(3));
    bench.note("reserved bits", got);
}

fn apart(bench: &mut Bench<'_>) {
    for pin in 0..PINS {
        put(bench, low(pin), MASKED | u32::from(pin + 0x40));
        put(bench, high(pin), u32::from(pin + 1) << 24);
    }
    for pin in 0..PINS {
        let got = get(bench, low(pin));
        bench.check(format!("low {pin}"), got, MASKED | u32::from(pin + 0x40));
        let got = get(bench, high(pin));
        bench.check(format!("high {pin}"), got, u32::from(pin + 1) << 24);
    }
}

fn status_bits(bench: &mut Bench<'_>) {
    put(bench, low(4), MASKED | LEVEL | REMOTE_IRR | 1 << 12 | 0x54);
    let got = get(bench, low(4));
    bench.check("level", got, MASKED | LEVEL | 0x54);
    put(bench, low(4), MASKED | REMOTE_IRR | 1 << 12 | 0x54);
    let got = get(bench, low(4));
    bench.check("edge", got, MASKED | 0x54);
}

fn level(bench: &mut Bench<'_>) {
    program(bench, LEVEL);
    remote_irr(bench, "while the line is down", false);
    line(bench, true);
    remote_irr(bench, "while it is up", true);
}

fn masked(bench: &mut Bench<'_>) {
    program(bench, LEVEL | MASKED);
    line(bench, true);
    remote_irr(bench, "while the line is up", false);
    // A line that is up when it is said to be low active asks not, either.
    put(bench, low(4), MASKED | LEVEL | LOW | 0x54);
    remote_irr(bench, "low active", false);
}

fn unmask(bench: &mut Bench<'_>) {
    program(bench, LEVEL | MASKED);
    line(bench, true);
    program(bench, LEVEL);
    remote_irr(bench, "line up", true);
    line(bench, false);
    bench.writel(EOI, 0x54);
    program(bench, LEVEL | MASKED);
    program(bench, LEVEL);
    remote_irr(bench, "line down", false);
}

fn edge(bench: &mut Bench<'_>) {
    program(bench, 0);
    line(bench, true);
    let got = get(bench, low(4));
    bench.check_bits("entry", got, REMOTE_IRR | MASKED | LEVEL | 0xff, 0x54u8);
    line(bench, false);
    line(bench, true);
    remote_irr(bench, "after another one", false);
}

fn eoi(bench: &mut Bench<'_>) {
    program(bench, LEVEL);
    line(bench, true);
    remote_irr(bench, "before", true);
    line(bench, false);
    bench.writel(EOI, 0x54);
    remote_irr(bench, "after", false);
    line(bench, true);
    remote_irr(bench, "when the line rises again", true);
}

fn eoi_again(bench: &mut Bench<'_>) {
    program(bench, LEVEL);
    line(bench, true);
    bench.writel(EOI, 0x54);
    remote_irr(bench, "after the end", true);
    // Masked, it is ended for good.
    program(bench, LEVEL | MASKED);
    bench.writel(EOI, 0x54);
    remote_irr(bench, "after the end of a masked one", false);
}

fn eoi_other(bench: &mut Bench<'_>) {
    program(bench, LEVEL);
    line(bench, true);
    line(bench, false);
    bench.writel(EOI, 0x55);
    remote_irr(bench, "after another vector's", true);
    bench.writel(EOI, 0x54);
    remote_irr(bench, "after its own", false);
}

fn to_edge(bench: &mut Bench<'_>) {
    program(bench, LEVEL);
    line(bench, true);
    line(bench, false);
    program(bench, MASKED);
    let got = get(bench, low(4));
    bench.note("masked and edge", got);
    program(bench, MASKED | LEVEL);
    let got = get(bench, low(4));
    bench.note("masked and level again", got);
    bench.check_bits("what was written", got, MASKED | LEVEL | 0xff, MASKED | LEVEL | 0x54);
}

fn line_falls(bench: &mut Bench<'_>) {
    program(bench, LEVEL);
    line(bench, true);
    line(bench, false);
    remote_irr(bench, "after the line fell", true);
    program(bench, LEVEL | MASKED);
    remote_irr(bench, "after masking", true);
}

fn no_index(bench: &mut Bench<'_>) {
    let before = get(bench, 1);
    for index in [3, 0xf, 0x40, 0x80, 0xff] {
        put(bench, index, 0x1234_5678);
        let got = get(bench, index);
        bench.note(format!("{index:#x}"), got);
    }
    let after = get(bench, 1);
    bench.check("last pin", after >> 16 & 0xff, PINS - 1);
    bench.check("the version is as it was", after, before);
}

fn widths(bench: &mut Bench<'_>) {
    put(bench, high(5), 0xa500_0000);
    bench.writel(SELECT, high(5).into());
    for (what, size) in [("1 byte", Size::B1), ("2 bytes", Size::B2)] {
        let got = bench.read(WINDOW, size);
        bench.note(what, got);
    }
    let got = bench.readl(WINDOW);
    bench.check("4 bytes", got, 0xa500_0000u32);
}

fn reset(bench: &mut Bench<'_>) {
    put(bench, 0, 0x0500_0000);
    for pin in 0..PINS {
        put(bench, low(pin), MASKED | LEVEL | 0x60);
        put(bench, high(pin), 0x0700_0000);
    }
    program(bench, LEVEL);
    line(bench, true);
    bench.reset();
    defaults(bench, "after reset");
    let got = get(bench, 0);
    bench.check("identification after reset", got, 0u8);
}
