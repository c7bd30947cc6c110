//! The timer 8254 (Intel 231164) and port 0x61 (82371SB, NMI status and control). Counter 2 is looked at, whose
//! gate is bit 0 of that port and whose output is bit 5, and counter 0 by the requests that its output makes.

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::{Op, Size};

const HERTZ: u64 = 1_193_182;
const MS: u64 = 1_000_000;
const CONTROL: u16 = 0x43;
const GATE: u16 = 0x61;

pub(super) const GROUP: Group = Group {
    device: "pit",
    about: "timer 8254 and port 0x61",
    setup: Setup { disks: &[], args: &[] },
    cases: &[
        case("mode 0 raises its output at the end", "8254, mode 0", mode0),
        case("mode 0 counts down and on", "8254, mode 0", mode0_counts),
        case("mode 0 begins anew with a new count", "8254, mode 0", mode0_anew),
        case("mode 0 rests while the gate is low", "8254, mode 0, GATE = 0 disables counting", mode0_gate),
        case("mode 0 asks once", "8254, mode 0, interrupt on terminal count", mode0_irq),
        case("mode 1 waits for its trigger", "8254, mode 1", mode1),
        case("mode 1 begins anew with a trigger", "8254, mode 1", mode1_again),
        case("mode 1 takes a new count at its trigger", "8254, mode 1", mode1_new),
        case("mode 2 counts round", "8254, mode 2", mode2),
        case("mode 2 has its output up", "8254, mode 2", mode2_out),
        case("mode 2 begins anew with a trigger", "8254, mode 2, GATE", mode2_trigger),
        case("mode 2 takes a new count at the end", "8254, mode 2", mode2_new),
        case("mode 2 rests while the gate is low", "8254, mode 2, GATE", mode2_gate),
        case("mode 2 asks once a period", "8254, mode 2, rate generator", mode2_irq),
        case("mode 3 is a square", "8254, mode 3", mode3),
        case("mode 3 with an odd count", "8254, mode 3, odd counts", mode3_odd),
        case("mode 3 counts by two", "8254, mode 3", mode3_counts),
        case("mode 3 has its output up while the gate is low", "8254, mode 3, GATE", mode3_gate),
        case("mode 3 asks once a period", "8254, mode 3, square wave", mode3_irq),
        case("mode 4 has its output up but for a strobe", "8254, mode 4", mode4),
        case("mode 4 counts at once", "8254, mode 4", mode4_counts),
        case("mode 5 has its output up but for a strobe", "8254, mode 5", mode5),
        case("mode 5 waits for its trigger", "8254, mode 5", mode5_trigger),
        case("the first mode bit does not matter to 2 and 3", "8254, control word, M", modes_6_7),
        case("count 0 is the largest", "8254, maximum counts", zero),
        case("decimal counts", "8254, control word, BCD", decimal),
        case("low byte only", "8254, control word, RW", low_byte),
        case("high byte only", "8254, control word, RW", high_byte),
        case("reads and writes have bytes of their own", "8254, read operations, example", interleaved),
        case("a latched count stays", "8254, counter latch command", latch),
        case("a second latch is ignored", "8254, counter latch command", latch_twice),
        case("counters are latched apart", "8254, counter latch command", latch_apart),
        case("a count is read as it runs", "8254, read operations", unlatched),
        case("read-back latches all counts", "8254, read-back command", read_back_counts),
        case("read-back tells the mode", "8254, read-back command, status", status),
        case("read-back tells the output", "8254, status byte, OUTPUT", status_out),
        case("read-back tells that no count is there", "8254, status byte, NULL COUNT", null_count),
        case("status comes before the count", "8254, read-back command", status_first),
        case("a second status is ignored", "8254, read-back command", status_twice),
        case("the control word ends a half-written count", "8254, write operations", control_resets),
        case("port 0x61 holds gate and speaker", "82371SB, NMI status and control", port61),
        case(
            "port 0x61 holds the enables of errors",
            "82371SB, NMI status and control, bits 2 and 3",
            port61_nmi,
        ),
        case("port 0x61 shows the refresh", "82371SB, NMI status and control, bit 4", refresh),
        case("the control port cannot be read", "8254, A1, A0 = 11: no operation", control_read),
        case("after reset", "82371SB, NMI status and control, default 00h", reset),
    ],
};

fn out(port: u16, value: u8) -> Op {
    Op::Out(port, Size::B1, value.into())
}

