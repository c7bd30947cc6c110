//! EEPROM, PHY, interrupts.

use super::*;

fn word(bench: &mut Bench<'_>, number: u32) -> u32 {
    set(bench, EERD, number << 8 | 1);
    get(bench, EERD)
}

fn words(bench: &mut Bench<'_>) -> Vec<u16> {
    (0..64).map(|number| (word(bench, number) >> 16) as u16).collect()
}

pub(super) fn eerd(bench: &mut Bench<'_>) {
    on(bench);
    let first = word(bench, 0);
    bench.check_bits("done", first, 0x11u32, 0x10u32);
    let all = words(bench);
    let address: Vec<u8> = all[..3].iter().flat_map(|word| word.to_le_bytes()).collect();
    bench.check_bytes("the station's address", &address, &MAC);
    bench.check("device id", all[13], 0x100eu16);
    bench.check("vendor id", all[14], 0x8086u16);
    let bytes: Vec<u8> = all.iter().flat_map(|word| word.to_be_bytes()).collect();
    bench.note_bytes("words", &bytes);
    let beyond = word(bench, 64);
    bench.note("a word beyond", beyond);
}

pub(super) fn checksum(bench: &mut Bench<'_>) {
    on(bench);
    let sum = words(bench).iter().fold(0u16, |sum, word| sum.wrapping_add(*word));
    bench.check("sum of all words", sum, 0xbabau16);
}

/// Wires: clock, select, to the chip, from it.
const SK: u32 = 1;
const CS: u32 = 2;
const DI: u32 = 4;
const DO: u32 = 8;

/// Reads a word as drivers do: 110, the address, 16 bits while the clock is high.
fn clock_out(bench: &mut Bench<'_>, number: u32) -> u16 {
    set(bench, EECD, 1 << 6 | CS);
    for bit in (0..9).rev().map(|at| (0b110 << 6 | number) >> at & 1) {
        let wires = 1 << 6 | CS | if bit != 0 { DI } else { 0 };
        for edge in [0, SK, 0] {
            set(bench, EECD, wires | edge);
        }
    }
    let mut value = 0;
    for _ in 0..16 {
        set(bench, EECD, 1 << 6 | CS | SK);
        value = value << 1 | u16::from(get(bench, EECD) & DO != 0);
        set(bench, EECD, 1 << 6 | CS);
    }
    set(bench, EECD, 1 << 6);
    value
}

pub(super) fn wires(bench: &mut Bench<'_>) {
    on(bench);
    let at_rest = get(bench, EECD);
    bench.check_bits("an EEPROM is there", at_rest, 0x100u32, 0x100u32);
    set(bench, EECD, 1 << 6);
    let asked = get(bench, EECD);
    bench.check_bits("granted", asked, 0x80u32, 0x80u32);
    let all = words(bench);
    for number in [0u32, 1, 2, 10, 13, 31, 63] {
        let got = clock_out(bench, number);
        bench.check(format!("word {number}"), got, all[number as usize]);
    }
    set(bench, EECD, 0);
}

pub(super) fn phy(bench: &mut Bench<'_>) {
    on(bench);
    let first = super::phy(bench, 2);
    bench.check_bits("ready, no error", first, 0x5000_0000u32, 0x1000_0000u32);
    bench.check("identifier 1", first & 0xffff, 0x0141u32);
    let second = super::phy(bench, 3);
    bench.check_bits("identifier 2", second, 0xfff0u32, 0x0c20u32);
    let status = super::phy(bench, 1);
    bench.check_bits("extended registers, link, negotiation", status, 0xdu32, 0xdu32);
}

pub(super) fn phy_registers(bench: &mut Bench<'_>) {
    on(bench);
    for register in [0, 1, 3, 4, 5, 6, 9, 10, 16, 17, 20, 21] {
        let got = super::phy(bench, register);
        bench.note(format!("{register}"), got);
    }
    let got = super::phy(bench, 15);
    bench.check_bits("15: extended status, which register 1 promises", got, 1u32 << 30 | 0x3000, 0x3000u32);
    set_phy(bench, 4, 0x0441);
    let got = super::phy(bench, 4) & 0xffff;
    bench.check("advertisement keeps what is written", got, 0x0441u32);
    set_phy(bench, 2, 0);
    let got = super::phy(bench, 2) & 0xffff;
    bench.check("an identifier does not", got, 0x0141u32);
}

