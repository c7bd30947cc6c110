//! The high precision event timers: "IA-PC HPET (High Precision Event Timers) Specification", revision 1.0a.

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::{Op, Size};

const BASE: u64 = 0xfed0_0000;
const CAPS: u64 = BASE;
const CONFIG: u64 = BASE + 0x10;
const STATUS: u64 = BASE + 0x20;
const COUNTER: u64 = BASE + 0xf0;
const MS: u64 = 1_000_000;

pub(super) const GROUP: Group = Group {
    device: "hpet",
    about: "high precision event timers",
    setup: Setup { disks: &[], args: &[] },
    cases: &[
        case("capabilities", "HPET 1.0a, 2.3.4", capabilities),
        case("capabilities cannot be written", "HPET 1.0a, 2.3.4, read only", capabilities_fixed),
        case("registers at power-on", "HPET 1.0a, 2.3.5 to 2.3.9, defaults", power_on),
        case("general configuration holds two bits", "HPET 1.0a, 2.3.5", config_bits),
        case("the counter stands until it is enabled", "HPET 1.0a, 2.3.5, ENABLE_CNF", stands),
        case("the counter can be set while it stands", "HPET 1.0a, 2.3.7", set_counter),
        case("the counter runs at its period", "HPET 1.0a, 2.3.7 and COUNTER_CLK_PERIOD", runs),
        case("the counter keeps its value when it stops", "HPET 1.0a, 2.3.5, ENABLE_CNF = 0", stops),
        case("the counter carries into its upper half", "HPET 1.0a, 2.3.7", carries),
        case("halves of registers", "HPET 1.0a, 2.1, 32-bit accesses", halves),
        case("timer capabilities", "HPET 1.0a, 2.3.8", timer_capabilities),
        case("timer configuration bits", "HPET 1.0a, 2.3.8", timer_bits),
        case("comparators hold what is written", "HPET 1.0a, 2.3.9", comparators),
        case("a comparator of 32 bits", "HPET 1.0a, 2.3.8, Tn_32MODE_CNF", comparator_32),
        case("status of a level-triggered timer", "HPET 1.0a, 2.3.6", level_status),
        case("status is cleared by ones", "HPET 1.0a, 2.3.6", status_clear),
        case("status of an edge-triggered timer stays 0", "HPET 1.0a, 2.3.6", edge_status),
        case("a comparator that has passed", "HPET 1.0a, 2.3.9.2, non-periodic mode", passed),
        case("a disabled timer asks nobody", "HPET 1.0a, 2.3.8, Tn_INT_ENB_CNF", disabled),
        case("periodic mode adds the period", "HPET 1.0a, 2.3.9.2.2", periodic),
        case("legacy replacement asks at IRQ 0", "HPET 1.0a, 2.3.5, LEG_RT_CNF", legacy_timer),
        case("legacy replacement asks at IRQ 8", "HPET 1.0a, 2.3.5, LEG_RT_CNF", legacy_clock),
        case("legacy replacement takes the 8254's place", "HPET 1.0a, 2.3.5, LEG_RT_CNF", legacy_pit),
        case("reserved places read 0", "HPET 1.0a, 2.3.2", reserved),
        case("after reset", "HPET 1.0a, 2.3.5 to 2.3.9, defaults", reset),
    ],
};

fn timer(index: u64) -> u64 {
    BASE + 0x100 + 0x20 * index
}

fn comparator(index: u64) -> u64 {
    timer(index) + 8
}

fn get(bench: &mut Bench<'_>, at: u64) -> u64 {
    bench.read(at, Size::B8)
}

fn put(bench: &mut Bench<'_>, at: u64, value: u64) {
    bench.write(at, Size::B8, value);
}

fn write(at: u64, value: u64) -> Op {
    Op::Write(at, Size::B8, value)
}

fn read(at: u64) -> Op {
    Op::Read(at, Size::B8)
}

/// Nanoseconds as ticks of the counter.
fn ticks(bench: &mut Bench<'_>, ns: u64) -> u64 {
    let femtoseconds = (get(bench, CAPS) >> 32).max(1);
    ns * 1_000_000 / femtoseconds
}

fn capabilities(bench: &mut Bench<'_>) {
    let caps = get(bench, CAPS);
    bench.check("vendor", caps >> 16 & 0xffff, 0x8086u16);
    bench.check("revision", caps & 0xff, 1u8);
    bench.check_bits("64 bits", caps, 1u64 << 13, 1u64 << 13);
    bench.check_bits("legacy replacement", caps, 1u64 << 15, 1u64 << 15);
    bench.check_bits("reserved", caps, 1u64 << 14, 0u8);
    bench.check_range("timers", (caps >> 8 & 0x1f) + 1, 3, 32);
    bench.check_range("femtoseconds", caps >> 32, 1, 0x05f5_e100);
    bench.note("all", caps);
}

