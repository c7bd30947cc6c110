//! Configuration space, registers, EEPROM, timer, PHY.

use super::*;
use crate::machine::Op;

pub(super) fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x8139_10ec_u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class", class >> 8, 0x02_0000_u32);
    bench.check_that("an 8139C+ or later", class as u8 >= 0x20, class as u8);
    bench.note("revision", class as u8);
    let subsystem = bench.config(SLOT, 0, 0x2c, Size::B4);
    bench.note("subsystem", subsystem);
    let pin = bench.config(SLOT, 0, 0x3d, Size::B1);
    bench.check("INTA", pin, 1u8);
    let status = bench.config(SLOT, 0, 6, Size::B2);
    bench.note("status", status);
    let pointer = bench.config(SLOT, 0, 0x34, Size::B1);
    bench.note("capabilities", pointer);
}

pub(super) fn bars(bench: &mut Bench<'_>) {
    for (what, reg, size) in [
        ("BAR 0", 0x10, 256u32),
        ("BAR 1", 0x14, 256),
        ("BAR 2", 0x18, 0),
        ("BAR 3", 0x1c, 0),
        ("BAR 4", 0x20, 0),
        ("BAR 5", 0x24, 0),
    ] {
        let got = bench.bar_size(SLOT, 0, reg);
        bench.check(what, got, size);
    }
    let kinds = [0x10, 0x14].map(|reg| bench.config(SLOT, 0, reg, Size::B1) & 0xf);
    bench.check("BAR 0 is ports", kinds[0], 1u8);
    bench.check("BAR 1 is memory", kinds[1], 0u8);
}

pub(super) fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    let idr: Vec<u8> = (0..6).map(|at| get8(bench, reg::IDR + at)).collect();
    bench.check_bytes("IDR", &idr, &MAC);
    let cr = get8(bench, reg::CR);
    bench.check_bits("CR: off and empty", cr, BUFE | TE | RE, BUFE);
    bench.check_bits("CR: no reset goes on", cr, RST, 0u8);
    for at in 0..4 {
        let got = get32(bench, reg::TSD + 4 * at);
        bench.check(format!("TSD{at}: the driver's"), got, 0x2000u32);
    }
    for (what, at, want) in
        [("CAPR", reg::CAPR, 0xfff0u16), ("CBR", reg::CBR, 0), ("IMR", reg::IMR, 0), ("ISR", reg::ISR, 0)]
    {
        let got = get16(bench, at);
        bench.check(what, got, want);
    }
    let summary = get16(bench, reg::TSAD_SUMMARY);
    bench.check("TSAD", summary, 0x000fu16);
    for (what, at) in [("RCR", reg::RCR), ("TimerInt", reg::TIMER_INT), ("MPC", reg::MPC)] {
        let got = get32(bench, at);
        bench.check(what, got, 0u32);
    }
    let tcr = get32(bench, reg::TCR);
    bench.check_bits("TCR: version", tcr, 0x7cc0_0000u32, 0x7480_0000u32);
    bench.note("TCR", tcr);
    for (what, at) in [
        ("9346CR", reg::CFG9346),
        ("CONFIG0", reg::CONFIG0),
        ("CONFIG1", reg::CONFIG1),
        ("CONFIG3", reg::CONFIG3),
        ("CONFIG4", reg::CONFIG4),
        ("CONFIG5", reg::CONFIG5),
    ] {
        let got = get8(bench, at);
        bench.note(what, got);
    }
    let cpcr = get16(bench, reg::CPCR);
    bench.check("CPCR", cpcr, 0u16);
    let revision = get8(bench, 0x5e);
    bench.note("RERID", revision);
}

