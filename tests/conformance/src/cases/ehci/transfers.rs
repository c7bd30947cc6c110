//! Transfers.

use super::driver::*;
use crate::bench::Bench;
use crate::machine::Size;

fn note(bench: &mut Bench<'_>, address: u32, what: &str, setup: [u8; 8]) {
    let reply = request(bench, address, setup);
    bench.check_that(format!("{what}: it is answered"), reply.is_some(), "it is not");
    bench.note_bytes(what, &reply.unwrap_or_default());
}

pub(super) fn tablet(bench: &mut Bench<'_>) {
    configure(bench);
    note(bench, 5, "device", [0x80, 6, 0, 1, 0, 0, 18, 0]);
    note(bench, 5, "eight bytes", [0x80, 6, 0, 1, 0, 0, 8, 0]);
    note(bench, 5, "configuration", [0x80, 6, 0, 2, 0, 0, 0xff, 0]);
    for index in [1, 3, 7, 10] {
        note(bench, 5, &format!("string {index}"), [0x80, 6, index, 3, 9, 4, 0xff, 0]);
    }
}

pub(super) fn stall(bench: &mut Bench<'_>) {
    configure(bench);
    let reply = request(bench, 5, [0xc0, 0x77, 0, 0, 0, 0, 8, 0]);
    bench.check_that("it is refused", reply.is_none(), "it is answered");
    // QEMU's devices refuse the setup packet already, which hardware acknowledges (S 8.5.3.4).
    let tokens = token(bench, 0) | token(bench, 1);
    bench.check_bits("halted, with no other error", tokens, 0x78_u32, HALTED);
    let status = reg(bench, 4);
    bench.check_bits("USBERRINT", status, 2_u32, 2_u32);
    note(bench, 5, "the next", [0x80, 8, 0, 0, 0, 0, 1, 0]);
}

/// The interrupt queue asks for a report.
fn ask(bench: &mut Bench<'_>) {
    td(bench, 0, (1, 1), IN | IOC, 8);
    go(bench, PERIODIC);
}

pub(super) fn nothing(bench: &mut Bench<'_>) {
    configure(bench);
    ask(bench);
    bench.wait(50_000_000);
    let found = token(bench, 0);
    bench.check_bits("active", found, 0xff_u32, ACTIVE);
    let overlay = word(bench, PERIODIC + 24);
    bench.check_bits("in the overlay", overlay, 0xff_u32, ACTIVE);
    let status = reg(bench, 4);
    bench.check_bits("no interrupt", status, 0x13_u32, 0_u32);
}

pub(super) fn idle(bench: &mut Bench<'_>) {
    configure(bench);
    request(bench, 5, [0x21, 10, 0, 5, 0, 0, 0, 0]);
    ask(bench);
    let token = ended(bench, 0);
    bench.check_bits("a report comes", token, 0xff_u32, 0_u32);
    bench.check("of six bytes", token >> 16 & 0x7fff, 2u8);
}

