//! A picture of a screen.

/// A screen at one instant, 24 bits a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Picture {
    /// A black picture of `width` by `height` pixels; each at most 16384.
    pub fn new(width: u32, height: u32) -> Picture {
        let (width, height) = (width.min(16384), height.min(16384));
        Picture { width, height, pixels: vec![0; width as usize * height as usize * 3] }
    }
    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }
    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }
    /// Red, green and blue bytes of each pixel, rows from the top, without padding.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
    /// One row's bytes; empty below the picture.
    pub fn row_mut(&mut self, y: u32) -> &mut [u8] {
        let len = self.width as usize * 3;
        let start = y as usize * len;
        self.pixels.get_mut(start..start + len).unwrap_or_default()
    }
}
