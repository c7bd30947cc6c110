//! The serial port 16550A (COM1): National Semiconductor PC16550D data sheet; the line of IRQ 4 after the IBM PC/AT
//! Technical Reference, asynchronous adapter.

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};

pub(super) const GROUP: Group = Group {
    device: "uart",
    about: "serial port 16550A (COM1)",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("registers after reset", "PC16550D 8.0, table I (reset)", after_reset),
    case("interrupt enable has four bits", "PC16550D 8.7", enable),
    case("line control holds eight bits", "PC16550D 8.1", line_control),
    case("modem control has five bits", "PC16550D 8.8", modem_control),
    case("scratch register", "PC16550D 8.10", scratch),
    case("divisor latch", "PC16550D 8.3", divisor),
    case("the latch hides data and interrupt enable", "PC16550D 8.1 bit 7", latch),
    case("FIFOs on and off", "PC16550D 8.5, 8.6 bits 6 and 7", fifo_on),
    case("FIFO control without its bit 0", "PC16550D 8.5 bit 0", fifo_off_bits),
    case("a sent byte leaves", "PC16550D 8.4 bits 5 and 6", sent),
    case("loopback of a byte", "PC16550D 8.8 bit 4", loopback),
    case("loopback of 5, 6 and 7 bits", "PC16550D 8.1 bits 0 and 1, 8.8 bit 4", short_words),
    case("loopback of sixteen bytes by FIFO", "PC16550D 8.5, 8.8 bit 4", loopback_fifo),
    case("overrun without FIFO", "PC16550D 8.4 bit 1", overrun),
    case("overrun with FIFO", "PC16550D 8.4 bit 1", overrun_fifo),
    case("receive FIFO reset", "PC16550D 8.5 bit 1", clear_receive),
    case("switching FIFOs empties them", "PC16550D 8.5 bit 0", switch),
    case("modem lines in loopback", "PC16550D 8.8 bit 4, 8.9", modem_lines),
    case("deltas of modem lines", "PC16550D 8.9 bits 0 to 3", deltas),
    case("only the end of ringing counts", "PC16550D 8.9 bit 2", ring),
    case("transmitter empty interrupt", "PC16550D 8.6, table IV", transmitter),
    case("received data interrupt", "PC16550D 8.6, table IV", received),
    case("trigger levels", "PC16550D 8.5 bits 6 and 7; FIFO interrupt mode", triggers),
    case("character timeout", "PC16550D FIFO interrupt mode: timeout", timeout),
    case("line status interrupt", "PC16550D 8.6, table IV", line_interrupt),
    case("modem status interrupt", "PC16550D 8.6, table IV", modem_interrupt),
    case("priorities", "PC16550D 8.6, table IV", priorities),
    case("an interrupt that is not enabled is not told", "PC16550D 8.7", not_enabled),
    case("IRQ 4", "PC/AT asynchronous adapter: interrupt, OUT 2", line),
    case("vector of IRQ 4", "PC/AT asynchronous adapter: interrupt", vector),
    case("a port that is not there", "PC/AT asynchronous adapter: addresses", absent),
    case("reset", "PC16550D 8.0, table I (reset)", reset),
];

const BASE: u16 = 0x3f8;
pub(super) const DATA: u16 = BASE;
pub(super) const IER: u16 = BASE + 1;
pub(super) const IIR: u16 = BASE + 2;
pub(super) const FCR: u16 = BASE + 2;
pub(super) const LCR: u16 = BASE + 3;
pub(super) const MCR: u16 = BASE + 4;
pub(super) const LSR: u16 = BASE + 5;
const MSR: u16 = BASE + 6;
const SCRATCH: u16 = BASE + 7;

/// A character at 115200 baud takes 87 us.
pub(super) const CHARACTER: u64 = 87_000;
pub(super) const LOOP: u8 = 0x10;

