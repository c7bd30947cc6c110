//! The ports of iBASE's IB700 board, as its manual and Linux's `ib700wdt` have them.

/// A write stops the timer.
pub const STOP: u16 = 0x441;
/// A write starts it anew, with the time that the low bits choose.
pub const START: u16 = 0x443;
/// Bits of a written value that choose.
pub const CHOICE: u8 = 0x0f;
/// Nanoseconds until the machine is reset: two seconds less a step, from 30 s down to none.
pub const fn timeout(choice: u8) -> u64 {
    (CHOICE - (choice & CHOICE)) as u64 * 2 * 1_000_000_000
}
