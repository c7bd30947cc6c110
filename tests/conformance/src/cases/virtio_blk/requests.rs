//! Requests of the block device.

use super::driver::*;
use crate::bench::Bench;
use crate::case::Disk;
use crate::machine::Size;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

const F_FLUSH: u64 = 1 << 9;
const F_CONFIG_WCE: u64 = 1 << 11;
const F_DISCARD: u64 = 1 << 13;
const F_WRITE_ZEROES: u64 = 1 << 14;

/// What the disk holds at first.
fn pattern(sector: u64, bytes: u64) -> Vec<u8> {
    (sector * 512..sector * 512 + bytes).map(Disk::byte).collect()
}

pub(super) fn config(bench: &mut Bench<'_>) {
    on(bench);
    let word = |bench: &mut Bench<'_>, at: u64| bench.readl(DEVICE + at);
    let (capacity, high) = (word(bench, 0), word(bench, 4));
    bench.check("capacity", capacity, super::SECTORS);
    bench.check("its high half", high, 0u8);
    let values = [
        ("most buffers", 12),
        ("geometry", 16),
        ("block size", 20),
        ("topology", 24),
        ("best size", 28),
        ("write cache and queues", 32),
    ];
    for (name, at) in values {
        let value = word(bench, at);
        bench.note(name, value);
    }
    for (name, at) in [("ranges of a discard", 40), ("alignment of a discard", 44), ("ranges of zeroes", 52)]
    {
        let value = word(bench, at);
        bench.note(name, value);
    }
    let byte = bench.read(DEVICE + 34, Size::B2);
    bench.check("queues", byte, 2u8);
}

pub(super) fn read(bench: &mut Bench<'_>) {
    start(bench, 0);
    let (end, written) = run(bench, 0, (IN, 3), (512, true));
    bench.check("status", end, 0u8);
    bench.check("bytes written", written, 513u16);
    let data = bench.peek(DATA, 16);
    bench.check_bytes("data", &data, &pattern(3, 16));
}

pub(super) fn read_packed(bench: &mut Bench<'_>) {
    start(bench, PACKED);
    head(bench, IN, 5);
    let all = buffers(512, true);
    for (n, (gpa, len, write)) in all.iter().enumerate() {
        let more = if n + 1 < all.len() { 1 } else { 0 };
        let flags: u16 = 0x80 | more | if *write { 2 } else { 0 };
        let bytes =
            [&gpa.to_le_bytes()[..], &len.to_le_bytes(), &7u16.to_le_bytes(), &flags.to_le_bytes()].concat();
        bench.poke(RING + n as u64 * 16, &bytes);
    }
    bench.write(NOTIFY, Size::B2, 0);
    let used = wait_packed(bench, RING);
    bench.check_bits(
        "used, in the first round",
        u16::from_le_bytes([used[14], used[15]]),
        0x8080u16,
        0x8080u16,
    );
    bench.check("the buffer's id", used[12], 7u8);
    bench.check("bytes written", u16::from_le_bytes([used[8], used[9]]), 513u16);
    let (end, data) = (bench.peek(STATUS, 1)[0], bench.peek(DATA, 16));
    bench.check("status", end, 0u8);
    bench.check_bytes("data", &data, &pattern(5, 16));
}

pub(super) fn read_legacy(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(IO + 18, 0);
    bench.outb(IO + 18, 1);
    bench.outb(IO + 18, 3);
    bench.outl(IO + 4, 0);
    bench.poke(RING, &[0; 0x4000]);
    bench.outl(IO + 8, (RING / 4096) as u32);
    bench.outb(IO + 18, 7);
    // Descriptors, available ring and used ring of 256 elements.
    let (avail, used) = (RING + 4096, RING + 8192);
    head(bench, IN, 9);
    chain(bench, RING, &buffers(512, true));
    bench.poke(avail, &[0, 0, 1, 0, 0, 0]);
    bench.outw(IO + 16, 0);
    let index = wait_first(bench, used)[2];
    bench.check("it is given back", index, 1u8);
    let (end, data, isr) = (bench.peek(STATUS, 1)[0], bench.peek(DATA, 16), bench.inb(IO + 19));
    bench.check("status", end, 0u8);
    bench.check_bytes("data", &data, &pattern(9, 16));
    bench.check("interrupt status", isr, 1u8);
}