pub(super) fn both(bench: &mut Bench<'_>) {
    on(bench);
    set32(bench, reg::RBSTART, 0x0012_3400);
    let got = bench.readl(MEMORY + u64::from(reg::RBSTART));
    bench.check("written by port, read in memory", got, 0x0012_3400u32);
    bench.writel(MEMORY + u64::from(reg::TSAD), 0x0055_aa00);
    let got = get32(bench, reg::TSAD);
    bench.check("written in memory, read by port", got, 0x0055_aa00u32);
    let got = bench.read(MEMORY + u64::from(reg::CAPR), Size::B2);
    bench.check("a word", got, 0xfff0u16);
}

pub(super) fn widths(bench: &mut Bench<'_>) {
    on(bench);
    set32(bench, reg::RBSTART, 0x1234_5600);
    let bytes: Vec<u8> = (0..4).map(|at| get8(bench, reg::RBSTART + at)).collect();
    bench.check_bytes("RBSTART, bytes", &bytes, &[0, 0x56, 0x34, 0x12]);
    let words = [0, 2].map(|at| get16(bench, reg::RBSTART + at));
    bench.check("RBSTART, low word", words[0], 0x5600u16);
    bench.check("RBSTART, high word", words[1], 0x1234u16);
    let idr = get32(bench, reg::IDR);
    bench.check("IDR, four bytes", idr, 0x1200_5452u32);
    set32(bench, reg::MAR, 0x8765_4321);
    let mar: Vec<u8> = (0..4).map(|at| get8(bench, reg::MAR + at)).collect();
    bench.check_bytes("MAR, bytes", &mar, &[0x21, 0x43, 0x65, 0x87]);
    set16(bench, reg::IMR, 0xc07f);
    let got = [get8(bench, reg::IMR), get8(bench, reg::IMR + 1)];
    bench.check_bytes("IMR, bytes", &got, &[0x7f, 0xc0]);
    let got = get32(bench, reg::IMR);
    bench.check("IMR and ISR", got, 0xc07fu32);
}

pub(super) fn soft_reset(bench: &mut Bench<'_>) {
    on(bench);
    set32(bench, reg::IDR, 0x0302_0102);
    set32(bench, reg::MAR, 0x5a5a_a5a5);
    set16(bench, reg::IMR, 0xc07f);
    set8(bench, reg::CR, RE | TE);
    set8(bench, reg::CR, RST);
    let cr = bench.poll(PORTS + reg::CR, 10, |cr| cr & RST == 0);
    bench.check_bits("it ends, and the card is off", cr, RST | RE | TE | BUFE, BUFE);
    let idr = get32(bench, reg::IDR);
    bench.check("IDR is left alone", idr, 0x0302_0102u32);
    let mar = get32(bench, reg::MAR);
    bench.check("MAR is left alone", mar, 0x5a5a_a5a5u32);
    let imr = get16(bench, reg::IMR);
    bench.note("IMR", imr);
    let command = bench.config(SLOT, 0, 4, Size::B2);
    bench.check_bits("PCI configuration is left alone", command, 7u8, 7u8);
}

pub(super) fn reset(bench: &mut Bench<'_>) {
    on(bench);
    set32(bench, reg::IDR, 0x0302_0102);
    set16(bench, reg::IMR, 0xc07f);
    set8(bench, reg::CR, RE | TE);
    bench.reset();
    let bar = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("BAR 0", bar, 1u32);
    on(bench);
    let idr: Vec<u8> = (0..6).map(|at| get8(bench, reg::IDR + at)).collect();
    bench.check_bytes("IDR", &idr, &MAC);
    let imr = get16(bench, reg::IMR);
    bench.check("IMR", imr, 0u16);
    let cr = get8(bench, reg::CR);
    bench.check_bits("off", cr, RE | TE, 0u8);
}

pub(super) fn tcr(bench: &mut Bench<'_>) {
    on(bench);
    set32(bench, reg::TCR, 0x0300_0600);
    let got = get32(bench, reg::TCR);
    bench.note("written while TE is off", got);
    set8(bench, reg::CR, TE);
    set32(bench, reg::TCR, 0x0300_0600);
    let got = get32(bench, reg::TCR);
    bench.check("gap and burst", got & 0x0300_0700, 0x0300_0600u32);
    set32(bench, reg::TCR, 0xffff_fffe);
    let got = get32(bench, reg::TCR);
    bench.check_bits("the version is fixed", got, 0x7cc0_0000u32, 0x7480_0000u32);
    bench.note("ones", got);
}

