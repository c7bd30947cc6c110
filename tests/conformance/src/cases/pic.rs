//! The interrupt controllers 8259A with ELCR. Intel 8259A datasheet (231468) and, for the edge/level control
//! registers, Intel 82371SB (PIIX3) datasheet (290550).
//!
//! Requests are made by devices whose lines software moves at will: the timer's counter 0 in mode 0 (IRQ 0), the
//! keyboard controller's output buffers (1 and 12), the transmitter of COM1 (4), the clock's periodic flag (8).

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::{Op, Size};

const MASTER: u16 = 0x20;
const SLAVE: u16 = 0xa0;
const ELCR: [u16; 2] = [0x4d0, 0x4d1];
/// How long an interrupt may take to arrive.
const SOON: u64 = 100_000;

pub(super) const GROUP: Group = Group {
    device: "pic",
    about: "interrupt controllers 8259A with ELCR",
    setup: Setup { disks: &[], args: &[] },
    cases: &[
        case("mask register holds every bit", "8259A, OCW1", mask_bits),
        case("ICW1 clears the mask", "8259A, ICW1, item b", icw1_mask),
        case("ICW1 selects the request register", "8259A, ICW1, item e", icw1_read),
        case("ICW1 ends what is in service", "8259A, ICW1, item a", icw1_isr),
        case("ICW1 forgets an edge", "8259A, ICW1, item a", icw1_edge),
        case("ICW1 makes input 7 the last", "8259A, ICW1, item c", icw1_priority),
        case("ICW1 clears special mask mode", "8259A, ICW1, item e", icw1_special),
        case("ICW2 gives the upper five bits of the vector", "8259A, ICW2", icw2),
        case("SNGL leaves out ICW3", "8259A, figure 6, initialization sequence", single),
        case("without IC4 there is no ICW4", "8259A, figure 6, initialization sequence", no_icw4),
        case("a masked request waits", "8259A, OCW1 and IRR", masked),
        case("an acknowledge moves a request into service", "8259A, interrupt sequence, 4", acknowledge),
        case("a less urgent request waits for the end", "8259A, fully nested mode", nested_lower),
        case("a more urgent request nests", "8259A, fully nested mode", nested_higher),
        case("input 0 goes first", "8259A, fully nested mode", order),
        case("the slave comes in place of input 2", "8259A, cascade mode", cascade_order),
        case("a slave's interrupt is in service in both", "8259A, cascade mode", cascade_isr),
        case("the slave waits for the master's end", "8259A, cascade mode", cascade_eoi),
        case("special fully nested mode lets a slave nest", "8259A, special fully nested mode", sfnm),
        case("without it a slave does not nest", "8259A, special fully nested mode, item a", no_sfnm),
        case("non-specific end takes the most urgent", "8259A, end of interrupt", eoi),
        case("specific end takes the one that is named", "8259A, end of interrupt", specific_eoi),
        case("an end with nothing in service does nothing", "8259A, end of interrupt", idle_eoi),
        case("automatic end leaves nothing in service", "8259A, AEOI mode", aeoi),
        case("automatic rotation", "8259A, automatic rotation, rotate in AEOI mode", aeoi_rotation),
        case("rotation with a non-specific end", "8259A, automatic rotation", eoi_rotation),
        case("rotation with a specific end", "8259A, specific rotation", specific_rotation),
        case("set priority makes a level the last", "8259A, specific rotation, set priority", set_priority),
        case("OCW2 without a command does nothing", "8259A, OCW2, no operation", no_operation),
        case("special mask mode lets less urgent ones in", "8259A, special mask mode", special_mask),
        case("special mask mode hides from a non-specific end", "8259A, end of interrupt", special_eoi),
        case("special mask mode stays without ESMM", "8259A, OCW3", esmm),
        case("poll acknowledges", "8259A, poll command", poll),
        case("poll without a request", "8259A, poll command", poll_nothing),
        case("poll is for one read", "8259A, poll command", poll_once),
        case("poll on the slave", "8259A, poll command", poll_slave),
        case("what is read is remembered", "8259A, reading the 8259A status", selection),
        case("OCW3 without RR keeps what is read", "8259A, OCW3", no_rr),
        case("ELCR has thirteen bits less five", "82371SB, ELCR1 and ELCR2", elcr_bits),
        case("ELCR after reset", "82371SB, ELCR1 and ELCR2, default 00h", elcr_reset),
        case("an edge asks once", "8259A, edge and level triggered modes", edge_once),
        case("a level asks as long as it is there", "8259A, edge and level triggered modes", level),
        case(
            "a level that goes takes its request along",
            "8259A, edge and level triggered modes",
            level_gone,
        ),
        case("a line turned to level shows at once", "82371SB, ELCR1 and ELCR2", late_level),
        case("an edge whose line falls", "no document: real chips differ", edge_falls),
        case("a slave that withdraws", "no document: real chips differ", slave_withdraws),
        case("registers at power-on", "no document: ICWs come first", power_on),
    ],
};

