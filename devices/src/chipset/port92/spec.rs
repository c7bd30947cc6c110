//! System control port A (82371SB data sheet, section 2.5.4.4).

/// The port.
pub const PORT: u16 = 0x92;
/// A rising edge resets.
pub const RESET: u8 = 1 << 0;
/// Lets address bit 20 through.
pub const A20: u8 = 1 << 1;
