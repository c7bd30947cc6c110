//! AC'97 (82801AA): Intel 290655 (I), chapter 13, and "Audio Codec '97", revision 2.3 (A).

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const SLOT: u8 = 4;
const NAM: u16 = 0xc000;
const NABM: u16 = 0xc400;
/// The box of PCM out.
const OUT: u16 = NABM + 0x10;
const LIST: u32 = 0x11_0000;
const BUFFER: u32 = 0x11_4000;
const MS: u64 = 1_000_000;

pub(super) const GROUP: Group = Group {
    device: "ac97",
    about: "AC'97 controller (82801AA) with a codec",
    setup: Setup {
        disks: &[],
        args: &["-audiodev", "none,id=sound", "-device", "AC97,addr=4,audiodev=sound"],
    },
    cases: &[
        case("identity", "PCI 2.1, 6.2.1; I 13.1", identity),
        case("BARs", "PCI 2.1, 6.2.5", bars),
        case("the codec after its reset", "A 5.7", codec),
        case("ids are not written", "A 5.7.2", ids),
        case("variable rates", "A A.2.1", rates),
        case("boxes after power-on", "I 13.2", power_on),
        case("a box is reset", "I 13.2.7, RR", box_reset),
        case("the semaphore", "I 13.2.10", semaphore),
        case("global control and status", "I 13.2.8, 13.2.9", global),
        case("a box plays and interrupts", "I 13.2.5, BCIS", plays),
        case("the last valid buffer", "I 13.2.5, CELV and DCH", last),
        case("after reset", "PCI 2.1, 4.3", reset),
    ],
};

fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, NAM.into());
    bench.set_config(SLOT, 0, 0x14, Size::B4, NABM.into());
    bench.set_config(SLOT, 0, 4, Size::B2, 5);
    bench.outl(NABM + 0x2c, 2);
}

fn identity(bench: &mut Bench<'_>) {
    for (what, reg, size, want) in
        [("vendor and device", 0, Size::B4, 0x2415_8086u32), ("pin", 0x3d, Size::B1, 1)]
    {
        let got = bench.config(SLOT, 0, reg, size);
        bench.check(what, got, want);
    }
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class", class >> 8, 0x04_0100u32);
    bench.note("revision", class & 0xff);
}

fn bars(bench: &mut Bench<'_>) {
    let (mixer, master) = (bench.bar_size(SLOT, 0, 0x10), bench.bar_size(SLOT, 0, 0x14));
    bench.check("bytes of the mixer", mixer, 0x400u32);
    bench.check("bytes of the bus master", master, 0x100u32);
}

fn codec(bench: &mut Bench<'_>) {
    on(bench);
    bench.outw(NAM, 0);
    for (what, at, want) in [("master", 0x02, 0x8000u16), ("PCM out", 0x18, 0x8808), ("rate", 0x2c, 48_000)] {
        let got = bench.inw(NAM + at);
        bench.check(what, got, want);
    }
    let ready = bench.inw(NAM + 0x26);
    bench.check_bits("its parts are ready", ready, 0xfu16, 0xfu16);
}

fn ids(bench: &mut Bench<'_>) {
    on(bench);
    for at in [0x7c, 0x7e] {
        let was = bench.inw(NAM + at);
        bench.outw(NAM + at, !was);
        let is = bench.inw(NAM + at);
        bench.check(format!("register {at:x}"), is, was);
    }
}

fn rates(bench: &mut Bench<'_>) {
    on(bench);
    bench.outw(NAM, 0);
    // After the codec's reset VRA is on, as in QEMU.
    bench.outw(NAM + 0x2a, 0);
    bench.outw(NAM + 0x2c, 22_050);
    let rate = bench.inw(NAM + 0x2c);
    bench.check("without VRA", rate, 48_000u16);
    bench.outw(NAM + 0x2a, 1);
    bench.outw(NAM + 0x2c, 22_050);
    let rate = bench.inw(NAM + 0x2c);
    bench.check("with VRA", rate, 22_050u16);
    bench.outw(NAM + 0x2a, 0);
    let rate = bench.inw(NAM + 0x2c);
    bench.check("and without it again", rate, 48_000u16);
}

fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    for number in 0..3 {
        let at = NABM + 0x10 * number;
        let (list, index, status) = (bench.inl(at), bench.inb(at + 4), bench.inw(at + 6));
        bench.check(format!("list of box {number}"), list, 0u32);
        bench.check(format!("index of box {number}"), index, 0u8);
        bench.check(format!("status of box {number}"), status, 1u16);
        let control = bench.inb(at + 0xb);
        bench.check(format!("control of box {number}"), control, 0u8);
    }
}

fn box_reset(bench: &mut Bench<'_>) {
    on(bench);
    bench.outl(OUT, LIST);
    bench.outb(OUT + 5, 7);
    bench.outb(OUT + 0xb, 2);
    for (what, got, want) in [
        ("list", bench.inl(OUT), 0u32),
        ("last valid", bench.inb(OUT + 5).into(), 0),
        ("status", bench.inw(OUT + 6).into(), 1),
        ("control", bench.inb(OUT + 0xb).into(), 0),
    ] {
        bench.check(what, got, want);
    }
}

fn semaphore(bench: &mut Bench<'_>) {
    on(bench);
    bench.inw(NAM);
    let taken = [bench.inb(NABM + 0x34), bench.inb(NABM + 0x34)];
    bench.check("free at first", taken[0] & 1, 0u8);
    bench.check("and taken then", taken[1] & 1, 1u8);
    bench.inw(NAM);
    let free = bench.inb(NABM + 0x34);
    bench.check("given back by an access", free & 1, 0u8);
}

fn global(bench: &mut Bench<'_>) {
    on(bench);
    let control = bench.inl(NABM + 0x2c);
    bench.check_bits("out of cold reset", control, 2u32, 2u32);
    let status = bench.inl(NABM + 0x30);
    bench.check_bits("the codec is ready", status, 0x100u32, 0x100u32);
}

/// Buffers of 10 ms which all interrupt; the last valid one is given.
fn play(bench: &mut Bench<'_>, last: u8) {
    on(bench);
    bench.outw(NAM, 0);
    for n in 0..32u32 {
        let words = [BUFFER + n % 4 * 1920, 960 | 1 << 31];
        bench.poke(u64::from(LIST + 8 * n), words.map(u32::to_le_bytes).as_flattened());
    }
    bench.outb(OUT + 0xb, 2);
    bench.outl(OUT, LIST);
    bench.outb(OUT + 5, last);
    bench.outb(OUT + 0xb, 0x15);
}

fn plays(bench: &mut Bench<'_>) {
    play(bench, 31);
    // A host's sound takes its blocks when it does.
    bench.wait(60 * MS);
    let status = bench.inw(OUT + 6);
    bench.check_bits("a buffer is through", status, 9u16, 8u16);
    let global = bench.inl(NABM + 0x30);
    bench.check_bits("GLOB_STA", global, 0xe0u32, 0x40u32);
    let index = bench.inb(OUT + 4);
    bench.check_range("the buffer that it is in", index.into(), 1, 12);
    bench.outb(OUT + 0xb, 0);
    bench.outw(OUT + 6, 0x1c);
    let global = bench.inl(NABM + 0x30);
    bench.check_bits("GLOB_STA then", global, 0xe0u32, 0u32);
}

fn last(bench: &mut Bench<'_>) {
    play(bench, 1);
    bench.wait(100 * MS);
    let status = bench.inw(OUT + 6);
    bench.check("status", status & 0xf, 0xfu16);
    let index = bench.inb(OUT + 4);
    bench.check("the buffer that it is in", index, 1u8);
}

fn reset(bench: &mut Bench<'_>) {
    play(bench, 31);
    bench.wait(30 * MS);
    bench.reset();
    on(bench);
    let (list, status, control) = (bench.inl(OUT), bench.inw(OUT + 6), bench.inb(OUT + 0xb));
    bench.check("list", list, 0u32);
    bench.check("status", status, 1u16);
    bench.check("control", control, 0u8);
}
