//! Flags, interrupts and the alarm.

use super::{
    A, AIE, B, BINARY, C, H24, MS, NOON, PIE, SECOND, SET, UIE, clock, get, later, out, put, reg, set_alarm,
};
use crate::bench::Bench;
use crate::machine::Op;

pub(super) fn set_uie(bench: &mut Bench<'_>) {
    put(bench, B, H24 | UIE | AIE | PIE);
    put(bench, B, SET | H24 | UIE | AIE | PIE);
    let got = reg(bench, B);
    bench.check("B in SET", got, SET | H24 | AIE | PIE);
    put(bench, B, H24);
    let got = reg(bench, B);
    bench.check("B after", got, H24);
}

pub(super) fn uf(bench: &mut Bench<'_>) {
    for (what, ns, flag) in
        [("before", 490 * MS, 0u8), ("after one", 510 * MS, 0x10), ("after three", 2600 * MS, 0x10)]
    {
        // The alarm is never.
        for index in [1, 3, 5] {
            put(bench, index, 0x99);
        }
        let got = later(bench, H24, NOON, ns, &[C, C]);
        bench.check_bits(what, got[0], 0xb0u8, flag);
        bench.check_bits(format!("{what}, read again"), got[1], 0xb0u8, 0u8);
    }
}

pub(super) fn c_clears(bench: &mut Bench<'_>) {
    put(bench, A, 0x26);
    put(bench, B, H24 | PIE | UIE);
    bench.wait(1200 * MS);
    let got = bench.perform(&[get(C), get(C)].concat());
    bench.check_bits("first read", got[1], 0xd0u8, 0xd0u8);
    bench.check_bits("second read: no update meanwhile", got[3], 0x10u8, 0u8);
    bench.check_bits("bits that are always 0", got[1] | got[3], 0xfu8, 0u8);
}

pub(super) fn uie(bench: &mut Bench<'_>) {
    bench.interrupts();
    bench.perform(&clock(H24, NOON));
    bench.wait(600 * MS);
    let asks = bench.irq(8);
    bench.check("without UIE", asks, false);
    let got = later(bench, H24 | UIE, NOON, 400 * MS, &[]);
    assert!(got.is_empty());
    bench.interrupts();
    bench.wait(600 * MS);
    let asks = bench.irq(8);
    bench.check("with UIE", asks, true);
    let flags = reg(bench, C);
    bench.check_bits("IRQF and UF", flags, 0x90u8, 0x90u8);
    bench.interrupts();
    let asks = bench.irq(8);
    bench.check("after C was read", asks, false);
    bench.wait(1100 * MS);
    let asks = bench.irq(8);
    bench.check("a second later", asks, true);
}

pub(super) fn late_enable(bench: &mut Bench<'_>) {
    bench.interrupts();
    later(bench, H24, NOON, 600 * MS, &[]);
    let asks = bench.irq(8);
    bench.check("before", asks, false);
    put(bench, B, H24 | UIE);
    let asks = bench.irq(8);
    bench.check("after", asks, true);
    let flags = reg(bench, C);
    bench.check_bits("IRQF and UF", flags, 0x90u8, 0x90u8);
}

pub(super) fn disable(bench: &mut Bench<'_>) {
    bench.interrupts();
    later(bench, H24 | UIE, NOON, 600 * MS, &[]);
    put(bench, B, H24);
    let flags = reg(bench, C);
    bench.check_bits("IRQF and UF", flags, 0x90u8, 0x10u8);
    bench.interrupts();
    bench.wait(2 * SECOND);
    let asks = bench.irq(8);
    bench.check("no more requests", asks, false);
}

pub(super) fn holds_line(bench: &mut Bench<'_>) {
    later(bench, H24 | UIE, NOON, 400 * MS, &[]);
    bench.interrupts();
    bench.wait(200 * MS);
    let asks = bench.irq(8);
    bench.check("first", asks, true);
    // It asks by edges, and none comes while the line is up.
    bench.interrupts();
    bench.wait(3 * SECOND);
    let asks = bench.irq(8);
    bench.check("no edge before C is read", asks, false);
    reg(bench, C);
    bench.wait(1100 * MS);
    let asks = bench.irq(8);
    bench.check("an edge after", asks, true);
}

