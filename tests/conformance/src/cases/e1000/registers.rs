//! Configuration space and registers.

use super::*;

pub(super) fn identity(bench: &mut Bench<'_>) {
    is(bench, 0x100e_8086);
}

/// A network card with that id.
pub(in crate::cases) fn is(bench: &mut Bench<'_>, expected: u32) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, expected);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class: Ethernet", class >> 8, 0x02_0000u32);
    let pin = bench.config(SLOT, 0, 0x3d, Size::B1);
    bench.check("INTA", pin, 1u8);
}

pub(in crate::cases) fn header(bench: &mut Bench<'_>) {
    let space = bench.config_space(SLOT, 0, 64);
    bench.note("revision", space[8]);
    bench.note_bytes("subsystem", &space[0x2c..0x30]);
    bench.note_bytes("command and status", &space[4..8]);
    bench.note_bytes("cache line, latency, header, BIST", &space[0xc..0x10]);
    bench.note_bytes("capabilities to interrupt", &space[0x34..0x40]);
}

pub(super) fn bars(bench: &mut Bench<'_>) {
    for (what, reg, size) in [("BAR 0", 0x10, 128u32 << 10), ("BAR 1", 0x14, 64)] {
        let got = bench.bar_size(SLOT, 0, reg);
        bench.check(what, got, size);
    }
    let kinds = [0x10, 0x14].map(|reg| bench.config(SLOT, 0, reg, Size::B1) & 0xf);
    bench.check("BAR 0 is memory of 32 bits", kinds[0], 0u8);
    bench.check("BAR 1 is ports", kinds[1], 1u8);
}

const INITIAL: [(&str, u64); 12] = [
    ("CTRL", CTRL),
    ("STATUS", STATUS),
    ("EECD", EECD),
    ("MDIC", MDIC),
    ("VET", VET),
    ("RCTL", RCTL),
    ("TCTL", TCTL),
    ("LEDCTL", 0x0e00),
    ("PBA", 0x1000),
    ("MANC", 0x5820),
    ("WUC", 0x5800),
    ("IMS", IMS),
];

pub(in crate::cases) fn address(bench: &mut Bench<'_>) {
    let got = [RA, RA + 4].map(|at| get(bench, at));
    bench.check("RAL of the station", got[0], u32::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3]]));
    bench.check("RAH of the station", got[1], 0x8000_5634u32);
}

pub(super) fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at) in INITIAL {
        let got = get(bench, at);
        bench.note(name, got);
    }
    address(bench);
    let second = get(bench, RA + 12);
    bench.check("the second address is not valid", second >> 31, 0u32);
}

pub(super) fn keep(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at, mask) in [
        ("FCAL", 0x0028, u32::MAX),
        ("FCAH", 0x002c, 0xffff),
        ("FCT", 0x0030, 0xffff),
        ("VET", VET, 0xffff),
        ("FCTTV", 0x0170, 0xffff),
        ("FCRTH", 0x2168, 0xfff8),
        ("RDBAL", RDBAL, 0xffff_fff0),
        ("RDBAH", RDBAL + 4, u32::MAX),
        ("RDLEN", RDBAL + 8, 0xf_ff80),
        ("RDH", RDBAL + 0x10, 0xffff),
        ("RDT", RDBAL + 0x18, 0xffff),
        ("RDTR", RDBAL + 0x20, 0xffff),
        ("RADV", RDBAL + 0x2c, 0xffff),
        ("TDBAL", TDBAL, 0xffff_fff0),
        ("TDBAH", TDBAL + 4, u32::MAX),
        ("TDLEN", TDBAL + 8, 0xf_ff80),
        ("TIDV", TDBAL + 0x20, 0xffff),
        ("TADV", TDBAL + 0x2c, 0xffff),
        ("ITR", ITR, 0xffff),
        ("RXCSUM", RXCSUM, 0x0300),
        ("TIPG", 0x0410, 0x3fff_ffff),
        ("WUFC", 0x5808, 0xff),
    ] {
        for value in [0x5a5a_5a5a, 0xa5a5_a5a5] {
            set(bench, at, value & !(1 << 31));
            let got = get(bench, at);
            bench.check_bits(
                format!("{name} of {value:#x}"),
                got,
                mask & !(1 << 31),
                value & mask & !(1 << 31),
            );
        }
    }
}

