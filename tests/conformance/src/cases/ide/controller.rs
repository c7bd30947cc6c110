//! The PCI function and the bus master's registers.

use super::*;
use crate::bench::Bench;
use crate::machine::Size;

fn config(bench: &mut Bench<'_>, reg: u8, size: Size) -> u32 {
    bench.config(DEVICE, FUNCTION, reg, size)
}
fn set(bench: &mut Bench<'_>, reg: u8, size: Size, value: u32) {
    bench.set_config(DEVICE, FUNCTION, reg, size, value);
}

pub(super) fn identity(bench: &mut Bench<'_>) {
    let ids = config(bench, 0, Size::B4);
    bench.check("vendor and device", ids, 0x7010_8086u32);
    let class = config(bench, 8, Size::B4) >> 8;
    bench.check("class: IDE with bus master", class, 0x01_01_80u32);
    let header = config(bench, 0x0e, Size::B1);
    bench.check("header type", header & 0x7f, 0u32);
    let revision = config(bench, 8, Size::B1);
    bench.note("revision", revision);
    let subsystem = config(bench, 0x2c, Size::B4);
    bench.note("subsystem", subsystem);
    let pin = config(bench, 0x3d, Size::B1);
    bench.check("no interrupt pin", pin, 0u32);
    set(bench, 0, Size::B4, 0x1234_5678);
    set(bench, 8, Size::B4, u32::MAX);
    let ids = config(bench, 0, Size::B4);
    bench.check("ids are read-only", ids, 0x7010_8086u32);
    let class = config(bench, 8, Size::B4) >> 8;
    bench.check("class is read-only", class, 0x01_01_80u32);
}

pub(super) fn after_reset(bench: &mut Bench<'_>) {
    for (what, reg, size, want) in [
        ("PCICMD", 4, Size::B2, 0u32),
        ("PCISTS", 6, Size::B2, 0x0280),
        ("BMIBA", 0x20, Size::B4, 1),
        ("IDETIM, primary", 0x40, Size::B2, 0),
        ("IDETIM, secondary", 0x42, Size::B2, 0),
        ("SIDETIM", 0x44, Size::B1, 0),
    ] {
        let got = config(bench, reg, size);
        bench.check(what, got, want);
    }
    for (what, reg) in [("MLT", 0x0d), ("interrupt line", 0x3c), ("capabilities", 0x34)] {
        let got = config(bench, reg, Size::B1);
        bench.note(what, got);
    }
}

pub(super) fn bar4(bench: &mut Bench<'_>) {
    let size = bench.bar_size(DEVICE, FUNCTION, 0x20);
    bench.check("bytes", size, 16u32);
    set(bench, 0x20, Size::B4, u32::MAX);
    let mask = config(bench, 0x20, Size::B4);
    bench.check_bits("bits 15:0", mask, 0xffffu32, 0xfff1u32);
    set(bench, 0x20, Size::B4, 0);
    let zero = config(bench, 0x20, Size::B4);
    bench.check("bit 0 says I/O", zero, 1u32);
    set(bench, 0x20, Size::B4, 0xc001);
    let there = config(bench, 0x20, Size::B4);
    bench.check("an address", there, 0xc001u32);
}

pub(super) fn other_bars(bench: &mut Bench<'_>) {
    for reg in [0x10, 0x14, 0x18, 0x1c, 0x24, 0x30] {
        set(bench, reg, Size::B4, u32::MAX);
        let got = config(bench, reg, Size::B4);
        bench.check(format!("register {reg:#x} after all ones"), got, 0u32);
    }
}

pub(super) fn command(bench: &mut Bench<'_>) {
    for bits in [1u32, 4, 5, 0] {
        set(bench, 4, Size::B2, bits);
        let got = config(bench, 4, Size::B2);
        bench.check_bits(format!("I/O and bus master, {bits}"), got, 5u32, bits);
    }
    set(bench, 4, Size::B2, 0xffff);
    let got = config(bench, 4, Size::B2);
    bench.note("all ones", got);
    set(bench, 4, Size::B2, 0);
    let status = config(bench, 6, Size::B2);
    set(bench, 6, Size::B2, 0xffff);
    let after = config(bench, 6, Size::B2);
    bench.check_bits("PCISTS bits 10:0 are read-only", after, 0x07ffu32, status & 0x07ff);
}

pub(super) fn timing(bench: &mut Bench<'_>) {
    for (what, reg, size, values) in [
        ("IDETIM, primary", 0x40, Size::B2, [0x8000u32, 0xf3ff, 0x4344, 0]),
        ("IDETIM, secondary", 0x42, Size::B2, [0x8000, 0xf3ff, 0x4344, 0]),
        ("SIDETIM", 0x44, Size::B1, [0x0f, 0xf0, 0xff, 0]),
    ] {
        for value in values {
            set(bench, reg, size, value);
            let got = config(bench, reg, size);
            bench.check(format!("{what} {value:#x}"), got, value);
        }
    }
    set(bench, 0x40, Size::B4, 0x8001_8002);
    let primary = config(bench, 0x40, Size::B2);
    let secondary = config(bench, 0x42, Size::B2);
    bench.check("both at once, primary", primary, 0x8002u32);
    bench.check("both at once, secondary", secondary, 0x8001u32);
}