pub(super) fn no_phy(bench: &mut Bench<'_>) {
    on(bench);
    for address in [0u32, 2, 31] {
        set(bench, MDIC, 2 << 26 | address << 21 | 2 << 16);
        let got = get(bench, MDIC);
        bench.check_bits(format!("at {address}"), got, 0x5000_0000u32, 0x5000_0000u32);
    }
}

pub(super) fn negotiation(bench: &mut Bench<'_>) {
    on(bench);
    let before = get(bench, STATUS);
    bench.check_bits("link at first", before, 2u32, 2u32);
    get(bench, ICR);
    set_phy(bench, 0, 0x1340);
    let meanwhile = get(bench, STATUS);
    bench.check_bits("no link meanwhile", meanwhile, 2u32, 0u32);
    let control = super::phy(bench, 0);
    bench.check_bits("restart clears itself", control, 0x0200u32, 0u32);
    bench.wait(600_000_000);
    let after = get(bench, STATUS);
    bench.check_bits("link after it", after, 2u32, 2u32);
    let causes = get(bench, ICR);
    bench.check_bits("LSC", causes, 4u32, 4u32);
    let status = super::phy(bench, 1);
    bench.check_bits("complete, link", status, 0x24u32, 0x24u32);
}

pub(super) fn mdac(bench: &mut Bench<'_>) {
    on(bench);
    get(bench, ICR);
    set(bench, MDIC, 1 << 29 | 2 << 26 | 1 << 21 | 2 << 16);
    let got = get(bench, ICR);
    bench.check("MDAC", got, 1u32 << 9);
}

pub(super) fn causes(bench: &mut Bench<'_>) {
    on(bench);
    get(bench, ICR);
    set(bench, ICS, 0x95);
    let got = get(bench, ICR);
    bench.check("ICR has what ICS set", got, 0x95u32);
    let got = get(bench, ICR);
    bench.check("reading clears", got, 0u32);
    set(bench, IMS, 0x9d);
    set(bench, IMS, 0x40);
    let got = get(bench, IMS);
    bench.check("IMS adds", got, 0xddu32);
    set(bench, IMC, 0x0f);
    let got = get(bench, IMS);
    bench.check("IMC takes away", got, 0xd0u32);
}

pub(super) fn write_icr(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, ICS, 0x95);
    set(bench, ICR, 0x05);
    let got = get(bench, ICR);
    bench.check("the rest", got, 0x90u32);
}

/// Whether the card asks, whatever its line does.
fn asks(bench: &mut Bench<'_>) -> bool {
    bench.config(SLOT, 0, 6, Size::B2) & 8 != 0
}

pub(super) fn pin(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, ICS, 4);
    let got = asks(bench);
    bench.check("masked", got, false);
    set(bench, IMS, 4);
    let got = asks(bench);
    bench.check("unmasked", got, true);
    set(bench, IMC, 4);
    let got = asks(bench);
    bench.check("masked again", got, false);
    set(bench, IMS, 4);
    // The card may hold the next interrupt back.
    bench.wait(1_000_000);
    get(bench, ICR);
    let got = asks(bench);
    bench.check("ICR is read", got, false);
}

pub(super) fn throttle(bench: &mut Bench<'_>) {
    on(bench);
    // A tenth of a millisecond is long enough on every machine: 20 times that.
    set(bench, ITR, 8000);
    set(bench, IMS, 4);
    set(bench, ICS, 4);
    let got = asks(bench);
    bench.check("the first at once", got, true);
    get(bench, ICR);
    set(bench, ICS, 4);
    let got = asks(bench);
    if bench.slack() < 1_000_000 {
        bench.check("the second not", got, false);
    }
    bench.wait(3_000_000);
    let got = asks(bench);
    bench.check("but in the end", got, true);
}
