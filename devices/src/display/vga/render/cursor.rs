//! A pointer that the hardware lays over the picture.

use std::ops::Range;

use crate::display::vga::vram::PAGE_BYTES;

/// A pointer of two planes: what each pair of bits does to a pixel is Windows's AND and XOR masks.
pub struct Cursor {
    /// Its first column.
    pub x: u32,
    /// Its first line.
    pub y: u32,
    /// Width and height in pixels, a multiple of 8.
    pub size: u32,
    /// The planes, `size / 8` bytes a line, the leftmost pixel in the highest bit.
    pub planes: [Vec<u8>; 2],
    /// Colours of the pairs whose second bit is set: first bit clear, and set.
    pub colours: [[u8; 3]; 2],
    /// Where in the memory its planes are.
    pub bytes: Range<usize>,
}

impl Cursor {
    /// Whether some of its planes are on those pages.
    pub fn is_on(&self, pages: &[usize]) -> bool {
        let pattern = self.bytes.start / PAGE_BYTES..self.bytes.end.div_ceil(PAGE_BYTES);
        pages.iter().any(|page| pattern.contains(page))
    }

    /// Lays it over a part of line `y` that begins at column `x`.
    pub fn draw(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        let Some(row) = y.checked_sub(self.y).filter(|&row| row < self.size) else { return };
        for column in 0..self.size {
            let Some(at) = (self.x + column).checked_sub(x) else { continue };
            let Some(pixel) = out.get_mut(at as usize) else { return };
            let byte = (row * (self.size / 8) + column / 8) as usize;
            let bit = |plane: &[u8]| plane.get(byte).is_some_and(|bits| bits >> (7 - column % 8) & 1 != 0);
            match (bit(&self.planes[0]), bit(&self.planes[1])) {
                (false, false) => {}
                (true, false) => *pixel = pixel.map(|shade| !shade),
                (second, true) => *pixel = self.colours[usize::from(second)],
            }
        }
    }
}