fn capabilities_fixed(bench: &mut Bench<'_>) {
    let before = get(bench, CAPS);
    bench.check("revision", before & 0xff, 1u8);
    for value in [u64::MAX, 0] {
        put(bench, CAPS, value);
        let after = get(bench, CAPS);
        bench.check(format!("after {value:#x}"), after, before);
    }
}

/// Every register as it is after power-on and reset.
fn defaults(bench: &mut Bench<'_>, when: &str) {
    for (what, at) in [("configuration", CONFIG), ("status", STATUS), ("counter", COUNTER)] {
        let got = get(bench, at);
        bench.check(format!("{what} {when}"), got, 0u8);
    }
    for index in 0..3 {
        let config = get(bench, timer(index));
        bench.check_bits(format!("timer {index} {when}"), config, 0x7f4eu64, 0u8);
        let value = get(bench, comparator(index));
        bench.check(format!("comparator {index} {when}"), value, u64::MAX);
    }
}

fn power_on(bench: &mut Bench<'_>) {
    defaults(bench, "at power-on");
}

fn config_bits(bench: &mut Bench<'_>) {
    for value in [1u64, 2, 3, 0] {
        put(bench, CONFIG, value);
        let got = get(bench, CONFIG);
        bench.check(format!("{value}"), got, value);
    }
    put(bench, CONFIG, !3);
    let got = get(bench, CONFIG);
    bench.check("reserved bits", got, 0u8);
}

fn stands(bench: &mut Bench<'_>) {
    let before = get(bench, COUNTER);
    bench.wait(5 * MS);
    let after = get(bench, COUNTER);
    bench.check("after 5 ms", after, before);
    let answers = bench.perform(&[write(CONFIG, 1), Op::Wait(MS), read(COUNTER)]);
    bench.check_that("it has gone on", answers[2] > before, answers[2]);
}

fn set_counter(bench: &mut Bench<'_>) {
    for value in [0x1234u64, 0x1_2345_6789, 0xffff_ffff_ffff_fff0, 0] {
        put(bench, COUNTER, value);
        let got = get(bench, COUNTER);
        bench.check(format!("{value:#x}"), got, value);
    }
}

fn runs(bench: &mut Bench<'_>) {
    let slack = bench.slack();
    for (what, ns) in [("10 us", 10_000u64), ("1 ms", MS), ("100 ms", 100 * MS), ("3 s", 3000 * MS)] {
        let (least, most) = (ticks(bench, ns), ticks(bench, ns + 5 * slack));
        let ops = [write(CONFIG, 0), write(COUNTER, 0), write(CONFIG, 1), Op::Wait(ns), read(COUNTER)];
        let got = bench.perform(&ops)[4];
        bench.check_range(what, got, least, most + 1);
    }
}

fn stops(bench: &mut Bench<'_>) {
    let ops =
        [write(CONFIG, 1), Op::Wait(MS), write(CONFIG, 0), read(COUNTER), Op::Wait(5 * MS), read(COUNTER)];
    let got = bench.perform(&ops);
    bench.check_that("5 ms later", got[5] == got[3], format_args!("{:#x}", got[5]));
    bench.check_that("it had run", got[3] > 0, got[3]);
    let (least, most) = (ticks(bench, MS), ticks(bench, MS + 10 * MS));
    let ops = [write(CONFIG, 1), Op::Wait(MS), read(COUNTER)];
    let again = bench.perform(&ops)[2];
    bench.check_range("it goes on from there", again.saturating_sub(got[3]), least, most);
}

fn carries(bench: &mut Bench<'_>) {
    let ops = [write(COUNTER, 0xffff_fff0), write(CONFIG, 1), Op::Wait(MS), read(COUNTER)];
    let got = bench.perform(&ops)[3];
    bench.check("upper half", got >> 32, 1u8);
    bench.check_range("lower half", got & 0xffff_ffff, 1, 0x10_0000);
}

fn halves(bench: &mut Bench<'_>) {
    let caps = get(bench, CAPS);
    let (low, high) = (bench.readl(CAPS), bench.readl(CAPS + 4));
    bench.check("capabilities", u64::from(high) << 32 | u64::from(low), caps);
    bench.writel(COUNTER, 0x89ab_cdef);
    bench.writel(COUNTER + 4, 0x0123_4567);
    let got = get(bench, COUNTER);
    bench.check("counter", got, 0x0123_4567_89ab_cdefu64);
    let (low, high) = (bench.readl(COUNTER), bench.readl(COUNTER + 4));
    bench.check("counter read by halves", u64::from(high) << 32 | u64::from(low), got);
    bench.writel(comparator(1), 0x5555_5555);
    bench.writel(comparator(1) + 4, 0x6666_6666);
    let got = get(bench, comparator(1));
    bench.check("comparator", got, 0x6666_6666_5555_5555u64);
}

