//! What goes over a serial line, seen from both its ends: National Semiconductor's PC16550D datasheet.

use super::uart::{CHARACTER, DATA, FCR, IER, IIR, LCR, LOOP, LSR, MCR, check_iir, setup};
use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::Input::Com1;

pub(super) const GROUP: Group = Group {
    device: "serial",
    about: "COM1 and what is at the other end of its line",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("a byte comes in", "PC16550D 8.4 bit 0", one),
    case("every value of a byte comes in", "PC16550D 8.4 bit 0", values),
    case("without a FIFO one byte waits for another", "PC16550D 8.4 bit 0", held),
    case("bytes keep their order in the FIFO", "PC16550D 2.0", order),
    case("a FIFO of 16, and more behind it", "PC16550D 8.5", more),
    case("received data interrupt", "PC16550D 8.6, table IV", received),
    case("no interrupt without its bit", "PC16550D 8.7 bit 0", quiet),
    case("IRQ 4 of what comes in", "PC/AT asynchronous adapter: interrupt", line),
    case("trigger levels", "PC16550D FIFO interrupt mode", triggers),
    case("character timeout", "PC16550D FIFO interrupt mode: timeout", timeout),
    case("the divisor's window takes nothing", "PC16550D 8.1 bit 7", divisor),
    case("receive FIFO reset", "PC16550D 8.5 bit 1", cleared),
    case("loopback shuts what comes in out", "PC16550D 8.8 bit 4", loop_in),
    case("a byte goes out", "PC16550D 8.4 bits 5, 6", out),
    case("every value of a byte goes out", "PC16550D 8.4 bit 5", out_values),
    case("sixteen bytes go out at once", "PC16550D FIFO: 16 bytes", burst),
    case("transmitter empty interrupt of a line", "PC16550D 8.6, table IV", empty),
    case("loopback lets nothing out", "PC16550D 8.8 bit 4", loop_out),
    case("both ways at once", "PC16550D 1.0", both),
    case("a reset forgets what came in", "PC16550D 8.0, table I", reset),
];

const READY: u8 = 1;
const EMPTY: u8 = 0x60;
const OUT2: u8 = 8;

/// The port set up with this FIFO control, and somebody at the other end of its line.
fn begin(bench: &mut Bench<'_>, fifo: u8) {
    setup(bench, fifo, OUT2);
    bench.input(&[Com1(&[])]);
    bench.settle();
    for port in [LSR, DATA, IIR] {
        bench.inb(port);
    }
}

/// Line status once a byte is there.
fn ready(bench: &mut Bench<'_>) -> u8 {
    bench.arrives(LSR, |status| status & READY != 0)
}

/// So many bytes that come in, or those that there are.
fn arrived(bench: &mut Bench<'_>, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count && ready(bench) & READY != 0 {
        bytes.push(bench.inb(DATA));
        // The next one takes its time on the line.
        bench.wait(CHARACTER);
    }
    bytes
}

fn comes(bench: &mut Bench<'_>, what: &str, bytes: &[u8]) {
    bench.input(&[Com1(bytes)]);
    let got = arrived(bench, bytes.len());
    bench.check_bytes(what, &got, bytes);
}

fn nothing(bench: &mut Bench<'_>, what: &str) {
    bench.settle();
    let status = bench.inb(LSR);
    bench.check_bits(what, status, READY, 0u8);
}

fn goes(bench: &mut Bench<'_>, what: &str, bytes: &[u8]) {
    for byte in bytes {
        bench.poll(LSR, 10, |status| status & EMPTY == EMPTY);
        bench.outb(DATA, *byte);
    }
    bench.wait(3 * CHARACTER);
    let got = bench.com1(bytes.len());
    bench.check_bytes(what, &got, bytes);
}