/// 115200 baud, 8N1, FIFO control and modem control as given, status registers read.
pub(super) fn setup(bench: &mut Bench<'_>, fifo: u8, modem: u8) {
    bench.outb(LCR, 0x83);
    bench.outb(DATA, 1);
    bench.outb(IER, 0);
    bench.outb(LCR, 3);
    bench.outb(FCR, fifo);
    bench.outb(MCR, modem);
    bench.inb(LSR);
    bench.inb(MSR);
    bench.inb(DATA);
}

/// Sends a byte and waits until it is through.
fn send(bench: &mut Bench<'_>, byte: u8) {
    bench.outb(DATA, byte);
    bench.wait(3 * CHARACTER);
}

pub(super) fn check_iir(bench: &mut Bench<'_>, what: &str, want: u8) {
    let iir = bench.inb(IIR);
    bench.check_bits(format!("{what}: interrupt identification"), iir, 0x0fu8, want);
}

fn after_reset(bench: &mut Bench<'_>) {
    for (what, port, want) in [
        ("interrupt enable", IER, 0u8),
        ("interrupt identification", IIR, 1),
        ("line control", LCR, 0),
        ("modem control", MCR, 0),
        ("line status", LSR, 0x60),
    ] {
        let got = bench.inb(port);
        bench.check(what, got, want);
    }
    let modem = bench.inb(MSR);
    bench.note("modem status", modem);
    let scratch = bench.inb(SCRATCH);
    bench.note("scratch", scratch);
}

/// A register gives back what was written to it.
fn keeps(bench: &mut Bench<'_>, port: u16, values: &[u8]) {
    for &value in values {
        bench.outb(port, value);
        let got = bench.inb(port);
        bench.check(format!("{value:#x}"), got, value);
    }
}

fn enable(bench: &mut Bench<'_>) {
    keeps(bench, IER, &[0x0f, 0x05, 0x0a, 0x00]);
    bench.outb(IER, 0xff);
    let got = bench.inb(IER);
    bench.check("bits 7:4 are zero", got, 0x0fu8);
}

fn line_control(bench: &mut Bench<'_>) {
    keeps(bench, LCR, &[0x03, 0x1f, 0x3f, 0x80, 0x55, 0x00]);
}

fn modem_control(bench: &mut Bench<'_>) {
    keeps(bench, MCR, &[0x1f, 0x0b, 0x14, 0x00]);
    bench.outb(MCR, 0xff);
    let got = bench.inb(MCR);
    bench.check("bits 7:5 are zero", got, 0x1fu8);
}

fn scratch(bench: &mut Bench<'_>) {
    keeps(bench, SCRATCH, &[0x55, 0xaa, 0x00, 0xff]);
}

fn divisor(bench: &mut Bench<'_>) {
    bench.outb(LCR, 0x80);
    for (low, high) in [(0x01u8, 0x00u8), (0x80, 0x25), (0xff, 0xff)] {
        bench.outb(DATA, low);
        bench.outb(IER, high);
        let got = [bench.inb(DATA), bench.inb(IER)];
        bench.check_bytes(format!("{high:02x}{low:02x}"), &got, &[low, high]);
    }
    bench.outb(LCR, 3);
    bench.outb(LCR, 0x83);
    let got = [bench.inb(DATA), bench.inb(IER)];
    bench.check_bytes("kept while it is shut", &got, &[0xff, 0xff]);
}

fn latch(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    bench.outb(IER, 0x05);
    bench.outb(LCR, 0x83);
    bench.outb(DATA, 0x33);
    bench.outb(IER, 0x00);
    bench.wait(100 * CHARACTER);
    bench.outb(LCR, 0x03);
    let enable = bench.inb(IER);
    bench.check("interrupt enable", enable, 0x05u8);
    let status = bench.inb(LSR);
    bench.check_bits("nothing was sent", status, 1u8, 0u8);
}

