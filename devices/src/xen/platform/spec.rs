//! Registers of the platform device (Xen, `docs/misc/hvm-emulated-unplug.pandoc`; QEMU's `xen-platform`).

/// Xen's PCI vendor id.
pub const XEN_VENDOR: u16 = 0x5853;
/// The platform device's id.
pub const PLATFORM: u16 = 0x0001;

/// First of the fixed ports.
pub const FIXED: u16 = 0x10;
/// How many there are.
pub const FIXED_LEN: u64 = 16;
/// Length of BAR 0 in ports.
pub const PORTS_LEN: u64 = 0x100;
/// Length of BAR 1 in bytes. Guests put grant tables and the like there by themselves.
pub const MEMORY_LEN: u64 = 16 << 20;

/// Fixed port: byte: flags; word: magic to read, unplug mask to write; doubleword, write: build number.
pub const CONTROL: u64 = 0;
/// Fixed port: byte: version to read, log to write; word, write: product number.
pub const PRODUCT: u64 = 2;

/// What [`CONTROL`] reads as a word.
pub const MAGIC: u16 = 0x49d2;
/// The same when these drivers must not be used.
pub const MAGIC_REFUSED: u16 = 0xd249;
/// The protocol with product and build numbers.
pub const PROTOCOL: u8 = 1;

/// Flag: the option ROMs' memory (0xc0000 to 0xfffff) is read only.
pub const ROM_LOCK: u8 = 1 << 0;

/// BAR 0: flags, as [`CONTROL`].
pub const BAR_FLAGS: u64 = 0;
/// BAR 0: 1 unplugs disks and NICs.
pub const BAR_UNPLUG_ALL: u64 = 4;
/// BAR 0: 1 unplugs disks, 2 NICs, everything else is log.
pub const BAR_UNPLUG: u64 = 8;

/// LineBuffer that a guest may log in one go.
pub const BURST: u32 = 100;
/// Bytes of lines that are logged of one guest, however long it runs: the host's own lines have room beside
/// them.
pub const LOG_MOST: usize = 256 << 10;
/// After the burst one line in so many nanoseconds.
pub const LINE_INTERVAL: u64 = 100_000_000;