pub(super) fn master_reset(bench: &mut Bench<'_>) {
    on(bench);
    for (name, channel) in [("primary", PRIMARY), ("secondary", SECONDARY)] {
        let command = bench.inb(channel.master);
        bench.check(format!("{name} command"), command, 0u8);
        let status = bench.inb(channel.master + 2);
        bench.check_bits(format!("{name} status, bits 7:5 and 2:0"), status, 0xe7u8, 0u8);
        let table = bench.inl(channel.master + 4);
        bench.check(format!("{name} table"), table, 0u32);
        let unused = [bench.inb(channel.master + 1), bench.inb(channel.master + 3)];
        bench.note_bytes(format!("{name} unused"), &unused);
    }
}

pub(super) fn master_command(bench: &mut Bench<'_>) {
    on(bench);
    for channel in [PRIMARY, SECONDARY] {
        bench.outb(channel.master, TO_MEMORY);
        let to_memory = bench.inb(channel.master);
        bench.check("direction to memory", to_memory, TO_MEMORY);
        bench.outb(channel.master, 0);
        let from_memory = bench.inb(channel.master);
        bench.check("direction from memory", from_memory, 0u8);
        bench.outb(channel.master, 0xf6);
        let others = bench.inb(channel.master);
        bench.check("reserved bits", others, 0u8);
        bench.outb(channel.master, START | TO_MEMORY);
        let started = bench.inb(channel.master);
        let status = bench.inb(channel.master + 2);
        bench.check("started", started, START | TO_MEMORY);
        bench.check_bits("active when started", status, ACTIVE, ACTIVE);
        bench.outb(channel.master, 0);
        let status = bench.inb(channel.master + 2);
        bench.check_bits("not active when stopped", status, ACTIVE, 0u8);
    }
}

pub(super) fn master_status(bench: &mut Bench<'_>) {
    on(bench);
    for channel in [PRIMARY, SECONDARY] {
        for bits in [0x20u8, 0x40, 0x60, 0] {
            bench.outb(channel.master + 2, bits);
            let got = bench.inb(channel.master + 2);
            bench.check(format!("drives are capable of DMA, {bits:#x}"), got, bits);
        }
        bench.outb(channel.master + 2, 0x9f);
        let got = bench.inb(channel.master + 2);
        bench.check("the others are not written", got, 0u8);
    }
    PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], 0xe7);
    let raised = bench.inb(PRIMARY.master + 2);
    let other = bench.inb(SECONDARY.master + 2);
    bench.check("primary after an interrupt", raised, INTERRUPT);
    bench.check("secondary after it", other, 0u8);
    bench.outb(PRIMARY.master + 2, 0x60);
    let kept = bench.inb(PRIMARY.master + 2);
    bench.check("a zero does not clear bit 2", kept, 0x60 | INTERRUPT);
    bench.outb(PRIMARY.master + 2, 0x60 | INTERRUPT);
    let cleared = bench.inb(PRIMARY.master + 2);
    bench.check("a one clears bit 2", cleared, 0x60u8);
}

pub(super) fn master_table(bench: &mut Bench<'_>) {
    on(bench);
    for channel in [PRIMARY, SECONDARY] {
        bench.outl(channel.master + 4, u32::MAX);
        let ones = bench.inl(channel.master + 4);
        bench.check("bits 1:0 are zero", ones, 0xffff_fffcu32);
        bench.outl(channel.master + 4, 0x0123_4568);
        let all = bench.inl(channel.master + 4);
        bench.check("four bytes", all, 0x0123_4568u32);
    }
    let first = bench.inw(PRIMARY.master + 4);
    bench.check("two bytes", first, 0x4568u16);
    let last = bench.inb(PRIMARY.master + 7);
    bench.check("one byte", last, 0x01u8);
    bench.outl(SECONDARY.master + 4, 0);
    let kept = bench.inl(PRIMARY.master + 4);
    bench.check("the channels have one each", kept, 0x0123_4568u32);
}

pub(super) fn moves(bench: &mut Bench<'_>) {
    on(bench);
    bench.outl(BUS_MASTER + 4, 0x10_0000);
    set(bench, 0x20, Size::B4, 0xd000);
    let there = bench.inl(0xd004);
    bench.check("at the new place", there, 0x10_0000u32);
    let here = bench.inl(BUS_MASTER + 4);
    bench.check("nothing at the old place", here, u32::MAX);
    set(bench, 4, Size::B2, 4);
    let silent = bench.inl(0xd004);
    bench.check("nothing with I/O switched off", silent, u32::MAX);
    set(bench, 4, Size::B2, 1);
    let again = bench.inl(0xd004);
    bench.check("with I/O switched on", again, 0x10_0000u32);
}

pub(super) fn reset(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, 0x44, Size::B1, 0xff);
    bench.outb(PRIMARY.master, TO_MEMORY);
    bench.outb(PRIMARY.master + 2, 0x60);
    bench.outl(PRIMARY.master + 4, 0x10_0000);
    bench.reset();
    after_reset(bench);
    on(bench);
    let command = bench.inb(PRIMARY.master);
    bench.check("bus master command", command, 0u8);
    let status = bench.inb(PRIMARY.master + 2);
    bench.check("bus master status", status, 0u8);
    let table = bench.inl(PRIMARY.master + 4);
    bench.check("bus master table", table, 0u32);
}
