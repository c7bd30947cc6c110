//! Ensoniq's AudioPCI: "AudioPCI ES1370 Specification" (E), whose registers Linux's `ens1370.c` names.

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const SLOT: u8 = 4;
const AT: u16 = 0xc000;
const CONTROL: u16 = AT;
const STATUS: u16 = AT + 4;
const PAGE: u16 = AT + 0xc;
const SERIAL: u16 = AT + 0x20;
const BUFFER: u32 = 0x11_0000;
const MS: u64 = 1_000_000;
/// 44100 Hz of 1411200, and DAC2.
const DIVISOR: u32 = 30 << 16;
const DAC2: u32 = 0x20;

pub(super) const GROUP: Group = Group {
    device: "es1370",
    about: "Ensoniq AudioPCI (ES1370)",
    setup: Setup {
        disks: &[],
        args: &["-audiodev", "none,id=sound", "-device", "ES1370,addr=4,audiodev=sound"],
    },
    cases: &[
        case("identity", "PCI 2.1, 6.2.1; E, PCI configuration", identity),
        case("BAR", "PCI 2.1, 6.2.5", bar),
        case("registers after power-on", "E, 00h to 20h", power_on),
        case("pages of the frame registers", "E, 0Ch, 30h to 3Fh", pages),
        case("counts", "E, 24h to 2Fh", counts),
        case("a channel plays and interrupts", "E, 00h, 04h, 20h", plays),
        case("an interrupt is taken back", "E, 20h: P2_INT_EN", acknowledged),
        case("a period without an interrupt", "E, 20h: P2_INT_EN", quiet),
        case("a channel pauses", "E, 20h: P2_PAUSE", pauses),
        case("after reset", "PCI 2.1, 4.3", reset),
    ],
};

fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, AT.into());
    bench.set_config(SLOT, 0, 4, Size::B2, 5);
}

fn identity(bench: &mut Bench<'_>) {
    for (what, reg, size, want) in [
        ("vendor and device", 0, Size::B4, 0x5000_1274u32),
        ("subsystem", 0x2c, Size::B4, 0x4c4c_4942),
        ("pin", 0x3d, Size::B1, 1),
        ("MIN_GNT and MAX_LAT", 0x3e, Size::B2, 0x800c),
    ] {
        let got = bench.config(SLOT, 0, reg, size);
        bench.check(what, got, want);
    }
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class", class >> 8, 0x04_0100u32);
    bench.note("revision", class & 0xff);
}

fn bar(bench: &mut Bench<'_>) {
    let size = bench.bar_size(SLOT, 0, 0x10);
    bench.check("bytes", size, 0x100u32);
}

fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    for (what, at, want) in
        [("control", CONTROL, 1u32), ("status", STATUS, 0x60), ("page", PAGE, 0), ("serial", SERIAL, 0)]
    {
        let got = bench.inl(at);
        bench.check(what, got, want);
    }
}

fn pages(bench: &mut Bench<'_>) {
    on(bench);
    for (page, at, value) in [(0xc, 0x30, 0x1000u32), (0xc, 0x38, 0x2000), (0xd, 0x30, 0x3000)] {
        bench.outl(PAGE, page);
        bench.outl(AT + at, value);
        bench.outl(AT + at + 4, value + 0xf);
    }
    for (page, at, value) in [(0xc, 0x30, 0x1000u32), (0xc, 0x38, 0x2000), (0xd, 0x30, 0x3000)] {
        bench.outl(PAGE, page);
        let (frame, size) = (bench.inl(AT + at), bench.inl(AT + at + 4));
        bench.check(format!("frame of {at:x} of page {page:x}"), frame, value);
        bench.check(format!("size of {at:x} of page {page:x}"), size, value + 0xf);
    }
}

fn counts(bench: &mut Bench<'_>) {
    on(bench);
    for number in 0..3 {
        bench.outl(AT + 0x24 + 4 * number, 0x123);
        let got = bench.inl(AT + 0x24 + 4 * number);
        bench.check(format!("count {number}, and what is left"), got, 0x0123_0123u32);
    }
}

/// DAC2 goes round a ring of four periods of 10 ms.
fn play(bench: &mut Bench<'_>, serial: u32) {
    on(bench);
    bench.outl(PAGE, 0xc);
    bench.outl(AT + 0x38, BUFFER);
    bench.outl(AT + 0x3c, 1763);
    bench.outl(AT + 0x28, 440);
    bench.outl(SERIAL, 3 << 2 | 2 << 19 | serial);
    bench.outl(CONTROL, DIVISOR | DAC2);
}

fn plays(bench: &mut Bench<'_>) {
    play(bench, 1 << 9);
    // A host's sound takes its blocks when it does.
    bench.wait(60 * MS);
    let status = bench.inl(STATUS);
    bench.check("status", status, 0x8000_0062u32);
    let size = bench.inl(AT + 0x3c);
    bench.check("the ring's size", size & 0xffff, 1763u32);
    bench.check_that("it has moved", size >> 16 > 0 && size >> 16 < 1764, format!("{}", size >> 16));
}

fn acknowledged(bench: &mut Bench<'_>) {
    play(bench, 1 << 9);
    bench.wait(60 * MS);
    bench.outl(CONTROL, DIVISOR);
    bench.outl(SERIAL, 3 << 2);
    let status = bench.inl(STATUS);
    bench.check("without its enable", status, 0x60u32);
    bench.outl(SERIAL, 3 << 2 | 1 << 9);
    let status = bench.inl(STATUS);
    bench.check("and with it again", status, 0x60u32);
}

fn quiet(bench: &mut Bench<'_>) {
    play(bench, 0);
    bench.wait(60 * MS);
    let status = bench.inl(STATUS);
    bench.check("status", status, 0x60u32);
}

fn pauses(bench: &mut Bench<'_>) {
    play(bench, 0);
    bench.wait(60 * MS);
    bench.outl(SERIAL, 3 << 2 | 2 << 19 | 1 << 12);
    let stood = bench.inl(AT + 0x3c);
    bench.wait(30 * MS);
    let stands = bench.inl(AT + 0x3c);
    bench.check("it stands", stands, stood);
}

fn reset(bench: &mut Bench<'_>) {
    play(bench, 1 << 9);
    bench.wait(60 * MS);
    bench.reset();
    on(bench);
    for (what, at, want) in
        [("control", CONTROL, 1u32), ("status", STATUS, 0x60), ("page", PAGE, 0), ("serial", SERIAL, 0)]
    {
        let got = bench.inl(at);
        bench.check(what, got, want);
    }
}
