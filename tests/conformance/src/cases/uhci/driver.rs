//! A driver's side: a frame list that leads to one queue, which does a request at a time.

use crate::bench::Bench;
use crate::machine::Size;

pub(super) const SLOT: u8 = 1;
pub(super) const FUNCTION: u8 = 2;
pub(super) const IO: u16 = 0xc040;
/// In RAM: the frame list, a queue head, its TDs and their data.
const LIST: u64 = 0x10_0000;
pub(super) const QH: u64 = 0x10_2000;
pub(super) const TDS: u64 = 0x10_3000;
pub(super) const DATA: u64 = 0x10_4000;

pub(super) const ACTIVE: u32 = 1 << 23;
pub(super) const STALLED: u32 = 1 << 22;
pub(super) const IOC: u32 = 1 << 24;
pub(super) const SPD: u32 = 1 << 29;
const ERRORS: u32 = 3 << 27;
pub(super) const IN: u32 = 0x69;
pub(super) const OUT: u32 = 0xe1;
pub(super) const SETUP: u32 = 0x2d;

/// As the firmware leaves it.
pub(super) fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, FUNCTION, 0x20, Size::B4, IO.into());
    bench.set_config(SLOT, FUNCTION, 4, Size::B2, 5);
}

pub(super) fn words(bench: &mut Bench<'_>, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bench.poke(at, &bytes);
}

pub(super) fn word(bench: &mut Bench<'_>, at: u64) -> u32 {
    bench.peek(at, 4).iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// Every frame leads to the queue, which is empty. The schedule runs.
pub(super) fn start(bench: &mut Bench<'_>) {
    on(bench);
    words(bench, LIST, &[QH as u32 | 2; 1024]);
    words(bench, QH, &[1, 1]);
    bench.outl(IO + 8, LIST as u32);
    bench.outw(IO, 0xc1);
}

/// The device on the first port is reset and enabled.
pub(super) fn enable(bench: &mut Bench<'_>) {
    start(bench);
    bench.outw(IO + 0x10, 0x202);
    bench.wait(50_000_000);
    bench.outw(IO + 0x10, 0);
    bench.outw(IO + 0x10, 0xe);
}

pub(super) fn token(pid: u32, address: u8, endpoint: u8, len: usize) -> u32 {
    let most = (len as u32).wrapping_sub(1) & 0x7ff;
    pid | u32::from(address) << 8 | u32::from(endpoint) << 15 | most << 21
}

/// A TD of the chain: its number, whether there is another, and what it is.
pub(super) fn td(bench: &mut Bench<'_>, n: u64, next: u32, control: u32, token: u32) {
    words(bench, TDS + n * 32, &[next, ACTIVE | ERRORS | control, token, (DATA + n * 64) as u32]);
}

pub(super) fn control(bench: &mut Bench<'_>, n: u64) -> u32 {
    word(bench, TDS + n * 32 + 4)
}

/// Begins with the first TD.
pub(super) fn go(bench: &mut Bench<'_>) {
    words(bench, QH + 4, &[TDS as u32]);
}

/// A request without data to the device, or with data from it. None: a TD failed or nothing came.
pub(super) fn request(bench: &mut Bench<'_>, address: u8, setup: [u8; 8]) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
    bench.poke(DATA, &setup);
    let parts = len.div_ceil(8) as u64;
    let at = |n: u64| (TDS + n * 32) as u32 | 4;
    td(bench, 0, at(1), 0, token(SETUP, address, 0, 8));
    for n in 1..=parts {
        let part = 8.min(len - (n as usize - 1) * 8);
        td(bench, n, at(n + 1), SPD, token(IN, address, 0, part));
    }
    let last = parts + 1;
    td(bench, last, 1, 0, token(if parts == 0 { IN } else { OUT }, address, 0, 0));
    go(bench);
    let ended = |bench: &mut Bench<'_>, n: u64| control(bench, n) & ACTIVE == 0;
    let done = bench.passes_until(|bench| {
        let short = (1..=parts).any(|n| {
            let control = control(bench, n);
            let part = 8.min(len - (n as usize - 1) * 8);
            control & (ACTIVE | STALLED) == 0 && (control.wrapping_add(1) & 0x7ff) < part as u32
        });
        if short && !ended(bench, last) {
            words(bench, QH + 4, &[(TDS + last * 32) as u32]);
        }
        ended(bench, last) || (0..=last).any(|n| control(bench, n) & STALLED != 0)
    });
    words(bench, QH + 4, &[1]);
    if !done || (0..=last).any(|n| control(bench, n) & STALLED != 0) {
        return None;
    }
    let mut reply = Vec::new();
    for n in 1..=parts {
        if !ended(bench, n) {
            break;
        }
        let got = control(bench, n).wrapping_add(1) & 0x7ff;
        reply.extend(bench.peek(DATA + n * 64, got as usize));
    }
    Some(reply)
}

/// The tablet has address 5 and is configured.
pub(super) fn configure(bench: &mut Bench<'_>) {
    enable(bench);
    request(bench, 0, [0, 5, 5, 0, 0, 0, 0, 0]);
    request(bench, 5, [0, 9, 1, 0, 0, 0, 0, 0]);
}
