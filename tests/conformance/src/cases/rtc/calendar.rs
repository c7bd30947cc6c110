//! The time and its updates.

use super::{
    A, B, BINARY, C, H24, MS, NOON, SECOND, SET, TIME, Time, clock, get, later, out, put, reg, set_alarm,
};
use crate::bench::Bench;
use crate::machine::Op;

pub(super) fn begins(bench: &mut Bench<'_>) {
    let b = reg(bench, B);
    bench.check_bits("24 hours in decimal", b, BINARY | H24, H24);
    let got: Vec<u8> = TIME.iter().map(|index| reg(bench, *index)).collect();
    bench.check_bytes("hour, weekday, day, month, year, century", &got[2..], &NOON[2..]);
    bench.check_range("minute", got[1].into(), 0, 1);
}

pub(super) fn half_second(bench: &mut Bench<'_>) {
    for (what, ns, second) in
        [("499 ms", 499 * MS, 0x10u8), ("503 ms", 503 * MS, 0x11), ("1499 ms", 1499 * MS, 0x11)]
    {
        let got = later(bench, H24, NOON, ns, &[0]);
        bench.check(what, got[0], second);
    }
}

pub(super) fn second(bench: &mut Bench<'_>) {
    let slack = bench.slack();
    // From one update to the tenth after it, seen to the millisecond.
    let mut ops = clock(H24, NOON);
    ops.push(Op::Wait(500 * MS + 9 * SECOND - MS));
    let begin = ops.len();
    for _ in 0..5 {
        ops.extend(get(0));
        ops.push(Op::Wait(MS));
    }
    let got = bench.perform(&ops);
    let seconds: Vec<u8> = got[begin..].chunks(3).map(|read| read[1] as u8).collect();
    bench.check("just before", seconds[0], 0x19u8);
    let when = seconds.iter().position(|second| *second == 0x20);
    bench.check_range("milliseconds until it", when.map_or(u64::MAX, |at| at as u64), 1, 4 + slack / MS);
}

pub(super) fn divider(bench: &mut Bench<'_>) {
    for hold in [0x66, 0x76] {
        let mut ops = clock(H24, NOON);
        ops.extend(out(A, hold));
        ops.push(Op::Wait(3 * SECOND));
        ops.extend([get(0), get(C), get(A)].concat());
        let got = bench.perform(&ops);
        bench.check(format!("second in {hold:#x}"), got[got.len() - 5], 0x10u8);
        bench.check_bits(format!("UF and AF in {hold:#x}"), got[got.len() - 3], 0x30u8, 0u8);
        bench.check(format!("A in {hold:#x}"), got[got.len() - 1], hold);
    }
}

pub(super) fn set_stops(bench: &mut Bench<'_>) {
    let mut ops = clock(H24, NOON);
    ops.extend(out(B, SET | H24));
    ops.push(Op::Wait(5 * SECOND));
    ops.extend(get(0));
    ops.extend(out(B, H24));
    ops.push(Op::Wait(2 * SECOND));
    ops.extend(get(0));
    let got = bench.perform(&ops);
    bench.check("while it is set", got[got.len() - 6], 0x10u8);
    bench.check_range("seconds after", got[got.len() - 1], 0x11, 0x12);
}

pub(super) fn set_holds(bench: &mut Bench<'_>) {
    put(bench, B, SET | H24);
    for (what, time) in
        [("a time", [0x59, 0x58, 0x23, 7, 0x31, 0x12, 0x99, 0x19]), ("another", [1, 2, 3, 4, 5, 6, 7, 0x20])]
    {
        for (index, value) in TIME.iter().zip(time) {
            put(bench, *index, value);
        }
        bench.wait(2 * SECOND);
        let got: Vec<u8> = TIME.iter().map(|index| reg(bench, *index)).collect();
        bench.check_bytes(what, &got, &time);
    }
    for (index, value) in [(1, 0x33u8), (3, 0x44), (5, 0x15)] {
        put(bench, index, value);
        let got = reg(bench, index);
        bench.check(format!("alarm {index}"), got, value);
    }
}

