//! `usb-serial` on the controller's first port: Universal Serial Bus Specification, 2.0 (S); requests of FTDI's FT232BM as
//! Linux's `ftdi_sio.h` (F) tells them.

use super::driver::*;
use crate::bench::Bench;
use crate::case::{Group, Setup, case};

pub(in crate::cases) const GROUP: Group = Group {
    device: "usb-serial",
    about: "a serial line on UHCI",
    setup: Setup {
        disks: &[],
        args: &[
            "-usb",
            "-chardev",
            "null,id=line",
            "-device",
            "usb-serial,port=1,chardev=line,serial=S1,always-plugged=on",
        ],
    },
    cases: &[
        case("descriptors", "S 9.6", descriptors),
        case("status of the device", "S 9.4.5", device_status),
        case("it may wake the host", "S 9.4.9", wakeup),
        case("resets", "F FTDI_SIO_RESET", resets),
        case("modem control", "F FTDI_SIO_SET_MODEM_CTRL", modem),
        case("flow control", "F FTDI_SIO_SET_FLOW_CTRL", flow),
        case("rates", "F FTDI_SIO_SET_BAUD_RATE", rates),
        case("formats", "F FTDI_SIO_SET_DATA", formats),
        case("modem status", "F FTDI_SIO_GET_MODEM_STATUS", status),
        case("the latency timer", "F FTDI_SIO_SET_LATENCY_TIMER", latency),
        case("event and error characters", "F FTDI_SIO_SET_EVENT_CHAR", characters),
        case("requests that are none", "S 9.2.7", none),
        case("data is taken", "S 5.8", taken),
        case("nothing was received", "S 5.8", silent),
    ],
};

const DEVICE: u8 = 5;

fn note(bench: &mut Bench<'_>, what: &str, setup: [u8; 8]) {
    let reply = request(bench, DEVICE, setup);
    bench.check_that(format!("{what}: it is answered"), reply.is_some(), "it is not");
    bench.note_bytes(what, &reply.unwrap_or_default());
}

/// A request of the vendor's that tells something. Whether it is taken.
fn tell(bench: &mut Bench<'_>, number: u8, value: u16, index: u16) -> bool {
    let ([v0, v1], [i0, i1]) = (value.to_le_bytes(), index.to_le_bytes());
    request(bench, DEVICE, [0x40, number, v0, v1, i0, i1, 0, 0]).is_some()
}

/// One that asks for so many bytes.
fn ask(bench: &mut Bench<'_>, number: u8, len: u8) -> Vec<u8> {
    request(bench, DEVICE, [0xc0, number, 0, 0, 0, 0, len, 0]).unwrap_or_default()
}

fn descriptors(bench: &mut Bench<'_>) {
    configure(bench);
    note(bench, "device", [0x80, 6, 0, 1, 0, 0, 18, 0]);
    note(bench, "configuration", [0x80, 6, 0, 2, 0, 0, 0xff, 0]);
    for index in [1, 2, 4] {
        note(bench, &format!("string {index}"), [0x80, 6, index, 3, 9, 4, 0xff, 0]);
    }
}

fn device_status(bench: &mut Bench<'_>) {
    configure(bench);
    let found = request(bench, DEVICE, [0x80, 0, 0, 0, 0, 0, 2, 0]);
    bench.check_bytes("powered by the bus", &found.unwrap_or_default(), &[0, 0]);
}

fn wakeup(bench: &mut Bench<'_>) {
    configure(bench);
    let done = request(bench, DEVICE, [0, 3, 1, 0, 0, 0, 0, 0]);
    bench.check_that("the feature is set", done.is_some(), "it is refused");
    let found = request(bench, DEVICE, [0x80, 0, 0, 0, 0, 0, 2, 0]);
    bench.check_bytes("so it says", &found.unwrap_or_default(), &[2, 0]);
}

