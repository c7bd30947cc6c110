//! The debug console's only port.

/// Where firmware writes.
pub const PORT: u16 = 0x402;
/// What it reads there.
pub const PRESENT: u8 = 0xe9;