fn timer_capabilities(bench: &mut Bench<'_>) {
    for index in 0..3 {
        let config = get(bench, timer(index));
        bench.note(format!("timer {index}"), config & !0x7f4e);
        let routes = config >> 32;
        bench.check_that(format!("timer {index} can be routed"), routes != 0, format_args!("{routes:#x}"));
    }
    // The first timer of every block can be periodic.
    let config = get(bench, timer(0));
    bench.check_bits("timer 0 periodic", config, 0x10u8, 0x10u8);
    let before = config;
    put(bench, timer(0), !0x4);
    let got = get(bench, timer(0));
    bench.check_bits("they cannot be written", got, 0xffff_ffff_0000_80b1u64, before & 0xffff_ffff_0000_80b1);
}

fn timer_bits(bench: &mut Bench<'_>) {
    for index in 0..3 {
        for value in [0u64, 2, 4, 6, 0x100, 8] {
            put(bench, timer(index), value);
            let got = get(bench, timer(index));
            bench.check_bits(format!("timer {index} with {value:#x}"), got, 0x10eu64, value);
        }
        put(bench, timer(index), 0);
        // A route that is not among the timer's own is not taken.
        let config = get(bench, timer(index));
        let route = (config >> 32).trailing_zeros() as u64 & 31;
        put(bench, timer(index), route << 9);
        let got = get(bench, timer(index));
        bench.check_bits(format!("timer {index} routed"), got, 0x3e00u64, route << 9);
        put(bench, timer(index), 0);
    }
}

fn comparators(bench: &mut Bench<'_>) {
    for index in 0..3 {
        for value in [0x1000u64, 0x1234_5678_9abc_def0, u64::MAX, 0] {
            put(bench, comparator(index), value);
            let got = get(bench, comparator(index));
            bench.check(format!("{index} with {value:#x}"), got, value);
        }
    }
}

fn comparator_32(bench: &mut Bench<'_>) {
    put(bench, timer(0), 0x102);
    put(bench, comparator(0), 0x9_8765_4321);
    let got = get(bench, comparator(0));
    bench.check("comparator", got & 0xffff_ffff, 0x8765_4321u32);
    bench.note("its upper half", got >> 32);
    // It matches the lower half alone.
    let soon = ticks(bench, MS);
    let ops = [
        write(COUNTER, 0x5_0000_0000),
        write(timer(0), 0x106),
        write(comparator(0), soon),
        write(CONFIG, 1),
        Op::Wait(2 * MS),
        read(STATUS),
    ];
    let got = bench.perform(&ops)[5];
    bench.check("it has matched", got, 1u8);
}

/// Steps that let timer `index` match after `count` ticks, level-triggered.
fn level(index: u64, count: u64) -> Vec<Op> {
    // Pin 2 is where a PC's timers may go; no other device drives it.
    let config = 2 << 9 | 6;
    vec![
        write(CONFIG, 0),
        write(COUNTER, 0),
        write(timer(index), config),
        write(comparator(index), count),
        write(CONFIG, 1),
    ]
}

fn level_status(bench: &mut Bench<'_>) {
    let count = ticks(bench, MS);
    for index in 0..3 {
        let mut ops = level(index, count);
        ops.extend([Op::Wait(MS / 2), read(STATUS), Op::Wait(MS), read(STATUS), write(STATUS, 7)]);
        ops.extend([write(timer(index), 0)]);
        let got = bench.perform(&ops);
        bench.check(format!("timer {index} before"), got[6], 0u8);
        bench.check(format!("timer {index} after"), got[8], 1u64 << index);
    }
}

fn status_clear(bench: &mut Bench<'_>) {
    let count = ticks(bench, MS);
    let mut ops = level(1, count);
    ops.extend([Op::Wait(2 * MS), write(STATUS, 0), read(STATUS), write(STATUS, 5), read(STATUS)]);
    ops.extend([write(STATUS, 2), read(STATUS), Op::Wait(MS), read(STATUS)]);
    let got = bench.perform(&ops);
    bench.check("after zeros", got[7], 2u8);
    bench.check("after others' ones", got[9], 2u8);
    bench.check("after its own", got[11], 0u8);
    bench.check("it stays so", got[13], 0u8);
}

fn edge_status(bench: &mut Bench<'_>) {
    let count = ticks(bench, MS);
    let ops = [
        write(timer(0), 2 << 9 | 4),
        write(comparator(0), count),
        write(CONFIG, 1),
        Op::Wait(2 * MS),
        read(STATUS),
    ];
    let got = bench.perform(&ops)[4];
    bench.check("status", got, 0u8);
}

