//! Registers and bits of the CL-GD5446 beyond the VGA's own.
//!
//! Named as in Cirrus Logic's technical reference of the family (CL-GD543X and '4X), of which no copy was at hand: the
//! numbers are those that SeaBIOS's VGA BIOS, Linux's cirrusfb and X.org's driver use, seen beside QEMU's by the
//! conformance cases.

/// Length of BAR 0.
pub const APERTURE_LEN: u64 = 32 << 20;
/// Where in BAR 0 the window of the blitter begins.
pub const BLT_WINDOW: u64 = 16 << 20;
/// Its length.
pub const BLT_WINDOW_LEN: u64 = 4 << 20;
/// Length of BAR 1.
pub const MMIO_LEN: u64 = 0x1000;
/// Where in BAR 1 the blitter's registers begin.
pub const MMIO_BLT: u64 = 0x100;
/// Length of the blitter's registers in the window at 0xb8000 and at the end of the linear memory.
pub const BLT_REGISTERS: u64 = 0x100;
/// Where in the VGA's window they are.
pub const WINDOW_BLT: u64 = 0x1_8000;
/// Memory that the chip addresses: 4 MiB.
pub const MEMORY: usize = 4 << 20;
/// The memory's last bytes, where the pointer's patterns are.
pub const PATTERNS: usize = 16 << 10;
/// What of the VGA's window is video memory.
pub const WINDOW_MEMORY: u64 = 0x1_0000;
/// Length of a bank.
pub const BANK_LEN: u64 = 0x8000;

/// Sequencer registers.
pub mod seq {
    /// Number of registers.
    pub const COUNT: usize = 0x20;
    /// The last one that a VGA has too.
    pub const LAST_VGA: u8 = 0x04;
    /// The key that lets drivers see the chip's own registers.
    pub const KEY: u8 = 0x06;
    /// What the key register takes, and shows while unlocked.
    pub const UNLOCKED: u8 = 0x12;
    /// What it shows while locked.
    pub const LOCKED: u8 = 0x0f;
    /// Extended sequencer mode.
    pub const MODE: u8 = 0x07;
    /// DRAM control.
    pub const DRAM: u8 = 0x0f;
    /// Pointer's column; bits 7:5 of the index are its low bits.
    pub const CURSOR_X: u8 = 0x10;
    /// Pointer's line, likewise.
    pub const CURSOR_Y: u8 = 0x11;
    /// Pointer's attributes.
    pub const CURSOR: u8 = 0x12;
    /// Pointer's pattern.
    pub const PATTERN: u8 = 0x13;
    /// Scratch register where the BIOS leaves how much memory there is.
    pub const SCRATCH: u8 = 0x15;
    /// Configuration readback and extended control.
    pub const CONFIG: u8 = 0x17;
    /// Memory clock.
    pub const MCLK: u8 = 0x1f;
    /// Mode: packed pixels.
    pub const PACKED: u8 = 0x01;
    /// Mode: bits a pixel.
    pub const DEPTH: u8 = 0x0e;
    /// Pointer's attributes: it is shown.
    pub const SHOW: u8 = 0x01;
    /// Pointer's attributes: the DAC's ports reach its colours.
    pub const COLOURS: u8 = 0x02;
    /// Pointer's attributes: 64 by 64 pixels.
    pub const LARGE: u8 = 0x04;
    /// Configuration: the blitter's registers are in memory.
    pub const MMIO: u8 = 0x04;
    /// Configuration: at its end rather than at 0xb8000.
    pub const MMIO_LINEAR: u8 = 0x40;
    /// Configuration: bits that are wired to the bus.
    pub const CONFIG_WIRED: u8 = 0x38;
}