/// Both chips as PCs have them, all edges, everything masked; `master` and `slave` are their ICW4.
fn program(bench: &mut Bench<'_>, master: u8, slave: u8) {
    for (port, vector, wiring, icw4) in [(MASTER, 0x20, 4, master), (SLAVE, 0x28, 2, slave)] {
        let words = [0x11, vector, wiring, icw4, 0xff];
        let out =
            |(index, word): (usize, &u8)| Op::Out(port + u16::from(index > 0), Size::B1, (*word).into());
        bench.perform(&words.iter().enumerate().map(out).collect::<Vec<_>>());
    }
    for port in ELCR {
        bench.outb(port, 0);
    }
}

fn pc(bench: &mut Bench<'_>) {
    program(bench, 1, 1);
}

fn unmask(bench: &mut Bench<'_>, master: u8, slave: u8) {
    bench.outb(MASTER + 1, !master);
    bench.outb(SLAVE + 1, !slave);
}

/// A request whose line stays up until [`lower`].
fn raise(bench: &mut Bench<'_>, irq: u8) {
    match irq {
        0 => {
            // Mode 0: down with a count, up when it is through.
            let long = [(0x43, 0x30), (0x40, 0xff), (0x40, 0xff)];
            let short = [(0x43, 0x30), (0x40, 2), (0x40, 0)];
            let ports = long.iter().chain(&short);
            let ops = ports.map(|(port, value)| Op::Out(*port, Size::B1, *value));
            bench.perform(&ops.chain([Op::Wait(10_000)]).collect::<Vec<_>>());
        }
        1 | 12 => {
            let buffer = if irq == 1 { 0xd2 } else { 0xd3 };
            for (port, value) in [(0x64, 0x60), (0x60, 3), (0x64, buffer), (0x60, 0x55)] {
                bench.outb(port, value);
                bench.wait(20_000);
            }
        }
        4 => {
            // OUT2 lets the line through; an empty transmitter asks as soon as it may.
            bench.outb(0x3fc, 8);
            bench.outb(0x3f9, 2);
        }
        8 => {
            bench.set_indexed(0x70, 10, 0x26);
            bench.set_indexed(0x70, 11, 0x42);
            bench.wait(2_500_000);
        }
        _ => unreachable!("no device moves this line"),
    }
}

fn lower(bench: &mut Bench<'_>, irq: u8) {
    match irq {
        1 | 12 => drop(bench.inb(0x60)),
        4 => bench.outb(0x3f9, 0),
        8 => {
            bench.set_indexed(0x70, 11, 2);
            bench.indexed(0x70, 12);
        }
        _ => unreachable!("this line is moved by raising it"),
    }
}

fn again(bench: &mut Bench<'_>, irq: u8) {
    if irq != 0 {
        lower(bench, irq);
    }
    raise(bench, irq);
}

fn irr(bench: &mut Bench<'_>, chip: u16) -> u8 {
    bench.outb(chip, 0x0a);
    bench.inb(chip)
}

fn isr(bench: &mut Bench<'_>, chip: u16) -> u8 {
    bench.outb(chip, 0x0b);
    bench.inb(chip)
}

/// The next interrupt's vector must be this; 0: there is none.
fn taken(bench: &mut Bench<'_>, what: &str, vector: u8) {
    let got = bench.interrupt(SOON);
    bench.check(what, got.unwrap_or(0), vector);
}

fn mask_bits(bench: &mut Bench<'_>) {
    pc(bench);
    for (name, port) in [("master", MASTER + 1), ("slave", SLAVE + 1)] {
        for value in [0u8, 0x55, 0xaa, 0xff, 1, 0x80] {
            bench.outb(port, value);
            let read = bench.inb(port);
            bench.check(format!("{name} with {value:#04x}"), read, value);
        }
    }
}

