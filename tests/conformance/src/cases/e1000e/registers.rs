//! Configuration space, registers, NVM, PHY.

use super::*;
use crate::cases::e1000::registers as e1000;

pub(super) fn identity(bench: &mut Bench<'_>) {
    e1000::is(bench, 0x10d3_8086);
}

pub(super) fn capabilities(bench: &mut Bench<'_>) {
    let mut at = bench.config(SLOT, 0, 0x34, Size::B1);
    for (name, id, len) in
        [("power management", 1u32, 8u8), ("MSI", 5, 14), ("PCI Express", 0x10, 20), ("MSI-X", 0x11, 12)]
    {
        let found = bench.config(SLOT, 0, at as u8, Size::B1);
        bench.check(name, found, id);
        bench.note(format!("{name}: where"), at);
        let bytes: Vec<u8> =
            (0..len).map(|byte| bench.config(SLOT, 0, at as u8 + byte, Size::B1) as u8).collect();
        bench.note_bytes(format!("{name}: bytes"), &bytes);
        at = u32::from(bytes[1]);
    }
    bench.check("no other", at, 0u32);
    for (name, at, mask) in
        [("PMCSR", 0xcc, 0x1f03u32), ("MSI control", 0xd2, 1), ("MSI-X control", 0xa2, 0xc000)]
    {
        let before = bench.config(SLOT, 0, at, Size::B2);
        bench.set_config(SLOT, 0, at, Size::B2, before | mask);
        let got = bench.config(SLOT, 0, at, Size::B2);
        bench.check_bits(format!("{name} can be written"), got, mask, mask);
        bench.set_config(SLOT, 0, at, Size::B2, before);
    }
}

pub(super) fn bars(bench: &mut Bench<'_>) {
    for (what, reg, size, io) in [
        ("BAR 0", 0x10, 128u32 << 10, false),
        ("BAR 1", 0x14, 128 << 10, false),
        ("BAR 2", 0x18, 32, true),
        ("BAR 3", 0x1c, 16 << 10, false),
    ] {
        let got = bench.bar_size(SLOT, 0, reg);
        bench.check(what, got, size);
        let kind = bench.config(SLOT, 0, reg, Size::B1) & 1 != 0;
        bench.check(format!("{what} is ports"), kind, io);
    }
}

const INITIAL: [(&str, u64); 24] = [
    ("CTRL", CTRL),
    ("STATUS", STATUS),
    ("EECD", EECD),
    ("EERD", EERD),
    ("CTRL_EXT", CTRL_EXT),
    ("MDIC", MDIC),
    ("VET", VET),
    ("IMS", IMS),
    ("RCTL", RCTL),
    ("TCTL", 0x0400),
    ("TIPG", 0x0410),
    ("LEDCTL", 0x0e00),
    ("EXTCNF_CTRL", 0x0f00),
    ("PBA", 0x1000),
    ("PBS", 0x1008),
    ("EEMNGCTL", 0x1010),
    ("PSRCTL", PSRCTL),
    ("RXDCTL", RDBAL + 0x28),
    ("TARC0", 0x3840),
    ("TARC1", 0x3940),
    ("RXCSUM", RXCSUM),
    ("MANC", 0x5820),
    ("GCR", 0x5b00),
    ("FACTPS", 0x5b30),
];

pub(super) fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at) in INITIAL {
        let got = get(bench, at);
        bench.note(name, got);
    }
    e1000::address(bench);
    let flash = get(bench, EECD);
    bench.check_bits("the NVM is there, and was read", flash, 0x300u32, 0x300u32);
}

pub(super) fn keep(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at, mask) in [
        ("FCAL", 0x0028, u32::MAX),
        ("FCAH", 0x002c, 0xffff),
        ("FCT", 0x0030, 0xffff),
        ("VET", VET, 0xffff),
        ("EIAC", EIAC, 0x01f0_0000),
        ("IVAR", IVAR, 0x800f_ffff),
        ("EITR 0", 0x00e8, 0xffff),
        ("EITR 4", 0x00f8, 0xffff),
        ("FCTTV", 0x0170, 0xffff),
        ("EXTCNF_CTRL", 0x0f00, 0x20),
        ("FCRTH", 0x2168, 0xfff8),
        ("PSRCTL", PSRCTL, 0x3f3f_3f7f),
        ("RDBAL 0", RDBAL, 0xffff_fff0),
        ("RDLEN 1", RDBAL + 0x108, 0xf_ff80),
        ("RDH 1", RDBAL + 0x110, 0xffff),
        ("RDTR", RDBAL + 0x20, 0xffff),
        ("RADV", RDBAL + 0x2c, 0xffff),
        ("RSRPD", 0x2c00, 0xfff),
        ("RAID", 0x2c08, 0xffff),
        ("TDBAL 0", TDBAL, 0xffff_fff0),
        ("TDBAH 1", TDBAL + 0x104, u32::MAX),
        ("TDLEN 1", TDBAL + 0x108, 0xf_ff80),
        ("TIDV", TDBAL + 0x20, 0xffff),
        ("TADV", TDBAL + 0x2c, 0xffff),
        ("ITR", 0x00c4, 0xffff),
        ("RFCTL", RFCTL, 0x3_fc00),
        ("MRQC", MRQC, 0x001f_0003),
        ("RETA 31", RETA + 0x7c, u32::MAX),
        ("RSSRK 9", RSSRK + 0x24, u32::MAX),
        ("TIPG", 0x0410, 0x3fff_ffff),
        ("WUFC", 0x5808, 0xff),
    ] {
        for value in [0x5a5a_5a5a, 0x25a5_a5a5] {
            set(bench, at, value);
            let got = get(bench, at);
            bench.check_bits(format!("{name} of {value:#x}"), got, mask & !(1 << 31), value & mask);
        }
    }
}

