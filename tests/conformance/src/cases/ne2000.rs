//! NE2000 on PCI. National Semiconductor, DP8390D data sheet (DP); Realtek, RTL8029AS specification (RTL). What comes
//! in is not seen: the cable leads nowhere, and loopback stores nothing.

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::{Op, Size};

const SLOT: u8 = 3;
const IO: u16 = 0xc000;
const DATA: u16 = IO + 0x10;
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// RAM for strings.
const BUFFER: u64 = 0x11_0000;

pub(super) const GROUP: Group = Group {
    device: "ne2000",
    about: "NE2000 on PCI, Realtek RTL8029",
    setup: Setup { disks: &[], args: &["-device", "ne2k_pci,mac=52:54:00:12:34:56,addr=3"] },
    cases: &[
        case("identity", "RTL 6; PCI 2.1, 6.2.1", identity),
        case("header", "no document: a card's own", header),
        case("reset port", "DP 10.3, ISR: RST", reset_port),
        case("stop and start", "DP 10.3, CR and ISR: RST", stop_start),
        case("pages", "DP 10.2", pages),
        case("page 2", "DP 10.2, page 2", page2),
        case("RTL8029's own registers", "RTL 5.1 and 5.3", own),
        case("PROM", "RTL 5.4: bytes are doubled, 57h for 16 bits", prom),
        case("remote write and read of words", "DP 9.0, remote DMA", words),
        case("remote DMA of bytes", "DP 10.3, DCR: WTS", bytes),
        case("remote DMA by string", "DP 9.0, remote DMA", strings),
        case("remote DMA goes round", "DP 9.0, PSTOP", round),
        case("remote DMA of nothing", "no document", nothing),
        case("memory that is not there", "no document", outside),
        case("a packet is sent", "DP 7.0, 10.3", send),
        case("interrupt pin", "DP 10.3, IMR; PCI 2.3, 6.2.3", pin),
        case("wide accesses of registers", "no document", wide),
    ],
};

fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, IO.into());
    bench.set_config(SLOT, 0, 4, Size::B2, 5);
}

fn get(bench: &mut Bench<'_>, register: u16) -> u8 {
    bench.inb(IO + register)
}

fn set(bench: &mut Bench<'_>, register: u16, value: u8) {
    bench.outb(IO + register, value);
}

/// As a driver leaves it, in word mode, with a ring from page 0x46 to 0x60.
fn start(bench: &mut Bench<'_>) {
    on(bench);
    for (register, value) in [
        (0, 0x21),
        (14, 0x49),
        (12, 0x20),
        (13, 2),
        (1, 0x46),
        (2, 0x60),
        (3, 0x46),
        (7, 0xff),
        (0, 0x61),
        (7, 0x47),
    ] {
        set(bench, register, value);
    }
    for (register, value) in [(0, 0x22), (15, 0), (13, 0), (12, 4)] {
        set(bench, register, value);
    }
}

fn remote(bench: &mut Bench<'_>, address: u16, count: u16, command: u8) {
    let ([a, b], [c, d]) = (address.to_le_bytes(), count.to_le_bytes());
    for (register, value) in [(8, a), (9, b), (10, c), (11, d), (0, command)] {
        set(bench, register, value);
    }
}

fn read_words(bench: &mut Bench<'_>, address: u16, count: u16) -> Vec<u8> {
    remote(bench, address, count * 2, 0x0a);
    (0..count).flat_map(|_| bench.inw(DATA).to_le_bytes()).collect()
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x8029_10ecu32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class: Ethernet", class >> 8, 0x02_0000u32);
    let pin = bench.config(SLOT, 0, 0x3d, Size::B1);
    bench.check("INTA", pin, 1u8);
    let kind = bench.config(SLOT, 0, 0x10, Size::B1) & 0xf;
    bench.check("BAR 0 is ports", kind, 1u8);
}