fn read(port: u16) -> Op {
    Op::In(port, Size::B1)
}

/// Nanoseconds of so many ticks.
fn ticks(count: u64) -> u64 {
    count * 1_000_000_000 / HERTZ
}

/// Steps that program a counter, with both bytes.
fn load(counter: u8, mode: u8, count: u16) -> Vec<Op> {
    let port = 0x40 + u16::from(counter);
    let [low, high] = count.to_le_bytes();
    vec![out(CONTROL, counter << 6 | 0x30 | mode << 1), out(port, low), out(port, high)]
}

/// Steps that latch and read both bytes.
fn latched(counter: u8) -> [Op; 3] {
    let port = read(0x40 + u16::from(counter));
    [out(CONTROL, counter << 6), port, port]
}

/// Carries out steps; the last `len` answers as bytes.
fn tail<const LEN: usize>(bench: &mut Bench<'_>, ops: &[Op]) -> [u8; LEN] {
    let answers = bench.perform(ops);
    std::array::from_fn(|index| answers[answers.len() - LEN + index] as u8)
}

/// The count that the last two steps read.
fn word(bench: &mut Bench<'_>, ops: &[Op]) -> u64 {
    u16::from_le_bytes(tail(bench, ops)).into()
}

/// A count that began `elapsed` nanoseconds ago from `begin`, in steps of `step`.
fn near(bench: &mut Bench<'_>, what: &str, got: u64, begin: u64, elapsed: u64, step: u64) {
    // A count is taken over with a tick and counts with the next one.
    let slack = 10 * bench.slack();
    let least = begin.saturating_sub(step * ((elapsed + slack) * HERTZ / 1_000_000_000 + 2));
    let most = begin - step * (elapsed * HERTZ / 1_000_000_000).saturating_sub(3);
    bench.check_range(what, got, least, most.min(begin));
}

/// The output of counter 2 at moments after `ops`: (what, nanoseconds since the one before, level).
fn levels(bench: &mut Bench<'_>, ops: &[Op], moments: &[(&str, u64, bool)]) {
    let mut ops = ops.to_vec();
    for (_, ns, _) in moments {
        ops.extend([Op::Wait(*ns), read(GATE)]);
    }
    let answers = bench.perform(&ops);
    let reads = answers[answers.len() - 2 * moments.len()..].chunks(2);
    for ((what, _, level), read) in moments.iter().zip(reads) {
        bench.check_bits(*what, read[1], 0x20u8, u8::from(*level) << 5);
    }
}

/// Requests of counter 0 in `steps` of `ns` each, after `ops`: whether there was one in each.
fn requests(bench: &mut Bench<'_>, ops: &[Op], ns: u64, steps: usize) -> Vec<bool> {
    bench.interrupts();
    // Automatic end, input 0 unmasked, and the poll command: it takes what is there.
    let mut all =
        [0x11, 0x20, 4, 3, 0xfe].map(|word| out(if word == 0x11 { 0x20 } else { 0x21 }, word)).to_vec();
    all.extend(ops);
    all.extend([out(0x20, 0x0c), read(0x20)]);
    let begin = all.len();
    for _ in 0..steps {
        all.extend([Op::Wait(ns), out(0x20, 0x0c), read(0x20)]);
    }
    let answers = bench.perform(&all);
    answers[begin..].chunks(3).map(|poll| poll[2] & 0x80 != 0).collect()
}

fn mode0(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 11932));
    let moments = [
        ("at first", 0, false),
        ("after 9 ms", 9 * MS, false),
        ("after 11 ms", 2 * MS, true),
        ("after 70 ms", 59 * MS, true),
    ];
    levels(bench, &ops, &moments);
}

fn mode0_counts(bench: &mut Bench<'_>) {
    for (what, count, ns, begin) in [
        ("10 ms from 0xffff", 0xffffu16, 10 * MS, 0xffffu64),
        ("1 ms from 0x8000", 0x8000, MS, 0x8000),
        ("beyond its end", 1193, 11 * MS, 1193 + 0x10000),
    ] {
        let mut ops = vec![out(GATE, 1)];
        ops.extend(load(2, 0, count));
        ops.push(Op::Wait(ns));
        ops.extend(latched(2));
        let got = word(bench, &ops);
        near(bench, what, got, begin, ns, 1);
    }
}

