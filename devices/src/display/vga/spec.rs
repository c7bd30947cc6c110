//! Ports, registers and bits of the standard VGA.
//!
//! VGA: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"; Bochs' DISPI interface and
//! QEMU's extension registers as `docs/specs/standard-vga` of QEMU describes them.

/// Attribute controller, address and data in turn.
pub const ATTRIBUTE: u16 = 0x3c0;
/// Attribute controller, data read.
pub const ATTRIBUTE_READ: u16 = 0x3c1;
/// Write: miscellaneous output. Read: input status 0.
pub const MISC_WRITE: u16 = 0x3c2;
/// Sequencer index; data follows.
pub const SEQUENCER: u16 = 0x3c4;
/// Sequencer data.
pub const SEQUENCER_DATA: u16 = 0x3c5;
/// DAC pixel mask.
pub const DAC_MASK: u16 = 0x3c6;
/// Write: DAC read index. Read: DAC state.
pub const DAC_READ: u16 = 0x3c7;
/// DAC write index.
pub const DAC_WRITE: u16 = 0x3c8;
/// DAC data.
pub const DAC_DATA: u16 = 0x3c9;
/// Feature control, read.
pub const FEATURE_READ: u16 = 0x3ca;
/// Miscellaneous output, read.
pub const MISC_READ: u16 = 0x3cc;
/// Graphics controller index.
pub const GRAPHICS: u16 = 0x3ce;
/// Graphics controller data.
pub const GRAPHICS_DATA: u16 = 0x3cf;
/// CRT controller index where it is in colour modes; 0x3b4 in monochrome ones.
pub const CRTC: u16 = 0x3d4;
/// CRT controller data.
pub const CRTC_DATA: u16 = 0x3d5;
/// Read: input status 1. Write: feature control.
pub const STATUS1: u16 = 0x3da;
/// What a colour port is above its monochrome twin.
pub const COLOUR_ABOVE_MONO: u16 = 0x20;

/// Miscellaneous output bits.
pub mod misc {
    /// The CRTC is at the colour addresses.
    pub const COLOUR: u8 = 0x01;
    /// 28.322 MHz instead of 25.175 MHz (the lower of two clock select bits).
    pub const CLOCK_28: u8 = 0x04;
    /// Bits that hold what is written.
    pub const WRITABLE: u8 = 0xef;
}

/// Input status 1 bits.
pub mod status1 {
    /// Horizontal or vertical blanking.
    pub const BLANK: u8 = 0x01;
    /// Vertical retrace.
    pub const RETRACE: u8 = 0x08;
}

/// Sequencer registers.
pub mod seq {
    /// Clocking mode.
    pub const CLOCK: usize = 1;
    /// Map mask: planes written.
    pub const MAP_MASK: usize = 2;
    /// Character map select.
    pub const FONT: usize = 3;
    /// Memory mode.
    pub const MEMORY: usize = 4;
    /// Clocking mode: characters are 8 dots wide.
    pub const DOTS_8: u8 = 0x01;
    /// Clocking mode: half the dot clock.
    pub const HALF_CLOCK: u8 = 0x08;
    /// Clocking mode: screen off.
    pub const OFF: u8 = 0x20;
    /// Memory mode: chain 4.
    pub const CHAIN4: u8 = 0x08;
    /// Bits that hold what is written.
    pub const WRITABLE: [u8; 8] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0xff];
}

/// Graphics controller registers.
pub mod gfx {
    /// Set/reset value.
    pub const SET_RESET: usize = 0;
    /// Planes that take the set/reset value.
    pub const SET_RESET_ENABLE: usize = 1;
    /// Colour of read mode 1.
    pub const COMPARE: usize = 2;
    /// Rotate count and logical operation.
    pub const ROTATE: usize = 3;
    /// Plane of read mode 0.
    pub const READ_MAP: usize = 4;
    /// Mode.
    pub const MODE: usize = 5;
    /// Miscellaneous.
    pub const MISC: usize = 6;
    /// Planes that read mode 1 looks at.
    pub const DONT_CARE: usize = 7;
    /// Bits written.
    pub const BIT_MASK: usize = 8;
    /// Mode: read mode 1.
    pub const READ_MODE_1: u8 = 0x08;
    /// Mode: odd/even addressing.
    pub const ODD_EVEN: u8 = 0x10;
    /// Mode: 256 colours.
    pub const SHIFT_256: u8 = 0x40;
    /// Mode: shift registers interleaved, as CGA's 4 colours need.
    pub const SHIFT_CGA: u8 = 0x20;
    /// Miscellaneous: graphics instead of text.
    pub const GRAPHICS: u8 = 0x01;
    /// Bits that hold what is written.
    pub const WRITABLE: [u8; 9] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
}

