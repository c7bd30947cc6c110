//! The register file beyond the VGA's own.

use devices_core::StateError;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

use super::spec::{blt, crtc, gfx, seq};
use crate::display::vga::dac::six_bits;
use crate::display::vga::registers::Registers;
use crate::display::vga::spec::crtc as vga_crtc;

/// Colours of the pointer, with those that nobody sees between.
const POINTER_COLOURS: usize = 16;

/// The chip's own registers. A new one is as after a reset.
#[derive(Clone, Serialize, Deserialize)]
pub struct Extended {
    #[serde(with = "serde_bytes")]
    sequencer: Vec<u8>,
    #[serde(with = "serde_bytes")]
    graphics: Vec<u8>,
    /// Registers 0x19 to 0x1d.
    crtc: [u8; 5],
    pub hidden_dac: u8,
    /// Reads of the pixel mask since another port of the DAC was used.
    hidden_reads: u8,
    /// Red, green and blue of the pointer's colours.
    #[serde(with = "serde_bytes")]
    colours: Vec<u8>,
    /// The pointer's place.
    pub cursor: (u16, u16),
}

impl Default for Extended {
    /// Four chips of 64 bits in all make the 4 MiB, on a PCI bus.
    fn default() -> Extended {
        let mut sequencer = vec![0; seq::COUNT];
        for (index, value) in [
            (seq::KEY, seq::LOCKED),
            (seq::DRAM, 0x98),
            (seq::SCRATCH, 0x04),
            (seq::CONFIG, 0x20),
            (seq::MCLK, 0x2d),
        ] {
            sequencer[usize::from(index)] = value;
        }
        let mut graphics = vec![0; gfx::COUNT];
        // Memory timing: the fastest.
        graphics[0x18] = 0x0f;
        Extended {
            sequencer,
            graphics,
            crtc: [0; 5],
            hidden_dac: 0,
            hidden_reads: 0,
            colours: vec![0; POINTER_COLOURS * 3],
            cursor: (0, 0),
        }
    }
}

fn at(file: &[u8], index: u8) -> u8 {
    file.get(usize::from(index)).copied().unwrap_or_default()
}

fn put(file: &mut [u8], index: u8, value: u8) {
    if let Some(register) = file.get_mut(usize::from(index)) {
        *register = value;
    }
}

impl Extended {
    /// Whether a loaded one is one.
    pub fn check(&self) -> Result<(), StateError> {
        let lengths = (self.sequencer.len(), self.graphics.len(), self.colours.len());
        valid(lengths == (seq::COUNT, gfx::COUNT, POINTER_COLOURS * 3), "a register file has another size")?;
        valid(self.hidden_reads <= 4, "the hidden DAC register is read four times")?;
        valid(self.cursor.0 < 0x800 && self.cursor.1 < 0x800, "the pointer is beyond its registers")
    }

    /// A sequencer register as it stands.
    pub fn sequencer(&self, index: u8) -> u8 {
        at(&self.sequencer, index)
    }
    /// A graphics register as it stands.
    pub fn graphics(&self, index: u8) -> u8 {
        at(&self.graphics, index)
    }
    /// A CRTC register from 0x19 to 0x1d as it stands.
    pub fn crtc(&self, index: u8) -> u8 {
        at(&self.crtc, index.wrapping_sub(crtc::FIRST))
    }
    /// A graphics register of 16 bits, low byte first.
    pub fn graphics_word(&self, index: u8) -> u16 {
        u16::from_le_bytes([self.graphics(index), self.graphics(index + 1)])
    }

    /// Reads a sequencer register from 5 on.
    pub fn read_sequencer(&self, index: u8) -> u8 {
        match index & 0x1f {
            low @ (seq::CURSOR_X | seq::CURSOR_Y) => self.sequencer(low),
            _ if usize::from(index) < seq::COUNT => self.sequencer(index),
            _ => 0xff,
        }
    }