fn fifo_on(bench: &mut Bench<'_>) {
    for (control, bits) in [(0x00u8, 0x00u8), (0x01, 0xc0), (0xc1, 0xc0), (0x07, 0xc0), (0x00, 0x00)] {
        bench.outb(FCR, control);
        let iir = bench.inb(IIR);
        bench.check_bits(format!("{control:#x}: bits 7:6"), iir, 0xc0u8, bits);
        bench.check_bits(format!("{control:#x}: bits 5:4"), iir, 0x30u8, 0u8);
    }
}

fn fifo_off_bits(bench: &mut Bench<'_>) {
    bench.outb(FCR, 0xc0);
    let iir = bench.inb(IIR);
    bench.check_bits("FIFOs stay off", iir, 0xc0u8, 0u8);
}

fn sent(bench: &mut Bench<'_>) {
    setup(bench, 0, 3);
    for byte in [0x41u8, 0x42, 0x00] {
        send(bench, byte);
        let status = bench.inb(LSR);
        bench.check(format!("{byte:#x}: line status"), status, 0x60u8);
    }
}

fn loopback(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    for byte in [0x00u8, 0x5a, 0xff] {
        send(bench, byte);
        let status = bench.inb(LSR);
        bench.check(format!("{byte:#x}: line status"), status, 0x61u8);
        let got = bench.inb(DATA);
        bench.check(format!("{byte:#x}: data"), got, byte);
        let status = bench.inb(LSR);
        bench.check(format!("{byte:#x}: line status after it"), status, 0x60u8);
    }
}

fn short_words(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    for (control, mask) in [(0u8, 0x1fu8), (1, 0x3f), (2, 0x7f), (3, 0xff)] {
        bench.outb(LCR, control);
        send(bench, 0xf5);
        let got = bench.inb(DATA);
        bench.check(format!("{} bits", control + 5), got, 0xf5 & mask);
    }
}

fn loopback_fifo(bench: &mut Bench<'_>) {
    setup(bench, 0xc7, LOOP);
    for byte in 0..16u8 {
        send(bench, byte ^ 0xa5);
    }
    let status = bench.inb(LSR);
    bench.check("line status", status, 0x61u8);
    let got: Vec<u8> = (0..16).map(|_| bench.inb(DATA)).collect();
    let want: Vec<u8> = (0..16u8).map(|byte| byte ^ 0xa5).collect();
    bench.check_bytes("data", &got, &want);
    let status = bench.inb(LSR);
    bench.check("line status after it", status, 0x60u8);
}

fn overrun(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    send(bench, 0x11);
    send(bench, 0x22);
    let status = bench.inb(LSR);
    bench.check("line status", status, 0x63u8);
    let status = bench.inb(LSR);
    bench.check("reading it clears the overrun", status, 0x61u8);
    let got = bench.inb(DATA);
    bench.check("the newer byte is there", got, 0x22u8);
}

fn overrun_fifo(bench: &mut Bench<'_>) {
    setup(bench, 0xc7, LOOP);
    for byte in 0..18u8 {
        send(bench, byte);
    }
    let status = bench.inb(LSR);
    bench.check("line status", status, 0x63u8);
    let got: Vec<u8> = (0..16).map(|_| bench.inb(DATA)).collect();
    let want: Vec<u8> = (0..16).collect();
    bench.check_bytes("the FIFO is not overwritten", &got, &want);
    let status = bench.inb(LSR);
    bench.check("line status after it", status, 0x60u8);
}

fn clear_receive(bench: &mut Bench<'_>) {
    setup(bench, 1, LOOP);
    send(bench, 1);
    send(bench, 2);
    bench.outb(FCR, 3);
    let status = bench.inb(LSR);
    bench.check("line status", status, 0x60u8);
    send(bench, 3);
    let got = bench.inb(DATA);
    bench.check("the next byte", got, 3u8);
}

fn switch(bench: &mut Bench<'_>) {
    setup(bench, 1, LOOP);
    send(bench, 1);
    bench.outb(FCR, 0);
    let status = bench.inb(LSR);
    bench.check("off: line status", status, 0x60u8);
    send(bench, 1);
    bench.outb(FCR, 1);
    let status = bench.inb(LSR);
    bench.check("on: line status", status, 0x60u8);
}

