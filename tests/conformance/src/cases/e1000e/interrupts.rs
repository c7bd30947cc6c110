//! Causes and masks, the pin, and vectors: all of them masked, so that their pending bits show what was told.

use super::*;

const LSC: u32 = 1 << 2;
const RXO: u32 = 1 << 6;
const RXQ0: u32 = 1 << 20;
const RXQ1: u32 = 1 << 21;
const TXQ0: u32 = 1 << 22;
const TXQ1: u32 = 1 << 23;
const OTHER: u32 = 1 << 24;
const ASSERTED: u32 = 1 << 31;
const ALL: u32 = RXQ0 | RXQ1 | TXQ0 | TXQ1 | OTHER;

pub(super) fn causes(bench: &mut Bench<'_>) {
    on(bench);
    get(bench, ICR);
    set(bench, ICS, 0x95);
    let got = get(bench, ICS);
    bench.check("ICS reads as ICR", got, 0x95 | ASSERTED);
    let got = [get(bench, ICR), get(bench, ICR)];
    bench.check("ICR has what ICS set", got[0], 0x95 | ASSERTED);
    bench.check("reading clears", got[1], 0u32);
    set(bench, IMS, 0x95);
    set(bench, IMS, 0x40);
    let got = get(bench, IMS);
    bench.check("IMS adds", got, 0xd5u32);
    set(bench, IMC, 0x05);
    let got = get(bench, IMS);
    bench.check("IMC takes away", got, 0xd0u32);
    set(bench, IMC, !0);
    set(bench, ICS, 0x95);
    set(bench, ICR, 0x05);
    let got = get(bench, ICR);
    bench.check("ones clear", got, 0x90 | ASSERTED);
}

pub(super) fn iame(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, CTRL_EXT, 1 << 27);
    set(bench, IAM, 0x80);
    set(bench, IMS, 0x84);
    get(bench, ICR);
    let got = get(bench, IMS);
    bench.check("with no cause nothing is masked", got, 0x84u32);
    set(bench, ICS, 0x80);
    get(bench, ICR);
    let got = get(bench, IMS);
    bench.check("IAM is masked", got, 0x04u32);
}

/// Whether the card asks, whatever its line does.
fn asks(bench: &mut Bench<'_>) -> bool {
    bench.config(SLOT, 0, 6, Size::B2) & 8 != 0
}

pub(super) fn pin(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, ICS, LSC);
    let got = asks(bench);
    bench.check("masked", got, false);
    set(bench, IMS, LSC);
    let got = asks(bench);
    bench.check("unmasked", got, true);
    set(bench, IMC, LSC);
    let got = asks(bench);
    bench.check("masked again", got, false);
    // The card may hold the next interrupt back.
    bench.wait(1_000_000);
    set(bench, IMS, LSC);
    let got = asks(bench);
    bench.check("unmasked again", got, true);
    get(bench, ICR);
    let got = asks(bench);
    bench.check("ICR is read", got, false);
}

/// MSI-X is on, and all its vectors are masked.
fn start(bench: &mut Bench<'_>) {
    on(bench);
    bench.set_config(SLOT, 0, MSIX + 2, Size::B2, 0xc000);
    set(bench, IVAR, 0x000c_ba98);
    set(bench, IMS, ALL);
}

/// Which vectors were told, and forgets them.
fn told(bench: &mut Bench<'_>) -> u64 {
    // The card may hold vectors back.
    bench.wait(1_000_000);
    let pending = bench.read(TABLE + 0x2000, Size::B4);
    set(bench, PBACLR, 0x1f);
    pending
}

pub(super) fn vectors(bench: &mut Bench<'_>) {
    start(bench);
    for (name, cause, vector) in [
        ("RxQ0", RXQ0, 1u64 << 0),
        ("RxQ1", RXQ1, 1 << 1),
        ("TxQ0", TXQ0, 1 << 2),
        ("TxQ1", TXQ1, 1 << 3),
        ("other", OTHER, 1 << 4),
    ] {
        set(bench, ICS, cause);
        let got = told(bench);
        bench.check(name, got, vector);
    }
    set(bench, ICR, !0);
    set(bench, IVAR, 0x0003_ba9b);
    set(bench, ICS, ALL);
    let got = told(bench);
    bench.check("two share one, one has none", got, 0b1110u64);
    set(bench, ICR, !0);
    set(bench, IMC, RXQ0);
    set(bench, ICS, RXQ0);
    let got = told(bench);
    bench.check("a masked cause", got, 0u64);
    set(bench, IMS, RXQ0);
    let got = told(bench);
    bench.check("unmasked", got, 0b1000u64);
    let got = get(bench, ICS);
    bench.check("the cause stands", got, RXQ0 | ASSERTED);
}

pub(super) fn others(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, ICS, LSC | RXO);
    let got = told(bench);
    bench.check("they are told as one", got, 0x10u64);
    let got = get(bench, ICS);
    bench.check("with its cause", got, LSC | RXO | OTHER | ASSERTED);
    set(bench, ICR, OTHER);
    let got = get(bench, ICS);
    bench.check("which clears them", got, 0u32);
}

pub(super) fn auto(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, EIAC, RXQ0);
    set(bench, ICS, RXQ0 | RXQ1);
    let got = told(bench);
    bench.check("both are told", got, 3u64);
    let got = get(bench, ICS);
    bench.check("EIAC clears its cause", got, RXQ1 | ASSERTED);
    let got = get(bench, IMS);
    bench.check("and masks nothing", got, ALL);
    set(bench, IMS, ALL);
    set(bench, CTRL_EXT, 1 << 24);
    set(bench, IAM, RXQ0);
    set(bench, ICS, RXQ0);
    let got = told(bench);
    bench.check("told once more", got, 1u64);
    let got = get(bench, IMS);
    bench.check("EIAME masks", got, ALL & !RXQ0);
}

pub(super) fn pba_clear(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, ICS, RXQ0 | RXQ1 | TXQ0);
    bench.wait(1_000_000);
    set(bench, PBACLR, 1 << 1);
    let got = bench.read(TABLE + 0x2000, Size::B4);
    bench.check("the others wait", got, 0b101u64);
    set(bench, CTRL_EXT, 1 << 31);
    set(bench, IMS, TXQ0);
    let got = bench.read(TABLE + 0x2000, Size::B4);
    bench.check("unmasking clears, with PBA_CLR", got, 0b001u64);
}