    /// Writes a sequencer register from 5 on.
    pub fn write_sequencer(&mut self, index: u8, value: u8) {
        let place = u16::from(value) << 3 | u16::from(index >> 5);
        match index & 0x1f {
            low @ seq::CURSOR_X => {
                self.cursor.0 = place;
                return put(&mut self.sequencer, low, value);
            }
            low @ seq::CURSOR_Y => {
                self.cursor.1 = place;
                return put(&mut self.sequencer, low, value);
            }
            _ => {}
        }
        let value = match index {
            // A strap, not a register.
            0x05 => return,
            seq::KEY if value & 0x17 == seq::UNLOCKED => seq::UNLOCKED,
            seq::KEY => seq::LOCKED,
            seq::CONFIG => (self.sequencer(index) & seq::CONFIG_WIRED) | (value & !seq::CONFIG_WIRED),
            _ => value,
        };
        put(&mut self.sequencer, index, value);
    }

    /// Reads a graphics register of its own, or one that is wider than the VGA's.
    pub fn read_graphics(&self, index: u8) -> u8 {
        self.graphics.get(usize::from(index)).copied().unwrap_or(0xff)
    }

    /// Writes a graphics register; the VGA's own part of it is not here.
    pub fn write_graphics(&mut self, index: u8, value: u8) {
        let value = match index {
            0x05 => value & 0x7f,
            // High bytes of 13 bits, and of the addresses' 22 bits.
            0x21 | 0x23 | 0x25 | 0x27 => value & 0x1f,
            0x2a | 0x2e => value & 0x3f,
            0x00 | 0x01 | 0x09..=0x0b | 0x10..=0x15 | 0x20..=0x35 | 0x38 | 0x39 => value,
            _ => return,
        };
        put(&mut self.graphics, index, value);
    }

    /// Sets or clears bits of the blitter's status.
    pub fn set_status(&mut self, clear: u8, set: u8) {
        let status = (self.graphics(gfx::START) & !clear) | set;
        put(&mut self.graphics, gfx::START, status);
    }

    /// Reads a CRTC register beyond the VGA's own.
    pub fn read_crtc(&self, index: u8, vga: &Registers) -> u8 {
        match index {
            crtc::FIRST..=crtc::LAST => self.crtc(index),
            crtc::LATCH => vga.latch.to_le_bytes()[usize::from(vga.graphics[4] & 3)],
            crtc::TOGGLE => u8::from(vga.attribute_port().1) << 7,
            crtc::PART_STATUS => 0,
            crtc::ATTRIBUTE => vga.attribute_port().0,
            crtc::ID => crtc::GD5446,
            _ => 0xff,
        }
    }

    /// Writes a CRTC register beyond the VGA's own.
    pub fn write_crtc(&mut self, index: u8, value: u8) {
        if (crtc::FIRST..=crtc::LAST).contains(&index) {
            put(&mut self.crtc, index - crtc::FIRST, value);
        }
    }

    /// A read of the pixel mask's port; the hidden register, if it is its turn.
    pub fn hidden_read(&mut self) -> Option<u8> {
        if self.hidden_reads >= 4 {
            self.hidden_reads = 0;
            return Some(self.hidden_dac);
        }
        self.hidden_reads += 1;
        None
    }

    /// A write of the pixel mask's port; whether it was the hidden register's turn.
    pub fn hidden_write(&mut self, value: u8) -> bool {
        let hidden = self.hidden_reads == 4;
        if hidden {
            self.hidden_dac = value;
        }
        self.hidden_reads = 0;
        hidden
    }

    /// Another port of the DAC was used.
    pub fn hidden_forget(&mut self) {
        self.hidden_reads = 0;
    }

    /// Whether the DAC's ports reach the pointer's colours.
    pub fn colours_shown(&self) -> bool {
        self.sequencer(seq::CURSOR) & seq::COLOURS != 0
    }
    /// A byte of a pointer's colour.
    pub fn colour_byte(&self, index: u8, step: u8) -> u8 {
        at(&self.colours, (index & 15) * 3 + step % 3)
    }
    /// Sets a pointer's colour.
    pub fn set_colour(&mut self, index: u8, colour: [u8; 3]) {
        let first = usize::from(index & 15) * 3;
        if let Some(bytes) = self.colours.get_mut(first..first + 3) {
            bytes.copy_from_slice(&colour);
        }
    }
    /// A pointer's colour as it is seen.
    pub fn colour(&self, index: u8) -> [u8; 3] {
        [0, 1, 2].map(|step| six_bits(self.colour_byte(index, step)))
    }

    /// Whether packed pixels are on the screen and in the window.
    pub fn is_packed(&self) -> bool {
        self.sequencer(seq::MODE) & seq::PACKED != 0
    }