pub(super) fn rcr(bench: &mut Bench<'_>) {
    on(bench);
    set8(bench, reg::CR, RE);
    for value in [RCR | 0xf, RCR | 0x1880, 0] {
        set32(bench, reg::RCR, value);
        let got = get32(bench, reg::RCR);
        bench.check(format!("{value:#x}"), got, value);
    }
    set32(bench, reg::RCR, u32::MAX);
    let got = get32(bench, reg::RCR);
    bench.note("ones", got);
}

const CONFIG: [(&str, u16); 4] = [
    ("CONFIG0", reg::CONFIG0),
    ("CONFIG1", reg::CONFIG1),
    ("CONFIG3", reg::CONFIG3),
    ("CONFIG4", reg::CONFIG4),
];

pub(super) fn lock(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at) in CONFIG {
        let before = get8(bench, at);
        set8(bench, at, !before);
        let got = get8(bench, at);
        bench.check(format!("{name}, locked"), got, before);
    }
    set8(bench, reg::CFG9346, 0xc0);
    let mode = get8(bench, reg::CFG9346);
    bench.check_bits("the mode reads back", mode, 0xc0u8, 0xc0u8);
    set8(bench, reg::CONFIG1, 0xf3);
    let got = get8(bench, reg::CONFIG1);
    bench.check_bits("CONFIG1 is written: LEDs, driver loaded, VPD, PMEn", got, 0xe3u8, 0xe3u8);
    bench.check_bits("CONFIG1: memory and ports stay mapped", got, 0x0cu8, 0x0cu8);
    for (name, at) in CONFIG {
        set8(bench, at, 0xff);
        let ones = get8(bench, at);
        set8(bench, at, 0);
        let zeros = get8(bench, at);
        bench.note(format!("{name}: what can be written"), ones & !zeros);
    }
    set8(bench, reg::CFG9346, 0);
    set8(bench, reg::CONFIG1, 0xf3);
    let got = get8(bench, reg::CONFIG1);
    bench.check_bits("locked again", got, 0xf3u8, 0u8);
}

pub(super) fn config5(bench: &mut Bench<'_>) {
    on(bench);
    set8(bench, reg::CONFIG5, 0x70);
    let got = get8(bench, reg::CONFIG5);
    bench.check_bits("wake-up by broadcast, multicast, unicast", got, 0x70u8, 0x70u8);
}

const PROGRAM: u8 = 0x80;
const EECS: u8 = 8;
const EESK: u8 = 4;
const EEDI: u8 = 2;

/// Clocks bits in, high ones first; what came out meanwhile.
fn shift(bench: &mut Bench<'_>, bits: u32, count: u32) -> u32 {
    let mut seen = 0;
    for bit in (0..count).rev() {
        let wires = PROGRAM | EECS | if bits >> bit & 1 != 0 { EEDI } else { 0 };
        set8(bench, reg::CFG9346, wires);
        set8(bench, reg::CFG9346, wires | EESK);
        seen = seen << 1 | u32::from(get8(bench, reg::CFG9346) & 1);
        set8(bench, reg::CFG9346, wires);
    }
    seen
}

fn select(bench: &mut Bench<'_>) {
    set8(bench, reg::CFG9346, PROGRAM);
    set8(bench, reg::CFG9346, PROGRAM | EECS);
}

fn word(bench: &mut Bench<'_>, address: u32) -> u32 {
    select(bench);
    shift(bench, 0b110 << 6 | address, 9);
    let word = shift(bench, 0, 16);
    set8(bench, reg::CFG9346, PROGRAM);
    word
}

