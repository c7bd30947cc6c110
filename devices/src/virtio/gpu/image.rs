//! A resource's pixels, which the device writes and those read who look at the screen.
//!
//! Neither waits for more than a line of the other's. What is read while a transfer is going on may be half of it, as on
//! a real screen; the flush that follows has it read again.

use std::sync::{PoisonError, RwLock};

use super::spec::PIXEL;

/// Most pixels of a side: no screen has more.
pub const SIDE_MAX: u32 = 16384;

/// How colours lie in a pixel (Virtio 1.3, 5.7.6.8). The names have the order in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format(u32);

impl Format {
    /// By its number.
    pub fn new(number: u32) -> Option<Format> {
        matches!(number, 1..=4 | 67 | 68 | 121 | 134).then_some(Format(number))
    }
    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
    /// Where red, green and blue are.
    fn places(self) -> [usize; 3] {
        match self.0 {
            // B8G8R8A8, B8G8R8X8.
            1 | 2 => [2, 1, 0],
            // A8R8G8B8, X8R8G8B8.
            3 | 4 => [1, 2, 3],
            // R8G8B8A8, R8G8B8X8.
            67 | 134 => [0, 1, 2],
            // X8B8G8R8, A8B8G8R8.
            _ => [3, 2, 1],
        }
    }
    /// Where its opacity is; none: it is opaque.
    fn alpha(self) -> Option<usize> {
        match self.0 {
            1 | 67 => Some(3),
            3 | 121 => Some(0),
            _ => None,
        }
    }
    /// Red, green and blue of a pixel.
    pub fn colour(self, pixel: &[u8; PIXEL]) -> [u8; 3] {
        self.places().map(|at| pixel[at])
    }
    /// Its opacity.
    pub fn opacity(self, pixel: &[u8; PIXEL]) -> u8 {
        self.alpha().map_or(0xff, |at| pixel[at])
    }
}

/// The pixels of a resource.
pub struct Image {
    size: (u32, u32),
    format: Format,
    pixels: RwLock<Vec<u8>>,
}

impl Image {
    /// Bytes of one of that size.
    pub fn bytes((width, height): (u32, u32)) -> u64 {
        (u64::from(width) * u64::from(height)).saturating_mul(PIXEL as u64)
    }

    /// A black one; none: no resource has such a size.
    pub fn new(size: (u32, u32), format: Format) -> Option<Image> {
        let side = 1..=SIDE_MAX;
        if !side.contains(&size.0) || !side.contains(&size.1) {
            return None;
        }
        // The host gives memory when it is written.
        let pixels = RwLock::new(vec![0; usize::try_from(Image::bytes(size)).ok()?]);
        Some(Image { size, format, pixels })
    }

    /// Width and height.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }
    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Does something with `width` pixels of a line from `x` on, those that there are.
    pub fn line<T>(&self, (x, y): (u32, u32), width: u32, run: impl FnOnce(&[[u8; PIXEL]]) -> T) -> T {
        let pixels = self.pixels.read().unwrap_or_else(PoisonError::into_inner);
        run(self.part((x, y), width).and_then(|part| pixels.get(part)).unwrap_or_default().as_chunks().0)
    }

    /// The same with what changes it.
    pub fn line_mut(&self, (x, y): (u32, u32), width: u32, run: impl FnOnce(&mut [u8])) {
        let mut pixels = self.pixels.write().unwrap_or_else(PoisonError::into_inner);
        run(self.part((x, y), width).and_then(|part| pixels.get_mut(part)).unwrap_or_default());
    }

    fn part(&self, (x, y): (u32, u32), width: u32) -> Option<std::ops::Range<usize>> {
        let left = self.size.0.checked_sub(x)?;
        let start = (y as usize * self.size.0 as usize + x as usize) * PIXEL;
        (y < self.size.1).then(|| start..start + width.min(left) as usize * PIXEL)
    }

    /// All of them, for the saved state; empty where all are 0.
    pub fn save(&self) -> Vec<u8> {
        let pixels = self.pixels.read().unwrap_or_else(PoisonError::into_inner);
        let is_black = pixels.chunks(4096).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0);
        if is_black { Vec::new() } else { pixels.clone() }
    }

    /// Takes saved ones over. False: there is another number of them.
    pub fn load(&mut self, pixels: Vec<u8>) -> bool {
        let own = self.pixels.get_mut().unwrap_or_else(PoisonError::into_inner);
        let fits = pixels.is_empty() || pixels.len() == own.len();
        if fits && !pixels.is_empty() {
            *own = pixels;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_its_colours() {
        // Blue, green, red, alpha of the first one's bytes.
        let pixel = [1, 2, 3, 4];
        for (number, colour, opacity) in [
            (1, [3, 2, 1], 4),
            (2, [3, 2, 1], 0xff),
            (3, [2, 3, 4], 1),
            (4, [2, 3, 4], 0xff),
            (67, [1, 2, 3], 4),
            (68, [4, 3, 2], 0xff),
            (121, [4, 3, 2], 1),
            (134, [1, 2, 3], 0xff),
        ] {
            let format = Format::new(number).unwrap();
            assert_eq!((format.colour(&pixel), format.opacity(&pixel)), (colour, opacity), "{number}");
        }
        let known = (0..1000).filter(|number| Format::new(*number).is_some()).count();
        assert_eq!(known, 8);
    }

    #[test]
    fn sizes_have_a_bound() {
        let format = Format::new(1).unwrap();
        for size in [(0, 1), (1, 0), (16385, 1), (1, u32::MAX)] {
            assert!(Image::new(size, format).is_none(), "{size:?}");
        }
        let image = Image::new((3, 2), format).unwrap();
        for (at, width, there) in
            [((0, 0), 3, 3), ((1, 1), 9, 2), ((3, 0), 1, 0), ((4, 0), 1, 0), ((0, 2), 1, 0)]
        {
            assert_eq!(image.line(at, width, |line| line.len()), there, "{at:?}");
        }
    }
}
