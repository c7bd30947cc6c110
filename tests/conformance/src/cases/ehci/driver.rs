//! A driver's side: a list with a head and one queue, which does a transfer at a time, and a frame list with another.

use crate::bench::Bench;
use crate::machine::Size;

pub(super) const SLOT: u8 = 3;
pub(super) const BAR: u64 = 0xfe00_0000;
/// In RAM: the frame list, queue heads, qTDs and their data.
const LIST: u64 = 0x10_0000;
const HEAD: u64 = 0x10_1000;
pub(super) const QUEUE: u64 = 0x10_1080;
pub(super) const PERIODIC: u64 = 0x10_1100;
pub(super) const TDS: u64 = 0x10_2000;
pub(super) const DATA: u64 = 0x10_4000;

/// USBCMD: run, both schedules, a microframe between interrupts.
pub(super) const RUN: u32 = 0x1_0031;
pub(super) const ACTIVE: u32 = 0x80;
pub(super) const HALTED: u32 = 0x40;
pub(super) const IOC: u32 = 1 << 15;
pub(super) const OUT: u32 = 0;
pub(super) const IN: u32 = 1 << 8;
pub(super) const SETUP: u32 = 2 << 8;
pub(super) const TOGGLE: u32 = 1 << 31;
const ERRORS: u32 = 3 << 10;

/// A register, from the operational ones on.
pub(super) fn reg(bench: &mut Bench<'_>, at: u64) -> u32 {
    bench.readl(BAR + 0x20 + at)
}
pub(super) fn set(bench: &mut Bench<'_>, at: u64, value: u32) {
    bench.writel(BAR + 0x20 + at, value);
}
pub(super) fn portsc(port: u64) -> u64 {
    0x44 + 4 * (port - 1)
}
pub(super) fn words(bench: &mut Bench<'_>, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bench.poke(at, &bytes);
}
pub(super) fn word(bench: &mut Bench<'_>, at: u64) -> u32 {
    bench.peek(at, 4).iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// As the firmware leaves it.
pub(super) fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, BAR as u32);
    bench.set_config(SLOT, 0, 4, Size::B2, 6);
}

/// Endpoint characteristics: high speed, the toggle of each qTD.
pub(super) fn endpoint(address: u32, number: u32, packet: u32) -> u32 {
    address | number << 8 | 2 << 12 | 1 << 14 | packet << 16
}

/// Both lists run, and the ports are the controller's.
pub(super) fn start(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, 0, 2);
    bench.wait(10_000_000);
    words(bench, LIST, &[PERIODIC as u32 | 2; 1024]);
    words(bench, HEAD, &[QUEUE as u32 | 2, 2 << 12 | 1 << 15, 1 << 30, 0, 1, 1, HALTED, 0, 0, 0, 0, 0]);
    words(bench, QUEUE, &[HEAD as u32 | 2, endpoint(0, 0, 64), 1 << 30, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
    words(bench, PERIODIC, &[1, endpoint(0, 1, 8), 1 << 30 | 1, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
    set(bench, 0x14, LIST as u32);
    set(bench, 0x18, HEAD as u32);
    set(bench, 0, RUN);
    set(bench, 0x40, 1);
}

/// The device on a port is reset and enabled.
pub(super) fn enable(bench: &mut Bench<'_>, port: u64) {
    set(bench, portsc(port), 0x1102);
    bench.wait(50_000_000);
    set(bench, portsc(port), 0x1000);
    bench.wait(3_000_000);
}

/// A qTD: its number, its pointers, and what it is.
pub(super) fn td(bench: &mut Bench<'_>, n: u64, (next, alternate): (u32, u32), token: u32, len: u32) {
    let at = (DATA + n * 0x1000) as u32;
    words(bench, TDS + n * 32, &[next, alternate, ACTIVE | ERRORS | token | len << 16, at, 0, 0, 0, 0]);
}
pub(super) fn at(n: u64) -> u32 {
    (TDS + n * 32) as u32
}
pub(super) fn token(bench: &mut Bench<'_>, n: u64) -> u32 {
    word(bench, TDS + n * 32 + 8)
}

/// A queue begins with the first qTD.
pub(super) fn go(bench: &mut Bench<'_>, queue: u64) {
    words(bench, queue + 16, &[TDS as u32, 1, 0]);
}

/// Lets time pass until a qTD is over, for at most two seconds of guest time: its token.
pub(super) fn ended(bench: &mut Bench<'_>, n: u64) -> u32 {
    bench.passes_until(|bench| token(bench, n) & ACTIVE == 0);
    token(bench, n)
}

/// A request with data from the device, or none. None: a qTD failed or nothing came.
pub(super) fn request(bench: &mut Bench<'_>, address: u32, setup: [u8; 8]) -> Option<Vec<u8>> {
    let len = u32::from(u16::from_le_bytes([setup[6], setup[7]]));
    words(bench, QUEUE + 4, &[endpoint(address, 0, 64)]);
    bench.poke(DATA, &setup);
    let last = if len > 0 { 2 } else { 1 };
    td(bench, 0, (at(1), 1), SETUP, 8);
    if len > 0 {
        td(bench, 1, (at(2), at(2)), IN | TOGGLE, len);
    }
    td(bench, last, (1, 1), if len > 0 { OUT } else { IN } | TOGGLE, 0);
    go(bench, QUEUE);
    let halted = |bench: &mut Bench<'_>| word(bench, QUEUE + 24) & HALTED != 0;
    bench.passes_until(|bench| halted(bench) || token(bench, last) & ACTIVE == 0);
    let done = !halted(bench) && token(bench, last) & (ACTIVE | HALTED) == 0;
    words(bench, QUEUE + 16, &[1, 1, 0]);
    let left = if len > 0 { token(bench, 1) >> 16 & 0x7fff } else { 0 };
    done.then(|| bench.peek(DATA + 0x1000, (len - left.min(len)) as usize))
}

/// The tablet has address 5 and is configured.
pub(super) fn configure(bench: &mut Bench<'_>) {
    start(bench);
    enable(bench, 1);
    request(bench, 0, [0, 5, 5, 0, 0, 0, 0, 0]);
    request(bench, 5, [0, 9, 1, 0, 0, 0, 0, 0]);
    words(bench, PERIODIC + 4, &[endpoint(5, 1, 8)]);
    set(bench, 4, 0x3f);
}