fn modem_lines(bench: &mut Bench<'_>) {
    for (what, control, status) in [
        ("none", 0u8, 0u8),
        ("DTR is DSR", 1, 0x20),
        ("RTS is CTS", 2, 0x10),
        ("OUT 1 is RI", 4, 0x40),
        ("OUT 2 is DCD", 8, 0x80),
        ("all", 15, 0xf0),
    ] {
        bench.outb(MCR, LOOP | control);
        let got = bench.inb(MSR);
        bench.check_bits(what, got, 0xf0u8, status);
    }
}

fn deltas(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    for (what, control, delta) in [("DSR", 1u8, 0x02u8), ("CTS", 2, 0x01), ("DCD", 8, 0x08)] {
        bench.outb(MCR, LOOP | control);
        let got = bench.inb(MSR);
        bench.check_bits(format!("{what} on"), got, 0x0fu8, delta);
        let got = bench.inb(MSR);
        bench.check_bits(format!("{what}: reading clears it"), got, 0x0fu8, 0u8);
        bench.outb(MCR, LOOP);
        let got = bench.inb(MSR);
        bench.check_bits(format!("{what} off"), got, 0x0fu8, delta);
    }
}

fn ring(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    bench.outb(MCR, LOOP | 4);
    let got = bench.inb(MSR);
    bench.check_bits("begin", got, 0x0fu8, 0u8);
    bench.outb(MCR, LOOP);
    let got = bench.inb(MSR);
    bench.check_bits("end", got, 0x0fu8, 4u8);
}

fn transmitter(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    bench.outb(IER, 2);
    check_iir(bench, "enabled while it is empty", 2);
    check_iir(bench, "reading it clears it", 1);
    send(bench, 0x31);
    check_iir(bench, "after a byte", 2);
    check_iir(bench, "and cleared", 1);
    bench.outb(IER, 0);
    bench.outb(IER, 2);
    check_iir(bench, "enabled anew", 2);
}

fn received(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    bench.outb(IER, 1);
    check_iir(bench, "nothing there", 1);
    send(bench, 0x31);
    check_iir(bench, "a byte", 4);
    check_iir(bench, "reading it does not clear it", 4);
    bench.inb(DATA);
    check_iir(bench, "reading the byte does", 1);
}

fn triggers(bench: &mut Bench<'_>) {
    for (control, level) in [(0x07u8, 1u32), (0x47, 4), (0x87, 8), (0xc7, 14)] {
        setup(bench, control, LOOP);
        bench.outb(IER, 1);
        for byte in 0..level {
            if byte > 0 {
                // Less than the trigger level: at most the timeout.
                let iir = bench.inb(IIR);
                let told = iir & 0x0f == 4;
                bench.check_that(format!("{level}: not with {byte}"), !told, format!("{iir:#x}"));
            }
            send(bench, byte as u8);
        }
        let iir = bench.inb(IIR);
        bench.check_bits(format!("{level}: reached"), iir, 0x07u8, 4u8);
        bench.inb(DATA);
        let iir = bench.inb(IIR);
        bench.check_that(format!("{level}: below it again"), iir & 0x0f != 4, format!("{iir:#x}"));
        bench.outb(IER, 0);
    }
}

fn timeout(bench: &mut Bench<'_>) {
    setup(bench, 0xc7, LOOP);
    bench.outb(IER, 1);
    bench.outb(DATA, 0x77);
    // One character is on its way; four more without another.
    bench.wait(10 * CHARACTER);
    check_iir(bench, "ten characters later", 0x0c);
    check_iir(bench, "reading it does not clear it", 0x0c);
    let got = bench.inb(DATA);
    bench.check("data", got, 0x77u8);
    check_iir(bench, "reading the byte does", 1);
    bench.wait(10 * CHARACTER);
    check_iir(bench, "none for an empty FIFO", 1);
    // Slower: a character of 9600 baud takes 1.04 ms.
    bench.outb(LCR, 0x83);
    bench.outb(DATA, 12);
    bench.outb(IER, 0);
    bench.outb(LCR, 0x03);
    bench.outb(DATA, 0x78);
    bench.wait(2_000_000);
    check_iir(bench, "9600 baud: not after two characters", 1);
    bench.wait(5_000_000);
    check_iir(bench, "9600 baud: after seven", 0x0c);
}