fn one(bench: &mut Bench<'_>) {
    begin(bench, 0);
    bench.input(&[Com1(b"x")]);
    let status = ready(bench);
    bench.check("line status", status, EMPTY | READY);
    let byte = bench.inb(DATA);
    bench.check("data", byte, b'x');
    nothing(bench, "no more");
}

fn values(bench: &mut Bench<'_>) {
    begin(bench, 1);
    let all: Vec<u8> = (0..=255).collect();
    comes(bench, "all", &all);
}

fn held(bench: &mut Bench<'_>) {
    begin(bench, 0);
    bench.input(&[Com1(b"first second")]);
    ready(bench);
    bench.settle();
    let got = arrived(bench, 12);
    // Software at the other end waits until it is taken: a line of this kind has flow control.
    bench.check_bytes("none is lost", &got, b"first second");
    let status = bench.inb(LSR);
    bench.check("line status", status, EMPTY);
}

fn order(bench: &mut Bench<'_>) {
    begin(bench, 1);
    comes(bench, "in one go", b"0123456789");
    for byte in b"abcdef" {
        bench.input(&[Com1(&[*byte])]);
    }
    let got = arrived(bench, 6);
    bench.check_bytes("one by one", &got, b"abcdef");
    nothing(bench, "no more");
}

fn more(bench: &mut Bench<'_>) {
    begin(bench, 1);
    let text: Vec<u8> = (0..100).map(|n| n ^ 0x55).collect();
    bench.input(&[Com1(&text)]);
    bench.settle();
    let got = arrived(bench, text.len());
    bench.check_bytes("all 100", &got, &text);
    let status = bench.inb(LSR);
    bench.check("line status", status, EMPTY);
}

fn received(bench: &mut Bench<'_>) {
    begin(bench, 0);
    bench.outb(IER, 1);
    check_iir(bench, "before", 1);
    bench.input(&[Com1(b"x")]);
    ready(bench);
    check_iir(bench, "a byte is there", 4);
    check_iir(bench, "and still", 4);
    bench.inb(DATA);
    check_iir(bench, "it was taken", 1);
}

fn quiet(bench: &mut Bench<'_>) {
    begin(bench, 0);
    bench.input(&[Com1(b"x")]);
    ready(bench);
    check_iir(bench, "not enabled", 1);
    bench.outb(IER, 1);
    check_iir(bench, "enabled", 4);
}

fn line(bench: &mut Bench<'_>) {
    begin(bench, 0);
    bench.interrupts();
    bench.outb(IER, 1);
    bench.input(&[Com1(b"x")]);
    ready(bench);
    let asks = bench.irq(4);
    bench.check_that("a byte is there: it asks", asks, "IRR is clear");
    bench.inb(DATA);
    let asks = bench.irq(4);
    bench.check_that("it was taken: it does not", !asks, "IRR is set");
    bench.outb(0x21, 0xef);
    bench.input(&[Com1(b"y")]);
    ready(bench);
    let vector = bench.interrupt(1_000_000);
    bench.check("vector", vector.map_or(0, u16::from), 0x24u16);
}

fn triggers(bench: &mut Bench<'_>) {
    for (bits, level) in [(0x00u8, 1usize), (0x40, 4), (0x80, 8), (0xc0, 14)] {
        begin(bench, 7 | bits);
        bench.outb(IER, 1);
        bench.input(&[Com1(&b"0123456789abcdef"[..level])]);
        let iir = bench.arrives(IIR, |iir| iir & 0x0f == 4);
        bench.check_bits(format!("level {level} is reached"), iir, 0xcfu8, 0xc4u8);
        let byte = bench.inb(DATA);
        bench.check(format!("level {level}: the first byte"), byte, b'0');
        let iir = bench.inb(IIR);
        bench.check_that(format!("level {level}: below it"), iir & 0x0f != 4, format_args!("{iir:#x}"));
    }
}