fn resets(bench: &mut Bench<'_>) {
    configure(bench);
    for (what, value) in [("the device", 0), ("what was received", 1), ("what is to be sent", 2)] {
        let done = tell(bench, 0, value, 0);
        bench.check(what, done, true);
    }
}

fn modem(bench: &mut Bench<'_>) {
    configure(bench);
    for (what, value) in [("DTR", 0x101), ("RTS", 0x202), ("both off", 0x300)] {
        let done = tell(bench, 1, value, 0);
        bench.check(what, done, true);
    }
}

fn flow(bench: &mut Bench<'_>) {
    configure(bench);
    for (what, value, index) in [("none", 0, 0), ("RTS and CTS", 0, 0x100), ("XON and XOFF", 0x1311, 0x400)] {
        let done = tell(bench, 2, value, index);
        bench.check(what, done, true);
    }
}

fn rates(bench: &mut Bench<'_>) {
    configure(bench);
    for (what, value, index) in
        [("9600", 0x4138, 0), ("115200", 0x1a, 0), ("3 million", 0, 0), ("1843200", 0x8001, 1)]
    {
        let done = tell(bench, 3, value, index);
        bench.check(what, done, true);
    }
}

fn formats(bench: &mut Bench<'_>) {
    configure(bench);
    for (what, value, expected) in [
        ("8N1", 8, true),
        ("7N1", 7, true),
        ("8O1", 0x108, true),
        ("8E1", 0x208, true),
        ("8N2", 0x1008, true),
        ("five bits", 5, true),
        ("mark", 0x308, false),
        ("space", 0x408, false),
        ("one stop bit and a half", 0x808, false),
    ] {
        let done = tell(bench, 4, value, 0);
        bench.check(what, done, expected);
    }
}

fn status(bench: &mut Bench<'_>) {
    configure(bench);
    let found = ask(bench, 5, 2);
    bench.check_bytes("CTS, DSR, a signal; all was sent", &found, &[0xb1, 0x60]);
}

fn latency(bench: &mut Bench<'_>) {
    configure(bench);
    for value in [1, 16, 255] {
        let done = tell(bench, 9, value, 0);
        bench.check(format!("{value} ms"), done, true);
        let found = ask(bench, 10, 1);
        bench.check_bytes(format!("{value} ms are there"), &found, &[value as u8]);
    }
}

fn characters(bench: &mut Bench<'_>) {
    configure(bench);
    for (what, number) in [("event", 6), ("error", 7)] {
        let done = tell(bench, number, 0x10d, 0);
        bench.check(what, done, true);
    }
}

fn none(bench: &mut Bench<'_>) {
    configure(bench);
    for number in [8, 11, 0x90] {
        let done = tell(bench, number, 0, 0);
        bench.check(format!("request {number:#x}"), done, false);
    }
    let found = ask(bench, 0x90, 2);
    bench.check("the memory of numbers", found.len() as u32, 0u8);
}

fn taken(bench: &mut Bench<'_>) {
    configure(bench);
    bench.poke(DATA, &[0x55; 64]);
    for len in [64, 1, 0, 33] {
        td(bench, 0, 1, 0, token(OUT, DEVICE, 2, len));
        go(bench);
        bench.passes_until(|bench| control(bench, 0) & ACTIVE == 0);
        let found = control(bench, 0);
        bench.check_bits(format!("{len} bytes: done"), found, ACTIVE | STALLED, 0_u32);
        bench.check(format!("{len} bytes: all of them"), found.wrapping_add(1) & 0x7ff, len as u32);
    }
}

fn silent(bench: &mut Bench<'_>) {
    configure(bench);
    td(bench, 0, 1, 0, token(IN, DEVICE, 1, 64));
    go(bench);
    bench.wait(50_000_000);
    let found = control(bench, 0);
    bench.check_bits("it is asked still, and says no", found, ACTIVE | STALLED | 1 << 19, ACTIVE | 1 << 19);
}
