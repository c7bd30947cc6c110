//! The interrupt controllers 8259A with ELCR. Intel 8259A datasheet (231468) and, for the edge/level control
//! registers, Intel 82371SB (PIIX3) datasheet (290550).
//!
//! Requests are made by devices whose lines software moves at will: the timer's counter 0 in mode 0 (IRQ 0), the
//! keyboard controller's output buffers (1 and 12), the transmitter of COM1 (4), the clock's periodic flag (8).

mod ends;
mod lines;
mod service;
mod words;

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
        case("mask register holds every bit", "8259A, OCW1", words::mask_bits),
        case("ICW1 clears the mask", "8259A, ICW1, item b", words::icw1_mask),
        case("ICW1 selects the request register", "8259A, ICW1, item e", words::icw1_read),
        case("ICW1 ends what is in service", "8259A, ICW1, item a", words::icw1_isr),
        case("ICW1 forgets an edge", "8259A, ICW1, item a", words::icw1_edge),
        case("ICW1 makes input 7 the last", "8259A, ICW1, item c", words::icw1_priority),
        case("ICW1 clears special mask mode", "8259A, ICW1, item e", words::icw1_special),
        case("ICW2 gives the upper five bits of the vector", "8259A, ICW2", words::icw2),
        case("SNGL leaves out ICW3", "8259A, figure 6, initialization sequence", words::single),
        case("without IC4 there is no ICW4", "8259A, figure 6, initialization sequence", words::no_icw4),
        case("a masked request waits", "8259A, OCW1 and IRR", service::masked),
        case(
            "an acknowledge moves a request into service",
            "8259A, interrupt sequence, 4",
            service::acknowledge,
        ),
        case("a less urgent request waits for the end", "8259A, fully nested mode", service::nested_lower),
        case("a more urgent request nests", "8259A, fully nested mode", service::nested_higher),
        case("input 0 goes first", "8259A, fully nested mode", service::order),
        case("the slave comes in place of input 2", "8259A, cascade mode", service::cascade_order),
        case("a slave's interrupt is in service in both", "8259A, cascade mode", service::cascade_isr),
        case("the slave waits for the master's end", "8259A, cascade mode", service::cascade_eoi),
        case(
            "special fully nested mode lets a slave nest",
            "8259A, special fully nested mode",
            service::sfnm,
        ),
        case(
            "without it a slave does not nest",
            "8259A, special fully nested mode, item a",
            service::no_sfnm,
        ),
        case("non-specific end takes the most urgent", "8259A, end of interrupt", ends::eoi),
        case("specific end takes the one that is named", "8259A, end of interrupt", ends::specific_eoi),
        case("an end with nothing in service does nothing", "8259A, end of interrupt", ends::idle_eoi),
        case("automatic end leaves nothing in service", "8259A, AEOI mode", ends::aeoi),
        case("automatic rotation", "8259A, automatic rotation, rotate in AEOI mode", ends::aeoi_rotation),
        case("rotation with a non-specific end", "8259A, automatic rotation", ends::eoi_rotation),
        case("rotation with a specific end", "8259A, specific rotation", ends::specific_rotation),
        case(
            "set priority makes a level the last",
            "8259A, specific rotation, set priority",
            ends::set_priority,
        ),
        case("OCW2 without a command does nothing", "8259A, OCW2, no operation", ends::no_operation),
        case("special mask mode lets less urgent ones in", "8259A, special mask mode", ends::special_mask),
        case("special mask mode hides from a non-specific end", "8259A, end of interrupt", ends::special_eoi),
        case("special mask mode stays without ESMM", "8259A, OCW3", ends::esmm),
        case("poll acknowledges", "8259A, poll command", service::poll),
        case("poll without a request", "8259A, poll command", service::poll_nothing),
        case("poll is for one read", "8259A, poll command", service::poll_once),
        case("poll on the slave", "8259A, poll command", service::poll_slave),
        case("what is read is remembered", "8259A, reading the 8259A status", words::selection),
        case("OCW3 without RR keeps what is read", "8259A, OCW3", words::no_rr),
        case("ELCR has thirteen bits less five", "82371SB, ELCR1 and ELCR2", lines::elcr_bits),
        case("ELCR after reset", "82371SB, ELCR1 and ELCR2, default 00h", lines::elcr_reset),
        case("an edge asks once", "8259A, edge and level triggered modes", lines::edge_once),
        case("a level asks as long as it is there", "8259A, edge and level triggered modes", lines::level),
        case(
            "a level that goes takes its request along",
            "8259A, edge and level triggered modes",
            lines::level_gone,
        ),
        case("a line turned to level shows at once", "82371SB, ELCR1 and ELCR2", lines::late_level),
        case("an edge whose line falls", "no document: real chips differ", lines::edge_falls),
        case("a slave that withdraws", "no document: real chips differ", lines::slave_withdraws),
        case("registers at power-on", "no document: ICWs come first", words::power_on),
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

/// Inputs 4 and 0 in service.
fn two_in_service(bench: &mut Bench<'_>) {
    pc(bench);
    unmask(bench, 0x11, 0);
    raise(bench, 4);
    taken(bench, "first", 0x24);
    raise(bench, 0);
    taken(bench, "second", 0x20);
}
