//! The VGA's register file, as the ports show it.

use serde::{Deserialize, Serialize};

use super::dac::Dac;
use super::spec::{self, attr, crtc, gfx, misc, seq};

/// All registers of the VGA itself. A new one is as after a reset.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Registers {
    pub misc: u8,
    feature: u8,
    sequencer_index: u8,
    pub sequencer: [u8; 8],
    graphics_index: u8,
    pub graphics: [u8; 9],
    /// With the bit that turns the display on.
    attribute_index: u8,
    /// The next write to the attribute port is data.
    attribute_data: bool,
    pub attribute: [u8; attr::COUNT],
    crtc_index: u8,
    pub crtc: [u8; crtc::COUNT],
    /// Byte of each plane that the last read of the window fetched.
    pub latch: u32,
    pub dac: Dac,
}

/// A register of an indexed file; those that are not there read as zero.
fn indexed(file: &[u8], index: u8) -> u8 {
    file.get(usize::from(index)).copied().unwrap_or_default()
}

/// Writes the bits of a register that hold anything.
fn store(file: &mut [u8], writable: &[u8], index: u8, value: u8) {
    let at = usize::from(index);
    if let (Some(register), Some(mask)) = (file.get_mut(at), writable.get(at)) {
        *register = value & mask;
    }
}

impl Registers {
    /// A colour port's number for a port that belongs to either kind; none if it is switched off.
    pub fn normal(&self, port: u16) -> Option<u16> {
        let colour = self.misc & misc::COLOUR != 0;
        match port {
            0x3b0..=0x3bf => (!colour).then_some(port + spec::COLOUR_ABOVE_MONO),
            0x3d0..=0x3df => colour.then_some(port),
            _ => Some(port),
        }
    }

    /// The sequencer's index.
    pub fn sequencer_index(&self) -> u8 {
        self.sequencer_index
    }
    /// Sets it, for a chip with more sequencer registers than the VGA.
    pub fn set_sequencer_index(&mut self, index: u8) {
        self.sequencer_index = index;
    }
    /// The graphics controller's index.
    pub fn graphics_index(&self) -> u8 {
        self.graphics_index
    }
    /// Sets it, for a chip with more graphics registers than the VGA.
    pub fn set_graphics_index(&mut self, index: u8) {
        self.graphics_index = index;
    }
    /// The CRT controller's index.
    pub fn crtc_index(&self) -> u8 {
        self.crtc_index
    }
    /// The attribute controller's index, and whether the next write to its port is data.
    pub fn attribute_port(&self) -> (u8, bool) {
        (self.attribute_index, self.attribute_data)
    }

    /// A port read. `status1` is input status 1 at this instant.
    pub fn read(&mut self, port: u16, status1: u8) -> u8 {
        let Some(port) = self.normal(port) else { return 0xff };
        match port {
            spec::ATTRIBUTE if self.attribute_data => 0,
            spec::ATTRIBUTE => self.attribute_index,
            spec::ATTRIBUTE_READ => indexed(&self.attribute, self.attribute_index & 0x1f),
            // Input status 0: no switch is closed, no interrupt pends.
            spec::MISC_WRITE => 0,
            spec::SEQUENCER => self.sequencer_index,
            spec::SEQUENCER_DATA => indexed(&self.sequencer, self.sequencer_index),
            spec::DAC_MASK => self.dac.mask,
            spec::DAC_READ => self.dac.state(),
            spec::DAC_WRITE => self.dac.write_index(),
            spec::DAC_DATA => self.dac.read(),
            spec::FEATURE_READ => self.feature,
            spec::MISC_READ => self.misc,
            spec::GRAPHICS => self.graphics_index,
            spec::GRAPHICS_DATA => indexed(&self.graphics, self.graphics_index),
            spec::CRTC => self.crtc_index,
            spec::CRTC_DATA => indexed(&self.crtc, self.crtc_index),
            spec::STATUS1 => {
                self.attribute_data = false;
                status1
            }
            _ => 0xff,
        }
    }

    /// A port write.
    pub fn write(&mut self, port: u16, value: u8) {
        let Some(port) = self.normal(port) else { return };
        match port {
            spec::ATTRIBUTE | spec::ATTRIBUTE_READ => self.write_attribute(value),
            spec::MISC_WRITE => self.misc = value & misc::WRITABLE,
            spec::SEQUENCER => self.sequencer_index = value & 7,
            spec::SEQUENCER_DATA => {
                store(&mut self.sequencer, &seq::WRITABLE, self.sequencer_index, value);
            }
            spec::DAC_MASK => self.dac.mask = value,
            spec::DAC_READ => self.dac.set_read_index(value),
            spec::DAC_WRITE => self.dac.set_write_index(value),
            spec::DAC_DATA => self.dac.write(value),
            spec::GRAPHICS => self.graphics_index = value & 0x0f,
            spec::GRAPHICS_DATA => {
                store(&mut self.graphics, &gfx::WRITABLE, self.graphics_index, value);
            }
            spec::CRTC => self.crtc_index = value,
            spec::CRTC_DATA => self.write_crtc(value),
            spec::STATUS1 => self.feature = value & 0x10,
            _ => {}
        }
    }