fn header(bench: &mut Bench<'_>) {
    let space = bench.config_space(SLOT, 0, 64);
    bench.note("revision", space[8]);
    bench.note_bytes("subsystem", &space[0x2c..0x30]);
    bench.note_bytes("command and status", &space[4..8]);
    bench.note_bytes("cache line, latency, header, BIST", &space[0xc..0x10]);
    bench.note_bytes("capabilities to interrupt", &space[0x34..0x40]);
    let size = bench.bar_size(SLOT, 0, 0x10);
    bench.note("BAR 0", size);
}

fn reset_port(bench: &mut Bench<'_>) {
    start(bench);
    let value = get(bench, 0x1f);
    set(bench, 0x1f, value);
    let isr = get(bench, 7);
    bench.check_bits("RST", isr, 0x80u8, 0x80u8);
    set(bench, 7, 0x7f);
    let isr = get(bench, 7);
    bench.check("the rest is cleared", isr, 0x80u8);
}

fn stop_start(bench: &mut Bench<'_>) {
    start(bench);
    let isr = get(bench, 7);
    bench.check_bits("runs", isr, 0x80u8, 0u8);
    set(bench, 0, 0x21);
    let isr = get(bench, 7);
    bench.check_bits("stopped", isr, 0x80u8, 0x80u8);
    set(bench, 0, 0x22);
    let (isr, cr) = (get(bench, 7), get(bench, 0));
    bench.check_bits("runs again", isr, 0x80u8, 0u8);
    bench.check("CR", cr, 0x22u8);
}

fn pages(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, 0, 0x61);
    for register in 1..16u8 {
        set(bench, register.into(), register * 0x11);
    }
    set(bench, 0, 0x21);
    set(bench, 3, 0x55);
    let got = get(bench, 3);
    bench.check("BNRY", got, 0x55u8);
    set(bench, 0, 0x61);
    for register in 1..16u8 {
        let got = get(bench, register.into());
        bench.check(format!("page 1, {register}"), got, register * 0x11);
    }
}

fn page2(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 15, 0x15);
    set(bench, 0, 0xa2);
    for (what, register, mask, want) in [
        ("PSTART", 1, 0xff, 0x46u8),
        ("PSTOP", 2, 0xff, 0x60),
        ("RCR", 12, 0x3f, 4),
        ("TCR", 13, 0x1f, 0),
        ("DCR", 14, 0x7f, 0x49),
        ("IMR", 15, 0x7f, 0x15),
    ] {
        let got = get(bench, register);
        bench.check_bits(what, got, mask as u8, want);
    }
}

fn own(bench: &mut Bench<'_>) {
    start(bench);
    let id = [get(bench, 10), get(bench, 11)];
    bench.check_bytes("PC", &id, b"PC");
    let counters = [get(bench, 13), get(bench, 14), get(bench, 15)];
    bench.check_bytes("counters", &counters, &[0; 3]);
    set(bench, 0, 0xe2);
    for register in [3, 5, 6] {
        let got = get(bench, register);
        bench.note(format!("page 3, {register}"), got);
    }
}

fn prom(bench: &mut Bench<'_>) {
    start(bench);
    let prom = read_words(bench, 0, 16);
    let bytes: Vec<u8> = prom.chunks(2).map(|pair| pair[0]).collect();
    bench.check_bytes("address", &bytes[..6], &MAC);
    bench.check_bytes("word mode", &bytes[14..], &[0x57, 0x57]);
    bench.note_bytes("all", &prom);
    // A byte of a word moves a word on.
    remote(bench, 0, 32, 0x0a);
    let narrow: Vec<u8> = (0..16).map(|_| bench.inb(DATA)).collect();
    bench.check_bytes("read by bytes", &narrow, &bytes);
    let isr = get(bench, 7);
    bench.check_bits("RDC", isr, 0x40u8, 0x40u8);
}