pub(super) fn eeprom(bench: &mut Bench<'_>) {
    on(bench);
    for (what, address, want) in [
        ("id", 0, 0x8129u32),
        ("vendor", 1, 0x10ec),
        ("device", 2, 0x8139),
        ("address 1", 7, 0x5452),
        ("address 2", 8, 0x1200),
        ("address 3", 9, 0x5634),
    ] {
        let got = word(bench, address);
        bench.check(what, got, want);
    }
    let rest = [3, 4, 5, 6, 10, 63].map(|address| word(bench, address));
    for (address, word) in [3, 4, 5, 6, 10, 63].into_iter().zip(rest) {
        bench.note(format!("word {address}"), word);
    }
    select(bench);
    shift(bench, 0b110 << 6 | 1, 9);
    let first = shift(bench, 0, 16);
    bench.check("one word", first, 0x10ecu32);
    let next = shift(bench, 0, 16);
    bench.check("the next one follows it", next, 0x8139u32);
    set8(bench, reg::CFG9346, 0);
}

fn write_word(bench: &mut Bench<'_>, address: u32, value: u32) {
    select(bench);
    shift(bench, 0b101 << 6 | address, 9);
    shift(bench, value, 16);
    select(bench);
}

pub(super) fn eeprom_write(bench: &mut Bench<'_>) {
    on(bench);
    write_word(bench, 20, 0x1234);
    let got = word(bench, 20);
    bench.check("not before EWEN", got, 0u32);
    select(bench);
    shift(bench, 0b1_0011_0000, 9);
    write_word(bench, 20, 0xa5c3);
    let got = word(bench, 20);
    bench.check("WRITE", got, 0xa5c3u32);
    select(bench);
    shift(bench, 0b1_0000_0000, 9);
    write_word(bench, 20, 0x1111);
    let got = word(bench, 20);
    bench.check("not after EWDS", got, 0xa5c3u32);
}

pub(super) fn load(bench: &mut Bench<'_>) {
    on(bench);
    set32(bench, reg::IDR, 0x0302_0102);
    set8(bench, reg::CFG9346, 0x40);
    let mode = bench.poll(PORTS + reg::CFG9346, 10, |mode| mode & 0xc0 == 0);
    bench.check_bits("it is over", mode, 0xc0u8, 0u8);
    let idr: Vec<u8> = (0..6).map(|at| get8(bench, reg::IDR + at)).collect();
    bench.check_bytes("IDR", &idr, &MAC);
}

pub(super) fn interrupts(bench: &mut Bench<'_>) {
    on(bench);
    route(bench);
    set32(bench, reg::TIMER_INT, 100);
    set32(bench, reg::TCTR, 0);
    bench.wait(100_000);
    let isr = get16(bench, reg::ISR);
    bench.check("ISR", isr, TIMEOUT);
    let isr = get16(bench, reg::ISR);
    bench.check("reading clears nothing", isr, TIMEOUT);
    let line = bench.irq(IRQ);
    bench.check("masked", line, false);
    set16(bench, reg::IMR, TIMEOUT);
    let line = bench.irq(IRQ);
    bench.check("let out", line, true);
    let status = bench.config(SLOT, 0, 6, Size::B2);
    bench.check_bits("PCI status: interrupt", status, 8u8, 8u8);
    set16(bench, reg::ISR, !TIMEOUT);
    let isr = get16(bench, reg::ISR);
    bench.check("zeros clear nothing", isr, TIMEOUT);
    set16(bench, reg::ISR, TIMEOUT);
    let isr = get16(bench, reg::ISR);
    bench.check("a one clears", isr, 0u16);
    let line = bench.irq(IRQ);
    bench.check("and the line falls", line, false);
    set16(bench, reg::IMR, 0xffff);
    let imr = get16(bench, reg::IMR);
    bench.check_bits("IMR reads back", imr, 0xe07fu16, 0xe07fu16);
    bench.note("IMR, ones", imr);
}