pub(super) fn interrupt(bench: &mut Bench<'_>) {
    // INTD of slot 3 is PIRQB.
    bench.set_config(1, 0, 0x61, Size::B1, 10);
    bench.interrupts();
    configure(bench);
    set(bench, 8, 1);
    words(bench, QUEUE + 4, &[endpoint(5, 0, 64)]);
    bench.poke(DATA, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    td(bench, 0, (1, 1), SETUP | IOC, 8);
    go(bench, QUEUE);
    ended(bench, 0);
    bench.wait(10_000_000);
    let status = reg(bench, 4);
    bench.check_bits("USBINT", status, 0x13_u32, 1_u32);
    let raised = bench.irq(10);
    bench.check("IRQ 10", raised, true);
    set(bench, 8, 2);
    let raised = bench.irq(10);
    bench.check("with others enabled", raised, false);
    set(bench, 8, 1);
    set(bench, 4, 1);
    let raised = bench.irq(10);
    bench.check("acknowledged", raised, false);
}

pub(super) fn short(bench: &mut Bench<'_>) {
    configure(bench);
    words(bench, QUEUE + 4, &[endpoint(5, 0, 64)]);
    bench.poke(DATA, &[0x80, 0, 0, 0, 0, 0, 8, 0]);
    td(bench, 0, (at(1), 1), SETUP, 8);
    td(bench, 1, (at(3), at(2)), IN | TOGGLE, 8);
    td(bench, 2, (1, 1), OUT | TOGGLE, 0);
    td(bench, 3, (1, 1), IN | TOGGLE, 8);
    go(bench, QUEUE);
    let token = ended(bench, 2);
    bench.check_bits("the alternate one is done", token, 0xff_u32, 0_u32);
    let first = super::driver::token(bench, 1);
    bench.check("of eight bytes six are left", first >> 16 & 0x7fff, 6u8);
    let next = super::driver::token(bench, 3);
    bench.check_bits("the next one is not", next, ACTIVE, ACTIVE);
    bench.wait(10_000_000);
    let status = reg(bench, 4);
    bench.check_bits("USBINT", status, 3_u32, 1_u32);
}

pub(super) fn nobody(bench: &mut Bench<'_>) {
    configure(bench);
    let reply = request(bench, 77, [0x80, 8, 0, 0, 0, 0, 1, 0]);
    bench.check_that("it fails", reply.is_none(), "it is answered");
    let token = token(bench, 0);
    bench.check_bits("halted, no answer, no attempt left", token, 0xcf8_u32, HALTED | 8);
    let status = reg(bench, 4);
    bench.check_bits("USBERRINT", status, 2_u32, 2_u32);
}

/// The disk has address 6, is configured, and has told its unit attention.
fn attach(bench: &mut Bench<'_>) {
    start(bench);
    enable(bench, 2);
    request(bench, 0, [0, 5, 6, 0, 0, 0, 0, 0]);
    request(bench, 6, [0, 9, 1, 0, 0, 0, 0, 0]);
    for _ in 0..2 {
        command(bench, &[0; 6], None, 0);
        command(bench, &[3, 0, 0, 0, 18, 0], Some(true), 18);
    }
}

/// A transfer by a bulk endpoint, whose data are at a place: its token.
fn bulk(bench: &mut Bench<'_>, inward: bool, place: u64, len: u32) -> u32 {
    words(bench, QUEUE + 4, &[endpoint(6, if inward { 1 } else { 2 }, 512)]);
    let token = ACTIVE | 3 << 10 | if inward { IN } else { OUT } | len << 16;
    let page = |n: u64| ((place & !0xfff) + n * 0x1000) as u32;
    words(bench, TDS, &[1, 1, token, place as u32, page(1), page(2), page(3), page(4)]);
    go(bench, QUEUE);
    ended(bench, 0)
}

/// A command with data at `DATA` + 0x1000: the status, and what is left.
fn command(bench: &mut Bench<'_>, cdb: &[u8], inward: Option<bool>, len: u32) -> (u8, u32) {
    let mut cbw = [0x4342_5355, 0x77, len].map(u32::to_le_bytes).concat();
    cbw.extend([u8::from(inward == Some(true)) << 7, 0, cdb.len() as u8]);
    cbw.extend(cdb);
    cbw.resize(31, 0);
    bench.poke(DATA, &cbw);
    bulk(bench, false, DATA, 31);
    if let Some(inward) = inward {
        bulk(bench, inward, DATA + 0x1000, len);
    }
    let token = bulk(bench, true, DATA + 0x100, 13);
    bench.check_bits("the status comes whole", token, 0x7fff_00fe_u32, 0_u32);
    let csw = bench.peek(DATA + 0x100, 13);
    bench.check_bytes("signature and tag", &csw[..8], &[0x55, 0x53, 0x42, 0x53, 0x77, 0, 0, 0]);
    (csw[12], u32::from_le_bytes([csw[8], csw[9], csw[10], csw[11]]))
}

pub(super) fn disk(bench: &mut Bench<'_>) {
    attach(bench);
    note(bench, 6, "device", [0x80, 6, 0, 1, 0, 0, 18, 0]);
    note(bench, 6, "configuration", [0x80, 6, 0, 2, 0, 0, 0xff, 0]);
    for index in [1, 2, 3, 5] {
        note(bench, 6, &format!("string {index}"), [0x80, 6, index, 3, 9, 4, 0xff, 0]);
    }
    note(bench, 6, "highest unit", [0xa1, 0xfe, 0, 0, 0, 0, 1, 0]);
}

pub(super) fn pages(bench: &mut Bench<'_>) {
    attach(bench);
    let expected: Vec<u8> = (0..32 * 512).map(crate::case::Disk::byte).collect();
    let mut cbw = [0x4342_5355u32, 0x78, 32 * 512].map(u32::to_le_bytes).concat();
    cbw.extend([0x80, 0, 10, 0x28, 0, 0, 0, 0, 0, 0, 0, 32, 0]);
    cbw.resize(31, 0);
    bench.poke(DATA, &cbw);
    bulk(bench, false, DATA, 31);
    let token = bulk(bench, true, DATA + 0x1e38, 32 * 512);
    bench.check_bits("all of it", token, 0x7fff_00fe_u32, 0_u32);
    let data = bench.peek(DATA + 0x1e38, 32 * 512);
    bench.check_bytes("data", &data, &expected);
    bulk(bench, true, DATA + 0x100, 13);
}

pub(super) fn read(bench: &mut Bench<'_>) {
    attach(bench);
    let (status, residue) = command(bench, &[0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0], Some(true), 1024);
    bench.check("status", status, 0u8);
    bench.check("residue", residue, 0u8);
    let data = bench.peek(DATA + 0x1000, 1024);
    let expected: Vec<u8> = (3 * 512..5 * 512).map(crate::case::Disk::byte).collect();
    bench.check_bytes("data", &data, &expected);
    let (status, residue) = command(bench, &[0x12, 0, 0, 0, 36, 0], Some(true), 255);
    bench.check("INQUIRY", status, 0u8);
    bench.note("its residue, of 255", residue);
}

pub(super) fn written(bench: &mut Bench<'_>) {
    attach(bench);
    bench.poke(DATA + 0x1000, &[0xa5; 512]);
    let (status, residue) = command(bench, &[0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0], Some(false), 512);
    bench.check("status", status, 0u8);
    bench.check("residue", residue, 0u8);
    bench.poke(DATA + 0x1000, &[0; 512]);
    command(bench, &[0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0], Some(true), 512);
    let data = bench.peek(DATA + 0x1000, 512);
    bench.check_bytes("what is read then", &data, &[0xa5; 512]);
}
