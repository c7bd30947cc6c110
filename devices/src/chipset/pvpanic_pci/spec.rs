//! Numbers of QEMU's documentation, "PVPANIC device", "PCI".

/// Red Hat.
pub const VENDOR: u16 = 0x1b36;
/// The device.
pub const DEVICE: u16 = 0x0011;
/// Bytes of BAR 0, memory: the first is the register. QEMU's has two, less than a BAR can say; guests see 16 there, too.
pub const LEN: u64 = 16;
/// Bytes that answer as the register does.
pub const REGISTER: u64 = 2;
