//! Requests, service and priorities.

use super::{MASTER, SLAVE, again, irr, isr, pc, program, raise, taken, unmask};
use crate::bench::Bench;
use crate::machine::{Op, Size};

pub(super) fn masked(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    raise(bench, 12);
    let (master, slave) = (irr(bench, MASTER), irr(bench, SLAVE));
    bench.check_bits("master's request", master, 0x10u8, 0x10u8);
    bench.check_bits("slave's request", slave, 0x10u8, 0x10u8);
    bench.check_bits("the slave does not ask the master", master, 4u8, 0u8);
    taken(bench, "while it is masked", 0);
    unmask(bench, 0x10, 0);
    taken(bench, "when it is not", 0x24);
}

pub(super) fn acknowledge(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    unmask(bench, 0x10, 0);
    let (asks, serves) = (irr(bench, MASTER), isr(bench, MASTER));
    bench.check_bits("request before", asks, 0x10u8, 0x10u8);
    bench.check("in service before", serves, 0u8);
    taken(bench, "vector", 0x24);
    let (asks, serves) = (irr(bench, MASTER), isr(bench, MASTER));
    bench.check_bits("request after", asks, 0x10u8, 0u8);
    bench.check("in service after", serves, 0x10u8);
    bench.outb(MASTER, 0x20);
    let serves = isr(bench, MASTER);
    bench.check("in service after the end", serves, 0u8);
}

pub(super) fn nested_lower(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x11, 0);
    raise(bench, 0);
    taken(bench, "first", 0x20);
    raise(bench, 4);
    taken(bench, "before the end", 0);
    bench.outb(MASTER, 0x20);
    taken(bench, "after the end", 0x24);
}

pub(super) fn nested_higher(bench: &mut Bench<'_>) {
    pc(bench);
    // The timer may run after power-on, and would be the more urgent one too early.
    unmask(bench, 0x10, 0);
    raise(bench, 4);
    taken(bench, "first", 0x24);
    again(bench, 4);
    taken(bench, "the same again", 0);
    raise(bench, 0);
    unmask(bench, 0x11, 0);
    taken(bench, "a more urgent one", 0x20);
    let serves = isr(bench, MASTER);
    bench.check("in service", serves, 0x11u8);
}

pub(super) fn order(bench: &mut Bench<'_>) {
    pc(bench);
    for irq in [4, 1, 0] {
        raise(bench, irq);
    }
    unmask(bench, 0x13, 0);
    for (what, vector) in [("first", 0x20), ("second", 0x21), ("third", 0x24), ("fourth", 0)] {
        taken(bench, what, vector);
        bench.outb(MASTER, 0x20);
    }
}

pub(super) fn cascade_order(bench: &mut Bench<'_>) {
    pc(bench);
    // The keyboard's buffer is the mouse's too: 1 and 12 cannot be up together.
    for irq in [4, 12, 8, 0] {
        raise(bench, irq);
    }
    unmask(bench, 0x15, 0x11);
    let wanted = [("first", 0x20), ("second", 0x28), ("third", 0x2c), ("fourth", 0x24), ("fifth", 0)];
    for (what, vector) in wanted {
        taken(bench, what, vector);
        // No new flags of the clock meanwhile.
        bench.set_indexed(0x70, 11, 2);
        bench.outb(SLAVE, 0x20);
        bench.outb(MASTER, 0x20);
    }
}

pub(super) fn cascade_isr(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 12);
    unmask(bench, 4, 0x10);
    let asks = irr(bench, MASTER);
    bench.check_bits("the master's request before", asks, 4u8, 4u8);
    taken(bench, "vector", 0x2c);
    let (master, slave) = (isr(bench, MASTER), isr(bench, SLAVE));
    bench.check("master", master, 4u8);
    bench.check("slave", slave, 0x10u8);
}

pub(super) fn cascade_eoi(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 12);
    unmask(bench, 4, 0x10);
    taken(bench, "first", 0x2c);
    again(bench, 12);
    bench.outb(SLAVE, 0x20);
    let slave = isr(bench, SLAVE);
    bench.check("slave in service", slave, 0u8);
    taken(bench, "after the slave's end", 0);
    bench.outb(MASTER, 0x20);
    taken(bench, "after the master's end", 0x2c);
}

pub(super) fn sfnm(bench: &mut Bench<'_>) {
    program(bench, 0x11, 1);
    unmask(bench, 4, 0x11);
    raise(bench, 12);
    taken(bench, "first", 0x2c);
    raise(bench, 8);
    taken(bench, "second", 0x28);
    let slave = isr(bench, SLAVE);
    bench.check("slave in service", slave, 0x11u8);
}

pub(super) fn no_sfnm(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 4, 0x11);
    raise(bench, 12);
    taken(bench, "first", 0x2c);
    raise(bench, 8);
    taken(bench, "second", 0);
    let slave = irr(bench, SLAVE);
    bench.check_bits("it asks", slave, 1u8, 1u8);
}

pub(super) fn poll(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    raise(bench, 0);
    unmask(bench, 0x11, 0);
    let ops = [Op::Out(MASTER, Size::B1, 0x0c), Op::In(MASTER, Size::B1)];
    let word = bench.perform(&ops)[1];
    bench.check_bits("first", word, 0x87u8, 0x80u8);
    let serves = isr(bench, MASTER);
    bench.check("in service", serves, 1u8);
    let word = bench.perform(&ops)[1];
    bench.check_bits("a less urgent one", word, 0x80u8, 0u8);
    bench.outb(MASTER, 0x20);
    let word = bench.perform(&ops)[1];
    bench.check_bits("after the end", word, 0x87u8, 0x84u8);
    let asks = irr(bench, MASTER);
    bench.check_bits("requests", asks, 0x11u8, 0u8);
}

pub(super) fn poll_nothing(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    for (name, chip) in [("master", MASTER), ("slave", SLAVE)] {
        let word = bench.perform(&[Op::Out(chip, Size::B1, 0x0c), Op::In(chip, Size::B1)])[1];
        bench.check_bits(name, word, 0x80u8, 0u8);
        let serves = isr(bench, chip);
        bench.check(format!("{name} in service"), serves, 0u8);
    }
}

pub(super) fn poll_once(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    unmask(bench, 0x10, 0);
    bench.outb(MASTER, 0x0b);
    let (word, next) = {
        let read = Op::In(MASTER, Size::B1);
        let answers = bench.perform(&[Op::Out(MASTER, Size::B1, 0x0c), read, read]);
        (answers[1], answers[2])
    };
    bench.check_bits("first read", word, 0x87u8, 0x84u8);
    bench.check("second read: what was selected", next, 0x10u8);
}

pub(super) fn poll_slave(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 12);
    bench.outb(SLAVE + 1, 0xef);
    let word = bench.perform(&[Op::Out(SLAVE, Size::B1, 0x0c), Op::In(SLAVE, Size::B1)])[1];
    bench.check_bits("word", word, 0x87u8, 0x84u8);
    let serves = isr(bench, SLAVE);
    bench.check("in service", serves, 0x10u8);
    let serves = isr(bench, MASTER);
    bench.check("the master's in service", serves, 0u8);
}
