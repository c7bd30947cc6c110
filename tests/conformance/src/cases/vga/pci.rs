//! Its PCI function.

use super::{LFB, SLOT, on};
use crate::bench::Bench;
use crate::machine::Size;

pub(super) fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1111_1234u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class: VGA", class >> 8, 0x03_0000u32);
    let kind = bench.config(SLOT, 0, 0xe, Size::B1);
    bench.check("header type", kind, 0u8);
    let other = bench.config(SLOT, 1, 0, Size::B4);
    bench.check("no second function", other, u32::MAX);
}

pub(super) fn header(bench: &mut Bench<'_>) {
    let space = bench.config_space(SLOT, 0, 64);
    bench.note("revision", space[8]);
    bench.note_bytes("subsystem", &space[0x2c..0x30]);
    bench.note_bytes("command and status", &space[4..8]);
    bench.note_bytes("cache line, latency, header, BIST", &space[0xc..0x10]);
    bench.note_bytes("capabilities to interrupt", &space[0x34..0x40]);
}

pub(super) fn bars(bench: &mut Bench<'_>) {
    for (what, reg, size) in [
        ("BAR 0", 0x10, 16u32 << 20),
        ("BAR 1", 0x14, 0),
        ("BAR 2", 0x18, 4096),
        ("BAR 3", 0x1c, 0),
        ("BAR 4", 0x20, 0),
        ("BAR 5", 0x24, 0),
    ] {
        let got = bench.bar_size(SLOT, 0, reg);
        bench.check(what, got, size);
    }
    let rom = bench.bar_size(SLOT, 0, 0x30);
    bench.note("ROM", rom);
    let kinds = [0x10, 0x18].map(|reg| bench.config(SLOT, 0, reg, Size::B1) & 0xf);
    bench.check("BAR 0 is prefetchable memory", kinds[0], 8u8);
    bench.check("BAR 2 is memory", kinds[1], 0u8);
}

pub(super) fn command(bench: &mut Bench<'_>) {
    let at_first = bench.config(SLOT, 0, 4, Size::B2);
    bench.check_bits("nothing is decoded at first", at_first, 7u8, 0u8);
    for value in [1u32, 2, 3, 0] {
        bench.set_config(SLOT, 0, 4, Size::B2, value);
        let got = bench.config(SLOT, 0, 4, Size::B2);
        bench.check_bits(format!("{value}"), got, 3u8, value);
    }
    bench.set_config(SLOT, 0, 4, Size::B2, 0xffff);
    let got = bench.config(SLOT, 0, 4, Size::B2);
    bench.note("all ones", got);
}

pub(super) fn reset(bench: &mut Bench<'_>) {
    on(bench);
    let before = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("BAR 0 before", before, LFB | 8);
    bench.reset();
    let command = bench.config(SLOT, 0, 4, Size::B2);
    bench.check_bits("command", command, 7u8, 0u8);
    for (what, reg, kind) in [("BAR 0", 0x10, 8u8), ("BAR 2", 0x18, 0)] {
        let got = bench.config(SLOT, 0, reg, Size::B4);
        bench.check(what, got, kind);
    }
}

pub(super) fn moves(bench: &mut Bench<'_>) {
    on(bench);
    bench.writel(LFB + 0x1000, 0x1234_5678);
    let there = 0xe800_0000;
    bench.set_config(SLOT, 0, 0x10, Size::B4, there as u32);
    let got = bench.readl(there + 0x1000);
    bench.check("at the new place", got, 0x1234_5678u32);
    bench.writel(there + 0x1000, 0x9abc_def0);
    bench.writel(LFB + 0x1000, 0x5555_5555);
    bench.set_config(SLOT, 0, 0x10, Size::B4, LFB as u32);
    let got = bench.readl(LFB + 0x1000);
    bench.check("at the old one again", got, 0x9abc_def0u32);
}

pub(super) fn decode(bench: &mut Bench<'_>) {
    on(bench);
    bench.writel(LFB + 8, 0x1357_9bdf);
    bench.set_config(SLOT, 0, 4, Size::B2, 1);
    bench.writel(LFB + 8, 0);
    bench.set_config(SLOT, 0, 4, Size::B2, 3);
    let got = bench.readl(LFB + 8);
    bench.check("a write meanwhile is lost", got, 0x1357_9bdfu32);
}
