//! Registers of the 8254 ("82C54 CHMOS Programmable Interval Timer", Intel 231244) and of port 0x61
//! (82371SB, "NMI Status and Control").

/// Input clock in hertz.
pub const HERTZ: u64 = 1_193_182;
/// Port of counter 0; the others and the control word follow.
pub const BASE: u16 = 0x40;
/// System control port B.
pub const PORT_B: u16 = 0x61;
/// Counters.
pub const COUNTERS: usize = 3;
/// Offset of the control word.
pub const CONTROL: u64 = 3;

/// Control word: which counter, or the read-back command.
pub fn select(control: u8) -> usize {
    usize::from(control >> 6)
}
/// Control word: 0 latches, 1 low byte, 2 high byte, 3 low byte and then high byte.
pub fn access(control: u8) -> u8 {
    control >> 4 & 3
}
/// Control word: modes 0 to 5; 6 and 7 are 2 and 3.
pub fn mode(control: u8) -> u8 {
    match control >> 1 & 7 {
        mode @ 6..=7 => mode - 4,
        mode => mode,
    }
}
/// Control word: count in decimal digits.
pub const BCD: u8 = 1;

/// Read-back command: do not latch the count.
pub const NO_COUNT: u8 = 0x20;
/// Read-back command: do not latch the status.
pub const NO_STATUS: u8 = 0x10;

/// Status byte: level of OUT.
pub const STATUS_OUT: u8 = 0x80;
/// Status byte: the count written is not in the counter yet.
pub const STATUS_NULL: u8 = 0x40;

/// Port B: gate of counter 2.
pub const GATE2: u8 = 0x01;
/// Port B: the speaker follows counter 2.
pub const SPEAKER: u8 = 0x02;
/// Port B: toggles with each refresh.
pub const REFRESH: u8 = 0x10;
/// Port B: output of counter 2.
pub const OUT2: u8 = 0x20;
/// Input clocks between two refreshes: 15.1 microseconds.
pub const REFRESH_TICKS: u64 = 18;
