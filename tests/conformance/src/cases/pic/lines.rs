//! Edges and levels.

use super::{ELCR, MASTER, SLAVE, SOON, again, irr, isr, lower, pc, raise, taken, unmask};
use crate::bench::Bench;

pub(super) fn elcr_bits(bench: &mut Bench<'_>) {
    pc(bench);
    for (port, mask) in ELCR.into_iter().zip([0xf8u8, 0xde]) {
        for value in [0u8, 0xff, 0x55, 0xaa] {
            bench.outb(port, value);
            let read = bench.inb(port);
            bench.check(format!("{port:#x} with {value:#04x}"), read, value & mask);
        }
    }
}

pub(super) fn elcr_reset(bench: &mut Bench<'_>) {
    for (what, port) in [("ELCR1 at power-on", ELCR[0]), ("ELCR2 at power-on", ELCR[1])] {
        let read = bench.inb(port);
        bench.check(what, read, 0u8);
        bench.outb(port, 0xff);
    }
    bench.reset();
    for (what, port) in [("ELCR1 after reset", ELCR[0]), ("ELCR2 after reset", ELCR[1])] {
        let read = bench.inb(port);
        bench.check(what, read, 0u8);
    }
}

pub(super) fn edge_once(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x10, 0);
    raise(bench, 4);
    taken(bench, "first", 0x24);
    bench.outb(MASTER, 0x20);
    taken(bench, "while the line stays up", 0);
    lower(bench, 4);
    taken(bench, "when it falls", 0);
    raise(bench, 4);
    taken(bench, "when it rises again", 0x24);
}

pub(super) fn level(bench: &mut Bench<'_>) {
    pc(bench);
    bench.outb(ELCR[0], 0x10);
    unmask(bench, 0x10, 0);
    raise(bench, 4);
    taken(bench, "first", 0x24);
    let asks = irr(bench, MASTER);
    bench.check_bits("it goes on asking", asks, 0x10u8, 0x10u8);
    taken(bench, "before the end", 0);
    bench.outb(MASTER, 0x20);
    taken(bench, "after the end", 0x24);
    lower(bench, 4);
    bench.outb(MASTER, 0x20);
    taken(bench, "when the line is down", 0);
}

pub(super) fn level_gone(bench: &mut Bench<'_>) {
    pc(bench);
    for port in ELCR {
        bench.outb(port, 0x10);
    }
    raise(bench, 4);
    raise(bench, 12);
    let (master, slave) = (irr(bench, MASTER), irr(bench, SLAVE));
    bench.check_bits("master", master, 0x10u8, 0x10u8);
    bench.check_bits("slave", slave, 0x10u8, 0x10u8);
    lower(bench, 4);
    lower(bench, 12);
    let (master, slave) = (irr(bench, MASTER), irr(bench, SLAVE));
    bench.check_bits("master after", master, 0x10u8, 0u8);
    bench.check_bits("slave after", slave, 0x10u8, 0u8);
    unmask(bench, 0x10, 0);
    taken(bench, "interrupt", 0);
}

pub(super) fn late_level(bench: &mut Bench<'_>) {
    raise(bench, 4);
    pc(bench);
    unmask(bench, 0x10, 0);
    taken(bench, "an old edge", 0);
    bench.outb(ELCR[0], 0x10);
    let asks = irr(bench, MASTER);
    bench.note("request", asks & 0x10);
    // At the latest when the line moves again.
    again(bench, 4);
    taken(bench, "a level", 0x24);
}

pub(super) fn edge_falls(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    lower(bench, 4);
    let asks = irr(bench, MASTER);
    bench.note("request", asks & 0x10);
    unmask(bench, 0x10, 0);
    let vector = bench.interrupt(SOON);
    bench.note("vector", vector.unwrap_or(0));
    let serves = isr(bench, MASTER);
    bench.note("in service", serves);
}

pub(super) fn slave_withdraws(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0, 0x10);
    raise(bench, 12);
    let asks = irr(bench, MASTER);
    bench.check_bits("the slave asks", asks, 4u8, 4u8);
    bench.outb(SLAVE + 1, 0xff);
    let asks = irr(bench, MASTER);
    bench.note("the master's request", asks & 4);
    unmask(bench, 4, 0);
    let vector = bench.interrupt(SOON);
    bench.note("vector", vector.unwrap_or(0));
    let (master, slave) = (isr(bench, MASTER), isr(bench, SLAVE));
    bench.note("master in service", master);
    // Input 7's vector stands for no request at all: nothing is in service for it.
    bench.check("slave in service", slave, 0u8);
}
