//! Encodings of a part of a picture (RFC 6143, 7.7).

mod hextile;
mod zrle;

use devices_core::picture::Frame;

use super::format::{PixelFormat, Pixels};
use super::spec::encoding;
use super::tiles::{Rect, Seen};

/// A client's pixels of one rectangle, rows from the top.
pub struct Block {
    width: usize,
    pixels: Vec<u32>,
}

impl Block {
    /// Those of a part of a screen; black outside it. `seen` is told what was there.
    fn of(frame: &dyn Frame, rect: Rect, pixels: &Pixels, seen: &mut Seen) -> Block {
        let width = usize::from(rect.width).max(1);
        let mut colours = vec![[0; 3]; width * usize::from(rect.height)];
        for (y, row) in (u32::from(rect.y)..).zip(colours.chunks_mut(width)) {
            frame.line(u32::from(rect.x), y, row);
        }
        seen.sent(rect, &colours);
        Block { width, pixels: colours.into_iter().map(|colour| pixels.pixel(colour)).collect() }
    }

    /// The tiles of `side` pixels (fewer at the right and bottom edge), row by row.
    fn tiles(&self, side: usize) -> impl Iterator<Item = Block> {
        self.pixels.chunks(self.width * side).flat_map(move |band| {
            (0..self.width).step_by(side).map(move |x| {
                let width = side.min(self.width - x);
                let rows = band.chunks(self.width);
                let pixels = rows.flat_map(|row| row.get(x..x + width).unwrap_or_default()).copied();
                Block { width, pixels: pixels.collect() }
            })
        })
    }
}

/// The encodings there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Pixel after pixel.
    #[default]
    Raw,
    /// Rectangles of one colour in tiles of 16 by 16.
    Hextile,
    /// Palettes and runs in tiles of 64 by 64, deflated.
    Zrle,
}

impl Encoding {
    /// The one of that number.
    pub fn by_number(number: i32) -> Option<Encoding> {
        [Encoding::Raw, Encoding::Hextile, Encoding::Zrle].into_iter().find(|one| one.number() == number)
    }

    fn number(self) -> i32 {
        match self {
            Encoding::Raw => encoding::RAW,
            Encoding::Hextile => encoding::HEXTILE,
            Encoding::Zrle => encoding::ZRLE,
        }
    }
}

/// One client's encoder.
pub struct Encoder {
    pixels: Pixels,
    encoding: Encoding,
    /// Made when it is first needed; lives as long as the connection, whatever else is used in between.
    deflate: Option<zrle::Deflate>,
}

impl Encoder {
    /// One that sends raw pixels of [`PixelFormat::OURS`].
    pub fn new() -> Encoder {
        Encoder { pixels: Pixels::new(&PixelFormat::OURS), encoding: Encoding::Raw, deflate: None }
    }

    /// Changes what pixels look like.
    pub fn set_format(&mut self, format: &PixelFormat) {
        self.pixels = Pixels::new(format);
    }

    /// Changes the encoding.
    pub fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// Appends a rectangle with its header.
    pub fn rect(&mut self, out: &mut Vec<u8>, frame: &dyn Frame, rect: Rect, seen: &mut Seen) {
        header(out, rect, self.encoding.number());
        let block = Block::of(frame, rect, &self.pixels, seen);
        match self.encoding {
            Encoding::Raw => block.pixels.iter().for_each(|&pixel| self.pixels.put(out, pixel)),
            Encoding::Hextile => hextile::encode(out, &block, &self.pixels),
            Encoding::Zrle => {
                let deflate = self.deflate.get_or_insert_with(zrle::Deflate::new);
                zrle::encode(out, &block, &self.pixels, deflate);
            }
        }
    }
}

/// Appends a rectangle's header.
pub fn header(out: &mut Vec<u8>, rect: Rect, encoding: i32) {
    for value in [rect.x, rect.y, rect.width, rect.height] {
        out.extend(value.to_be_bytes());
    }
    out.extend(encoding.to_be_bytes());
}
