//! The window at 0xa0000: planes, latches, write modes.

use super::registers::Registers;
use super::spec::{gfx, seq};
use super::vram::Vram;

/// What the registers make of the window, for one access.
pub struct Window<'a> {
    pub vga: &'a mut Registers,
    /// The whole window is the memory as it lies there.
    pub packed: bool,
    /// What the bank adds to offsets in the 64 KiB window.
    pub bank: usize,
    pub vram: &'a Vram,
}

/// Where a byte of the window is.
enum Place {
    /// Byte of the memory as it lies there.
    Linear(usize),
    /// Byte of the planes, and which of them answer.
    Planes { index: usize, planes: u8 },
}

/// Repeats a byte in all four planes.
fn all(value: u8) -> u32 {
    u32::from_le_bytes([value; 4])
}

/// All ones in each plane whose bit is set.
fn spread(planes: u8) -> u32 {
    let plane = |bit: u8| if planes >> bit & 1 != 0 { 0xff } else { 0 };
    u32::from_le_bytes([plane(0), plane(1), plane(2), plane(3)])
}

impl Window<'_> {
    /// Finds the byte at `offset` in the window; none where the memory map leaves a hole.
    fn place(&self, offset: u64) -> Option<Place> {
        let offset = offset as usize & 0x1_ffff;
        let mode = self.vga.graphics[gfx::MODE];
        let at = match self.vga.graphics[gfx::MISC] >> 2 & 3 {
            0 => offset,
            1 => (offset < 0x1_0000).then_some(offset + self.bank)?,
            2 => offset.checked_sub(0x1_0000).filter(|&at| at < 0x8000)?,
            _ => offset.checked_sub(0x1_8000)?,
        };
        Some(if self.packed {
            Place::Linear(at)
        } else if self.vga.sequencer[seq::MEMORY] & seq::CHAIN4 != 0 {
            Place::Planes { index: at >> 2, planes: 1 << (at & 3) }
        } else if mode & gfx::ODD_EVEN != 0 {
            Place::Planes { index: at >> 1, planes: 0b0101 << (at & 1) }
        } else {
            Place::Planes { index: at, planes: 0x0f }
        })
    }

    /// A byte read; all ones where nothing answers.
    pub fn read(&mut self, offset: u64) -> u8 {
        let (index, planes) = match self.place(offset) {
            None => return 0xff,
            Some(Place::Linear(at)) => return self.vram.byte(at).unwrap_or(0xff),
            Some(Place::Planes { index, planes }) => (index, planes),
        };
        let Some(latch) = self.vram.planes(index) else { return 0xff };
        let vga = &mut *self.vga;
        vga.latch = latch;
        let chosen = vga.graphics[gfx::READ_MAP];
        let bytes = latch.to_le_bytes();
        match planes {
            0x0f if vga.graphics[gfx::MODE] & gfx::READ_MODE_1 != 0 => {
                let differ = latch ^ spread(vga.graphics[gfx::COMPARE]);
                let [a, b, c, d] = (differ & spread(vga.graphics[gfx::DONT_CARE])).to_le_bytes();
                !(a | b | c | d)
            }
            0x0f => bytes[usize::from(chosen & 3)],
            // Odd/even: the address takes the place of the lower plane select bit.
            0b0101 => bytes[usize::from(chosen & 2)],
            0b1010 => bytes[usize::from(chosen & 2 | 1)],
            _ => bytes[planes.trailing_zeros() as usize & 3],
        }
    }

    /// A byte write.
    pub fn write(&mut self, offset: u64, value: u8) {
        let (index, planes) = match self.place(offset) {
            None => return,
            Some(Place::Linear(at)) => return self.vram.set_byte(at, value),
            Some(Place::Planes { index, planes }) => (index, planes),
        };
        let mask = spread(planes & self.vga.sequencer[seq::MAP_MASK]);
        let new = self.combine(value);
        if mask == u32::MAX {
            self.vram.set_planes(index, new);
        } else if mask != 0
            && let Some(old) = self.vram.planes(index)
        {
            self.vram.set_planes(index, (old & !mask) | (new & mask));
        }
    }

    /// What the graphics controller makes of a byte that the CPU writes.
    fn combine(&self, value: u8) -> u32 {
        let graphics = &self.vga.graphics;
        let rotated = value.rotate_right(u32::from(graphics[gfx::ROTATE] & 7));
        let bit_mask = graphics[gfx::BIT_MASK];
        let (data, bits) = match graphics[gfx::MODE] & 3 {
            0 => {
                let set = spread(graphics[gfx::SET_RESET_ENABLE]);
                ((all(rotated) & !set) | (spread(graphics[gfx::SET_RESET]) & set), bit_mask)
            }
            1 => return self.vga.latch,
            2 => (spread(value & 0x0f), bit_mask),
            _ => (spread(graphics[gfx::SET_RESET]), bit_mask & rotated),
        };
        let latch = self.vga.latch;
        let data = match graphics[gfx::ROTATE] >> 3 & 3 {
            0 => data,
            1 => data & latch,
            2 => data | latch,
            _ => data ^ latch,
        };
        (data & all(bits)) | (latch & !all(bits))
    }
}