fn words(bench: &mut Bench<'_>) {
    start(bench);
    remote(bench, 0x4000, 8, 0x12);
    for word in [0x0201, 0x0403, 0x0605] {
        bench.outw(DATA, word);
    }
    let isr = get(bench, 7);
    bench.check_bits("not yet complete", isr, 0x40u8, 0u8);
    bench.outw(DATA, 0x0807);
    let isr = get(bench, 7);
    bench.check_bits("complete", isr, 0x40u8, 0x40u8);
    let got = read_words(bench, 0x4000, 4);
    bench.check_bytes("read back", &got, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let at = [get(bench, 8), get(bench, 9)];
    bench.check_bytes("CRDA", &at, &[8, 0x40]);
}

fn bytes(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 14, 0x48);
    remote(bench, 0x4000, 4, 0x12);
    for byte in 1..5 {
        bench.outb(DATA, byte);
    }
    let isr = get(bench, 7);
    bench.check_bits("complete", isr, 0x40u8, 0x40u8);
    remote(bench, 0x4001, 3, 0x0a);
    let got = [bench.inb(DATA), bench.inb(DATA), bench.inb(DATA)];
    bench.check_bytes("read back", &got, &[2, 3, 4]);
}

fn strings(bench: &mut Bench<'_>) {
    start(bench);
    let data: Vec<u8> = (0..200).collect();
    bench.poke(BUFFER, &data);
    for (size, width) in [(Size::B2, 2), (Size::B4, 4)] {
        remote(bench, 0x4000, 200, 0x12);
        bench.perform(&[Op::OutString(DATA, size, 200 / width, BUFFER)]);
        remote(bench, 0x4000, 200, 0x0a);
        bench.perform(&[Op::InString(DATA, size, 200 / width, BUFFER + 0x1000)]);
        let got = bench.peek(BUFFER + 0x1000, 200);
        bench.check_bytes(format!("by {width} bytes"), &got, &data);
        let isr = get(bench, 7);
        bench.check_bits(format!("complete, {width}"), isr, 0x40u8, 0x40u8);
        set(bench, 7, 0x40);
    }
}

fn round(bench: &mut Bench<'_>) {
    start(bench);
    remote(bench, 0x5ffe, 4, 0x12);
    bench.outw(DATA, 0x1111);
    bench.outw(DATA, 0x2222);
    let got = read_words(bench, 0x4600, 1);
    bench.check_bytes("behind PSTOP is PSTART", &got, &[0x22, 0x22]);
}

fn nothing(bench: &mut Bench<'_>) {
    start(bench);
    remote(bench, 0x4000, 0, 0x0a);
    let isr = get(bench, 7);
    bench.note("ISR", isr & 0x40);
}

fn outside(bench: &mut Bench<'_>) {
    start(bench);
    for address in [0x20, 0x3ffe, 0xc000, 0xfffe] {
        remote(bench, address, 2, 0x12);
        bench.outw(DATA, 0x1234);
        let got = read_words(bench, address, 1);
        bench.note_bytes(format!("{address:#x}"), &got);
    }
}

fn send(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 7, 0xff);
    for (register, value) in [(4, 0x40), (5, 60), (6, 0), (0, 0x26)] {
        set(bench, register, value);
    }
    bench.wait(1_000_000);
    let got = [get(bench, 0), get(bench, 7), get(bench, 4)];
    bench.check_bits("TXP is over", got[0], 4u8, 0u8);
    bench.check_bits("PTX, no TXE", got[1], 0x0au8, 2u8);
    bench.check_bits("TSR", got[2], 1u8, 1u8);
}

fn asks(bench: &mut Bench<'_>) -> bool {
    bench.config(SLOT, 0, 6, Size::B2) & 8 != 0
}

fn pin(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 7, 0xff);
    remote(bench, 0x4000, 0, 0x0a);
    remote(bench, 0x4000, 2, 0x0a);
    bench.inw(DATA);
    let got = asks(bench);
    bench.check("masked", got, false);
    set(bench, 15, 0x40);
    let got = asks(bench);
    bench.check("let through", got, true);
    set(bench, 7, 0x40);
    let got = asks(bench);
    bench.check("cleared", got, false);
    set(bench, 15, 0x7f);
    set(bench, 7, 0x7f);
    set(bench, 0, 0x21);
    let got = asks(bench);
    bench.check("RST does not ask", got, false);
}

fn wide(bench: &mut Bench<'_>) {
    start(bench);
    let got = bench.inw(IO + 1);
    bench.note("a word of registers", got);
    let got = bench.inb(IO + 0x20);
    bench.note("beyond the 32 ports", got);
}