pub(super) fn indirect(bench: &mut Bench<'_>) {
    start(bench, INDIRECT);
    head(bench, IN, 4);
    chain(bench, TABLE, &buffers(512, true));
    bench
        .poke(RING, &[&TABLE.to_le_bytes()[..], &48u32.to_le_bytes(), &4u16.to_le_bytes(), &[0; 2]].concat());
    available(bench, RING, 0);
    bench.write(NOTIFY, Size::B2, 0);
    let (index, id, written) = wait_used(bench, RING, 1);
    bench.check("it is given back", index, 1u8);
    bench.check("its id", id, 0u8);
    bench.check("bytes written", written, 513u16);
    let data = bench.peek(DATA, 16);
    bench.check_bytes("data", &data, &pattern(4, 16));
}

pub(super) fn write(bench: &mut Bench<'_>) {
    start(bench, F_FLUSH);
    bench.poke(DATA, &[0x5a; 512]);
    let (end, written) = run(bench, 0, (OUT, 7), (512, false));
    bench.check("status", end, 0u8);
    bench.check("bytes written", written, 1u8);
    bench.poke(DATA, &[0; 512]);
    let (end, _) = run(bench, 1, (IN, 7), (512, true));
    bench.check("status of the read", end, 0u8);
    let data = bench.peek(DATA, 512);
    bench.check_that("it is there", data == [0x5a; 512], data[0]);
}

pub(super) fn scattered(bench: &mut Bench<'_>) {
    start(bench, 0);
    head(bench, IN, 10);
    let all = [
        (HEAD, 16, false),
        (DATA, 512, true),
        (DATA + 0x1000, 1024, true),
        (DATA + 0x2000, 512, true),
        (STATUS, 1, true),
    ];
    chain(bench, RING, &all);
    available(bench, RING, 0);
    bench.write(NOTIFY, Size::B2, 0);
    let (_, _, written) = wait_used(bench, RING, 1);
    bench.check("bytes written", written, 2049u16);
    for (at, sector) in [(0, 10), (0x1000, 11), (0x2000, 13)] {
        let data = bench.peek(DATA + at, 16);
        bench.check_bytes(format!("sector {sector}"), &data, &pattern(sector, 16));
    }
}

pub(super) fn flush(bench: &mut Bench<'_>) {
    start(bench, F_FLUSH);
    let (end, written) = run(bench, 0, (FLUSH, 0), (0, false));
    bench.check("status", end, 0u8);
    bench.check("bytes written", written, 1u8);
}

pub(super) fn serial(bench: &mut Bench<'_>) {
    start(bench, 0);
    bench.poke(DATA, &[0xee; 20]);
    let (end, _) = run(bench, 0, (GET_ID, 0), (20, true));
    bench.check("status", end, 0u8);
    let data = bench.peek(DATA, 20);
    bench.check_bytes("serial number", &data[..12], b"conformance\0");
}

pub(super) fn beyond(bench: &mut Bench<'_>) {
    start(bench, 0);
    let last = u64::from(super::SECTORS);
    for (number, (kind, sector, len)) in
        [(IN, last, 512), (OUT, last, 512), (IN, last - 1, 1024), (IN, u64::MAX, 512), (IN, 0, 100)]
            .into_iter()
            .enumerate()
    {
        let (end, _) = run(bench, number as u16, (kind, sector), (len, kind == IN));
        bench.check(format!("status of {number}"), end, 1u8);
    }
}

pub(super) fn unknown(bench: &mut Bench<'_>) {
    start(bench, 0);
    let (end, _) = run(bench, 0, (77, 0), (512, true));
    bench.check("status", end, 2u8);
}

