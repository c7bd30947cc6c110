//! Transfers.

use super::driver::*;
use crate::bench::Bench;
use crate::machine::Size;

/// A request that gives something.
fn get(bench: &mut Bench<'_>, what: &str, address: u8, setup: [u8; 8]) -> Vec<u8> {
    let reply = request(bench, address, setup);
    bench.check_that(format!("{what}: it is answered"), reply.is_some(), "it is not");
    reply.unwrap_or_default()
}

pub(super) fn device(bench: &mut Bench<'_>) {
    enable(bench);
    let reply = get(bench, "device", 0, [0x80, 6, 0, 1, 0, 0, 18, 0]);
    bench.check_bytes("up to its class", &reply[..reply.len().min(2)], &[18, 1]);
    bench.note_bytes("descriptor", &reply);
}

pub(super) fn eight(bench: &mut Bench<'_>) {
    enable(bench);
    let reply = get(bench, "eight", 0, [0x80, 6, 0, 1, 0, 0, 8, 0]);
    bench.check("bytes", reply.len() as u64, 8u8);
    let reply = get(bench, "64", 0, [0x80, 6, 0, 1, 0, 0, 64, 0]);
    bench.check("bytes of 64", reply.len() as u64, 18u8);
}

pub(super) fn address(bench: &mut Bench<'_>) {
    enable(bench);
    get(bench, "address", 0, [0, 5, 5, 0, 0, 0, 0, 0]);
    let reply = get(bench, "there", 5, [0x80, 6, 0, 1, 0, 0, 8, 0]);
    bench.check("bytes", reply.len() as u64, 8u8);
}

pub(super) fn configuration(bench: &mut Bench<'_>) {
    configure(bench);
    let reply = get(bench, "configuration", 5, [0x80, 6, 0, 2, 0, 0, 0xff, 0]);
    bench.check("bytes", reply.len() as u64, 34u8);
    bench.note_bytes("all", &reply);
    let head = get(bench, "head", 5, [0x80, 6, 0, 2, 0, 0, 9, 0]);
    bench.check("bytes of the head", head.len() as u64, 9u8);
}

pub(super) fn strings(bench: &mut Bench<'_>) {
    configure(bench);
    let languages = get(bench, "languages", 5, [0x80, 6, 0, 3, 0, 0, 0xff, 0]);
    bench.check_bytes("languages", &languages, &[4, 3, 9, 4]);
    let device = get(bench, "device", 5, [0x80, 6, 0, 1, 0, 0, 18, 0]);
    let whole = get(bench, "configuration", 5, [0x80, 6, 0, 2, 0, 0, 0xff, 0]);
    let at = |bytes: &[u8], at: usize| bytes.get(at).copied().unwrap_or(0);
    let named = [
        ("manufacturer", at(&device, 14)),
        ("product", at(&device, 15)),
        ("serial number", at(&device, 16)),
        ("configuration", at(&whole, 6)),
    ];
    for (name, index) in named {
        let text = get(bench, name, 5, [0x80, 6, index, 3, 9, 4, 0xff, 0]);
        bench.note_bytes(name, &text);
    }
}

pub(super) fn report_descriptor(bench: &mut Bench<'_>) {
    configure(bench);
    let reply = get(bench, "report", 5, [0x81, 6, 0, 0x22, 0, 0, 0xff, 0]);
    bench.note_bytes("descriptor", &reply);
}

pub(super) fn configured(bench: &mut Bench<'_>) {
    enable(bench);
    get(bench, "address", 0, [0, 5, 5, 0, 0, 0, 0, 0]);
    let before = get(bench, "before", 5, [0x80, 8, 0, 0, 0, 0, 1, 0]);
    bench.check_bytes("before", &before, &[0]);
    get(bench, "set", 5, [0, 9, 1, 0, 0, 0, 0, 0]);
    let after = get(bench, "after", 5, [0x80, 8, 0, 0, 0, 0, 1, 0]);
    bench.check_bytes("after", &after, &[1]);
    let other = request(bench, 5, [0, 9, 7, 0, 0, 0, 0, 0]);
    bench.check_that("another is refused", other.is_none(), "it is not");
}