/// Whether AF must be up after so many updates from `time` on.
fn rings(bench: &mut Bench<'_>, what: &str, b: u8, alarm: [u8; 3], time: [u8; 3], updates: &[(u64, bool)]) {
    let (year, century) = if b & BINARY == 0 { (0x26, 0x20) } else { (26, 20) };
    for (updates, rings) in updates {
        set_alarm(bench, alarm);
        let time = [time[0], time[1], time[2], 5, 1, 1, year, century];
        let got = later(bench, b, time, updates * SECOND - 400 * MS, &[C]);
        bench.check_bits(format!("{what}, after {updates}"), got[0], 0x20u8, u8::from(*rings) << 5);
    }
}

pub(super) fn alarm(bench: &mut Bench<'_>) {
    let alarm = [0x12, 0x20, 0x12];
    rings(bench, "two seconds ahead", H24, alarm, [0x10, 0x20, 0x12], &[(1, false), (2, true), (3, true)]);
    rings(bench, "another minute", H24, alarm, [0x10, 0x21, 0x12], &[(3, false)]);
    rings(bench, "another hour", H24, alarm, [0x10, 0x20, 0x13], &[(3, false)]);
    rings(bench, "over midnight", H24, [0, 0, 0], [0x58, 0x59, 0x23], &[(1, false), (2, true)]);
}

pub(super) fn alarm_second(bench: &mut Bench<'_>) {
    for code in [0xc0, 0xff] {
        let what = format!("code {code:#x}");
        rings(bench, &what, H24, [code; 3], [0x10, 0x20, 0x12], &[(1, true)]);
    }
    // Every second anew.
    set_alarm(bench, [0xc0; 3]);
    let got = later(bench, H24, NOON, 600 * MS, &[C, C]);
    bench.check_bits("first", got[0], 0x20u8, 0x20u8);
    bench.check_bits("read again", got[1], 0x20u8, 0u8);
    bench.wait(1100 * MS);
    let flags = reg(bench, C);
    bench.check_bits("a second later", flags, 0x20u8, 0x20u8);
}

pub(super) fn alarm_minute(bench: &mut Bench<'_>) {
    let alarm = [0x12, 0xff, 0xff];
    rings(bench, "this minute", H24, alarm, [0x10, 0x20, 0x12], &[(1, false), (2, true)]);
    rings(bench, "next minute", H24, alarm, [0x58, 0x20, 0x12], &[(13, false), (14, true)]);
}

pub(super) fn alarm_hour(bench: &mut Bench<'_>) {
    let alarm = [0x12, 0x21, 0xff];
    rings(bench, "this hour", H24, alarm, [0x10, 0x21, 0x12], &[(1, false), (2, true)]);
    rings(bench, "another hour", H24, alarm, [0x10, 0x21, 0x19], &[(1, false), (2, true)]);
    rings(bench, "another minute", H24, alarm, [0x10, 0x22, 0x12], &[(3, false)]);
    // All seconds of one minute.
    let alarm = [0xff, 0x21, 0x12];
    rings(bench, "a whole minute", H24, alarm, [0x58, 0x20, 0x12], &[(1, false), (2, true)]);
}

pub(super) fn aie(bench: &mut Bench<'_>) {
    bench.interrupts();
    set_alarm(bench, [0x12, 0x20, 0x12]);
    later(bench, H24, NOON, 1600 * MS, &[]);
    let asks = bench.irq(8);
    bench.check("without AIE", asks, false);
    // The old flag asks as soon as it may; setting the clock reads C.
    later(bench, H24 | AIE, NOON, 400 * MS, &[]);
    bench.interrupts();
    let asks = bench.irq(8);
    bench.check("before its time", asks, false);
    bench.wait(1200 * MS);
    let asks = bench.irq(8);
    bench.check("at its time", asks, true);
    let flags = reg(bench, C);
    bench.check_bits("IRQF and AF", flags, 0xa0u8, 0xa0u8);
    bench.interrupts();
    bench.wait(5 * SECOND);
    let asks = bench.irq(8);
    bench.check("once", asks, false);
}

pub(super) fn alarm_twelve(bench: &mut Bench<'_>) {
    let updates = &[(1, false), (2, true)];
    rings(bench, "1 PM", 0, [0x12, 0x20, 0x81], [0x10, 0x20, 0x81], updates);
    rings(bench, "noon", 0, [0, 0, 0x92], [0x58, 0x59, 0x11], updates);
    rings(bench, "midnight", 0, [0, 0, 0x12], [0x58, 0x59, 0x91], updates);
    rings(bench, "1 AM is not 1 PM", 0, [0x12, 0x20, 0x81], [0x10, 0x20, 1], &[(3, false)]);
}