/// A request with a range of sectors.
fn range(bench: &mut Bench<'_>, number: u16, kind: u32, (sector, sectors, flags): (u64, u32, u32)) -> u8 {
    let range = [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat();
    bench.poke(DATA, &range);
    run(bench, number, (kind, 0), (16, false)).0
}

pub(super) fn zeroes(bench: &mut Bench<'_>) {
    start(bench, F_WRITE_ZEROES);
    let end = range(bench, 0, WRITE_ZEROES, (20, 2, 0));
    bench.check("status", end, 0u8);
    run(bench, 1, (IN, 21), (512, true));
    let data = bench.peek(DATA, 512);
    bench.check_that("zeros", data == [0; 512], data[0]);
    run(bench, 2, (IN, 22), (512, true));
    let data = bench.peek(DATA, 16);
    bench.check_bytes("no more", &data, &pattern(22, 16));
    let end = range(bench, 3, WRITE_ZEROES, (63, 2, 0));
    bench.check("beyond the end", end, 1u8);
    let end = range(bench, 4, WRITE_ZEROES, (0, 1, 2));
    bench.check("a flag that is not known", end, 2u8);
}

pub(super) fn discard(bench: &mut Bench<'_>) {
    start(bench, F_DISCARD);
    let end = range(bench, 0, DISCARD, (30, 2, 0));
    bench.check("status", end, 0u8);
    let end = range(bench, 1, DISCARD, (30, 2, 1));
    bench.check("with the flag of write zeroes", end, 2u8);
    let end = range(bench, 2, DISCARD, (64, 1, 0));
    bench.check("beyond the end", end, 1u8);
}

pub(super) fn pin(bench: &mut Bench<'_>) {
    start(bench, 0);
    run(bench, 0, (IN, 0), (512, true));
    let isr = bench.read(ISR, Size::B1);
    bench.check("interrupt status", isr, 1u8);
    let isr = bench.read(ISR, Size::B1);
    bench.check("reading clears it", isr, 0u8);
    let status = bench.config(SLOT, 0, 6, Size::B2);
    bench.check_bits("the pin is low", status, 8u8, 0u8);
    run(bench, 1, (IN, 0), (512, true));
    let status = bench.config(SLOT, 0, 6, Size::B2);
    bench.check_bits("and high again", status, 8u8, 8u8);
}

pub(super) fn no_interrupts(bench: &mut Bench<'_>) {
    start(bench, 0);
    bench.poke(RING + 0x1000, &[1, 0]);
    run(bench, 0, (IN, 0), (512, true));
    bench.wait(5_000_000);
    let isr = bench.read(ISR, Size::B1);
    bench.check("interrupt status", isr, 0u8);
}

pub(super) fn event_index(bench: &mut Bench<'_>) {
    start(bench, EVENT_IDX);
    // When the second is given back.
    bench.poke(RING + 0x1000 + 4 + u64::from(SIZE) * 2, &1u16.to_le_bytes());
    run(bench, 0, (IN, 0), (512, true));
    bench.wait(5_000_000);
    let isr = bench.read(ISR, Size::B1);
    bench.check("after the first", isr, 0u8);
    run(bench, 1, (IN, 0), (512, true));
    bench.wait(5_000_000);
    let isr = bench.read(ISR, Size::B1);
    bench.check("after the second", isr, 1u8);
}

pub(super) fn two_queues(bench: &mut Bench<'_>) {
    const OTHER: u64 = RING + 0x4000;
    negotiate(bench, VERSION_1 | 1 << 12);
    bench.poke(RING, &[0; 0x8000]);
    enable(bench, 0, RING);
    enable(bench, 1, OTHER);
    set_status(bench, 0xf);
    head(bench, IN, 6);
    chain(bench, OTHER, &buffers(512, true));
    available(bench, OTHER, 0);
    bench.write(NOTIFY + 4, Size::B2, 1);
    let (index, ..) = wait_used(bench, OTHER, 1);
    bench.check("the second gives it back", index, 1u8);
    let (index, ..) = used(bench, RING);
    bench.check("the first does not", index, 0u8);
    let data = bench.peek(DATA, 16);
    bench.check_bytes("data", &data, &pattern(6, 16));
}

pub(super) fn write_cache(bench: &mut Bench<'_>) {
    start(bench, F_FLUSH | F_CONFIG_WCE);
    let on = bench.read(DEVICE + 32, Size::B1);
    bench.check("it is on", on, 1u8);
    bench.write(DEVICE + 32, Size::B1, 0);
    let off = bench.read(DEVICE + 32, Size::B1);
    bench.check("the driver turns it off", off, 0u8);
    bench.poke(DATA, &[1; 512]);
    let (end, _) = run(bench, 0, (OUT, 1), (512, false));
    bench.check("a write goes on", end, 0u8);
}
