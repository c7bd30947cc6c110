//! How the cases drive the device.

use crate::bench::Bench;
use crate::machine::Size;

pub(in crate::cases) const SLOT: u8 = 3;
pub(in crate::cases) const IO: u16 = 0xc000;
pub(in crate::cases) const MSIX: u64 = 0xe000_0000;
pub(in crate::cases) const MEM: u64 = 0xe010_0000;
/// The structures in their BAR.
pub(in crate::cases) const ISR: u64 = MEM + 0x1000;
pub(in crate::cases) const DEVICE: u64 = MEM + 0x2000;
pub(in crate::cases) const NOTIFY: u64 = MEM + 0x3000;

/// RAM: a queue's areas, each in a page of its own, and the parts of a request.
pub(in crate::cases) const RING: u64 = 0x11_0000;
pub(in crate::cases) const HEAD: u64 = 0x12_0000;
pub(in crate::cases) const STATUS: u64 = 0x12_1000;
pub(in crate::cases) const DATA: u64 = 0x12_2000;
pub(in crate::cases) const TABLE: u64 = 0x12_8000;

/// Elements of the cases' queues.
pub(in crate::cases) const SIZE: u16 = 8;

pub(in crate::cases) const VERSION_1: u64 = 1 << 32;
pub(in crate::cases) const PACKED: u64 = 1 << 34;
pub(in crate::cases) const RING_RESET: u64 = 1 << 40;
pub(in crate::cases) const INDIRECT: u64 = 1 << 28;
pub(in crate::cases) const EVENT_IDX: u64 = 1 << 29;

/// Maps the BARs and turns the device on.
pub(in crate::cases) fn on(bench: &mut Bench<'_>) {
    for (reg, value) in [(0x10, IO.into()), (0x14, MSIX as u32), (0x20, MEM as u32), (0x24, 0)] {
        bench.set_config(SLOT, 0, reg, Size::B4, value);
    }
    bench.set_config(SLOT, 0, 4, Size::B2, 7);
}

pub(in crate::cases) fn get(bench: &mut Bench<'_>, register: u64, size: Size) -> u64 {
    bench.read(MEM + register, size)
}
pub(in crate::cases) fn set(bench: &mut Bench<'_>, register: u64, size: Size, value: u64) {
    bench.write(MEM + register, size, value);
}

pub(in crate::cases) fn status(bench: &mut Bench<'_>) -> u8 {
    get(bench, 0x14, Size::B1) as u8
}
pub(in crate::cases) fn set_status(bench: &mut Bench<'_>, value: u8) {
    set(bench, 0x14, Size::B1, value.into());
}

/// Features of the device (select, value) or the driver's.
pub(in crate::cases) fn features(bench: &mut Bench<'_>, select: u64) -> u64 {
    (0..2).fold(0, |all, half| {
        set(bench, select, Size::B4, half);
        all | get(bench, select + 4, Size::B4) << (32 * half)
    })
}

pub(in crate::cases) fn accept(bench: &mut Bench<'_>, features: u64) {
    for half in 0..2 {
        set(bench, 8, Size::B4, half);
        set(bench, 0xc, Size::B4, features >> (32 * half) & 0xffff_ffff);
    }
}

/// Resets the device and agrees on features; the status after that.
pub(in crate::cases) fn negotiate(bench: &mut Bench<'_>, features: u64) -> u8 {
    on(bench);
    set_status(bench, 0);
    set_status(bench, 1);
    set_status(bench, 3);
    accept(bench, features);
    set_status(bench, 0xb);
    status(bench)
}

/// Puts a queue at `ring` and enables it.
pub(in crate::cases) fn enable(bench: &mut Bench<'_>, queue: u16, ring: u64) {
    set(bench, 0x16, Size::B2, queue.into());
    set(bench, 0x18, Size::B2, SIZE.into());
    for (register, address) in [(0x20, ring), (0x28, ring + 0x1000), (0x30, ring + 0x2000)] {
        set(bench, register, Size::B4, address);
        set(bench, register + 4, Size::B4, 0);
    }
    set(bench, 0x1c, Size::B2, 1);
}

