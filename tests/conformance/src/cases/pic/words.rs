//! Initialization and command words.

use super::{MASTER, SLAVE, again, irr, isr, lower, pc, raise, taken, unmask};
use crate::bench::Bench;

pub(super) fn mask_bits(bench: &mut Bench<'_>) {
    pc(bench);
    for (name, port) in [("master", MASTER + 1), ("slave", SLAVE + 1)] {
        for value in [0u8, 0x55, 0xaa, 0xff, 1, 0x80] {
            bench.outb(port, value);
            let read = bench.inb(port);
            bench.check(format!("{name} with {value:#04x}"), read, value);
        }
    }
}

pub(super) fn icw1_mask(bench: &mut Bench<'_>) {
    pc(bench);
    for (name, chip, wiring) in [("master", MASTER, 4), ("slave", SLAVE, 2)] {
        bench.outb(chip, 0x11);
        for word in [0x40, wiring, 1] {
            bench.outb(chip + 1, word);
        }
        let mask = bench.inb(chip + 1);
        bench.check(name, mask, 0u8);
    }
}

pub(super) fn icw1_read(bench: &mut Bench<'_>) {
    pc(bench);
    bench.outb(MASTER, 0x0b);
    bench.outb(SLAVE, 0x0b);
    pc(bench);
    raise(bench, 4);
    raise(bench, 12);
    let (master, slave) = (bench.inb(MASTER), bench.inb(SLAVE));
    bench.check_bits("master", master, 0x10u8, 0x10u8);
    bench.check_bits("slave", slave, 0x10u8, 0x10u8);
}

pub(super) fn icw1_isr(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    unmask(bench, 0x10, 0);
    taken(bench, "vector", 0x24);
    let before = isr(bench, MASTER);
    bench.check("in service before", before, 0x10u8);
    pc(bench);
    let after = isr(bench, MASTER);
    bench.check("in service after", after, 0u8);
}

pub(super) fn icw1_edge(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    let before = irr(bench, MASTER);
    bench.check_bits("request before", before, 0x10u8, 0x10u8);
    pc(bench);
    let after = irr(bench, MASTER);
    bench.check_bits("request after", after, 0x10u8, 0u8);
    again(bench, 4);
    let after = irr(bench, MASTER);
    bench.check_bits("request after a new edge", after, 0x10u8, 0x10u8);
}

pub(super) fn icw1_priority(bench: &mut Bench<'_>) {
    pc(bench);
    bench.outb(MASTER, 0xc2);
    pc(bench);
    raise(bench, 4);
    raise(bench, 0);
    unmask(bench, 0x11, 0);
    taken(bench, "first", 0x20);
}

pub(super) fn icw1_special(bench: &mut Bench<'_>) {
    pc(bench);
    bench.outb(MASTER, 0x68);
    pc(bench);
    raise(bench, 0);
    raise(bench, 4);
    unmask(bench, 0x11, 0);
    taken(bench, "first", 0x20);
    // In special mask mode, masking what is in service would let input 4 in.
    unmask(bench, 0x10, 0);
    taken(bench, "while it is in service", 0);
}

pub(super) fn icw2(bench: &mut Bench<'_>) {
    for (base, master, slave) in
        [(0x20, 0x24, 0x24), (0x77, 0x74, 0x74), (0xff, 0xfc, 0xfc), (0x48, 0x4c, 0x4c)]
    {
        pc(bench);
        for (chip, wiring) in [(MASTER, 4), (SLAVE, 2)] {
            bench.outb(chip, 0x11);
            for word in [base, wiring, 1, 0xff] {
                bench.outb(chip + 1, word);
            }
        }
        raise(bench, 4);
        unmask(bench, 0x10, 0);
        taken(bench, &format!("master with {base:#x}"), master);
        lower(bench, 4);
        bench.outb(MASTER, 0x20);
        raise(bench, 12);
        unmask(bench, 4, 0x10);
        taken(bench, &format!("slave with {base:#x}"), slave);
        lower(bench, 12);
    }
}

pub(super) fn single(bench: &mut Bench<'_>) {
    pc(bench);
    for (what, icw1, words) in [("with ICW4", 0x13, &[0x28, 1][..]), ("without ICW4", 0x12, &[0x28])] {
        bench.outb(SLAVE, icw1);
        for word in words {
            bench.outb(SLAVE + 1, *word);
        }
        bench.outb(SLAVE + 1, 0xa5);
        let mask = bench.inb(SLAVE + 1);
        bench.check(what, mask, 0xa5u8);
    }
}

pub(super) fn no_icw4(bench: &mut Bench<'_>) {
    for (what, icw1, words) in [("with", 0x11, &[0x28, 2, 1][..]), ("without", 0x10, &[0x28, 2])] {
        bench.outb(SLAVE, icw1);
        for word in words {
            bench.outb(SLAVE + 1, *word);
        }
        bench.outb(SLAVE + 1, 0x5a);
        let mask = bench.inb(SLAVE + 1);
        bench.check(what, mask, 0x5au8);
    }
}

pub(super) fn selection(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x11, 0);
    raise(bench, 0);
    taken(bench, "first", 0x20);
    raise(bench, 4);
    for (what, command, value) in [("ISR", 0x0b, 1u8), ("IRR", 0x0a, 0x10)] {
        bench.outb(MASTER, command);
        for _ in 0..3 {
            let read = bench.inb(MASTER);
            bench.check_bits(what, read, 0x11u8, value);
        }
        let mask = bench.inb(MASTER + 1);
        bench.check("the mask has a port of its own", mask, 0xeeu8);
    }
}

pub(super) fn no_rr(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x11, 0);
    raise(bench, 0);
    taken(bench, "first", 0x20);
    raise(bench, 4);
    bench.outb(MASTER, 0x0b);
    for command in [0x08, 0x09] {
        bench.outb(MASTER, command);
        let read = bench.inb(MASTER);
        bench.check_bits(format!("after {command:#04x}"), read, 0x11u8, 1u8);
    }
    bench.outb(MASTER, 0x0a);
    bench.outb(MASTER, 0x09);
    let read = bench.inb(MASTER);
    bench.check_bits("the request register stays, too", read, 0x11u8, 0x10u8);
}

pub(super) fn power_on(bench: &mut Bench<'_>) {
    for (name, chip) in [("master", MASTER), ("slave", SLAVE)] {
        let mask = bench.inb(chip + 1);
        bench.note(format!("{name} mask"), mask);
        let serves = isr(bench, chip);
        bench.check(format!("{name} in service"), serves, 0u8);
    }
    bench.outb(MASTER + 1, 0x5a);
    bench.outb(SLAVE + 1, 0xa5);
    bench.reset();
    for (name, chip) in [("master", MASTER), ("slave", SLAVE)] {
        let mask = bench.inb(chip + 1);
        bench.note(format!("{name} mask after reset"), mask);
    }
}
