//! What cases stand on: every kind of machine must do it, whatever drives it.

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::{Op, RAM_MIB, Size};

pub(super) const GROUP: Group = Group {
    device: "tools",
    about: "the machine as cases see it: steps, RAM, time, interrupts, reset",
    setup: Setup { disks: &[], args: &[] },
    cases: &[
        case("RAM takes and gives every size", "SDM 3A 9.1.1", sizes),
        case("large blocks of RAM come back", "SDM 3A 3.3", blocks),
        case("string operations move every item", "SDM 2B, INS and OUTS", strings),
        case("guest time passes as told", "machine.rs, Op::Wait", waits),
        case("a long wait is as long", "machine.rs, Op::Wait", long_wait),
        case("an interrupt brings its vector", "8259A, interrupt sequence", interrupts),
        case("a masked interrupt does not come", "8259A, OCW1", masked),
        case("all goes on with A20 closed", "82371AB 4.2.7, bit 1", a20),
        case("all goes on whatever shadow RAM is on", "82441FX 3.2.17, PAM", shadow),
        case("a reset is a power-on", "82371SB 2.5.1, ELCR after reset", reset),
        case("a reset by port comes back", "82371SB 2.5.3.2, RC", reset_by_port),
    ],
};

/// Free RAM that nothing else here uses.
const HERE: u64 = 0x20_0000;
/// A writable register without an effect: the page of a DMA channel that does nothing.
const SCRATCH: u16 = 0x81;
/// Edge or level of interrupts 0 to 7; 0 after a reset.
const ELCR: u16 = 0x4d0;

fn sizes(bench: &mut Bench<'_>) {
    bench.poke(HERE, &[0; 32]);
    let value = 0x1122_3344_5566_7788_u64;
    let all = [Size::B1, Size::B2, Size::B4, Size::B8];
    for (at, size) in (0..).step_by(8).zip(all) {
        let masked = value & (u64::MAX >> (64 - 8 * size.bytes()));
        let odd = HERE + at + u64::from(size != Size::B8);
        bench.write(odd, size, value);
        let read = bench.read(odd, size);
        bench.check(format!("{size:?}"), read, masked);
    }
    let bytes = bench.peek(HERE, 32);
    let mut want = [0; 32];
    want[1] = 0x88;
    want[9..11].copy_from_slice(&[0x88, 0x77]);
    want[17..21].copy_from_slice(&[0x88, 0x77, 0x66, 0x55]);
    want[24..].copy_from_slice(&value.to_le_bytes());
    bench.check_bytes("bytes", &bytes, &want);
}

fn blocks(bench: &mut Bench<'_>) {
    let data: Vec<u8> = (0..40_001_u32).map(|at| (at * 7 ^ at >> 8) as u8).collect();
    bench.poke(HERE + 1, &data);
    let got = bench.peek(HERE + 1, data.len());
    bench.check_that("40001 bytes", got == data, "others");
    let end = RAM_MIB << 20;
    bench.poke(end - 4, &[1, 2, 3, 4]);
    let got = bench.peek(end - 4, 4);
    bench.check_bytes("end of RAM", &got, &[1, 2, 3, 4]);
}

fn strings(bench: &mut Bench<'_>) {
    bench.poke(HERE, &[0xa1, 0xb2, 0xc3, 0, 0, 0, 0, 0]);
    bench.perform(&[Op::OutString(SCRATCH, Size::B1, 3, HERE), Op::InString(SCRATCH, Size::B1, 4, HERE + 3)]);
    let bytes = bench.peek(HERE, 8);
    bench.check_bytes("3 out, 4 in", &bytes, &[0xa1, 0xb2, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0]);
}

fn wait_of(bench: &mut Bench<'_>, ns: u64) {
    let times = bench.perform(&[Op::Now, Op::Wait(ns), Op::Now]);
    let passed = times[2].wrapping_sub(times[0]);
    // Two of the three steps end between the two looks at the time.
    let most = ns + 2 * bench.slack();
    bench.check_range(format!("{ns} ns"), passed, ns, most);
}

fn waits(bench: &mut Bench<'_>) {
    for ns in [0, 100, 1000, 10_000, 1_000_000, 100_000_000] {
        wait_of(bench, ns);
    }
}

fn long_wait(bench: &mut Bench<'_>) {
    // More than 2^32 ns.
    wait_of(bench, 5_000_000_000);
}

/// The 8254's counter 0 in mode 0: one edge after so many periods of 838 ns.
fn one_shot(bench: &mut Bench<'_>, periods: u16) {
    let [low, high] = periods.to_le_bytes();
    bench.outb(0x43, 0x30);
    bench.outb(0x40, low);
    bench.outb(0x40, high);
}

fn interrupts(bench: &mut Bench<'_>) {
    bench.interrupts();
    bench.outb(0x21, 0xfe);
    one_shot(bench, 1000);
    let vector = bench.interrupt(2_000_000);
    bench.check("vector", vector.map_or(0, u16::from), 0x20u16);
    bench.outb(0x20, 0x20);
    let vector = bench.interrupt(1_000_000);
    bench.check_that("no second one", vector.is_none(), format_args!("{vector:?}"));
    one_shot(bench, 10);
    bench.wait(1_000_000);
    let vector = bench.interrupt(0);
    bench.check("one that waits", vector.map_or(0, u16::from), 0x20u16);
}

fn masked(bench: &mut Bench<'_>) {
    bench.interrupts();
    one_shot(bench, 10);
    let vector = bench.interrupt(1_000_000);
    bench.check_that("nothing", vector.is_none(), format_args!("{vector:?}"));
    let asks = bench.irq(0);
    bench.check_that("it asks", asks, "IRR is clear");
}

/// RAM, time and a register.
fn works(bench: &mut Bench<'_>, what: &str) {
    bench.poke(HERE, b"works");
    let bytes = bench.peek(HERE, 5);
    bench.check_bytes(format!("{what}: RAM"), &bytes, b"works");
    bench.outb(SCRATCH, 0x5a);
    bench.wait(1000);
    let value = bench.inb(SCRATCH);
    bench.check(format!("{what}: register"), value, 0x5au8);
}

fn a20(bench: &mut Bench<'_>) {
    for value in [0, 2] {
        bench.outb(0x92, value);
        works(bench, if value == 0 { "closed" } else { "open" });
    }
}

fn shadow(bench: &mut Bench<'_>) {
    for value in [0x33, 0x11, 0x22, 0] {
        for reg in 0x59..=0x5f {
            bench.set_config(0, 0, reg, Size::B1, value);
        }
        works(bench, &format!("{value:#x}"));
    }
}

fn is_new(bench: &mut Bench<'_>, what: &str) {
    let value = bench.inb(ELCR);
    bench.check(format!("{what}: ELCR"), value, 0u8);
    works(bench, what);
}

fn reset(bench: &mut Bench<'_>) {
    for what in ["first", "second"] {
        bench.outb(ELCR, 0x20);
        let value = bench.inb(ELCR);
        bench.check(format!("before the {what}"), value, 0x20u8);
        bench.reset();
        is_new(bench, what);
    }
}

fn reset_by_port(bench: &mut Bench<'_>) {
    bench.outb(ELCR, 0x20);
    bench.outb(0xcf9, 2);
    bench.outb(0xcf9, 6);
    is_new(bench, "after 0xcf9");
}