fn line_interrupt(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    bench.outb(IER, 4);
    check_iir(bench, "none", 1);
    send(bench, 1);
    send(bench, 2);
    check_iir(bench, "overrun", 6);
    bench.inb(LSR);
    check_iir(bench, "reading line status clears it", 1);
}

fn modem_interrupt(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    bench.outb(IER, 8);
    check_iir(bench, "none", 1);
    bench.outb(MCR, LOOP | 2);
    check_iir(bench, "CTS", 0);
    bench.inb(MSR);
    check_iir(bench, "reading modem status clears it", 1);
}

fn priorities(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    send(bench, 1);
    send(bench, 2);
    bench.outb(MCR, LOOP | 2);
    bench.outb(IER, 0x0f);
    check_iir(bench, "line status first", 6);
    bench.inb(LSR);
    check_iir(bench, "then received data", 4);
    bench.inb(DATA);
    check_iir(bench, "then transmitter empty", 2);
    check_iir(bench, "then modem status", 0);
    bench.inb(MSR);
    check_iir(bench, "then none", 1);
}

fn not_enabled(bench: &mut Bench<'_>) {
    setup(bench, 0, LOOP);
    send(bench, 1);
    send(bench, 2);
    bench.outb(MCR, LOOP | 2);
    check_iir(bench, "none", 1);
    let status = bench.inb(LSR);
    bench.check("status tells all the same", status, 0x63u8);
    bench.outb(IER, 1);
    check_iir(bench, "enabled later", 4);
}

fn line(bench: &mut Bench<'_>) {
    bench.interrupts();
    setup(bench, 0, 8);
    let up = bench.irq(4);
    bench.check("none", up, false);
    bench.outb(IER, 2);
    let up = bench.irq(4);
    bench.check("transmitter empty", up, true);
    bench.inb(IIR);
    let up = bench.irq(4);
    bench.check("told", up, false);
    bench.outb(IER, 0);
    bench.outb(IER, 2);
    let up = bench.irq(4);
    bench.check("enabled anew", up, true);
    bench.outb(IER, 0);
    let up = bench.irq(4);
    bench.check("not enabled", up, false);
    bench.outb(MCR, 0);
    bench.outb(IER, 2);
    let up = bench.irq(4);
    bench.note("with OUT 2 off", up);
}

fn vector(bench: &mut Bench<'_>) {
    bench.interrupts();
    setup(bench, 0, 8);
    bench.outb(0x21, !(1 << 4));
    let early = bench.interrupt(1_000_000);
    bench.check_that("none before", early.is_none(), format!("{early:?}"));
    bench.outb(IER, 2);
    let taken = bench.interrupt(10_000_000);
    bench.check_that("vector of IRQ 4", taken == Some(0x24), format!("{taken:?}"));
}

fn absent(bench: &mut Bench<'_>) {
    for base in [0x3e8u16, 0x2e8] {
        bench.outb(base + 7, 0x55);
        let got = bench.inb(base + 7);
        bench.check(format!("{base:#x}: scratch"), got, 0xffu8);
    }
}

fn reset(bench: &mut Bench<'_>) {
    setup(bench, 0xc7, LOOP | 0x0f);
    bench.outb(IER, 0x0f);
    send(bench, 1);
    bench.outb(LCR, 0x1f);
    bench.reset();
    after_reset(bench);
    bench.interrupts();
    let up = bench.irq(4);
    bench.check("no interrupt", up, false);
}