/// A driver with one queue that is set up.
pub(in crate::cases) fn start(bench: &mut Bench<'_>, features: u64) {
    negotiate(bench, features | VERSION_1);
    bench.poke(RING, &[0; 0x3000]);
    enable(bench, 0, RING);
    set_status(bench, 0xf);
}

/// A buffer of a request: where, how long, whether the device writes there.
pub(in crate::cases) type Buffer = (u64, u32, bool);

fn descriptor(at: u64, (gpa, len, write): Buffer, flags: u16, next: u16) -> (u64, Vec<u8>) {
    let flags = flags | if write { 2 } else { 0 };
    let bytes = [&gpa.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()];
    (at, bytes.concat())
}

/// Writes descriptors of a chain behind one another.
pub(in crate::cases) fn chain(bench: &mut Bench<'_>, table: u64, buffers: &[Buffer]) {
    for (n, buffer) in buffers.iter().enumerate() {
        let more = if n + 1 < buffers.len() { 1 } else { 0 };
        let (at, bytes) = descriptor(table + n as u64 * 16, *buffer, more, n as u16 + 1);
        bench.poke(at, &bytes);
    }
}

/// Makes the chain from descriptor 0 on available in a split queue at `ring`, as its request of that number.
pub(in crate::cases) fn available(bench: &mut Bench<'_>, ring: u64, number: u16) {
    let avail = ring + 0x1000;
    bench.poke(avail + 4 + u64::from(number % SIZE) * 2, &0u16.to_le_bytes());
    bench.poke(avail + 2, &(number + 1).to_le_bytes());
}

/// The used index of a split queue, and its last element: id and bytes.
pub(in crate::cases) fn used(bench: &mut Bench<'_>, ring: u64) -> (u16, u32, u32) {
    let raw = bench.peek(ring + 0x2000, 4 + usize::from(SIZE) * 8);
    let word = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
    let index = u16::from_le_bytes([raw[2], raw[3]]);
    let at = 4 + usize::from(index.wrapping_sub(1) % SIZE) * 8;
    (index, word(at), word(at + 4))
}

/// Waits until the used index is that.
pub(in crate::cases) fn wait_used(bench: &mut Bench<'_>, ring: u64, index: u16) -> (u16, u32, u32) {
    bench.served_by(|bench| {
        let found = used(bench, ring);
        (found, found.0 == index)
    })
}

/// A used ring at `at` whose first element is awaited: its first 12 bytes.
pub(in crate::cases) fn wait_first(bench: &mut Bench<'_>, at: u64) -> Vec<u8> {
    bench.served_by(|bench| {
        let used = bench.peek(at, 12);
        let there = used[2] == 1;
        (used, there)
    })
}

/// A packed ring whose first descriptor is to be used in the first round: the descriptor (Virtio 1.3, 2.8.1).
pub(in crate::cases) fn wait_packed(bench: &mut Bench<'_>, ring: u64) -> Vec<u8> {
    bench.served_by(|bench| {
        let descriptor = bench.peek(ring, 16);
        let used = descriptor[15] & 0x80 != 0;
        (descriptor, used)
    })
}

/// Puts the head of a request.
pub(in crate::cases) fn head(bench: &mut Bench<'_>, kind: u32, sector: u64) {
    bench.poke(HEAD, &[&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat());
    bench.poke(STATUS, &[0xee]);
}

/// A request of one buffer of data, or none.
pub(in crate::cases) fn buffers(len: u32, write: bool) -> Vec<Buffer> {
    let mut all = vec![(HEAD, 16, false)];
    if len > 0 {
        all.push((DATA, len, write));
    }
    all.push((STATUS, 1, true));
    all
}

/// Has a request done in a split queue that is set up, as its request of that number: its status, and how many bytes it
/// says that it wrote.
pub(in crate::cases) fn run(
    bench: &mut Bench<'_>,
    number: u16,
    (kind, sector): (u32, u64),
    (len, write): (u32, bool),
) -> (u8, u32) {
    head(bench, kind, sector);
    chain(bench, RING, &buffers(len, write));
    available(bench, RING, number);
    bench.write(NOTIFY, Size::B2, 0);
    let (index, _, written) = wait_used(bench, RING, number + 1);
    bench.check(format!("request {number} is given back"), index, number + 1);
    (bench.peek(STATUS, 1)[0], written)
}