fn mode0_anew(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 1193));
    ops.push(Op::Wait(2 * MS));
    ops.push(read(GATE));
    ops.extend([out(0x42, 0x48), out(0x42, 0x12)]);
    let [before, ..] = tail::<3>(bench, &ops);
    bench.check_bits("at the end", before, 0x20u8, 0x20u8);
    let again: Vec<Op> = load(2, 0, 1193).into_iter().chain([Op::Wait(2 * MS)]).collect();
    let again = [&again[..], &[out(0x42, 0xa9), out(0x42, 4)]].concat();
    levels(bench, &again, &[("with a new count", 0, false), ("at its end", 2 * MS, true)]);
}

fn mode0_gate(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 0x8000));
    ops.extend([Op::Wait(MS), out(GATE, 0), Op::Wait(5 * MS)]);
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "it rests", got, 0x8000, MS, 1);
    ops.extend([out(GATE, 1), Op::Wait(MS)]);
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "it goes on", got, 0x8000, 2 * MS, 1);
}

fn mode0_irq(bench: &mut Bench<'_>) {
    let got = requests(bench, &load(0, 0, 5966), 2 * MS, 40);
    let when = got.iter().position(|asks| *asks);
    bench.check("step of 2 ms in which it asks", when.unwrap_or(99) as u64, 2u8);
    bench.check("requests in 80 ms", got.iter().filter(|asks| **asks).count() as u64, 1u8);
}

/// Steps that program counter 2 with its gate low, and trigger it.
fn triggered(mode: u8, count: u16) -> Vec<Op> {
    let mut ops = vec![out(GATE, 0)];
    ops.extend(load(2, mode, count));
    ops.extend([Op::Wait(50_000), out(GATE, 1)]);
    ops
}

fn mode1(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 0)];
    ops.extend(load(2, 1, 11932));
    levels(bench, &ops, &[("before the trigger", 20 * MS, true)]);
    let moments = [
        ("after the trigger", 10_000, false),
        ("after 9 ms", 9 * MS, false),
        ("after 11 ms", 2 * MS, true),
        ("after 30 ms", 19 * MS, true),
    ];
    levels(bench, &triggered(1, 11932), &moments);
}

fn mode1_again(bench: &mut Bench<'_>) {
    let mut ops = triggered(1, 11932);
    ops.extend([Op::Wait(8 * MS), out(GATE, 0), Op::Wait(10_000), out(GATE, 1)]);
    levels(bench, &ops, &[("8 ms after", 8 * MS, false), ("12 ms after", 4 * MS, true)]);
    // A gate that falls changes nothing.
    let mut ops = triggered(1, 11932);
    ops.extend([Op::Wait(MS), out(GATE, 0)]);
    levels(bench, &ops, &[("with the gate low", 5 * MS, false), ("at the end", 6 * MS, true)]);
}

fn mode1_new(bench: &mut Bench<'_>) {
    let mut ops = triggered(1, 11932);
    ops.extend([Op::Wait(MS), out(0x42, 0x55), out(0x42, 0x55)]);
    levels(bench, &ops, &[("the old count, before its end", 8 * MS, false), ("at its end", 3 * MS, true)]);
    ops.extend([Op::Wait(11 * MS), out(GATE, 0), Op::Wait(10_000), out(GATE, 1)]);
    levels(bench, &ops, &[("the new count, 15 ms", 15 * MS, false), ("20 ms", 5 * MS, true)]);
}

fn mode2(bench: &mut Bench<'_>) {
    for (what, wait, gone) in
        [("in the first period", 4, 4), ("in the second", 14, 4), ("in the tenth", 97, 7)]
    {
        let mut ops = vec![out(GATE, 1)];
        ops.extend(load(2, 2, 11932));
        ops.push(Op::Wait(ticks(11932) * (wait / 10) + (wait % 10) * MS));
        ops.extend(latched(2));
        let got = word(bench, &ops);
        near(bench, what, got, 11932, gone * MS, 1);
    }
}

fn mode2_out(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 2, 11932));
    levels(
        bench,
        &ops,
        &[("at first", MS, true), ("later", 4 * MS, true), ("in the second period", 8 * MS, true)],
    );
}

fn mode2_trigger(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 2, 0xf000));
    ops.extend([Op::Wait(7 * MS), out(GATE, 0), Op::Wait(10_000), out(GATE, 1), Op::Wait(2 * MS)]);
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "2 ms after the trigger", got, 0xf000, 2 * MS, 1);
}

