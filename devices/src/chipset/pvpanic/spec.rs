//! The port and its bits (QEMU documentation, "PVPANIC device").

/// The port, as the ACPI tables give it.
pub const PORT: u16 = 0x505;
/// The kernel crashed, and the machine's owner decides what now.
pub const PANICKED: u8 = 1 << 0;
/// The kernel crashed and loads its crash kernel.
pub const CRASH_LOADED: u8 = 1 << 1;
/// What a read tells.
pub const SUPPORTED: u8 = PANICKED | CRASH_LOADED;