pub(super) fn tables(bench: &mut Bench<'_>) {
    on(bench);
    for (name, first, words) in [("MTA", MTA, 128), ("VFTA", VFTA, 128)] {
        for word in [0, 1, words / 2, words - 1] {
            let value = 0x1357_9bdf ^ word as u32 * 0x1111;
            set(bench, first + 4 * word, value);
            let got = get(bench, first + 4 * word);
            bench.check(format!("{name} {word}"), got, value);
        }
    }
    set(bench, RA + 15 * 8, 0x0403_0201);
    set(bench, RA + 15 * 8 + 4, 0x8000_0605);
    let got = [get(bench, RA + 15 * 8), get(bench, RA + 15 * 8 + 4)];
    bench.check("RAL 15", got[0], 0x0403_0201u32);
    bench.check("RAH 15", got[1], 0x8000_0605u32);
}

pub(super) fn io(bench: &mut Bench<'_>) {
    on(bench);
    through_ports(bench);
}

/// Registers are reached through IOADDR and IODATA.
pub(in crate::cases) fn through_ports(bench: &mut Bench<'_>) {
    let direct = get(bench, STATUS);
    bench.outl(PORTS, STATUS as u32);
    let got = bench.inl(PORTS);
    bench.check("IOADDR reads back", got, STATUS as u32);
    let got = bench.inl(PORTS + 4);
    bench.check("IODATA is the register", got, direct);
    bench.outl(PORTS, VET as u32);
    bench.outl(PORTS + 4, 0x88a8);
    let got = get(bench, VET);
    bench.check("a write arrives", got, 0x88a8u32);
}

pub(super) fn reset(bench: &mut Bench<'_>) {
    on(bench);
    resets(bench);
    let command = bench.config(SLOT, 0, 4, Size::B2);
    bench.check_bits("PCI is left alone", command, 7u8, 7u8);
}

/// CTRL.RST resets registers, and gives the station its address back.
pub(in crate::cases) fn resets(bench: &mut Bench<'_>) {
    set(bench, RCTL, 0x8000);
    set(bench, RA, 0);
    set(bench, IMS, 4);
    set(bench, RDBAL + 8, 256);
    let control = get(bench, CTRL);
    set(bench, CTRL, control | 1 << 26);
    bench.wait(5_000_000);
    let got = get(bench, CTRL);
    bench.check_bits("RST is over", got, 1u32 << 26, 0u32);
    for (name, at) in [("RCTL", RCTL), ("IMS", IMS), ("RDLEN", RDBAL + 8)] {
        let got = get(bench, at);
        bench.check(name, got, 0u32);
    }
    address(bench);
}

pub(super) fn button(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, RCTL, 0x8000);
    set(bench, RA, 0);
    set(bench, ICS, 4);
    set_phy(bench, 4, 0x0001);
    bench.reset();
    on(bench);
    for (name, at) in INITIAL {
        let got = get(bench, at);
        bench.note(name, got);
    }
    address(bench);
    let got = [get(bench, ICR), phy(bench, 4) & 0xffff];
    bench.check("ICR", got[0], 0u32);
    bench.check("advertisement", got[1], 0x0de1u32);
}

pub(super) fn narrow(bench: &mut Bench<'_>) {
    on(bench);
    let got = bench.read(REGISTERS + RA, Size::B1);
    bench.note("first byte", got & 0xff);
    let got = bench.read(REGISTERS + RA, Size::B2);
    bench.note("first word", got & 0xffff);
    let got = bench.read(REGISTERS + RA, Size::B8);
    bench.note("two registers at once", got);
}