fn passed(bench: &mut Bench<'_>) {
    // It matches when both are equal: not in what the counter has left behind.
    let ops = [
        write(COUNTER, 0x10_0000),
        write(timer(0), 2 << 9 | 6),
        write(comparator(0), 0x1000),
        write(CONFIG, 1),
        Op::Wait(MS),
        read(STATUS),
    ];
    let got = bench.perform(&ops)[5];
    bench.note("status", got);
    let got = get(bench, comparator(0));
    bench.check("comparator", got, 0x1000u32);
}

fn disabled(bench: &mut Bench<'_>) {
    bench.interrupts();
    let count = ticks(bench, MS);
    let ops = [write(timer(0), 0), write(comparator(0), count), write(CONFIG, 3), Op::Wait(3 * MS)];
    bench.perform(&ops);
    let asks = bench.irq(0);
    bench.check("IRQ 0", asks, false);
    // With what is below it, an enabled one does.
    let ops = [
        write(CONFIG, 0),
        write(COUNTER, 0),
        write(timer(0), 4),
        write(comparator(0), count),
        write(CONFIG, 3),
    ];
    bench.perform(&[&ops[..], &[Op::Wait(3 * MS)]].concat());
    let asks = bench.irq(0);
    bench.check("IRQ 0 when it is enabled", asks, true);
}

fn periodic(bench: &mut Bench<'_>) {
    let count = ticks(bench, MS);
    // The first write with the accumulator, the second for the period.
    let mut ops =
        vec![write(timer(0), 2 << 9 | 0x4e), write(comparator(0), count), write(comparator(0), count)];
    ops.push(write(CONFIG, 1));
    for _ in 0..3 {
        ops.extend([Op::Wait(MS), write(STATUS, 1)]);
    }
    ops.extend([read(comparator(0)), read(timer(0))]);
    let got = bench.perform(&ops);
    let len = got.len();
    bench.check("the comparator after 3 periods", got[len - 2], 4 * count);
    bench.check_bits("the set bit clears itself", got[len - 1], 0x48u8, 8u8);
    let got = bench.perform(&[Op::Wait(MS / 2), write(STATUS, 1), read(STATUS), Op::Wait(MS), read(STATUS)]);
    bench.check("status when it was cleared", got[2], 0u8);
    bench.check("status a period later", got[4], 1u8);
}

fn legacy_timer(bench: &mut Bench<'_>) {
    let count = ticks(bench, 2 * MS);
    legacy(bench, 0, 0, count);
}

fn legacy_clock(bench: &mut Bench<'_>) {
    let count = ticks(bench, 2 * MS);
    legacy(bench, 1, 8, count);
}

fn legacy(bench: &mut Bench<'_>, index: u64, irq: u8, count: u64) {
    // No timer of the 8254 and no clock is up: whatever comes is the HPET's.
    bench.interrupts();
    put(bench, CONFIG, 2);
    put(bench, comparator(index), count);
    put(bench, timer(index), 4);
    bench.interrupts();
    let asks = bench.irq(irq);
    bench.check("before", asks, false);
    bench.perform(&[write(CONFIG, 3), Op::Wait(3 * MS)]);
    let asks = bench.irq(irq);
    bench.check("after", asks, true);
    bench.interrupts();
    bench.wait(10 * MS);
    let asks = bench.irq(irq);
    bench.check("once", asks, false);
}

fn legacy_pit(bench: &mut Bench<'_>) {
    // 8254, counter 0, mode 2, 10 ms.
    for (port, value) in [(0x43, 0x34), (0x40, 0x9c), (0x40, 0x2e)] {
        bench.outb(port, value);
    }
    for (what, config, wanted) in
        [("without it", 1u64, true), ("with it", 3, false), ("without it again", 1, true)]
    {
        put(bench, CONFIG, config);
        bench.interrupts();
        bench.wait(35 * MS);
        let asks = bench.irq(0);
        bench.check(what, asks, wanted);
    }
}

fn reserved(bench: &mut Bench<'_>) {
    for at in [0x8, 0x18, 0x28, 0x30, 0xe0, 0xf8] {
        let got = get(bench, BASE + at);
        bench.check(format!("{at:#x}"), got, 0u8);
    }
    let got = get(bench, timer(0) + 0x10);
    bench.note("message route of timer 0", got);
}

fn reset(bench: &mut Bench<'_>) {
    put(bench, timer(0), 0x10e);
    put(bench, comparator(0), 0x1234);
    put(bench, comparator(2), 0x1234);
    put(bench, COUNTER, 0x777);
    put(bench, CONFIG, 3);
    bench.reset();
    defaults(bench, "after reset");
}