pub(super) fn status(bench: &mut Bench<'_>) {
    configure(bench);
    let before = get(bench, "before", 5, [0x80, 0, 0, 0, 0, 0, 2, 0]);
    bench.check_bytes("before", &before, &[0, 0]);
    get(bench, "remote wakeup", 5, [0, 3, 1, 0, 0, 0, 0, 0]);
    let with = get(bench, "with", 5, [0x80, 0, 0, 0, 0, 0, 2, 0]);
    bench.check_bytes("with remote wakeup", &with, &[2, 0]);
    get(bench, "none", 5, [0, 1, 1, 0, 0, 0, 0, 0]);
    let after = get(bench, "after", 5, [0x80, 0, 0, 0, 0, 0, 2, 0]);
    bench.check_bytes("without", &after, &[0, 0]);
}

pub(super) fn stall(bench: &mut Bench<'_>) {
    configure(bench);
    let none = request(bench, 5, [0xc0, 0x77, 0, 0, 0, 0, 8, 0]);
    bench.check_that("it is refused", none.is_none(), "it is answered");
    let status = bench.inw(IO + 2);
    bench.check_bits("error in USBSTS", status, 2_u16, 2_u16);
    let reply = get(bench, "the next", 5, [0x80, 8, 0, 0, 0, 0, 1, 0]);
    bench.check_bytes("the next", &reply, &[1]);
}

/// Asks the endpoint for a report.
fn ask(bench: &mut Bench<'_>, more: u32) {
    td(bench, 0, 1, more, token(IN, 5, 1, 8));
    go(bench);
}

pub(super) fn nak(bench: &mut Bench<'_>) {
    configure(bench);
    ask(bench, IOC);
    bench.outw(IO + 2, 0x1f);
    bench.wait(20_000_000);
    let control = control(bench, 0);
    bench.check_bits("active and NAK", control, ACTIVE | 1 << 19, ACTIVE | 1 << 19);
    let status = bench.inw(IO + 2);
    bench.check("USBSTS", status, 0u8);
    let element = word(bench, QH + 4);
    bench.check("the queue's element", element, TDS as u32);
}

pub(super) fn get_report(bench: &mut Bench<'_>) {
    configure(bench);
    let reply = get(bench, "report", 5, [0xa1, 1, 0, 1, 0, 0, 6, 0]);
    bench.check_bytes("nothing has happened", &reply, &[0; 6]);
}

pub(super) fn idle(bench: &mut Bench<'_>) {
    configure(bench);
    let before = get(bench, "before", 5, [0xa1, 2, 0, 0, 0, 0, 1, 0]);
    bench.note_bytes("before", &before);
    get(bench, "set", 5, [0x21, 10, 0, 5, 0, 0, 0, 0]);
    let after = get(bench, "after", 5, [0xa1, 2, 0, 0, 0, 0, 1, 0]);
    bench.check_bytes("after", &after, &[5]);
    ask(bench, 0);
    let came = bench.passes_until(|bench| control(bench, 0) & ACTIVE == 0);
    bench.check_that("a report comes", came, "none does");
    let report = bench.peek(DATA, 6);
    bench.check_bytes("the report", &report, &[0; 6]);
}