/// CRT controller registers.
pub mod crtc {
    /// Horizontal total, less 5 characters.
    pub const H_TOTAL: usize = 0x00;
    /// Last character displayed.
    pub const H_DISPLAY: usize = 0x01;
    /// Vertical total, less 2 lines, low 8 bits.
    pub const V_TOTAL: usize = 0x06;
    /// Ninth and tenth bits of vertical registers.
    pub const OVERFLOW: usize = 0x07;
    /// Preset row scan and byte panning.
    pub const PRESET: usize = 0x08;
    /// Scan lines of a row less 1, double scan, line compare bit 9.
    pub const MAX_SCAN: usize = 0x09;
    /// First scan line of the cursor; bit 5: off.
    pub const CURSOR_START: usize = 0x0a;
    /// Last scan line of the cursor.
    pub const CURSOR_END: usize = 0x0b;
    /// Start address, high and low byte.
    pub const START: usize = 0x0c;
    /// Cursor address, high and low byte.
    pub const CURSOR: usize = 0x0e;
    /// First line of vertical retrace.
    pub const V_RETRACE: usize = 0x10;
    /// Last line of vertical retrace (4 bits); bit 7: registers 0 to 7 are protected.
    pub const V_RETRACE_END: usize = 0x11;
    /// Last line displayed.
    pub const V_DISPLAY: usize = 0x12;
    /// From a row to the next, in two characters.
    pub const OFFSET: usize = 0x13;
    /// Line of the underline; doubleword mode.
    pub const UNDERLINE: usize = 0x14;
    /// Mode control.
    pub const MODE: usize = 0x17;
    /// Line where the lower part of a split screen begins.
    pub const LINE_COMPARE: usize = 0x18;
    /// Number of registers.
    pub const COUNT: usize = 0x19;
    /// Vertical retrace end: registers 0 to 7 are protected.
    pub const PROTECT: u8 = 0x80;
    /// Maximum scan line: every line twice.
    pub const DOUBLE_SCAN: u8 = 0x80;
    /// Cursor start: no cursor.
    pub const CURSOR_OFF: u8 = 0x20;
    /// Underline location: doubleword mode.
    pub const DWORD: u8 = 0x40;
    /// Mode control: byte mode.
    pub const BYTE: u8 = 0x40;
}

/// Attribute controller registers.
pub mod attr {
    /// Mode control.
    pub const MODE: usize = 0x10;
    /// Planes shown.
    pub const PLANES: usize = 0x12;
    /// Pixel panning.
    pub const PANNING: usize = 0x13;
    /// Colour select.
    pub const SELECT: usize = 0x14;
    /// Number of registers.
    pub const COUNT: usize = 0x15;
    /// Address register: the palette belongs to the display, which is on.
    pub const DISPLAY: u8 = 0x20;
    /// Mode control: monochrome attributes.
    pub const MONO: u8 = 0x02;
    /// Mode control: line graphics characters fill the ninth column.
    pub const LINE_GRAPHICS: u8 = 0x04;
    /// Mode control: attribute bit 7 blinks.
    pub const BLINK: u8 = 0x08;
    /// Mode control: panning stops at the split.
    pub const PANNING_SPLIT: u8 = 0x20;
    /// Mode control: palette bits 5 and 4 come from the colour select register.
    pub const SELECT_54: u8 = 0x80;
}

/// Bochs' DISPI registers, 16 bits each.
pub mod dispi {
    /// I/O port of the index; data is at the two ports after it.
    pub const PORT: u16 = 0x1ce;
    /// Interface version.
    pub const ID: usize = 0;
    /// Width in pixels.
    pub const XRES: usize = 1;
    /// Height in pixels.
    pub const YRES: usize = 2;
    /// Bits a pixel.
    pub const BPP: usize = 3;
    /// Enable bits.
    pub const ENABLE: usize = 4;
    /// 64 KiB bank of the legacy window.
    pub const BANK: usize = 5;
    /// Pixels from a line to the next.
    pub const VIRT_WIDTH: usize = 6;
    /// Lines that fit the memory.
    pub const VIRT_HEIGHT: usize = 7;
    /// First pixel shown.
    pub const X_OFFSET: usize = 8;
    /// First line shown.
    pub const Y_OFFSET: usize = 9;
    /// Number of registers that are stored.
    pub const COUNT: usize = 10;
    /// Video memory in 64 KiB, read only.
    pub const VIDEO_MEMORY: usize = 10;
    /// The versions known, first and last.
    pub const VERSIONS: std::ops::RangeInclusive<u16> = 0xb0c0..=0xb0c5;
    /// Widest mode.
    pub const MAX_XRES: u16 = 16000;
    /// Highest mode.
    pub const MAX_YRES: u16 = 12000;
    /// Deepest mode.
    pub const MAX_BPP: u16 = 32;
    /// Enable: on.
    pub const ENABLED: u16 = 0x01;
    /// Enable: resolution registers read as their limits.
    pub const GETCAPS: u16 = 0x02;
    /// Enable: DAC with 8 bits a colour.
    pub const DAC_8BIT: u16 = 0x20;
    /// Enable: keep the memory's contents.
    pub const NO_CLEAR: u16 = 0x80;
}

/// BAR 2.
pub mod mmio {
    /// Length in bytes.
    pub const LEN: u64 = 0x1000;
    /// EDID blob.
    pub const EDID: std::ops::Range<u64> = 0x000..0x100;
    /// Ports 0x3c0 to 0x3df.
    pub const PORTS: std::ops::Range<u64> = 0x400..0x420;
    /// DISPI registers.
    pub const DISPI: std::ops::Range<u64> = 0x500..0x516;
    /// Extension registers: their length, and the byte order.
    pub const EXTENSION: std::ops::Range<u64> = 0x600..0x608;
    /// Byte order: little endian.
    pub const LITTLE: u32 = 0x1e1e_1e1e;
    /// Byte order: big endian.
    pub const BIG: u32 = 0xbebe_bebe;
}

/// The legacy window.
pub const WINDOW: u64 = 0xa_0000;
/// Its length.
pub const WINDOW_LEN: u64 = 0x2_0000;
