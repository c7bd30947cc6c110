//! Bochs' DISPI interface: linear modes that the VGA's own registers know nothing of.

use serde::{Deserialize, Serialize};

use super::registers::Registers;
use super::render::Packed;
use super::spec::{crtc, dispi, gfx};
use super::vram::Vram;

/// The DISPI registers. A new one is as after a reset.
#[derive(Clone, Serialize, Deserialize)]
pub struct Dispi {
    index: u16,
    registers: [u16; dispi::COUNT],
}

impl Default for Dispi {
    fn default() -> Dispi {
        let mut registers = [0; dispi::COUNT];
        registers[dispi::ID] = *dispi::VERSIONS.end();
        Dispi { index: 0, registers }
    }
}

impl Dispi {
    pub fn index(&self) -> u16 {
        self.index
    }
    pub fn set_index(&mut self, index: u16) {
        self.index = index;
    }

    fn flag(&self, flag: u16) -> bool {
        self.registers[dispi::ENABLE] & flag != 0
    }
    /// Whether a DISPI mode is on.
    pub fn enabled(&self) -> bool {
        self.flag(dispi::ENABLED)
    }
    /// Whether the DAC has 8 bits a colour.
    pub fn dac_8bit(&self) -> bool {
        self.flag(dispi::DAC_8BIT)
    }
    /// Bits a pixel: 4, 8, 15, 16, 24 or 32 while a mode is on.
    pub fn bpp(&self) -> u16 {
        self.registers[dispi::BPP]
    }
    /// Whether a mode is on whose pixels are not planar.
    pub fn packed(&self) -> bool {
        self.enabled() && self.bpp() != 4
    }
    pub fn width(&self) -> u32 {
        self.registers[dispi::XRES].into()
    }
    pub fn height(&self) -> u32 {
        self.registers[dispi::YRES].into()
    }
    /// Bits that a pixel takes in memory.
    fn pixel_bits(&self) -> usize {
        match self.bpp() {
            15 => 16,
            bits => bits.into(),
        }
    }
    /// Bytes from a line to the next.
    pub fn line_bytes(&self) -> usize {
        usize::from(self.registers[dispi::VIRT_WIDTH]) * self.pixel_bits() / 8
    }
    /// Where the first pixel shown is in memory.
    pub fn start(&self) -> usize {
        let x = usize::from(self.registers[dispi::X_OFFSET]) * self.pixel_bits() / 8;
        let y = usize::from(self.registers[dispi::Y_OFFSET]) * self.line_bytes();
        // Planar modes show whole bytes of the planes.
        if self.bpp() == 4 { (x + y) & !3 } else { x + y }
    }
    /// The picture of the mode that is on.
    pub fn picture(&self, big_endian: bool) -> Option<Packed> {
        self.enabled().then(|| Packed {
            family: "DISPI",
            width: self.width(),
            height: self.height(),
            bpp: self.bpp(),
            start: self.start(),
            line_bytes: self.line_bytes(),
            repeat: 1,
            split: None,
            big_endian,
        })
    }
    /// What the bank adds to offsets in the legacy window.
    pub fn bank_offset(&self) -> usize {
        usize::from(self.registers[dispi::BANK]) << 16
    }

    /// Reads register `index`.
    pub fn read(&self, index: u16, vram: &Vram) -> u16 {
        match usize::from(index) {
            dispi::XRES if self.flag(dispi::GETCAPS) => dispi::MAX_XRES,
            dispi::YRES if self.flag(dispi::GETCAPS) => dispi::MAX_YRES,
            dispi::BPP if self.flag(dispi::GETCAPS) => dispi::MAX_BPP,
            dispi::VIDEO_MEMORY => u16::try_from(vram.len() >> 16).unwrap_or(u16::MAX),
            index => self.registers.get(index).copied().unwrap_or_default(),
        }
    }

    /// Writes register `index`.
    pub fn write(&mut self, index: u16, value: u16, vram: &Vram) {
        let index = usize::from(index);
        match index {
            dispi::ID if dispi::VERSIONS.contains(&value) => self.registers[dispi::ID] = value,
            dispi::ENABLE => self.write_enable(value, vram),
            dispi::BANK => {
                let banks = (vram.len() >> 16).next_power_of_two().max(1);
                self.registers[dispi::BANK] = value & (banks - 1) as u16;
            }
            dispi::XRES
            | dispi::YRES
            | dispi::BPP
            | dispi::VIRT_WIDTH
            | dispi::X_OFFSET
            | dispi::Y_OFFSET => {
                self.registers[index] = value;
                self.settle(vram);
            }
            _ => {}
        }
    }

