//! Ends of interrupts, rotation and special mask mode.

use super::{MASTER, again, irr, isr, pc, program, raise, taken, two_in_service, unmask};
use crate::bench::Bench;

pub(super) fn eoi(bench: &mut Bench<'_>) {
    two_in_service(bench);
    bench.outb(MASTER, 0x20);
    let serves = isr(bench, MASTER);
    bench.check("after one end", serves, 0x10u8);
    bench.outb(MASTER, 0x20);
    let serves = isr(bench, MASTER);
    bench.check("after two", serves, 0u8);
}

pub(super) fn specific_eoi(bench: &mut Bench<'_>) {
    two_in_service(bench);
    for (what, command, left) in [("4", 0x64, 1u8), ("5, which is not", 0x65, 1), ("0", 0x60, 0)] {
        bench.outb(MASTER, command);
        let serves = isr(bench, MASTER);
        bench.check(format!("after the end of {what}"), serves, left);
    }
}

pub(super) fn idle_eoi(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    for command in [0x20, 0x64, 0xa0] {
        bench.outb(MASTER, command);
    }
    let (asks, serves) = (irr(bench, MASTER), isr(bench, MASTER));
    bench.check_bits("request", asks, 0x10u8, 0x10u8);
    bench.check("in service", serves, 0u8);
    raise(bench, 0);
    unmask(bench, 0x11, 0);
    taken(bench, "first", 0x20);
}

pub(super) fn aeoi(bench: &mut Bench<'_>) {
    program(bench, 3, 1);
    unmask(bench, 0x11, 0);
    raise(bench, 0);
    taken(bench, "first", 0x20);
    let serves = isr(bench, MASTER);
    bench.check("in service", serves, 0u8);
    raise(bench, 4);
    taken(bench, "a less urgent one", 0x24);
}

pub(super) fn aeoi_rotation(bench: &mut Bench<'_>) {
    program(bench, 3, 1);
    bench.outb(MASTER, 0x80);
    raise(bench, 0);
    raise(bench, 4);
    unmask(bench, 0x11, 0);
    // 0 first; then it is the last, and 4 makes itself the last and 5 the first.
    taken(bench, "first", 0x20);
    unmask(bench, 0, 0);
    raise(bench, 0);
    unmask(bench, 0x11, 0);
    taken(bench, "second", 0x24);
    taken(bench, "third", 0x20);
    // 1 is the first now: end rotation here.
    bench.outb(MASTER, 0);
    for _ in 0..2 {
        unmask(bench, 0, 0);
        raise(bench, 0);
        again(bench, 4);
        unmask(bench, 0x11, 0);
        taken(bench, "without rotation, first", 0x24);
        taken(bench, "without rotation, second", 0x20);
    }
}

pub(super) fn eoi_rotation(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x11, 0);
    raise(bench, 0);
    taken(bench, "first", 0x20);
    bench.outb(MASTER, 0xa0);
    let serves = isr(bench, MASTER);
    bench.check("in service", serves, 0u8);
    unmask(bench, 0, 0);
    raise(bench, 0);
    raise(bench, 4);
    unmask(bench, 0x11, 0);
    taken(bench, "then the other one", 0x24);
    taken(bench, "input 0 is the last", 0);
    bench.outb(MASTER, 0xa0);
    taken(bench, "after its end", 0x20);
}

pub(super) fn specific_rotation(bench: &mut Bench<'_>) {
    two_in_service(bench);
    bench.outb(MASTER, 0xe3);
    let serves = isr(bench, MASTER);
    bench.check("in service: 3 was not", serves, 0x11u8);
    // 4 is the first now, so a plain end is its.
    bench.outb(MASTER, 0x20);
    let serves = isr(bench, MASTER);
    bench.check("in service after an end", serves, 1u8);
    bench.outb(MASTER, 0xe0);
    let serves = isr(bench, MASTER);
    bench.check("in service after 0's end", serves, 0u8);
}

pub(super) fn set_priority(bench: &mut Bench<'_>) {
    for (last, first) in [(3, 0x24), (7, 0x20), (0, 0x24), (4, 0x20)] {
        pc(bench);
        raise(bench, 0);
        again(bench, 4);
        bench.outb(MASTER, 0xc0 | last);
        unmask(bench, 0x11, 0);
        taken(bench, &format!("first when {last} is the last"), first);
    }
}

pub(super) fn no_operation(bench: &mut Bench<'_>) {
    two_in_service(bench);
    for command in [0x40, 0x47] {
        bench.outb(MASTER, command);
    }
    let serves = isr(bench, MASTER);
    bench.check("in service", serves, 0x11u8);
    bench.outb(MASTER, 0x20);
    let serves = isr(bench, MASTER);
    bench.check("the most urgent is still 0", serves, 0x10u8);
}

pub(super) fn special_mask(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x11, 0);
    raise(bench, 0);
    taken(bench, "first", 0x20);
    raise(bench, 4);
    bench.outb(MASTER, 0x68);
    taken(bench, "before input 0 is masked", 0);
    unmask(bench, 0x10, 0);
    taken(bench, "after", 0x24);
    let serves = isr(bench, MASTER);
    bench.check("in service", serves, 0x11u8);
}

pub(super) fn special_eoi(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x11, 0);
    raise(bench, 0);
    taken(bench, "first", 0x20);
    bench.outb(MASTER, 0x68);
    unmask(bench, 0x10, 0);
    bench.outb(MASTER, 0x20);
    let serves = isr(bench, MASTER);
    bench.check("in service after a non-specific end", serves, 1u8);
    bench.outb(MASTER, 0x60);
    let serves = isr(bench, MASTER);
    bench.check("in service after a specific end", serves, 0u8);
}

pub(super) fn esmm(bench: &mut Bench<'_>) {
    for (what, words, vector) in [
        ("SMM without ESMM sets nothing", &[0x28][..], 0),
        ("nor does it clear", &[0x68, 0x08], 0x24),
        ("ESMM without SMM clears", &[0x68, 0x48], 0),
    ] {
        pc(bench);
        unmask(bench, 0x11, 0);
        raise(bench, 0);
        taken(bench, "first", 0x20);
        for word in words {
            bench.outb(MASTER, *word);
        }
        unmask(bench, 0x10, 0);
        again(bench, 4);
        taken(bench, what, vector);
    }
}
