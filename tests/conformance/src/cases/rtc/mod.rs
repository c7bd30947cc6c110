//! The real-time clock and CMOS RAM. Motorola MC146818A datasheet ("Real-Time Clock Plus RAM"), IBM PC/AT
//! Technical Reference for the ports, ACPI 5.2.9 for the century.
//!
//! Taking the divider out of reset puts the next update half a second ahead; cases begin so.

mod calendar;
mod interrupts;

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::{Op, Size};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
/// Registers of the time, and of the century.
const TIME: [u8; 8] = [0, 2, 4, 6, 7, 8, 9, 0x32];
const A: u8 = 10;
const B: u8 = 11;
const C: u8 = 12;
const D: u8 = 13;
const SET: u8 = 0x80;
const PIE: u8 = 0x40;
const AIE: u8 = 0x20;
const UIE: u8 = 0x10;
const BINARY: u8 = 4;
const H24: u8 = 2;
/// Second, minute, hour, weekday (Sunday is 1), day, month, year, century: a Thursday.
const NOON: Time = [0x10, 0x20, 0x12, 5, 1, 1, 0x26, 0x20];

type Time = [u8; 8];

pub(super) const GROUP: Group = Group {
    device: "rtc",
    about: "real-time clock MC146818A and CMOS RAM",
    setup: Setup { disks: &[], args: &[] },
    cases: &[
        case("registers at power-on", "MC146818A, registers A to D", power_on),
        case("the clock begins at the host's time", "the command line, -rtc base", calendar::begins),
        case("114 bytes of RAM", "MC146818A, address map, 0Eh to 7Fh", ram),
        case("RAM outlives a reset", "MC146818A, RESET", ram_reset),
        case("bit 7 of the index is no part of it", "PC/AT, port 70h, bit 7 NMI mask", nmi_bit),
        case("the index stays", "MC146818A, multiplexed bus, address latch", index_stays),
        case("the index port cannot be read", "PC/AT: write only", index_port),
        case("register A holds divider and rate", "MC146818A, register A", a_bits),
        case("UIP cannot be written", "MC146818A, register A, UIP", uip_read_only),
        case("register B holds every mode", "MC146818A, register B", b_bits),
        case("registers C and D cannot be written", "MC146818A, registers C and D", cd_read_only),
        case("register D says valid", "MC146818A, register D, VRT", valid),
        case(
            "the first update is half a second after the divider",
            "MC146818A, register A, DV",
            calendar::half_second,
        ),
        case("a second is a second", "MC146818A, update cycle", calendar::second),
        case("a divider in reset stops the clock", "MC146818A, register A, DV = 11x", calendar::divider),
        case("SET stops the clock", "MC146818A, register B, SET", calendar::set_stops),
        case("SET keeps what is written", "MC146818A, register B, SET", calendar::set_holds),
        case("SET ends the update-ended interrupt", "MC146818A, register B, UIE", interrupts::set_uie),
        case(
            "the time can be written as it runs",
            "MC146818A, time, calendar and alarm locations",
            calendar::running_write,
        ),
        case("minutes and hours carry", "MC146818A, table 2", calendar::carry),
        case("hours 9 to 10 in decimal and binary", "MC146818A, register B, DM", calendar::nine_to_ten),
        case("midnight in 24 hours", "MC146818A, table 2 and register B, 24/12", calendar::midnight),
        case("12 hours in decimal", "MC146818A, table 2 and register B, 24/12", calendar::twelve),
        case("12 hours in binary", "MC146818A, table 2 and register B, 24/12", calendar::twelve_binary),
        case("lengths of months", "MC146818A, calendar", calendar::months),
        case("leap years", "MC146818A, calendar", calendar::leap),
        case("binary calendar", "MC146818A, table 2", calendar::binary_calendar),
        case("the century carries", "ACPI 5.2.9, CENTURY", calendar::century),
        case("the weekday goes round", "MC146818A, table 2, day of the week", calendar::weekday),
        case("a weekday of its own", "no document: PCs derive it or count it", calendar::odd_weekday),
        case("UIP comes ahead of the update", "MC146818A, update cycle, tBUC 244 us", calendar::uip),
        case("UIP stays down in SET", "MC146818A, register B, SET", calendar::uip_set),
        case("UF comes with every update", "MC146818A, register C, UF", interrupts::uf),
        case("reading C clears it", "MC146818A, register C", interrupts::c_clears),
        case("the update-ended interrupt", "MC146818A, register B, UIE", interrupts::uie),
        case("a flag that is up asks when it is enabled", "MC146818A, interrupts", interrupts::late_enable),
        case("disabling lets go and keeps the flag", "MC146818A, interrupts", interrupts::disable),
        case("the line stays up until C is read", "MC146818A, interrupts", interrupts::holds_line),
        case("the alarm rings at its time", "MC146818A, alarm", interrupts::alarm),
        case("the alarm at every second", "MC146818A, alarm, don't care codes", interrupts::alarm_second),
        case("the alarm at every minute", "MC146818A, alarm, don't care codes", interrupts::alarm_minute),
        case("the alarm at every hour", "MC146818A, alarm, don't care codes", interrupts::alarm_hour),
        case("the alarm interrupt", "MC146818A, register B, AIE", interrupts::aie),
        case("the alarm in 12 hours", "MC146818A, alarm and register B, 24/12", interrupts::alarm_twelve),
        case("the alarm in binary", "MC146818A, alarm and register B, DM", interrupts::alarm_binary),
        case("all flags at once", "MC146818A, register C", interrupts::all_flags),
        case("periodic rates", "MC146818A, table 5, 32.768 kHz", interrupts::rates),
        case("rate 0 is none", "MC146818A, table 5", interrupts::rate_none),
        case("the periodic interrupt", "MC146818A, register B, PIE", interrupts::pie),
        case("PF needs no PIE", "MC146818A, register C, PF", interrupts::pf_alone),
        case("periodic goes on in SET", "MC146818A, register B, SET", interrupts::pie_set),
        case("a reset ends interrupts", "MC146818A, RESET", interrupts::reset_interrupts),
        case("a reset keeps time and modes", "MC146818A, RESET", calendar::reset_time),
        case("daylight saving", "MC146818A, register B, DSE; PCs ignore it", calendar::dse),
        case(
            "the place of the PS/2's century",
            "no document: PS/2 had the century at 37h",
            calendar::ps2_century,
        ),
        case("what firmware finds", "no document: a platform's own", firmware),
    ],
};

