//! The debug console's only port.

/// Where firmware writes.
pub const PORT: u16 = 0x402;
/// Where QEMU's `isa-debugcon` is if nobody says: Bochs's.
pub const BOCHS_PORT: u16 = 0xe9;
/// What it reads there.
pub const PRESENT: u8 = 0xe9;