pub(super) fn old_places(bench: &mut Bench<'_>) {
    on(bench);
    for (name, old, new) in [
        ("RDBAL", 0x0110, RDBAL),
        ("RDLEN", 0x0118, RDBAL + 8),
        ("RDH", 0x0120, RDBAL + 0x10),
        ("RDTR", 0x0108, RDBAL + 0x20),
        ("TDBAL", 0x0420, TDBAL),
        ("TDH", 0x0430, TDBAL + 0x10),
        ("TIDV", 0x0440, TDBAL + 0x20),
        ("RA", 0x0048, RA + 8),
        ("VFTA", 0x0604, 0x5604),
        ("FCRTL", 0x0168, 0x2160),
    ] {
        set(bench, old, 0x380);
        let got = get(bench, new);
        bench.check(name, got, 0x380u32);
    }
}

pub(super) fn io(bench: &mut Bench<'_>) {
    on(bench);
    e1000::through_ports(bench);
}

pub(super) fn semaphore(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, SWSM, 0);
    let got = [get(bench, SWSM), get(bench, SWSM)];
    bench.check_bits("free", got[0], 1u32, 0u32);
    bench.check_bits("taken by reading", got[1], 1u32, 1u32);
}

pub(super) fn master(bench: &mut Bench<'_>) {
    on(bench);
    let before = get(bench, CTRL);
    let got = get(bench, STATUS);
    bench.check_bits("requests are begun", got, 1u32 << 19, 1u32 << 19);
    set(bench, CTRL, before | 4);
    let got = get(bench, STATUS);
    bench.check_bits("none are", got, 1u32 << 19, 0u32);
}

pub(super) fn reset(bench: &mut Bench<'_>) {
    on(bench);
    e1000::resets(bench);
}

fn word(bench: &mut Bench<'_>, number: u32) -> u32 {
    set(bench, EERD, number << 2 | 1);
    get(bench, EERD)
}

pub(super) fn nvm(bench: &mut Bench<'_>) {
    on(bench);
    let first = word(bench, 0);
    bench.check_bits("done", first, 2u32, 2u32);
    let words: Vec<u16> = (0..64).map(|number| (word(bench, number) >> 16) as u16).collect();
    let sum = words.iter().fold(0u16, |sum, word| sum.wrapping_add(*word));
    bench.check("sum of all words", sum, 0xbabau16);
    let address: Vec<u8> = words[..3].iter().flat_map(|word| word.to_le_bytes()).collect();
    bench.check_bytes("the station's address", &address, &MAC);
    bench.check("device id", words[13], 0x10d3u16);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    bench.note_bytes("words", &bytes);
    let beyond = word(bench, 64);
    bench.note("a word beyond", beyond);
    set(bench, EEWR, 0x1234 << 16 | 5 << 2 | 1);
    let got = word(bench, 5) >> 16;
    bench.check("a word is written", got, 0x1234u32);
}

pub(super) fn phy(bench: &mut Bench<'_>) {
    on(bench);
    let ids = [super::phy(bench, 2), super::phy(bench, 3)];
    bench.check_bits("ready, no error", ids[0], 0x5000_0000u32, 0x1000_0000u32);
    bench.check("identifier 1", ids[0] & 0xffff, 0x0141u32);
    bench.check("identifier 2", ids[1] & 0xffff, 0x0cb1u32);
    for register in [0, 1, 4, 5, 6, 7, 9, 10, 15, 16, 17] {
        let got = super::phy(bench, register);
        bench.note(format!("{register}"), got);
    }
    for (page, register) in [(2, 16), (2, 21), (3, 16), (3, 18)] {
        set_phy(bench, 22, page);
        let got = super::phy(bench, register);
        bench.note(format!("{register} on page {page}"), got);
        set_phy(bench, register, 0x5555);
    }
    for (page, register) in [(2, 16), (3, 16)] {
        set_phy(bench, 22, page);
        let got = super::phy(bench, register);
        bench.check(format!("{register} on page {page} keeps what is written"), got & 0xffff, 0x5555u32);
    }
    let got = super::phy(bench, 2);
    bench.check("an identifier is on every page", got & 0xffff, 0x0141u32);
    set_phy(bench, 22, 0);
    let got = super::phy(bench, 16);
    bench.check("page 0 is another", got & 0xffff, 0x3360u32);
}