fn out(index: u8, value: u8) -> [Op; 2] {
    [Op::Out(0x70, Size::B1, index.into()), Op::Out(0x71, Size::B1, value.into())]
}

fn get(index: u8) -> [Op; 2] {
    [Op::Out(0x70, Size::B1, index.into()), Op::In(0x71, Size::B1)]
}

/// Steps that set the clock, with B's modes, half a second before its next update.
fn clock(b: u8, time: Time) -> Vec<Op> {
    let mut ops = [out(A, 0x76), out(B, b | SET)].concat();
    ops.extend(TIME.iter().zip(time).flat_map(|(index, value)| out(*index, value)));
    // Setting clears UIE, so that interrupts are enabled with the last write.
    ops.extend([out(B, b & !SET), out(A, 0x26), get(C)].concat());
    ops
}

/// Sets the clock, waits and reads registers, all back to back.
fn later(bench: &mut Bench<'_>, b: u8, time: Time, ns: u64, registers: &[u8]) -> Vec<u8> {
    let mut ops = clock(b, time);
    ops.push(Op::Wait(ns));
    let begin = ops.len();
    ops.extend(registers.iter().flat_map(|index| get(*index)));
    let answers = bench.perform(&ops);
    answers[begin..].iter().skip(1).step_by(2).map(|value| *value as u8).collect()
}

fn reg(bench: &mut Bench<'_>, index: u8) -> u8 {
    bench.indexed(0x70, index)
}

fn put(bench: &mut Bench<'_>, index: u8, value: u8) {
    bench.set_indexed(0x70, index, value);
}

fn power_on(bench: &mut Bench<'_>) {
    for (name, index) in [("A", A), ("B", B), ("C", C)] {
        let value = reg(bench, index);
        bench.note(name, value & if index == A { 0x7f } else { 0xff });
    }
    let value = reg(bench, D);
    bench.check("D", value, 0x80u8);
    let alarms: Vec<u8> = [1, 3, 5].into_iter().map(|index| reg(bench, index)).collect();
    bench.note_bytes("alarm", &alarms);
}

fn ram(bench: &mut Bench<'_>) {
    let places: Vec<u8> = (0x0e..0x80).filter(|index| ![0x32, 0x37].contains(index)).collect();
    for (what, turn) in [("its own number", 0u8), ("its complement", 0xff)] {
        let wanted: Vec<u8> = places.iter().map(|index| index ^ turn).collect();
        for (index, value) in places.iter().zip(&wanted) {
            put(bench, *index, *value);
        }
        let got: Vec<u8> = places.iter().map(|index| reg(bench, *index)).collect();
        bench.check_bytes(what, &got, &wanted);
    }
}