pub(super) fn running_write(bench: &mut Bench<'_>) {
    let mut ops = clock(H24, NOON);
    for (index, value) in [(0u8, 0x30u8), (2, 0x40), (4, 0x17), (8, 3)] {
        ops.extend(out(index, value));
    }
    let begin = ops.len() + 1;
    ops.push(Op::Wait(600 * MS));
    ops.extend(TIME.iter().take(6).flat_map(|index| get(*index)));
    let got = bench.perform(&ops);
    let got: Vec<u8> = got[begin..].iter().skip(1).step_by(2).map(|value| *value as u8).collect();
    bench.check_bytes("second, minute, hour", &got[..3], &[0x31, 0x40, 0x17]);
    bench.check_bytes("day, month", &got[4..], &[1, 3]);
}

/// The time after so many updates (1 at least) must be this.
fn turns(bench: &mut Bench<'_>, what: &str, b: u8, from: Time, updates: u64, to: Time) {
    let got = later(bench, b, from, updates * SECOND - 400 * MS, &TIME);
    bench.check_bytes(what, &got, &to);
}

pub(super) fn carry(bench: &mut Bench<'_>) {
    turns(bench, "9 to 10", H24, [9, 9, 9, 5, 1, 1, 0x26, 0x20], 1, [0x10, 9, 9, 5, 1, 1, 0x26, 0x20]);
    let from = [0x59, 0x09, 0x12, 5, 1, 1, 0x26, 0x20];
    turns(bench, "a minute", H24, from, 1, [0, 0x10, 0x12, 5, 1, 1, 0x26, 0x20]);
    let from = [0x58, 0x59, 0x12, 5, 1, 1, 0x26, 0x20];
    turns(bench, "an hour", H24, from, 3, [1, 0, 0x13, 5, 1, 1, 0x26, 0x20]);
}

pub(super) fn nine_to_ten(bench: &mut Bench<'_>) {
    for (what, hour, next) in [("9", 9, 0x10), ("19", 0x19, 0x20)] {
        let from = [0x59, 0x59, hour, 5, 1, 1, 0x26, 0x20];
        turns(bench, &format!("decimal {what}"), H24, from, 1, [0, 0, next, 5, 1, 1, 0x26, 0x20]);
    }
    for hour in [9, 19] {
        let from = [59, 59, hour, 5, 1, 1, 26, 20];
        let to = [0, 0, hour + 1, 5, 1, 1, 26, 20];
        turns(bench, &format!("binary {hour}"), H24 | BINARY, from, 1, to);
    }
}

pub(super) fn midnight(bench: &mut Bench<'_>) {
    let from = [0x59, 0x59, 0x23, 5, 1, 1, 0x26, 0x20];
    turns(bench, "midnight", H24, from, 1, [0, 0, 0, 6, 2, 1, 0x26, 0x20]);
    let from = [0x59, 0x59, 0x23, 5, 0x31, 0x12, 0x26, 0x20];
    turns(bench, "new year", H24, from, 1, [0, 0, 0, 6, 1, 1, 0x27, 0x20]);
}

/// From hours to hours over a full hour, both as the register has them; whether the day changes.
fn over(bench: &mut Bench<'_>, b: u8, hours: &[(&str, u8, u8, bool)]) {
    let last = if b & BINARY == 0 { 0x59 } else { 59 };
    let (year, century) = if b & BINARY == 0 { (0x26, 0x20) } else { (26, 20) };
    for (what, hour, next, day) in hours {
        let day = u8::from(*day);
        let from = [last, last, *hour, 5, 1, 1, year, century];
        turns(bench, what, b, from, 1, [0, 0, *next, 5 + day, 1 + day, 1, year, century]);
    }
}