pub(super) fn interrupt(bench: &mut Bench<'_>) {
    bench.set_config(1, 0, 0x63, Size::B1, 10);
    bench.interrupts();
    configure(bench);
    bench.outw(IO + 2, 0x1f);
    bench.outw(IO + 4, 4);
    bench.poke(DATA, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    td(bench, 0, 1, IOC, token(SETUP, 5, 0, 8));
    go(bench);
    let came = bench.passes_until(|bench| bench.inw(IO + 2) & 1 != 0);
    bench.check_that("USBINT", came, "it does not come");
    let raised = bench.irq(10);
    bench.check("IRQ 10", raised, true);
    bench.outw(IO + 4, 0xb);
    let raised = bench.irq(10);
    bench.check("with others enabled", raised, false);
    bench.outw(IO + 4, 4);
    let raised = bench.irq(10);
    bench.check("enabled again", raised, true);
    bench.outw(IO + 2, 1);
    let raised = bench.irq(10);
    bench.check("acknowledged", raised, false);
}

pub(super) fn short(bench: &mut Bench<'_>) {
    configure(bench);
    bench.poke(DATA, &[0x80, 0, 0, 0, 0, 0, 8, 0]);
    let next = |n: u64| (TDS + n * 32) as u32 | 4;
    td(bench, 0, next(1), 0, token(SETUP, 5, 0, 8));
    td(bench, 1, next(2), SPD, token(IN, 5, 0, 8));
    td(bench, 2, 1, 0, token(OUT, 5, 0, 0));
    bench.outw(IO + 2, 0x1f);
    go(bench);
    bench.wait(10_000_000);
    let controls = [0, 1, 2].map(|n| control(bench, n));
    bench.check_bits("the short one is done", controls[1], ACTIVE | 0x7ff, 1_u32);
    bench.check_bits("what follows is not", controls[2], ACTIVE, ACTIVE);
    let element = word(bench, QH + 4);
    bench.check("the queue stands at it", element & !0xf, TDS as u32 + 32);
    let status = bench.inw(IO + 2);
    bench.check("USBSTS", status, 1u8);
}

pub(super) fn inactive(bench: &mut Bench<'_>) {
    start(bench);
    bench.outw(IO + 2, 0x1f);
    words(bench, TDS, &[1, IOC, token(IN, 0, 0, 0), 0]);
    go(bench);
    let came = bench.passes_until(|bench| bench.inw(IO + 2) & 1 != 0);
    bench.check_that("USBINT", came, "it does not come");
    let control = control(bench, 0);
    bench.check("the TD", control, IOC);
}

pub(super) fn breadth(bench: &mut Bench<'_>) {
    configure(bench);
    bench.outw(IO, 0xc0);
    bench.poke(DATA, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    let next = |n: u64| (TDS + n * 32) as u32;
    td(bench, 0, next(1), 0, token(SETUP, 5, 0, 8));
    td(bench, 1, next(2), 0, token(IN, 5, 0, 1));
    td(bench, 2, 1, 0, token(OUT, 5, 0, 0));
    go(bench);
    bench.outw(IO, 0xc1);
    let ended = bench.passes_until(|bench| (0..3).all(|n| control(bench, n) & ACTIVE == 0));
    bench.check_that("all are done", ended, "they are not");
    let element = word(bench, QH + 4);
    bench.check("the queue is at its end", element & 1, 1u8);
}

pub(super) fn circle(bench: &mut Bench<'_>) {
    start(bench);
    words(bench, QH, &[QH as u32 | 2, 1]);
    let first = bench.inw(IO + 6);
    bench.wait(20_000_000);
    let passed = bench.inw(IO + 6).wrapping_sub(first) & 0x7ff;
    bench.check_range("frames go on", passed.into(), 19, 21 + bench.slack() / 1_000_000);
    let status = bench.inw(IO + 2);
    bench.check("USBSTS", status, 0u8);
}

pub(super) fn nobody(bench: &mut Bench<'_>) {
    start(bench);
    bench.outw(IO + 2, 0x1f);
    td(bench, 0, 1, 0, token(IN, 77, 0, 8));
    go(bench);
    let ended = bench.passes_until(|bench| control(bench, 0) & ACTIVE == 0);
    bench.check_that("it ends", ended, "it does not");
    let control = control(bench, 0);
    bench.check_bits("time out", control, 1_u32 << 18, 1_u32 << 18);
    bench.check_bits("stalled", control, STALLED, STALLED);
    let status = bench.inw(IO + 2);
    bench.check_bits("error in USBSTS", status, 2_u16, 2_u16);
}
