//! Registers of the MC146818A (Motorola, "Real-Time Clock Plus RAM") and what PC firmware keeps in its
//! RAM.

/// Index port; data follows.
pub const BASE: u16 = 0x70;
/// Bytes of registers and RAM.
pub const SIZE: usize = 128;
/// The index; bit 7 of the port masks NMI.
pub const INDEX_MASK: u8 = 0x7f;

/// Seconds.
pub const SECONDS: u8 = 0x00;
/// Alarm, seconds.
pub const SECONDS_ALARM: u8 = 0x01;
/// Minutes.
pub const MINUTES: u8 = 0x02;
/// Alarm, minutes.
pub const MINUTES_ALARM: u8 = 0x03;
/// Hours.
pub const HOURS: u8 = 0x04;
/// Alarm, hours.
pub const HOURS_ALARM: u8 = 0x05;
/// Day of the week, Sunday is 1.
pub const WEEKDAY: u8 = 0x06;
/// Day of the month.
pub const DAY: u8 = 0x07;
/// Month, January is 1.
pub const MONTH: u8 = 0x08;
/// Year of the century.
pub const YEAR: u8 = 0x09;
/// Register A: divider, rate.
pub const A: u8 = 0x0a;
/// Register B: modes, interrupt enables.
pub const B: u8 = 0x0b;
/// Register C: interrupt flags; reading clears them.
pub const C: u8 = 0x0c;
/// Register D: validity.
pub const D: u8 = 0x0d;
/// Century, where the ACPI FADT says it is.
pub const CENTURY: u8 = 0x32;
/// Century, where the PS/2 had it; the same register.
pub const CENTURY_PS2: u8 = 0x37;

/// Register A: update in progress.
pub const A_UIP: u8 = 0x80;
/// Register A: divider.
pub const A_DIVIDER: u8 = 0x70;
/// Divider up to which the clock runs: 32768 Hz, and two crystals that no PC has.
pub const A_RUNS: u8 = 0x20;
/// Register A: rate of the periodic interrupt.
pub const A_RATE: u8 = 0x0f;
/// Register A at power-on: 32768 Hz crystal, 1024 Hz.
pub const A_DEFAULT: u8 = 0x26;

/// Register B: the guest sets the time.
pub const B_SET: u8 = 0x80;
/// Register B: periodic interrupt.
pub const B_PIE: u8 = 0x40;
/// Register B: alarm interrupt.
pub const B_AIE: u8 = 0x20;
/// Register B: update-ended interrupt.
pub const B_UIE: u8 = 0x10;
/// Register B: square wave output.
pub const B_SQWE: u8 = 0x08;
/// Register B: binary, not decimal.
pub const B_BINARY: u8 = 0x04;
/// Register B: 24 hours.
pub const B_24: u8 = 0x02;

/// Register C: an enabled flag is up.
pub const C_IRQF: u8 = 0x80;
/// Register C: periodic flag.
pub const C_PF: u8 = 0x40;
/// Register C: alarm flag.
pub const C_AF: u8 = 0x20;
/// Register C: update-ended flag.
pub const C_UF: u8 = 0x10;

/// Register D: RAM and time are valid.
pub const D_VRT: u8 = 0x80;

/// Hour register in 12-hour mode: afternoon.
pub const PM: u8 = 0x80;
/// An alarm register from this value on matches all.
pub const ANY: u8 = 0xc0;

/// Crystal in hertz.
pub const HERTZ: u64 = 32_768;
/// One second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
/// UIP comes up so many nanoseconds before an update: eight periods of the crystal.
pub const UIP_AHEAD: u64 = 8 * SECOND / HERTZ;

/// Ticks of the crystal between two periodic interrupts; 0: none.
pub fn period(a: u8) -> u64 {
    match a & A_RATE {
        0 => 0,
        rate @ 1..=2 => 1 << (rate + 6),
        rate => 1 << (rate - 1),
    }
}
