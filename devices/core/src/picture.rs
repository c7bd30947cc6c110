//! Pictures of a screen: whole ones, and ones that are read line by line.

use std::ops::Range;
use std::sync::Arc;

/// What a screen shows. Nobody needs a copy of all of it: it is read in parts, and may lie in the guest's memory,
/// which the guest goes on writing.
pub trait Frame: Send + Sync {
    /// Width and height in pixels, each at most 16384.
    fn size(&self) -> (u32, u32);
    /// Fills `out` with red, green and blue of line `y` from `x` on; black beyond the picture. A pointer that the
    /// hardware has lies over it.
    fn line(&self, x: u32, y: u32, out: &mut [[u8; 3]]);
    /// A pointer in [`line`](Frame::line) that a viewer can show by itself: the adapter knows its colours and which
    /// pixel of it points.
    fn pointer(&self) -> Option<Pointer> {
        None
    }
    /// As [`line`](Frame::line), with what lies below that pointer.
    fn line_below(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        self.line(x, y, out);
    }
}

/// What a pointer looks like.
#[derive(Debug, PartialEq, Eq)]
pub struct PointerShape {
    /// Width and height in pixels, each at most 64.
    pub size: (u16, u16),
    /// The pixel that points, from the upper left corner.
    pub hot: (u16, u16),
    /// Red, green, blue and opacity of each pixel, rows from the top. Colours are multiplied by the opacity.
    pub pixels: Vec<[u8; 4]>,
}

/// A pointer on a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// What it looks like.
    pub shape: Arc<PointerShape>,
    /// Where its upper left corner is; it may be partly or wholly beyond the picture.
    pub at: (i32, i32),
}

impl Pointer {
    /// Lines of a picture that it is on.
    pub fn lines(&self) -> Range<u32> {
        let from_top = |y: i32| u32::try_from(y).unwrap_or(0);
        from_top(self.at.1)..from_top(self.at.1.saturating_add(self.shape.size.1.into()))
    }

    /// Draws what of it is on line `y` over `out`, which begins at `x`.
    pub fn draw(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        let (width, height) = self.shape.size;
        let row = i64::from(y) - i64::from(self.at.1);
        let Some(row) = usize::try_from(row).ok().filter(|row| *row < usize::from(height)) else { return };
        let row = self.shape.pixels.chunks_exact(usize::from(width).max(1)).nth(row).unwrap_or_default();
        let first = i64::from(self.at.0) - i64::from(x);
        for (at, [red, green, blue, opacity]) in (first..).zip(row) {
            let Some(to) = usize::try_from(at).ok().and_then(|at| out.get_mut(at)) else { continue };
            let through = 255 - u16::from(*opacity);
            for (to, from) in to.iter_mut().zip([*red, *green, *blue]) {
                *to = (u16::from(from) + u16::from(*to) * through / 255).min(255) as u8;
            }
        }
    }
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
    /// Whether the guest can be told of another size of its monitor.
    fn resizes(&self) -> bool {
        false
    }
    /// Tells the guest that its monitor's size is another now, each side from 1 to 16384. It may follow.
    fn resize(&self, _size: (u32, u32)) {}
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
    fn a_pointer_is_drawn_over_the_picture() {
        let mut pixels = vec![[0; 4]; 64 * 64];
        (pixels[0], pixels[65]) = ([30, 20, 10, 255], [100, 0, 0, 127]);
        let shape = Arc::new(PointerShape { size: (64, 64), hot: (0, 0), pixels });
        let pointer = |x, y| Pointer { shape: shape.clone(), at: (x, y) };
        let row = |x, y| {
            let mut out = [[200; 3]; 3];
            pointer(1, -1).draw(x, y, &mut out);
            out
        };
        assert_eq!(row(0, 0), [[200; 3], [200; 3], [200, 100, 100]]);
        assert_eq!(row(2, 0)[0], [200, 100, 100]);
        assert_eq!(pointer(1, -1).lines(), 0..63);
        let mut out = [[200; 3]; 3];
        pointer(0, 5).draw(0, 5, &mut out);
        assert_eq!(out, [[30, 20, 10], [200; 3], [200; 3]]);
        // Far away in each direction.
        for (x, y) in [(i32::MIN, i32::MIN), (i32::MAX, i32::MAX), (-64, 0), (0, -64)] {
            pointer(x, y).draw(0, 0, &mut out);
            assert_eq!(out[1], [200; 3], "{x} {y}");
            assert!(pointer(x, y).lines().start <= pointer(x, y).lines().end);
        }
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