fn mode2_new(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 2, 11932));
    ops.extend([Op::Wait(3 * MS), out(0x42, 0), out(0x42, 0xf0), Op::Wait(2 * MS)]);
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "the old period goes on", got, 11932, 5 * MS, 1);
    ops.push(Op::Wait(ticks(11932) - 2 * MS));
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "then the new one", got, 0xf000, 3 * MS, 1);
}

fn mode2_gate(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 2, 0xf000));
    ops.extend([Op::Wait(2 * MS), out(GATE, 0), Op::Wait(5 * MS)]);
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "it rests", got, 0xf000, 2 * MS, 1);
}

fn mode2_irq(bench: &mut Bench<'_>) {
    rate(bench, 2);
}

/// Counter 0 asks every 10 ms, looked at every millisecond for 100.
fn rate(bench: &mut Bench<'_>, mode: u8) {
    let got = requests(bench, &load(0, mode, 11932), MS, 105);
    let count = got.iter().filter(|asks| **asks).count();
    bench.check_range("requests in 105 ms", count as u64, 10, 10);
    let when: Vec<usize> = got.iter().enumerate().filter(|(_, asks)| **asks).map(|(at, _)| at).collect();
    let even = when.windows(2).all(|pair| (9..=11).contains(&(pair[1] - pair[0])));
    bench.check_that("10 ms between them", even, format_args!("{when:?}"));
    let first = when.first().copied().unwrap_or(99);
    bench.check_range("milliseconds to the first", first as u64, 9, 10);
}

fn mode3(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 3, 11932));
    let moments = [
        ("in the first half", MS, true),
        ("at its end", 3 * MS + 500_000, true),
        ("in the second half", MS, false),
        ("at its end, too", 4 * MS, false),
        ("in the next period", MS, true),
        ("and its second half", 5 * MS, false),
    ];
    levels(bench, &ops, &moments);
}

fn mode3_odd(bench: &mut Bench<'_>) {
    // Up for (N + 1) / 2, down for (N - 1) / 2: the one tick between is too short to see on every machine, so that
    // halves and period are looked at.
    let got = requests(bench, &load(0, 3, 11933), MS, 105);
    bench.check_range("requests in 105 ms", got.iter().filter(|asks| **asks).count() as u64, 10, 10);
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 3, 11931));
    levels(
        bench,
        &ops,
        &[("first half", 4 * MS, true), ("second half", 2 * MS, false), ("next", 5 * MS, true)],
    );
}

fn mode3_counts(bench: &mut Bench<'_>) {
    for (what, wait) in [("in the first half", 2 * MS), ("in the second", ticks(0x7800) + 2 * MS)] {
        let mut ops = vec![out(GATE, 1)];
        ops.extend(load(2, 3, 0xf000));
        ops.push(Op::Wait(wait));
        ops.extend(latched(2));
        let got = word(bench, &ops);
        near(bench, what, got, 0xf000, 2 * MS, 2);
        bench.check_bits(format!("{what} it is even"), got, 1u8, 0u8);
    }
}

fn mode3_gate(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 3, 11932));
    ops.extend([Op::Wait(6 * MS), read(GATE), out(GATE, 0)]);
    levels(bench, &ops, &[("at once", 0, true), ("later", 5 * MS, true), ("and later", 5 * MS, true)]);
    ops.extend([Op::Wait(7 * MS), out(GATE, 1)]);
    levels(bench, &ops, &[("a trigger begins anew", 4 * MS, true), ("its second half", 3 * MS, false)]);
}

fn mode3_irq(bench: &mut Bench<'_>) {
    rate(bench, 3);
}

fn mode4(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 4, 11932));
    levels(
        bench,
        &ops,
        &[("at first", MS, true), ("before the end", 8 * MS, true), ("after the end", 2 * MS, true)],
    );
}

fn mode4_counts(bench: &mut Bench<'_>) {
    for (what, ns, begin) in [("3 ms", 3 * MS, 11932u64), ("beyond its end", 12 * MS, 11932 + 0x10000)] {
        let mut ops = vec![out(GATE, 1)];
        ops.extend(load(2, 4, 11932));
        ops.push(Op::Wait(ns));
        ops.extend(latched(2));
        let got = word(bench, &ops);
        near(bench, what, got, begin, ns, 1);
    }
    let got = requests(bench, &load(0, 4, 5966), MS, 60);
    bench.check("requests of counter 0", got.iter().filter(|asks| **asks).count() as u64, 1u8);
}