    fn write_enable(&mut self, value: u16, vram: &Vram) {
        let turned_on = value & dispi::ENABLED != 0 && !self.enabled();
        self.registers[dispi::ENABLE] = value;
        if !turned_on {
            self.registers[dispi::BANK] = 0;
            return;
        }
        for register in [dispi::VIRT_WIDTH, dispi::X_OFFSET, dispi::Y_OFFSET] {
            self.registers[register] = 0;
        }
        self.settle(vram);
        if value & dispi::NO_CLEAR == 0 {
            vram.clear(0, self.height() as usize * self.line_bytes());
        }
    }

    /// Brings the registers of a mode that is on to what the memory holds. While it is off they are
    /// storage.
    pub fn settle(&mut self, vram: &Vram) {
        if !self.enabled() {
            return;
        }
        let bpp = self.registers[dispi::BPP];
        self.registers[dispi::BPP] = if matches!(bpp, 4 | 8 | 15 | 16 | 24 | 32) { bpp } else { 8 };
        let xres = (self.registers[dispi::XRES] & !7).clamp(8, dispi::MAX_XRES);
        let virt = (self.registers[dispi::VIRT_WIDTH] & !7).min(dispi::MAX_XRES).max(xres);
        self.registers[dispi::XRES] = xres;
        self.registers[dispi::VIRT_WIDTH] = virt;
        let line = self.line_bytes().max(1);
        let fits = u16::try_from(vram.len() / line).unwrap_or(u16::MAX);
        self.registers[dispi::VIRT_HEIGHT] = fits;
        let most = fits.clamp(1, dispi::MAX_YRES);
        self.registers[dispi::YRES] = self.registers[dispi::YRES].clamp(1, most);
        let x = self.registers[dispi::X_OFFSET].min(dispi::MAX_XRES);
        self.registers[dispi::X_OFFSET] = x;
        self.registers[dispi::Y_OFFSET] = self.registers[dispi::Y_OFFSET].min(dispi::MAX_YRES);
        let shown = self.height() as usize * line;
        // Offsets that would show what is beyond the memory fall back to zero, the vertical one first.
        for register in [dispi::Y_OFFSET, dispi::X_OFFSET] {
            if self.start() + shown > vram.len() {
                self.registers[register] = 0;
            }
        }
    }

    /// Writes the mode that is on into the VGA's registers, where firmware and guests look for it.
    pub fn impose(&self, vga: &mut Registers) {
        if !self.enabled() {
            return;
        }
        let height = (self.height() as u16).wrapping_sub(1);
        // Graphics, the 64 KiB window at 0xa0000.
        vga.graphics[gfx::MISC] = (vga.graphics[gfx::MISC] & !0x0c) | 0x04 | gfx::GRAPHICS;
        vga.crtc[crtc::MODE] |= 3;
        vga.crtc[crtc::OFFSET] = (self.line_bytes() >> 3) as u8;
        vga.crtc[crtc::H_DISPLAY] = (self.width() >> 3).wrapping_sub(1) as u8;
        vga.crtc[crtc::V_DISPLAY] = height as u8;
        vga.crtc[crtc::LINE_COMPARE] = 0xff;
        let high = (height >> 7 & 0x02) as u8 | (height >> 3 & 0x40) as u8;
        vga.crtc[crtc::OVERFLOW] = (vga.crtc[crtc::OVERFLOW] & !0x42) | 0x10 | high;
        vga.crtc[crtc::MAX_SCAN] = (vga.crtc[crtc::MAX_SCAN] & !0x9f) | 0x40;
        let shift = if self.bpp() == 4 { 0 } else { gfx::SHIFT_256 };
        vga.graphics[gfx::MODE] = (vga.graphics[gfx::MODE] & !0x60) | shift;
    }

    /// For people, whether it is on or not.
    pub fn describe(&self) -> String {
        format!("{}x{}x{}", self.width(), self.height(), self.bpp())
    }
}