    /// Bits a pixel of packed modes.
    pub fn depth(&self) -> u16 {
        match self.sequencer(seq::MODE) & seq::DEPTH {
            0x02 | 0x06 if self.hidden_dac & 0x0f == 1 => 16,
            0x02 | 0x06 => 15,
            0x04 => 24,
            0x08 => 32,
            _ => 8,
        }
    }

    /// Where the picture begins in the memory, in bytes.
    pub fn start(&self, vga: &Registers) -> usize {
        let (display, overlay) = (self.crtc(crtc::DISPLAY), self.crtc(crtc::OVERLAY));
        let high = usize::from(display & 0x01) << 16
            | usize::from(display & 0x0c) << 15
            | usize::from(overlay & 0x80) << 12;
        (usize::from(vga.address(vga_crtc::START)) | high) * 4
    }

    /// Bytes from a line of the picture to the next.
    pub fn line_bytes(&self, vga: &Registers) -> usize {
        let high = usize::from(self.crtc(crtc::DISPLAY) & 0x10) << 4;
        (usize::from(vga.crtc[vga_crtc::OFFSET]) | high) << 3
    }

    /// Whether the blitter's registers are in the window at 0xb8000.
    pub fn registers_in_window(&self) -> bool {
        self.sequencer(seq::CONFIG) & (seq::MMIO | seq::MMIO_LINEAR) == seq::MMIO
    }
    /// Whether they are at the end of the linear memory.
    pub fn registers_in_linear(&self) -> bool {
        let both = seq::MMIO | seq::MMIO_LINEAR;
        self.sequencer(seq::CONFIG) & both == both
    }

    /// What addresses count: by 1, 8 or 16 bytes, as a shift.
    pub fn address_shift(&self) -> u32 {
        let extensions = self.graphics(gfx::EXTENSIONS);
        let by_16 = gfx::BY_16 | gfx::WRITE_MODES;
        match () {
            () if extensions & by_16 == by_16 => 4,
            () if extensions & gfx::BY_8 != 0 => 3,
            () => 0,
        }
    }

    /// Bytes of the pixels that write modes 4 and 5 draw, and whether the background is drawn; none in other modes.
    pub fn expansion(&self) -> Option<(usize, bool)> {
        let extensions = self.graphics(gfx::EXTENSIONS);
        let mode = self.graphics(0x05) & 7;
        let on = extensions & gfx::WRITE_MODES != 0 && matches!(mode, 4 | 5);
        on.then_some((if extensions & gfx::BY_16 != 0 { 2 } else { 1 }, mode == 5))
    }

    /// Foreground (`which` 1) or background (0) colour, low byte first.
    pub fn fill_colour(&self, which: u8) -> [u8; 4] {
        [0x00, 0x10, 0x12, 0x14].map(|index| self.graphics(index + which))
    }

    /// Where in the memory a bank of the window begins.
    pub fn bank(&self, upper: bool) -> usize {
        let extensions = self.graphics(gfx::EXTENSIONS);
        let two = extensions & gfx::TWO_BANKS != 0;
        let shift = if extensions & gfx::BANKS_16K != 0 { 14 } else { 12 };
        let bank = |index: u8| usize::from(self.graphics(index)) << shift;
        match (upper, two) {
            (false, _) => bank(gfx::BANK),
            (true, true) => bank(gfx::BANK + 1),
            (true, false) => bank(gfx::BANK) + super::spec::BANK_LEN as usize,
        }
    }

    /// Whether the linear memory is nothing but memory.
    pub fn is_plain(&self) -> bool {
        !self.registers_in_linear() && self.address_shift() == 0 && self.expansion().is_none()
    }

    /// For people: the blitter's mode and its like.
    pub fn describe_blit(&self) -> String {
        let (mode, rop) = (self.graphics(gfx::MODE), self.graphics(gfx::ROP));
        let busy = if self.graphics(gfx::START) & blt::BUSY != 0 { "busy" } else { "idle" };
        format!("{busy}, mode {mode:02x}, rop {rop:02x}")
    }

    /// For people: the registers of a file in hex.
    pub fn dump(&self) -> [(&'static str, String); 3] {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        [("sequencer", hex(&self.sequencer)), ("graphics", hex(&self.graphics)), ("crtc", hex(&self.crtc))]
    }
}