    fn write_attribute(&mut self, value: u8) {
        if self.attribute_data {
            const WRITABLE: [u8; attr::COUNT] = {
                let mut masks = [0x3f; attr::COUNT];
                masks[attr::MODE] = 0xef;
                masks[0x11] = 0xff;
                masks[attr::PANNING] = 0x0f;
                masks[attr::SELECT] = 0x0f;
                masks
            };
            store(&mut self.attribute, &WRITABLE, self.attribute_index & 0x1f, value);
        } else {
            self.attribute_index = value & 0x3f;
        }
        self.attribute_data = !self.attribute_data;
    }

    fn write_crtc(&mut self, value: u8) {
        let index = usize::from(self.crtc_index);
        if self.crtc[crtc::V_RETRACE_END] & crtc::PROTECT != 0 && index <= crtc::OVERFLOW {
            // Only bit 8 of line compare is free.
            if index == crtc::OVERFLOW {
                let kept = self.crtc[crtc::OVERFLOW] & !0x10;
                self.crtc[crtc::OVERFLOW] = kept | (value & 0x10);
            }
            return;
        }
        if let Some(register) = self.crtc.get_mut(index) {
            *register = value;
        }
    }

    /// Whether the attribute controller lets the display have the palette; the screen is black else.
    pub fn display_on(&self) -> bool {
        self.attribute_index & attr::DISPLAY != 0
    }

    /// Whether the sequencer turns the screen off.
    pub fn screen_off(&self) -> bool {
        self.sequencer[seq::CLOCK] & seq::OFF != 0
    }

    /// A vertical CRTC register with the bits that [`crtc::OVERFLOW`] holds of it: bit 8 there at
    /// `eighth`, bit 9 at `ninth`.
    fn vertical(&self, register: usize, eighth: u8, ninth: u8) -> u32 {
        let overflow = u32::from(self.crtc[crtc::OVERFLOW]);
        u32::from(self.crtc[register]) | (overflow >> eighth & 1) << 8 | (overflow >> ninth & 1) << 9
    }

    /// Characters displayed in a line, 1 to 256.
    pub fn columns(&self) -> u32 {
        u32::from(self.crtc[crtc::H_DISPLAY]) + 1
    }
    /// Lines displayed, 1 to 1024.
    pub fn lines(&self) -> u32 {
        self.vertical(crtc::V_DISPLAY, 1, 6) + 1
    }
    /// The last line of the upper part of a split screen.
    pub fn line_compare(&self) -> u32 {
        let eighth = u32::from(self.crtc[crtc::OVERFLOW]) << 4 & 0x100;
        let ninth = u32::from(self.crtc[crtc::MAX_SCAN]) << 3 & 0x200;
        u32::from(self.crtc[crtc::LINE_COMPARE]) | eighth | ninth
    }
    /// A 16-bit CRTC value, high byte first.
    pub fn address(&self, register: usize) -> u16 {
        u16::from_be_bytes([indexed(&self.crtc, register as u8), indexed(&self.crtc, register as u8 + 1)])
    }
    /// Dots of a character in text modes.
    pub fn dots(&self) -> u32 {
        if self.sequencer[seq::CLOCK] & seq::DOTS_8 != 0 { 8 } else { 9 }
    }

    /// Input status 1 at guest time `now` in nanoseconds, from the CRTC's timing.
    pub fn status1(&self, now: u64) -> u8 {
        let khz = if self.misc & misc::CLOCK_28 != 0 { 28_322 } else { 25_175 };
        let half = u64::from(self.sequencer[seq::CLOCK] & seq::HALF_CLOCK != 0);
        let character = u64::from(self.dots()) << half;
        let chars = u64::from(self.crtc[crtc::H_TOTAL]) + 5;
        // At least 2 microseconds: 7 characters of 8 dots.
        let line = chars * character * 1_000_000 / khz;
        // A guest that waits for retrace, or for its end, must not wait for ever: a frame has room for both,
        // and its first line is displayed.
        let total = (u64::from(self.vertical(crtc::V_TOTAL, 0, 5)) + 2).max(32);
        let (y, x) = (now / line % total, now % line * chars / line);
        let first = u64::from(self.vertical(crtc::V_RETRACE, 2, 7)).clamp(1, total - 2);
        // The end register has the low 4 bits of the line after retrace.
        let height = (u64::from(self.crtc[crtc::V_RETRACE_END]).wrapping_sub(first) & 0x0f).max(1);
        let retrace = y >= first && y - first < height;
        let blank = y >= u64::from(self.lines()) || x >= u64::from(self.columns());
        match (retrace, blank) {
            (true, _) => spec::status1::RETRACE | spec::status1::BLANK,
            (false, true) => spec::status1::BLANK,
            (false, false) => 0,
        }
    }
}
