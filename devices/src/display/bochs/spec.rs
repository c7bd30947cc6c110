//! Registers of `bochs-display`, as QEMU's `docs/specs/standard-vga` has them for BAR 2: those of the standard VGA's that
//! have nothing to do with a VGA. Their numbers are in the VGA's [`spec`](crate::display::vga).

pub use crate::display::vga::spec::dispi::{
    BPP, ENABLE, ENABLED, ID, VERSIONS, VIDEO_MEMORY, VIRT_WIDTH, X_OFFSET, XRES, Y_OFFSET, YRES,
};
pub use crate::display::vga::spec::mmio::{BIG, LEN, LITTLE};

/// EDID.
pub const EDID: std::ops::Range<u64> = 0x000..0x100;
/// DISPI registers, words.
pub const DISPI: std::ops::Range<u64> = 0x500..0x516;
/// How many of them there are.
pub const COUNT: usize = 11;
/// The extension registers' length, read only.
pub const EXTENSION: u64 = 0x600;
/// The byte order of pixels.
pub const BYTE_ORDER: u64 = 0x604;
/// Bytes of the extension registers.
pub const EXTENSION_LEN: u32 = 8;

/// Narrowest and lowest mode.
pub const LEAST: u32 = 64;