fn mode5(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 0)];
    ops.extend(load(2, 5, 11932));
    levels(bench, &ops, &[("before the trigger", MS, true)]);
    let moments = [("after it", MS, true), ("before the end", 8 * MS, true), ("after the end", 2 * MS, true)];
    levels(bench, &triggered(5, 11932), &moments);
}

fn mode5_trigger(bench: &mut Bench<'_>) {
    let mut ops = triggered(5, 0xf000);
    ops.push(Op::Wait(3 * MS));
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "3 ms after the trigger", got, 0xf000, 3 * MS, 1);
    ops.extend([out(GATE, 0), Op::Wait(10_000), out(GATE, 1), Op::Wait(MS)]);
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "1 ms after another", got, 0xf000, MS, 1);
}

fn modes_6_7(bench: &mut Bench<'_>) {
    for (mode, step) in [(6, 1), (7, 2)] {
        let mut ops = vec![out(GATE, 1)];
        ops.extend(load(2, mode, 0xf000));
        ops.push(Op::Wait(2 * MS));
        ops.extend(latched(2));
        let got = word(bench, &ops);
        near(bench, &format!("mode {mode}"), got, 0xf000, 2 * MS, step);
    }
}

fn zero(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 0));
    let moments = [("after 50 ms", 50 * MS, false), ("after 57 ms", 7 * MS, true)];
    levels(bench, &ops, &moments);
    ops.push(Op::Wait(10 * MS));
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "after 10 ms", got, 0x10000, 10 * MS, 1);
}

fn decimal(bench: &mut Bench<'_>) {
    let slack = 10 * bench.slack();
    let mut ops = vec![out(GATE, 1), out(CONTROL, 0xb1), out(0x42, 0), out(0x42, 0x50), Op::Wait(MS)];
    ops.extend(latched(2));
    let got = word(bench, &ops);
    let digits = (0..4).map(|digit| got >> (4 * digit) & 15);
    bench.check_that(
        "its digits are decimal",
        digits.clone().all(|digit| digit < 10),
        format_args!("{got:#x}"),
    );
    let value = digits.rev().fold(0, |value, digit| value * 10 + digit);
    let slack = slack * HERTZ / 1_000_000_000;
    bench.check_range("5000 less 1 ms", value, 3806 - slack, 3810);
    // 5000 are 4.19 ms; 0x5000 would be 17 ms.
    levels(bench, &ops[..4], &[("before the end", 3 * MS, false), ("after it", 3 * MS, true)]);
}

fn low_byte(bench: &mut Bench<'_>) {
    // In the fourth period, 50 ticks of it gone.
    let mut ops =
        vec![out(GATE, 1), out(CONTROL, 0x94), out(0x42, 200), Op::Wait(ticks(200) * 3 + ticks(50))];
    ops.extend([out(CONTROL, 0x80), read(0x42)]);
    let [got] = tail(bench, &ops);
    near(bench, "a count of 200", got.into(), 200, ticks(50), 1);
    let [got, again] =
        tail(bench, &[&ops[..], &[out(CONTROL, 0x80), read(0x42), out(CONTROL, 0x80), read(0x42)]].concat());
    bench.check_range("every read is the low byte", got.max(again).into(), 1, 200);
}

fn high_byte(bench: &mut Bench<'_>) {
    let ops =
        [out(GATE, 1), out(CONTROL, 0xa4), out(0x42, 0xf0), Op::Wait(2 * MS), out(CONTROL, 0x80), read(0x42)];
    let [got] = tail(bench, &ops);
    bench.check_range("2 ms from 0xf000", got.into(), 0xe5, 0xe7);
    let [first, _, second] = tail(bench, &[&ops[..], &[read(0x42), out(CONTROL, 0x80), read(0x42)]].concat());
    bench.check_range("read again", first.into(), 0xe5, 0xe7);
    bench.check_range("latched again", second.into(), 0xe5, 0xe7);
}

fn interleaved(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 0xf000));
    ops.extend([Op::Wait(MS), out(CONTROL, 0x80), read(0x42), out(0x42, 0x34), read(0x42), out(0x42, 0x92)]);
    ops.extend([Op::Wait(MS), out(CONTROL, 0x80), read(0x42), read(0x42)]);
    let [low, _, high, _, _, _, new_low, new_high] = tail(bench, &ops);
    near(bench, "the old count", u16::from_le_bytes([low, high]).into(), 0xf000, MS, 1);
    near(bench, "the new count", u16::from_le_bytes([new_low, new_high]).into(), 0x9234, MS, 1);
}