fn timeout(bench: &mut Bench<'_>) {
    begin(bench, 0xc7);
    bench.outb(IER, 1);
    bench.input(&[Com1(b"abc")]);
    ready(bench);
    bench.settle();
    check_iir(bench, "after four characters", 0x0c);
    let got = arrived(bench, 3);
    bench.check_bytes("data", &got, b"abc");
    check_iir(bench, "all taken", 1);
}

fn divisor(bench: &mut Bench<'_>) {
    begin(bench, 1);
    bench.input(&[Com1(b"x")]);
    ready(bench);
    bench.outb(LCR, 0x83);
    let low = bench.inb(DATA);
    bench.check("the divisor", low, 1u8);
    bench.outb(LCR, 3);
    let byte = bench.inb(DATA);
    bench.check("the byte is still there", byte, b'x');
}

fn cleared(bench: &mut Bench<'_>) {
    // At this trigger level all three are let in.
    begin(bench, 0xc1);
    bench.input(&[Com1(b"abc")]);
    ready(bench);
    bench.settle();
    bench.outb(FCR, 0xc3);
    nothing(bench, "empty");
    comes(bench, "and it goes on", b"def");
}

fn loop_in(bench: &mut Bench<'_>) {
    begin(bench, 1);
    bench.outb(MCR, LOOP);
    bench.input(&[Com1(b"x")]);
    nothing(bench, "nothing comes in");
    bench.outb(DATA, b'y');
    bench.wait(3 * CHARACTER);
    let byte = bench.inb(DATA);
    bench.check("its own byte does", byte, b'y');
}

fn out(bench: &mut Bench<'_>) {
    begin(bench, 0);
    let status = bench.inb(LSR);
    bench.check("line status before", status, EMPTY);
    goes(bench, "the byte", b"x");
    let status = bench.inb(LSR);
    bench.check("line status after", status, EMPTY);
}

fn out_values(bench: &mut Bench<'_>) {
    begin(bench, 0);
    let all: Vec<u8> = (0..=255).collect();
    goes(bench, "all", &all);
}

fn burst(bench: &mut Bench<'_>) {
    begin(bench, 7);
    for byte in b"0123456789abcdef" {
        bench.outb(DATA, *byte);
    }
    bench.wait(20 * CHARACTER);
    let got = bench.com1(16);
    bench.check_bytes("all of them, in order", &got, b"0123456789abcdef");
    let status = bench.inb(LSR);
    bench.check("line status", status, EMPTY);
}

fn empty(bench: &mut Bench<'_>) {
    begin(bench, 0);
    bench.outb(IER, 2);
    check_iir(bench, "at once", 2);
    check_iir(bench, "told once", 1);
    bench.outb(DATA, b'x');
    bench.wait(3 * CHARACTER);
    check_iir(bench, "after a byte", 2);
    let got = bench.com1(1);
    bench.check_bytes("the byte", &got, b"x");
}

fn loop_out(bench: &mut Bench<'_>) {
    begin(bench, 0);
    bench.outb(MCR, LOOP);
    bench.outb(DATA, b'x');
    bench.wait(3 * CHARACTER);
    bench.inb(DATA);
    bench.outb(MCR, OUT2);
    goes(bench, "only what follows", b"y");
}

fn both(bench: &mut Bench<'_>) {
    begin(bench, 1);
    for (in_, out) in b"abcdefgh".iter().zip(b"ABCDEFGH") {
        bench.input(&[Com1(&[*in_])]);
        bench.outb(DATA, *out);
        bench.wait(2 * CHARACTER);
    }
    let got = arrived(bench, 8);
    bench.check_bytes("in", &got, b"abcdefgh");
    let got = bench.com1(8);
    bench.check_bytes("out", &got, b"ABCDEFGH");
}

fn reset(bench: &mut Bench<'_>) {
    begin(bench, 0xc1);
    bench.input(&[Com1(b"abc")]);
    ready(bench);
    bench.settle();
    bench.reset();
    nothing(bench, "empty");
    begin(bench, 1);
    comes(bench, "and it goes on", b"def");
}
