//! Places, by QEMU's `pc-testdev` and kvm-unit-tests, which drive it.

/// A register of 32 bits that keeps what is written.
pub const PORT: u16 = 0xe0;
/// A write has the host forget how it maps the page of that address.
pub const FLUSH: u16 = 0xe4;
/// The register again, which is reached a byte at a time.
pub const BYTES: u16 = 0xe8;
/// Bytes of each.
pub const PORT_LEN: u64 = 4;
/// A port for each interrupt wire: its level.
pub const IRQ: u16 = 0x2000;
/// Wires, as many as the IOAPIC has pins.
pub const IRQS: usize = 24;
/// Memory behind which is this device.
pub const MEMORY: u64 = 0xff00_0000;
/// Its bytes.
pub const MEMORY_LEN: usize = 0x1_0000;
