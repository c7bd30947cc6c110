//! Port 0x92: A20 and fast reset. IBM PS/2 Hardware Interface Technical Reference, "System Control Port A", and Intel
//! 82371AB (PIIX4) datasheet, order 290562.

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::{Op, Size};

pub(super) const GROUP: Group = Group {
    device: "port92",
    about: "system control port A",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("A20 follows bit 1", "82371AB 4.2.7, ALT_A20_GATE", a20),
    case("reset begins when bit 0 rises", "82371AB 4.2.7, FAST_INIT", fast_reset),
    case("bit 0 low resets nothing", "82371AB 4.2.7, FAST_INIT", no_reset),
    case("bit 1 is kept beside bit 0", "82371AB 4.2.7", both),
    case("what is read after power-on", "82371AB 4.2.7: A20 is let through", power_on),
    case("the security lock and watchdog bits", "PS/2 System Control Port A, bits 7:2", others),
    case("a reset takes it back", "82371AB 4.2.7", reset),
    case("a word write reaches it by its low byte", "PCI 2.1, 3.7.1: byte lanes", word),
    case("the keyboard controller's A20 is another", "82371AB 4.2.7: A20 is the OR of both", two_gates),
    case("reading has no effect", "82371AB 4.2.7", reading),
    case("it is a byte wide", "82371AB table 3", width),
    case("many changes in a row", "82371AB 4.2.7, ALT_A20_GATE", toggling),
    case("memory above 1 MiB is seen with A20", "82371AB 4.2.7, ALT_A20_GATE", memory),
    case("it does not disturb port 0x61", "82371AB table 3", neighbours),
    case("a string of writes leaves the last", "82371AB 4.2.7", string),
];

fn a20(bench: &mut Bench<'_>) {
    for level in [2_u8, 0, 2] {
        bench.outb(0x92, level);
        let read = bench.inb(0x92);
        bench.check_bits("bit 1", read, 2_u8, level);
    }
}

fn fast_reset(bench: &mut Bench<'_>) {
    bench.set_config(1, 0, 0x60, Size::B1, 10);
    bench.perform(&[Op::Out(0x92, Size::B1, 2), Op::Out(0x92, Size::B1, 3)]);
    let route = bench.config(1, 0, 0x60, Size::B1);
    bench.check("link A of the PCI router", route, 0x80_u32);
}

fn no_reset(bench: &mut Bench<'_>) {
    bench.set_config(1, 0, 0x60, Size::B1, 10);
    for value in [0, 2, 0, 2] {
        bench.outb(0x92, value);
    }
    let route = bench.config(1, 0, 0x60, Size::B1);
    bench.check_bits("link A of the PCI router", route, 0x8f_u32, 10_u32);
}

fn both(bench: &mut Bench<'_>) {
    bench.outb(0x92, 2);
    let read = bench.inb(0x92);
    bench.check_bits("bits 1 and 0", read, 3_u8, 2_u8);
}

fn power_on(bench: &mut Bench<'_>) {
    let read = bench.inb(0x92);
    bench.note("the port", read);
}

fn others(bench: &mut Bench<'_>) {
    bench.outb(0x92, 0xfe);
    let read = bench.inb(0x92);
    bench.note("bits 7 to 2 after ones", read);
    bench.outb(0x92, 0x02);
    let read = bench.inb(0x92);
    bench.note("bits 7 to 2 after zeros", read);
}

fn reset(bench: &mut Bench<'_>) {
    let before = bench.inb(0x92);
    bench.outb(0x92, 2 ^ (before & 2));
    bench.reset();
    let after = bench.inb(0x92);
    bench.check("the port", after, before);
}

fn word(bench: &mut Bench<'_>) {
    bench.outb(0x92, 0);
    bench.outw(0x92, 0x0002);
    let read = bench.inb(0x92);
    bench.check_bits("bit 1", read, 2_u8, 2_u8);
}

fn two_gates(bench: &mut Bench<'_>) {
    bench.outb(0x92, 0);
    // Write output port: A20 on, no reset.
    bench.outb(0x64, 0xd1);
    bench.outb(0x60, 0xdf);
    let read = bench.inb(0x92);
    bench.note("bit 1 after the other gate", read & 2);
}

fn reading(bench: &mut Bench<'_>) {
    bench.outb(0x92, 2);
    let reads = bench.perform(&[Op::In(0x92, Size::B1); 4]);
    bench.check_that(
        "four reads agree",
        reads.windows(2).all(|pair| pair[0] == pair[1]),
        format!("{reads:x?}"),
    );
}

fn width(bench: &mut Bench<'_>) {
    let next = bench.inb(0x93);
    bench.check("the port above it", next, 0xff_u8);
    let below = bench.inb(0x91);
    bench.note("the port below it", below);
}

fn toggling(bench: &mut Bench<'_>) {
    for round in 0..16_u8 {
        bench.outb(0x92, (round & 1) << 1);
    }
    let read = bench.inb(0x92);
    bench.check_bits("bit 1", read, 2_u8, 2_u8);
}

fn memory(bench: &mut Bench<'_>) {
    bench.outb(0x92, 2);
    bench.poke(0x20_0000, &[0x11]);
    bench.poke(0x30_0000, &[0x22]);
    let bytes = [bench.peek(0x20_0000, 1), bench.peek(0x30_0000, 1)].concat();
    bench.check_bytes("2 MiB and 3 MiB", &bytes, &[0x11, 0x22]);
}

fn neighbours(bench: &mut Bench<'_>) {
    bench.outb(0x61, 2);
    bench.outb(0x92, 0);
    bench.outb(0x92, 2);
    let read = bench.inb(0x61);
    bench.check_bits("port 0x61", read, 3_u8, 2_u8);
}

fn string(bench: &mut Bench<'_>) {
    bench.poke(0x20_0000, &[0, 2, 0, 2, 0]);
    bench.perform(&[Op::OutString(0x92, Size::B1, 5, 0x20_0000)]);
    let read = bench.inb(0x92);
    bench.check_bits("bit 1", read, 2_u8, 0_u8);
}