pub(super) fn twelve(bench: &mut Bench<'_>) {
    over(
        bench,
        0,
        &[
            ("11 AM to noon", 0x11, 0x92, false),
            ("noon to 1 PM", 0x92, 0x81, false),
            ("9 PM to 10 PM", 0x89, 0x90, false),
            ("11 PM to midnight", 0x91, 0x12, true),
            ("midnight to 1 AM", 0x12, 1, false),
            ("9 AM to 10 AM", 9, 0x10, false),
        ],
    );
}

pub(super) fn twelve_binary(bench: &mut Bench<'_>) {
    over(
        bench,
        BINARY,
        &[
            ("11 AM to noon", 11, 0x8c, false),
            ("noon to 1 PM", 0x8c, 0x81, false),
            ("9 PM to 10 PM", 0x89, 0x8a, false),
            ("11 PM to midnight", 0x8b, 12, true),
            ("midnight to 1 AM", 12, 1, false),
        ],
    );
}

/// Over a midnight: (weekday, day, month, year) in decimal, twice.
fn days(bench: &mut Bench<'_>, list: &[(&str, [u8; 4], [u8; 4])]) {
    for (what, [w, d, m, y], [w1, d1, m1, y1]) in list {
        let from = [0x59, 0x59, 0x23, *w, *d, *m, *y, 0x20];
        turns(bench, what, H24, from, 1, [0, 0, 0, *w1, *d1, *m1, *y1, 0x20]);
    }
}

pub(super) fn months(bench: &mut Bench<'_>) {
    days(
        bench,
        &[
            ("31 January", [7, 0x31, 1, 0x26], [1, 1, 2, 0x26]),
            ("31 March", [3, 0x31, 3, 0x26], [4, 1, 4, 0x26]),
            ("30 April", [5, 0x30, 4, 0x26], [6, 1, 5, 0x26]),
            ("31 August", [2, 0x31, 8, 0x26], [3, 1, 9, 0x26]),
            ("30 September", [4, 0x30, 9, 0x26], [5, 1, 0x10, 0x26]),
            ("31 October", [7, 0x31, 0x10, 0x26], [1, 1, 0x11, 0x26]),
            ("30 November", [2, 0x30, 0x11, 0x26], [3, 1, 0x12, 0x26]),
        ],
    );
}

pub(super) fn leap(bench: &mut Bench<'_>) {
    days(
        bench,
        &[
            ("28 February 2026", [7, 0x28, 2, 0x26], [1, 1, 3, 0x26]),
            ("28 February 2028", [2, 0x28, 2, 0x28], [3, 0x29, 2, 0x28]),
            ("29 February 2028", [3, 0x29, 2, 0x28], [4, 1, 3, 0x28]),
            ("28 February 2000", [2, 0x28, 2, 0], [3, 0x29, 2, 0]),
        ],
    );
}

pub(super) fn binary_calendar(bench: &mut Bench<'_>) {
    let b = BINARY | H24;
    turns(bench, "31 October", b, [59, 59, 23, 7, 31, 10, 26, 20], 1, [0, 0, 0, 1, 1, 11, 26, 20]);
    turns(bench, "9 December", b, [59, 59, 23, 4, 9, 12, 26, 20], 1, [0, 0, 0, 5, 10, 12, 26, 20]);
    turns(bench, "the end of 2029", b, [59, 59, 23, 2, 31, 12, 29, 20], 1, [0, 0, 0, 3, 1, 1, 30, 20]);
}

pub(super) fn century(bench: &mut Bench<'_>) {
    let from = [0x59, 0x59, 0x23, 6, 0x31, 0x12, 0x99, 0x19];
    turns(bench, "decimal", H24, from, 1, [0, 0, 0, 7, 1, 1, 0, 0x20]);
    let from = [59, 59, 23, 6, 31, 12, 99, 19];
    turns(bench, "binary", H24 | BINARY, from, 1, [0, 0, 0, 7, 1, 1, 0, 20]);
}