fn latch(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 0xf000));
    ops.extend([Op::Wait(MS), out(CONTROL, 0x80), Op::Wait(10 * MS), read(0x42), read(0x42)]);
    let got = word(bench, &ops);
    near(bench, "latched after 1 ms, read after 11", got, 0xf000, MS, 1);
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "latched anew", got, 0xf000, 11 * MS, 1);
}

fn latch_twice(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 0xf000));
    ops.extend([Op::Wait(MS), out(CONTROL, 0x80), Op::Wait(10 * MS)]);
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "before it is read", got, 0xf000, MS, 1);
}

fn latch_apart(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(0, 2, 0xc000));
    ops.extend(load(1, 2, 0xe000));
    ops.extend(load(2, 2, 0xf000));
    ops.push(Op::Wait(MS));
    ops.extend([0x00, 0x40, 0x80].map(|command| out(CONTROL, command)));
    ops.push(Op::Wait(5 * MS));
    // Their bytes may be read in any order.
    ops.extend([0x42, 0x40, 0x41, 0x40, 0x42, 0x41].map(read));
    let [two, zero, one, zero_high, two_high, one_high] = tail(bench, &ops);
    near(bench, "counter 0", u16::from_le_bytes([zero, zero_high]).into(), 0xc000, MS, 1);
    near(bench, "counter 1", u16::from_le_bytes([one, one_high]).into(), 0xe000, MS, 1);
    near(bench, "counter 2", u16::from_le_bytes([two, two_high]).into(), 0xf000, MS, 1);
}

fn unlatched(bench: &mut Bench<'_>) {
    // 0x180 ticks from 0xf000, so that no carry comes between the two reads.
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 0xf000));
    ops.extend([Op::Wait(ticks(0x180)), read(0x42), read(0x42)]);
    let [_, high] = tail(bench, &ops);
    bench.check("high byte", high, 0xeeu8);
}

fn read_back_counts(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(0, 2, 0xc000));
    ops.extend(load(1, 2, 0xe000));
    ops.extend(load(2, 2, 0xf000));
    ops.extend([Op::Wait(MS), out(CONTROL, 0xde), Op::Wait(5 * MS)]);
    ops.extend([0x40, 0x40, 0x41, 0x41, 0x42, 0x42].map(read));
    let got: [u8; 6] = tail(bench, &ops);
    for (counter, begin) in [(0, 0xc000u64), (1, 0xe000), (2, 0xf000)] {
        let count = u16::from_le_bytes([got[2 * counter], got[2 * counter + 1]]);
        near(bench, &format!("counter {counter}"), count.into(), begin, MS, 1);
    }
    // One that is not named goes on.
    ops.extend([out(CONTROL, 0xd4), Op::Wait(MS)]);
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "counter 2 when 1 was latched", got, 0xf000, 7 * MS, 1);
}

fn status(bench: &mut Bench<'_>) {
    for mode in 0..6u8 {
        for (what, access) in [("low", 0x10u8), ("high", 0x20), ("both", 0x30)] {
            let control = 0x80 | access | mode << 1;
            let ops = [out(CONTROL, control), out(CONTROL, 0xe8), read(0x42)];
            let [got] = tail(bench, &ops);
            bench.check_bits(format!("mode {mode}, {what}"), got, 0x3fu8, control & 0x3f);
        }
    }
    let [got] = tail(bench, &[out(CONTROL, 0xb7), out(CONTROL, 0xe8), read(0x42)]);
    bench.check_bits("mode 3, decimal", got, 0x3fu8, 0x37u8);
}

fn status_out(bench: &mut Bench<'_>) {
    for (what, ns, level) in [("before the end", 9 * MS, 0u8), ("after it", 11 * MS, 0x80)] {
        let mut ops = vec![out(GATE, 1)];
        ops.extend(load(2, 0, 11932));
        ops.extend([Op::Wait(ns), out(CONTROL, 0xe8), read(0x42)]);
        let [got] = tail(bench, &ops);
        bench.check_bits(what, got, 0x80u8, level);
    }
}