pub(super) fn timer(bench: &mut Bench<'_>) {
    on(bench);
    let at = PORTS + reg::TCTR;
    let read = Op::In(at, Size::B4);
    let seen = bench.perform(&[Op::Out(at, Size::B4, u32::MAX), read, Op::Wait(3_000_000), read]);
    let (at_once, later) = (seen[1], seen[3]);
    let slack = bench.slack() * 4 / 30;
    bench.check_range("a write sets it to zero", at_once, 0, slack + 1);
    let counted = later.wrapping_sub(at_once);
    bench.check_range("3 ms", counted, 99_000, 101_000 + slack);
}

pub(super) fn timer_int(bench: &mut Bench<'_>) {
    on(bench);
    set32(bench, reg::TCTR, 0);
    bench.wait(1_000_000);
    let isr = get16(bench, reg::ISR);
    bench.check("0 is never", isr, 0u16);
    set32(bench, reg::TIMER_INT, 10_000_000);
    let got = get32(bench, reg::TIMER_INT);
    bench.check("it reads back", got, 10_000_000u32);
    set32(bench, reg::TCTR, 0);
    bench.wait(200_000_000);
    let isr = get16(bench, reg::ISR);
    bench.check("before", isr, 0u16);
    bench.wait(110_000_000);
    let isr = get16(bench, reg::ISR);
    bench.check("after", isr, TIMEOUT);
    set16(bench, reg::ISR, TIMEOUT);
    bench.wait(400_000_000);
    let isr = get16(bench, reg::ISR);
    bench.check("once a round of TCTR", isr, 0u16);
}

pub(super) fn phy(bench: &mut Bench<'_>) {
    on(bench);
    let bmcr = get16(bench, reg::BMCR);
    bench.check_bits("BMCR: neither reset, loopback nor power-down", bmcr, 0xc800u16, 0u16);
    bench.check_bits("BMCR: autonegotiation", bmcr, 0x1000u16, 0x1000u16);
    bench.note("BMCR", bmcr);
    let bmsr = get16(bench, reg::BMSR);
    bench.check_bits("BMSR: 10 and 100 Mbit/s, both ways", bmsr, 0x7800u16, 0x7800u16);
    bench.check_bits("BMSR: negotiated, link", bmsr, 0x002cu16, 0x002cu16);
    bench.note("BMSR", bmsr);
    for (what, at) in [("ANAR", reg::ANAR), ("ANLPAR", reg::ANLPAR)] {
        let got = get16(bench, at);
        bench.check_bits(format!("{what}: 802.3, all speeds"), got, 0x01ffu16, 0x01e1u16);
        bench.note(what, got);
    }
    let aner = get16(bench, reg::ANER);
    bench.check_bits("ANER: the partner can", aner, 1u8, 1u8);
    let cscr = get16(bench, reg::CSCR);
    bench.note("CSCR", cscr);
    set16(bench, reg::ANAR, 0x0061);
    let got = get16(bench, reg::ANAR);
    bench.check("ANAR is written", got, 0x0061u16);
    set16(bench, reg::BMSR, 0);
    let got = get16(bench, reg::BMSR);
    bench.check("BMSR is not", got, bmsr);
    set16(bench, reg::BMCR, 0x2100);
    let got = get16(bench, reg::BMCR);
    bench.check_bits("BMCR: 100 Mbit/s, full duplex, by hand", got, 0x3100u16, 0x2100u16);
    set16(bench, reg::BMCR, 0x8000);
    let got = get16(bench, reg::BMCR);
    bench.check_bits("BMCR: reset is over", got, 0x8000u16, 0u16);
}

pub(super) fn msr(bench: &mut Bench<'_>) {
    on(bench);
    let msr = get8(bench, reg::MSR);
    bench.check_bits("link, at 100 Mbit/s", msr, 0x0cu8, 0u8);
    bench.note("all of it", msr);
}
