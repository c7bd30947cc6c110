//! QEMU's test device of the PC: what kvm-unit-tests (`lib/x86`, K) and QEMU's endianness test (E) rely on.

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const PORT: u16 = 0xe0;
const FLUSH: u16 = 0xe4;
const BYTES: u16 = 0xe8;
const IRQS: u16 = 0x2000;
const MEMORY: u64 = 0xff00_0000;

pub(super) const GROUP: Group = Group {
    device: "pc-testdev",
    about: "ports, memory and interrupt wires for test programs",
    setup: Setup { disks: &[], args: &["-device", "pc-testdev"] },
    cases: &[
        case("the register in every width", "E, endianness", widths),
        case("the register by bytes", "E, split and combine", bytes),
        case("the page that is flushed", "K, vmexit and access", flush),
        case("memory", "K, emulator", memory),
        case("an interrupt wire", "K, ioapic", wire),
        case("reset", "E, endianness", reset),
    ],
};

fn widths(bench: &mut Bench<'_>) {
    bench.outl(PORT, 0x8765_4321);
    let (low, high) = (bench.inw(PORT), bench.inw(PORT + 2));
    bench.check("low word", low, 0x4321u16);
    bench.check("high word", high, 0x8765u16);
    bench.outw(PORT + 2, 0x8866);
    bench.outb(PORT, 0x22);
    bench.outb(PORT + 1, 0x44);
    let all = bench.inl(PORT);
    bench.check("after a word and two bytes", all, 0x8866_4422u32);
    for at in 0..4 {
        let byte = bench.inb(PORT + at);
        bench.check(format!("byte {at}"), byte, 0x8866_4422u32.to_le_bytes()[usize::from(at)]);
    }
}

fn bytes(bench: &mut Bench<'_>) {
    bench.outl(PORT, 0x8765_4321);
    let all = bench.inl(BYTES);
    bench.check("read at the other place", all, 0x8765_4321u32);
    bench.outl(BYTES, 0x0102_0304);
    bench.outw(BYTES + 2, 0x0506);
    let all = bench.inl(PORT);
    bench.check("written there", all, 0x0506_0304u32);
}

fn flush(bench: &mut Bench<'_>) {
    bench.poke(0x20_0000, b"stays");
    bench.outl(FLUSH, 0x20_0000);
    let read = bench.inl(FLUSH);
    bench.check("a read", read, 0u32);
    let page = bench.peek(0x20_0000, 5);
    bench.check_bytes("the page", &page, b"stays");
}

fn memory(bench: &mut Bench<'_>) {
    for (at, size, value) in [(0, Size::B1, 0x5a), (2, Size::B2, 0x1234), (0x1004, Size::B4, 0x8765_4321u64)]
    {
        bench.write(MEMORY + at, size, value);
        let got = bench.read(MEMORY + at, size);
        bench.check(format!("{size:?} at {at:#x}"), got, value);
    }
    let got = bench.read(MEMORY + 0x1005, Size::B2);
    bench.check("from the middle", got, 0x6543u64);
}

fn wire(bench: &mut Bench<'_>) {
    let before = bench.irq(5);
    bench.check("IRQ 5 before", before, false);
    bench.outb(IRQS + 5, 1);
    let (high, read) = (bench.irq(5), bench.inb(IRQS + 5));
    bench.check("IRQ 5, high", high, true);
    bench.check("a read", read, 0u8);
    bench.outb(IRQS + 5, 0);
}

fn reset(bench: &mut Bench<'_>) {
    bench.outl(PORT, 0x8765_4321);
    bench.reset();
    let all = bench.inl(PORT);
    bench.check("the register keeps its value", all, 0x8765_4321u32);
}