fn null_count(bench: &mut Bench<'_>) {
    let ops = [out(GATE, 1), out(CONTROL, 0xb0), out(CONTROL, 0xe8), read(0x42)];
    let [got] = tail(bench, &ops);
    bench.check_bits("after the control word", got, 0x40u8, 0x40u8);
    let ops =
        [out(CONTROL, 0xb0), out(0x42, 0), out(0x42, 0x80), Op::Wait(10_000), out(CONTROL, 0xe8), read(0x42)];
    let [got] = tail(bench, &ops);
    bench.check_bits("after the count", got, 0x40u8, 0u8);
}

fn status_first(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 0xf000));
    ops.extend([Op::Wait(MS), out(CONTROL, 0xc8), Op::Wait(MS), read(0x42), read(0x42), read(0x42)]);
    let [status, low, high] = tail(bench, &ops);
    bench.check("status", status, 0x30u8);
    near(bench, "count", u16::from_le_bytes([low, high]).into(), 0xf000, MS, 1);
}

fn status_twice(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 1193));
    ops.extend([out(CONTROL, 0xe8), Op::Wait(2 * MS), out(CONTROL, 0xe8), read(0x42)]);
    let [got] = tail(bench, &ops);
    bench.check_bits("output of the first", got, 0x80u8, 0u8);
    ops.extend([out(CONTROL, 0xe8), read(0x42)]);
    let [got] = tail(bench, &ops);
    bench.check_bits("output when that was read", got, 0x80u8, 0x80u8);
}

fn control_resets(bench: &mut Bench<'_>) {
    let mut ops = vec![out(GATE, 1), out(CONTROL, 0xb0), out(0x42, 0x77)];
    ops.extend(load(2, 0, 0xf000));
    ops.push(Op::Wait(MS));
    ops.extend(latched(2));
    let got = word(bench, &ops);
    near(bench, "count", got, 0xf000, MS, 1);
}

fn port61(bench: &mut Bench<'_>) {
    for value in [0u8, 1, 2, 3, 0] {
        bench.outb(GATE, value);
        let got = bench.inb(GATE);
        bench.check_bits(format!("{value}"), got, 3u8, value);
    }
    bench.outb(GATE, 0xf0);
    let got = bench.inb(GATE);
    bench.check_bits("bits 6 and 7 cannot be written", got, 0xc3u8, 0u8);
}

fn port61_nmi(bench: &mut Bench<'_>) {
    for value in [4u8, 8, 0xc, 0] {
        bench.outb(GATE, value);
        let got = bench.inb(GATE);
        bench.check_bits(format!("{value:#x}"), got, 0xcu8, value);
    }
}

fn refresh(bench: &mut Bench<'_>) {
    let ops = [Op::Wait(15_085), read(GATE)].repeat(40);
    let got = bench.perform(&ops);
    let ups = got.iter().skip(1).step_by(2).filter(|value| **value & 0x10 != 0).count();
    bench.check_range("times it is up of 40", ups as u64, 1, 39);
}

fn control_read(bench: &mut Bench<'_>) {
    let got = bench.inb(CONTROL);
    bench.note("port 0x43", got);
    let mut ops = vec![out(GATE, 1)];
    ops.extend(load(2, 0, 0xf000));
    ops.extend([Op::Wait(MS), out(CONTROL, 0x80), read(0x42), read(CONTROL), read(0x42)]);
    let [low, _, high] = tail(bench, &ops);
    near(bench, "it leaves a read alone", u16::from_le_bytes([low, high]).into(), 0xf000, MS, 1);
}

fn reset(bench: &mut Bench<'_>) {
    let got = bench.inb(GATE);
    bench.check_bits("port 0x61 at power-on", got, 3u8, 0u8);
    for (name, command, port) in [("0", 0xe2, 0x40), ("1", 0xe4, 0x41), ("2", 0xe8, 0x42)] {
        let [got] = tail(bench, &[out(CONTROL, command), read(port)]);
        bench.note(format!("status of counter {name} at power-on"), got & 0x3f);
    }
    bench.outb(GATE, 3);
    bench.perform(&load(2, 5, 0x1234));
    bench.reset();
    let got = bench.inb(GATE);
    bench.check_bits("port 0x61 after reset", got, 0xcfu8, 0u8);
    let [got] = tail(bench, &[out(CONTROL, 0xe8), read(0x42)]);
    bench.note("status of counter 2 after reset", got & 0x3f);
}
