//! Pictures of a screen: whole ones, and ones that are read line by line.

use std::ops::Range;

/// What a screen shows. Nobody needs a copy of all of it: it is read in parts, and may lie in the guest's memory,
/// which the guest goes on writing.
pub trait Frame: Send + Sync {
    /// Width and height in pixels, each at most 16384.
    fn size(&self) -> (u32, u32);
    /// Fills `out` with red, green and blue of line `y` from `x` on; black beyond the picture.
    fn line(&self, x: u32, y: u32, out: &mut [[u8; 3]]);
}

/// A display adapter, as those see it who look at its screen.
pub trait DisplayAdapter: Send + Sync {
    /// What the screen shows now.
    fn frame(&self) -> Box<dyn Frame>;
    /// What the screen shows now, and the lines that may show something else than at the last look. There can be
    /// only one that looks.
    fn look(&self) -> (Box<dyn Frame>, DirtyRows);
    /// What one of several heads shows now, of which the first is the screen; none: it has no such head.
    fn head(&self, number: u32) -> Option<Box<dyn Frame>> {
        (number == 0).then(|| self.frame())
    }
    /// Whether the guest uses its screen. A VGA's always is.
    fn is_active(&self) -> bool {
        true
    }
}

/// Lines of a picture, ascending ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirtyRows(Vec<Range<u32>>);

impl DirtyRows {
    /// Adds lines that begin at or after the last range's beginning.
    pub fn push(&mut self, lines: Range<u32>) {
        match self.0.last_mut() {
            _ if lines.is_empty() => {}
            Some(last) if lines.start <= last.end => last.end = last.end.max(lines.end),
            _ => self.0.push(lines),
        }
    }
    /// The ranges.
    pub fn ranges(&self) -> &[Range<u32>] {
        &self.0
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Range<u32>> for DirtyRows {
    fn from(lines: Range<u32>) -> DirtyRows {
        let mut all = DirtyRows::default();
        all.push(lines);
        all
    }
}

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
    /// A copy of all that a screen shows.
    pub fn of(frame: &dyn Frame) -> Picture {
        let (width, height) = frame.size();
        let mut picture = Picture::new(width, height);
        for y in 0..height {
            frame.line(0, y, picture.row_mut(y).as_chunks_mut().0);
        }
        picture
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

impl Frame for Picture {
    fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
    fn line(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        let len = self.width as usize;
        let row = self.pixels.as_chunks().0.get(y as usize * len..).unwrap_or_default();
        let row = row.get(x as usize..len.min(row.len())).unwrap_or_default();
        out.fill([0; 3]);
        out.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_touch_are_one_range() {
        let mut lines = DirtyRows::default();
        for range in [3..3, 4..6, 5..6, 6..7, 9..10, 9..20] {
            lines.push(range);
        }
        assert_eq!(lines.ranges(), [4..7, 9..20]);
    }

    #[test]
    fn a_picture_is_black_beyond_its_edges() {
        let mut picture = Picture::new(2, 2);
        picture.row_mut(1).fill(7);
        let mut out = [[9; 3]; 3];
        picture.line(1, 1, &mut out);
        assert_eq!(out, [[7; 3], [0; 3], [0; 3]]);
        for (x, y) in [(2, 0), (0, 2), (u32::MAX, u32::MAX)] {
            picture.line(x, y, &mut out);
            assert_eq!(out, [[0; 3]; 3]);
        }
        assert_eq!(Picture::of(&picture), picture);
    }
}