pub(super) fn alarm_binary(bench: &mut Bench<'_>) {
    let updates = &[(1, false), (2, true)];
    rings(bench, "24 hours", H24 | BINARY, [42, 47, 19], [40, 47, 19], updates);
    rings(bench, "12 hours", BINARY, [42, 47, 0x8b], [40, 47, 0x8b], updates);
}

pub(super) fn all_flags(bench: &mut Bench<'_>) {
    set_alarm(bench, [0xff; 3]);
    let got = later(bench, H24 | PIE | AIE | UIE, NOON, 600 * MS, &[C]);
    bench.check("C", got[0], 0xf0u8);
    set_alarm(bench, [0xff; 3]);
    let got = later(bench, H24 | PIE, NOON, 600 * MS, &[C]);
    bench.check("C with PIE alone", got[0], 0xf0u8);
}

/// How often PF came in `periods` periods of `ns`, looking eight times in each.
fn count(bench: &mut Bench<'_>, a: u8, ns: u64, periods: usize) -> u64 {
    let mut ops = [out(B, H24), out(A, a), out(B, H24 | PIE), get(C)].concat();
    let begin = ops.len();
    for _ in 0..8 * periods {
        ops.push(Op::Wait(ns / 8));
        ops.extend(get(C));
    }
    let got = bench.perform(&ops);
    got[begin..].chunks(3).filter(|read| read[2] & 0x40 != 0).count() as u64
}

pub(super) fn rates(bench: &mut Bench<'_>) {
    let slack = bench.slack();
    for rate in 1..16u8 {
        // Rates 1 and 2 are those of 8 and 9 at this crystal.
        let shift = if rate < 3 { rate + 6 } else { rate - 1 };
        let ns = SECOND * (1 << shift) / 32768;
        let periods = 16;
        let got = count(bench, 0x20 | rate, ns, periods);
        let most = periods as u64 + 1 + (8 * periods as u64 * 3 * slack).div_ceil(ns);
        bench.check_range(format!("flags of rate {rate} in 16 periods"), got, periods as u64 - 1, most);
    }
}

pub(super) fn rate_none(bench: &mut Bench<'_>) {
    bench.interrupts();
    put(bench, A, 0x20);
    put(bench, B, H24 | PIE);
    reg(bench, C);
    bench.interrupts();
    bench.wait(2 * SECOND);
    let asks = bench.irq(8);
    bench.check("request", asks, false);
    let flags = reg(bench, C);
    bench.check_bits("PF", flags, 0x40u8, 0u8);
}

pub(super) fn pie(bench: &mut Bench<'_>) {
    bench.interrupts();
    put(bench, A, 0x2f);
    put(bench, B, H24 | PIE);
    reg(bench, C);
    for _ in 0..3 {
        bench.interrupts();
        bench.wait(600 * MS);
        let asks = bench.irq(8);
        bench.check("request", asks, true);
        let flags = reg(bench, C);
        bench.check_bits("IRQF and PF", flags, 0xc0u8, 0xc0u8);
    }
    put(bench, B, H24);
    reg(bench, C);
    bench.interrupts();
    bench.wait(SECOND);
    let asks = bench.irq(8);
    bench.check("without PIE", asks, false);
}

pub(super) fn pf_alone(bench: &mut Bench<'_>) {
    put(bench, B, H24);
    put(bench, A, 0x26);
    reg(bench, C);
    bench.wait(10 * MS);
    let flags = reg(bench, C);
    bench.check_bits("PF without PIE", flags, 0xc0u8, 0x40u8);
}

pub(super) fn pie_set(bench: &mut Bench<'_>) {
    put(bench, A, 0x26);
    put(bench, B, SET | H24 | PIE);
    reg(bench, C);
    bench.wait(10 * MS);
    let flags = reg(bench, C);
    bench.check_bits("IRQF and PF in SET", flags, 0xc0u8, 0xc0u8);
}

pub(super) fn reset_interrupts(bench: &mut Bench<'_>) {
    set_alarm(bench, [0xff; 3]);
    later(bench, H24 | PIE | AIE | UIE | 8, NOON, 600 * MS, &[]);
    bench.reset();
    let flags = reg(bench, C);
    bench.check_bits("IRQF", flags, 0x80u8, 0u8);
    let b = reg(bench, B);
    bench.check_bits("PIE, AIE, SQWE", b, PIE | AIE | 8, 0u8);
    bench.check_bits("UIE", b, UIE, 0u8);
}
