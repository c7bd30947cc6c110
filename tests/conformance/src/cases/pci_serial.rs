//! A 16550A as a function of the PCI bus, QEMU's `pci-serial`: QEMU documentation, "QEMU PCI serial devices" (Q). The chip
//! itself is looked at as COM1 (`uart`).

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const SLOT: u8 = 4;
const AT: u16 = 0xc100;

pub(super) const GROUP: Group = Group {
    device: "pci-serial",
    about: "serial port 16550A on PCI",
    setup: Setup {
        disks: &[],
        args: &["-chardev", "null,id=line", "-device", "pci-serial,addr=4,chardev=line"],
    },
    cases: &[
        case("identity", "Q; PCI 2.1, 6.2.1 and appendix D", identity),
        case("BAR", "PCI 2.1, 6.2.5", bar),
        case("ports behind the command register", "PCI 2.1, 6.2.2", command),
        case("scratch and line control", "PC16550D 8.1, 8.10", registers),
        case("loopback of a byte", "PC16550D 8.8 bit 4", loopback),
        case("INTx by the transmitter", "PC16550D 8.6; PCI 2.1, 2.2.6 and 6.2.3", interrupt),
        case("reset", "PC16550D 8.0, table I; PCI 2.1, 6.2", reset),
    ],
};

fn identity(bench: &mut Bench<'_>) {
    for (what, reg, size, want) in [
        ("vendor and device", 0, Size::B4, 0x0002_1b36u32),
        ("revision and class", 8, Size::B4, 0x0700_0201),
        ("header type", 0x0e, Size::B1, 0),
        ("subsystem", 0x2c, Size::B4, 0x1100_1af4),
        ("pin", 0x3d, Size::B1, 1),
    ] {
        let got = bench.config(SLOT, 0, reg, size);
        bench.check(what, got, want);
    }
}

fn bar(bench: &mut Bench<'_>) {
    let size = bench.bar_size(SLOT, 0, 0x10);
    bench.check("bytes", size, 8u32);
    bench.set_config(SLOT, 0, 0x10, Size::B4, u32::from(AT));
    let got = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("ports, at", got, u32::from(AT) | 1);
}

/// Its ports at [`AT`], 115200 baud, 8N1.
fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, u32::from(AT));
    bench.set_config(SLOT, 0, 4, Size::B2, 1);
    for (at, value) in [(3, 0x83), (0, 1), (1, 0), (3, 3), (2, 0), (4, 0)] {
        bench.outb(AT + at, value);
    }
}

fn command(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(AT + 7, 0x5a);
    bench.set_config(SLOT, 0, 4, Size::B2, 0);
    let off = bench.inb(AT + 7);
    bench.check("read while ports are off", off, 0xffu8);
    bench.set_config(SLOT, 0, 4, Size::B2, 1);
    let again = bench.inb(AT + 7);
    bench.check("and on again", again, 0x5au8);
}

fn registers(bench: &mut Bench<'_>) {
    on(bench);
    for (what, at, value) in [("scratch", 7, 0xa5), ("line control", 3, 0x1f)] {
        bench.outb(AT + at, value);
        let got = bench.inb(AT + at);
        bench.check(what, got, value);
    }
    let identification = bench.inb(AT + 2);
    bench.check("no interrupt", identification, 1u8);
}

fn loopback(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(AT + 4, 0x10);
    bench.outb(AT, 0x42);
    bench.wait(300_000);
    let (status, byte) = (bench.inb(AT + 5), bench.inb(AT));
    bench.check("data are ready", status & 1, 1u8);
    bench.check("the byte", byte, 0x42u8);
}

fn interrupt(bench: &mut Bench<'_>) {
    on(bench);
    let status = |bench: &mut Bench<'_>| bench.config(SLOT, 0, 6, Size::B2) >> 3 & 1;
    let before = status(bench);
    bench.check("before", before, 0u32);
    // OUT2 gates a PC's port; a function of the bus has no such gate in QEMU, and gets it set by drivers.
    bench.outb(AT + 4, 8);
    bench.outb(AT + 1, 2);
    let empty = status(bench);
    bench.check("the transmitter is empty", empty, 1u32);
    let why = bench.inb(AT + 2);
    bench.check("why", why, 2u8);
    let told = status(bench);
    bench.check("once it is read", told, 0u32);
}

fn reset(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(AT + 3, 0x1f);
    bench.reset();
    let base = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("no place", base & !7, 0u32);
    on(bench);
    let line_control = bench.inb(AT + 3);
    bench.check("line control as it was set again", line_control, 3u8);
}
