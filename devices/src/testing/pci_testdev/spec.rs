//! Registers, by QEMU's `docs/specs/pci-testdev`.

/// Red Hat.
pub const VENDOR: u16 = 0x1b36;
/// The device.
pub const DEVICE: u16 = 0x0005;

/// Bytes of BAR 0, memory.
pub const MEMORY_LEN: u64 = 4096;
/// Bytes of BAR 1, ports.
pub const PORTS_LEN: u64 = 256;

/// Header at the beginning of both. Write: begins the test of that number.
pub const TEST: u64 = 0;
/// Bytes of an access of the test; 0: there is no such test.
pub const WIDTH: usize = 1;
/// Where in the BAR the test writes, 32 bits.
pub const OFFSET: usize = 4;
/// What it writes.
pub const DATA: usize = 8;
/// How often it did, 32 bits.
pub const COUNT: usize = 12;
/// The test's name, zero-terminated.
pub const NAME: usize = 16;
/// Bytes of the header.
pub const HEADER_LEN: usize = 64;

/// What tests that look at the value write.
pub const MATCH: u8 = 0xfa;
/// What the others write.
pub const ANY: u8 = 0xce;

/// The tests of each BAR, and whether each looks at the value.
pub const TESTS: [(&str, bool); 3] =
    [("no-eventfd", true), ("wildcard-eventfd", false), ("datamatch-eventfd", true)];