pub(super) fn weekday(bench: &mut Bench<'_>) {
    for day in 0..7u8 {
        // 4 January 2026 is a Sunday.
        let from = [0x59, 0x59, 0x23, day + 1, day + 4, 1, 0x26, 0x20];
        let got = later(bench, H24, from, 100 * MS, &[6]);
        bench.check(format!("day {}", day + 1), got[0], day + 1);
        let got = later(bench, H24, from, 600 * MS, &[6]);
        bench.check(format!("after day {}", day + 1), got[0], (day + 1) % 7 + 1);
    }
}

pub(super) fn odd_weekday(bench: &mut Bench<'_>) {
    let mut time = NOON;
    time[3] = 2;
    let got = later(bench, H24, time, 600 * MS, &[6]);
    bench.note("weekday", got[0]);
}

pub(super) fn uip(bench: &mut Bench<'_>) {
    let slack = bench.slack();
    // tBUC is 244 us: whoever sees the bit down has that long. Seen 40 us ahead of that and 44 us after.
    let ahead = 244_000 - 40_000;
    let got = later(bench, H24, NOON, 500 * MS - ahead - 10 * slack, &[A]);
    bench.check_bits("within 244 us", got[0], 0x80u8, 0x80u8);
    let got = later(bench, H24, NOON, 500 * MS - 300_000 - 10 * slack, &[A]);
    bench.check_bits("before", got[0], 0x80u8, 0u8);
    // The update itself may take 1984 us.
    let got = later(bench, H24, NOON, 500 * MS + 2_000_000, &[A, 0]);
    bench.check_bits("after the update", got[0], 0x80u8, 0u8);
    bench.check("the second after the update", got[1], 0x11u8);
    let got = later(bench, H24, NOON, SECOND, &[A]);
    bench.check_bits("between updates", got[0], 0x80u8, 0u8);
}

pub(super) fn uip_set(bench: &mut Bench<'_>) {
    let slack = bench.slack();
    let mut ops = clock(H24, NOON);
    ops.push(Op::Wait(500 * MS - 200_000 - 10 * slack));
    ops.extend([out(B, SET | H24), get(A)].concat());
    let got = bench.perform(&ops);
    bench.check_bits("in the window of an update", got[ops.len() - 1], 0x80u8, 0u8);
    let seen = (0..20).fold(0, |seen, _| {
        bench.wait(97 * MS);
        seen | reg(bench, A)
    });
    bench.check_bits("later", seen, 0x80u8, 0u8);
}

pub(super) fn reset_time(bench: &mut Bench<'_>) {
    set_alarm(bench, [0x11, 0x22, 0x33]);
    later(bench, H24 | BINARY, [0, 30, 7, 4, 15, 7, 26, 20], 100 * MS, &[]);
    put(bench, A, 0x29);
    bench.reset();
    let got: Vec<u8> = TIME.iter().map(|index| reg(bench, *index)).collect();
    bench.check_bytes("hour, weekday, day, month, year, century", &got[2..], &[7, 4, 15, 7, 26, 20]);
    bench.check_range("minute", got[1].into(), 30, 31);
    let (a, b) = (reg(bench, A), reg(bench, B));
    bench.check_bits("A", a, 0x7fu8, 0x29u8);
    bench.check("B", b, H24 | BINARY);
    let alarm: Vec<u8> = [1, 3, 5].into_iter().map(|index| reg(bench, index)).collect();
    bench.check_bytes("alarm", &alarm, &[0x11, 0x22, 0x33]);
}

pub(super) fn dse(bench: &mut Bench<'_>) {
    // The last Sunday in April, 1:59:59.
    let got = later(bench, H24 | 1, [0x59, 0x59, 1, 1, 0x26, 4, 0x26, 0x20], 600 * MS, &[4, B]);
    bench.note("hour in spring", got[0]);
    bench.check("B", got[1], H24 | 1);
}

pub(super) fn ps2_century(bench: &mut Bench<'_>) {
    put(bench, 0x37, 0x20);
    let got = reg(bench, 0x37);
    bench.note("0x37", got);
    put(bench, 0x32, 0x19);
    let got = reg(bench, 0x37);
    bench.note("0x37 after a write to 0x32", got);
}
