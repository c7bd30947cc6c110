//! Registers of the 82441FX beyond the PCI header.

/// Where QEMU tells firmware the size of RAM, in units of 8 MiB, at most 255.
pub const RAM_SIZE: u16 = 0x57;
/// First of the seven programmable attribute map registers.
pub const PAM0: u16 = 0x59;
/// System management RAM control.
pub const SMRAM: u16 = 0x72;

/// A PAM nibble: reads go to RAM.
pub const PAM_READ: u8 = 1 << 0;
/// A PAM nibble: writes go to RAM.
pub const PAM_WRITE: u8 = 1 << 1;

/// SMRAM: the space below the VGA window is open to everyone.
pub const SMRAM_OPEN: u8 = 1 << 6;
/// SMRAM at reset: base segment 0xa0000, the only one there is.
pub const SMRAM_RESET: u8 = 0x02;

/// The VGA window, which hides SMRAM.
pub const VGA: (u64, u64) = (0xa_0000, 0x2_0000);
/// First address under PAM control.
pub const SHADOW: u64 = 0xc_0000;
/// First address after it.
pub const SHADOW_END: u64 = 0x10_0000;
/// Most of a firmware image that is visible below 1 MiB.
pub const FIRMWARE_WINDOW: u64 = 0x2_0000;

/// Number of segments under PAM control.
pub const SEGMENTS: usize = 13;

/// A segment: (address, length, register, shift of its nibble).
pub const fn segment(index: usize) -> (u64, u64, u16, u8) {
    if index == 12 {
        return (0xf_0000, 0x1_0000, PAM0, 4);
    }
    (SHADOW + 0x4000 * index as u64, 0x4000, PAM0 + 1 + index as u16 / 2, 4 * (index as u8 & 1))
}