fn icw1_mask(bench: &mut Bench<'_>) {
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

fn icw1_read(bench: &mut Bench<'_>) {
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

fn icw1_isr(bench: &mut Bench<'_>) {
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

fn icw1_edge(bench: &mut Bench<'_>) {
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

fn icw1_priority(bench: &mut Bench<'_>) {
    pc(bench);
    bench.outb(MASTER, 0xc2);
    pc(bench);
    raise(bench, 4);
    raise(bench, 0);
    unmask(bench, 0x11, 0);
    taken(bench, "first", 0x20);
}

fn icw1_special(bench: &mut Bench<'_>) {
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

fn icw2(bench: &mut Bench<'_>) {
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

fn single(bench: &mut Bench<'_>) {
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

fn no_icw4(bench: &mut Bench<'_>) {
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

fn masked(bench: &mut Bench<'_>) {
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

fn acknowledge(bench: &mut Bench<'_>) {
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

fn nested_lower(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x11, 0);
    raise(bench, 0);
    taken(bench, "first", 0x20);
    raise(bench, 4);
    taken(bench, "before the end", 0);
    bench.outb(MASTER, 0x20);
    taken(bench, "after the end", 0x24);
}

fn nested_higher(bench: &mut Bench<'_>) {
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

fn order(bench: &mut Bench<'_>) {
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

fn cascade_order(bench: &mut Bench<'_>) {
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

fn cascade_isr(bench: &mut Bench<'_>) {
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

fn cascade_eoi(bench: &mut Bench<'_>) {
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

fn sfnm(bench: &mut Bench<'_>) {
    program(bench, 0x11, 1);
    unmask(bench, 4, 0x11);
    raise(bench, 12);
    taken(bench, "first", 0x2c);
    raise(bench, 8);
    taken(bench, "second", 0x28);
    let slave = isr(bench, SLAVE);
    bench.check("slave in service", slave, 0x11u8);
}

fn no_sfnm(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 4, 0x11);
    raise(bench, 12);
    taken(bench, "first", 0x2c);
    raise(bench, 8);
    taken(bench, "second", 0);
    let slave = irr(bench, SLAVE);
    bench.check_bits("it asks", slave, 1u8, 1u8);
}

/// Inputs 4 and 0 in service.
fn two_in_service(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x11, 0);
    raise(bench, 4);
    taken(bench, "first", 0x24);
    raise(bench, 0);
    taken(bench, "second", 0x20);
}

fn eoi(bench: &mut Bench<'_>) {
    two_in_service(bench);
    bench.outb(MASTER, 0x20);
    let serves = isr(bench, MASTER);
    bench.check("after one end", serves, 0x10u8);
    bench.outb(MASTER, 0x20);
    let serves = isr(bench, MASTER);
    bench.check("after two", serves, 0u8);
}

fn specific_eoi(bench: &mut Bench<'_>) {
    two_in_service(bench);
    for (what, command, left) in [("4", 0x64, 1u8), ("5, which is not", 0x65, 1), ("0", 0x60, 0)] {
        bench.outb(MASTER, command);
        let serves = isr(bench, MASTER);
        bench.check(format!("after the end of {what}"), serves, left);
    }
}

fn idle_eoi(bench: &mut Bench<'_>) {
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

fn aeoi(bench: &mut Bench<'_>) {
    program(bench, 3, 1);
    unmask(bench, 0x11, 0);
    raise(bench, 0);
    taken(bench, "first", 0x20);
    let serves = isr(bench, MASTER);
    bench.check("in service", serves, 0u8);
    raise(bench, 4);
    taken(bench, "a less urgent one", 0x24);
}

fn aeoi_rotation(bench: &mut Bench<'_>) {
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

fn eoi_rotation(bench: &mut Bench<'_>) {
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

fn specific_rotation(bench: &mut Bench<'_>) {
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

fn set_priority(bench: &mut Bench<'_>) {
    for (last, first) in [(3, 0x24), (7, 0x20), (0, 0x24), (4, 0x20)] {
        pc(bench);
        raise(bench, 0);
        again(bench, 4);
        bench.outb(MASTER, 0xc0 | last);
        unmask(bench, 0x11, 0);
        taken(bench, &format!("first when {last} is the last"), first);
    }
}

fn no_operation(bench: &mut Bench<'_>) {
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

fn special_mask(bench: &mut Bench<'_>) {
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

fn special_eoi(bench: &mut Bench<'_>) {
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

fn esmm(bench: &mut Bench<'_>) {
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

fn poll(bench: &mut Bench<'_>) {
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

fn poll_nothing(bench: &mut Bench<'_>) {
    pc(bench);
    raise(bench, 4);
    for (name, chip) in [("master", MASTER), ("slave", SLAVE)] {
        let word = bench.perform(&[Op::Out(chip, Size::B1, 0x0c), Op::In(chip, Size::B1)])[1];
        bench.check_bits(name, word, 0x80u8, 0u8);
        let serves = isr(bench, chip);
        bench.check(format!("{name} in service"), serves, 0u8);
    }
}

fn poll_once(bench: &mut Bench<'_>) {
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

fn poll_slave(bench: &mut Bench<'_>) {
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

fn selection(bench: &mut Bench<'_>) {
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

fn no_rr(bench: &mut Bench<'_>) {
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

fn elcr_bits(bench: &mut Bench<'_>) {
    pc(bench);
    for (port, mask) in ELCR.into_iter().zip([0xf8u8, 0xde]) {
        for value in [0u8, 0xff, 0x55, 0xaa] {
            bench.outb(port, value);
            let read = bench.inb(port);
            bench.check(format!("{port:#x} with {value:#04x}"), read, value & mask);
        }
    }
}

fn elcr_reset(bench: &mut Bench<'_>) {
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

fn edge_once(bench: &mut Bench<'_>) {
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

fn level(bench: &mut Bench<'_>) {
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

fn level_gone(bench: &mut Bench<'_>) {
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

fn late_level(bench: &mut Bench<'_>) {
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

fn edge_falls(bench: &mut Bench<'_>) {
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

fn slave_withdraws(bench: &mut Bench<'_>) {
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

fn power_on(bench: &mut Bench<'_>) {
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