fn ram_reset(bench: &mut Bench<'_>) {
    for index in [0x0e, 0x40, 0x7f] {
        put(bench, index, !index);
    }
    bench.reset();
    for index in [0x0e, 0x40, 0x7f] {
        let value = reg(bench, index);
        bench.check(format!("{index:#04x}"), value, !index);
    }
}

fn nmi_bit(bench: &mut Bench<'_>) {
    put(bench, 0x40, 0x12);
    put(bench, 0xc1, 0x34);
    for (index, value) in [(0xc0, 0x12u8), (0x41, 0x34), (0xc1, 0x34), (0x8d, 0x80)] {
        let got = reg(bench, index);
        bench.check(format!("{index:#04x}"), got, value);
    }
}

fn index_stays(bench: &mut Bench<'_>) {
    put(bench, 0x50, 0x5a);
    bench.outb(0x70, 0x50);
    for _ in 0..3 {
        let value = bench.inb(0x71);
        bench.check("read", value, 0x5au8);
    }
    bench.outb(0x71, 0xa5);
    let value = bench.inb(0x71);
    bench.check("after a write", value, 0xa5u8);
}

fn index_port(bench: &mut Bench<'_>) {
    bench.outb(0x70, 0x50);
    let value = bench.inb(0x70);
    bench.note("port 0x70", value);
    put(bench, 0x50, 0x77);
    bench.inb(0x70);
    let value = bench.inb(0x71);
    bench.check("reading it leaves the index", value, 0x77u8);
}

fn a_bits(bench: &mut Bench<'_>) {
    for value in [0x20u8, 0x2f, 0x26, 0x70, 0x60, 0x7f, 0x26] {
        put(bench, A, value);
        let got = reg(bench, A);
        bench.check_bits(format!("{value:#04x}"), got, 0x7fu8, value);
    }
}

fn uip_read_only(bench: &mut Bench<'_>) {
    let got = later(bench, H24, NOON, 0, &[A]);
    bench.check("before", got[0], 0x26u8);
    let mut ops = clock(H24, NOON);
    ops.extend([out(A, 0xa6), get(A)].concat());
    let got = bench.perform(&ops);
    bench.check("after a write of ones", got[ops.len() - 1], 0x26u8);
}

fn b_bits(bench: &mut Bench<'_>) {
    put(bench, A, 0x76);
    for value in [0u8, 2, 4, 8, 0x20, 0x40, 0x80, 0x10, 1, 0x7f, 0x82] {
        put(bench, B, value);
        let got = reg(bench, B);
        bench.check(format!("{value:#04x}"), got, value);
    }
}

fn cd_read_only(bench: &mut Bench<'_>) {
    let mut ops = clock(H24, NOON);
    ops.extend([get(C), out(C, 0xff), get(C), out(D, 0x7f), get(D), out(D, 0), get(D)].concat());
    let got = bench.perform(&ops);
    let read = |back: usize| got[got.len() - back];
    bench.check("C after a write of ones", read(9), 0u8);
    bench.check("D after a write of ones", read(5), 0x80u8);
    bench.check("D after a write of zeros", read(1), 0x80u8);
}

fn valid(bench: &mut Bench<'_>) {
    for what in ["first", "second"] {
        let value = reg(bench, D);
        bench.check(what, value, 0x80u8);
    }
    bench.reset();
    let value = reg(bench, D);
    bench.check("after reset", value, 0x80u8);
}

/// Steps that set the alarm: second, minute, hour.
fn set_alarm(bench: &mut Bench<'_>, alarm: [u8; 3]) {
    for (index, value) in [1, 3, 5].into_iter().zip(alarm) {
        put(bench, index, value);
    }
}

fn firmware(bench: &mut Bench<'_>) {
    for (what, from, to) in [
        ("shutdown to equipment", 0x0f, 0x15),
        ("memory below 16 MiB", 0x15, 0x19),
        ("disks", 0x19, 0x2e),
        ("memory", 0x30, 0x32),
        ("memory above 16 MiB", 0x34, 0x36),
        ("boot order and processors", 0x38, 0x60),
    ] {
        let got: Vec<u8> = (from..to).map(|index| reg(bench, index)).collect();
        bench.note_bytes(what, &got);
    }
}