/// Graphics controller registers.
pub mod gfx {
    /// Number of registers.
    pub const COUNT: usize = 0x3a;
    /// Banks.
    pub const BANK: u8 = 0x09;
    /// Mode extensions.
    pub const EXTENSIONS: u8 = 0x0b;
    /// Extensions: the second bank register is that of the window's upper half.
    pub const TWO_BANKS: u8 = 0x01;
    /// Extensions: addresses count 8 bytes.
    pub const BY_8: u8 = 0x02;
    /// Extensions: write modes 4 and 5.
    pub const WRITE_MODES: u8 = 0x04;
    /// Extensions, with [`WRITE_MODES`]: of 16-bit pixels, and addresses count 16 bytes.
    pub const BY_16: u8 = 0x10;
    /// Extensions: banks count 16 KiB rather than 4.
    pub const BANKS_16K: u8 = 0x20;
    /// Blit: width in bytes less 1.
    pub const WIDTH: u8 = 0x20;
    /// Blit: lines less 1.
    pub const HEIGHT: u8 = 0x22;
    /// Blit: bytes from a line of the destination to the next.
    pub const PITCH: u8 = 0x24;
    /// Blit: the same of the source.
    pub const SOURCE_PITCH: u8 = 0x26;
    /// Blit: address of the destination.
    pub const TO: u8 = 0x28;
    /// Blit: address of the source.
    pub const FROM: u8 = 0x2c;
    /// Blit: pixels left out at the left.
    pub const SKIP: u8 = 0x2f;
    /// Blit: mode.
    pub const MODE: u8 = 0x30;
    /// Blit: start and status.
    pub const START: u8 = 0x31;
    /// Blit: raster operation.
    pub const ROP: u8 = 0x32;
    /// Blit: mode extensions.
    pub const MODE_EXT: u8 = 0x33;
    /// Blit: the colour that is not drawn.
    pub const KEY: u8 = 0x34;
}

/// Bits of the blitter's registers.
pub mod blt {
    /// Status: it works.
    pub const BUSY: u8 = 0x01;
    /// Start: go.
    pub const START: u8 = 0x02;
    /// Start: give up what is under way.
    pub const RESET: u8 = 0x04;
    /// Status: its FIFO has something.
    pub const FIFO: u8 = 0x10;
    /// Start: the last byte of the destination's address starts.
    pub const AUTOSTART: u8 = 0x80;
    /// Mode: from the last byte to the first.
    pub const BACKWARD: u8 = 0x01;
    /// Mode: to the processor.
    pub const TO_SYSTEM: u8 = 0x02;
    /// Mode: from the processor.
    pub const FROM_SYSTEM: u8 = 0x04;
    /// Mode: one colour is not drawn.
    pub const TRANSPARENT: u8 = 0x08;
    /// Mode: bytes a pixel less 1.
    pub const DEPTH: u8 = 0x30;
    /// Mode: the source is 8 by 8 pixels, again and again.
    pub const PATTERN: u8 = 0x40;
    /// Mode: a bit of the source is a pixel.
    pub const EXPAND: u8 = 0x80;
    /// Extension: lines of bits from the processor end at double words.
    pub const DWORDS: u8 = 0x01;
    /// Extension: bits of the source inverted.
    pub const INVERT: u8 = 0x02;
    /// Extension: one colour.
    pub const SOLID: u8 = 0x04;
    /// Most bytes of a line.
    pub const MAX_WIDTH: u32 = 0x2000;
    /// Most lines.
    pub const MAX_HEIGHT: u32 = 0x800;
}

/// CRT controller registers.
pub mod crtc {
    /// First of those that hold what is written.
    pub const FIRST: u8 = 0x19;
    /// Last of those.
    pub const LAST: u8 = 0x1d;
    /// Miscellaneous control.
    pub const MISC: u8 = 0x1a;
    /// Miscellaneous control: interlaced.
    pub const INTERLACED: u8 = 0x01;
    /// Extended display control.
    pub const DISPLAY: u8 = 0x1b;
    /// Overlay extended control.
    pub const OVERLAY: u8 = 0x1d;
    /// Graphics data latch.
    pub const LATCH: u8 = 0x22;
    /// What the attribute port takes next.
    pub const TOGGLE: u8 = 0x24;
    /// Part status.
    pub const PART_STATUS: u8 = 0x25;
    /// The attribute controller's index.
    pub const ATTRIBUTE: u8 = 0x26;
    /// Which chip it is.
    pub const ID: u8 = 0x27;
    /// A CL-GD5446.
    pub const GD5446: u8 = 0xb8;
}
