//! Encodings of a part of a picture (RFC 6143, 7.7).

mod deflate;
mod hextile;
mod pointer;
mod rre;
mod tight;
mod zrle;

use deflate::Deflate;
use devices_core::picture::{Frame, Pointer, PointerShape};

use super::format::{PixelFormat, Pixels};
use super::spec::encoding;
use super::tiles::{Rect, Seen};

/// Speed counts for more than size, unless the client says otherwise.
const LEVEL: u32 = 3;

/// Colours that differ by less in all are neighbours in a photograph.
const NEAR: u32 = 96;

/// A client's pixels of one rectangle, rows from the top.
pub struct Block {
    width: usize,
    pixels: Vec<u32>,
}

/// The colours of a part of a screen, rows from the top; black outside it. `seen` is told what was there below the
/// pointer that is drawn over it.
fn colours_of(frame: &dyn Frame, rect: Rect, seen: &mut Seen, pointer: Option<&Pointer>) -> Vec<[u8; 3]> {
    let width = usize::from(rect.width).max(1);
    let mut colours = vec![[0; 3]; width * usize::from(rect.height)];
    for (y, row) in (u32::from(rect.y)..).zip(colours.chunks_mut(width)) {
        frame.line_below(u32::from(rect.x), y, row);
    }
    seen.sent(rect, &colours);
    if let Some(pointer) = pointer {
        for (y, row) in (u32::from(rect.y)..).zip(colours.chunks_mut(width)) {
            pointer.draw(u32::from(rect.x), y, row);
        }
    }
    colours
}

/// A rectangle's colours, for pictures in a picture.
#[derive(Clone, Copy)]
pub struct Photo<'a> {
    colours: &'a [[u8; 3]],
    size: (u16, u16),
    /// From 1 to 100, of JPEG's.
    quality: u8,
}

impl Photo<'_> {
    /// Whether neighbours rarely are the same and mostly almost so, as in a photograph and never in text or drawings.
    fn is_smooth(self) -> bool {
        let (mut same, mut near) = (0, 0);
        for pair in self.colours.windows(2) {
            let [a, b] = pair else { continue };
            let apart: u32 = a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            match apart {
                0 => same += 1,
                1..NEAR => near += 1,
                _ => {}
            }
        }
        same * 3 < self.colours.len() && (same + near) * 10 > self.colours.len() * 9
    }

    fn jpeg(self) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut data, self.quality);
        let (width, height) = self.size;
        let done = encoder.encode(self.colours.as_flattened(), width, height, jpeg_encoder::ColorType::Rgb);
        done.ok().map(|()| data)
    }

    fn png(self) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        let mut encoder = png::Encoder::new(&mut data, self.size.0.into(), self.size.1.into());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().ok()?;
        writer.write_image_data(self.colours.as_flattened()).ok()?;
        writer.finish().ok().map(|()| data)
    }
}

impl Block {
    fn of(colours: &[[u8; 3]], rect: Rect, pixels: &Pixels) -> Block {
        let width = usize::from(rect.width).max(1);
        Block { width, pixels: colours.iter().map(|colour| pixels.pixel(*colour)).collect() }
    }

    /// Its colours, each once; None if there are more than `most`.
    fn palette(&self, most: usize) -> Option<Vec<u32>> {
        let mut colours = Vec::new();
        for run in self.pixels.chunk_by(|a, b| a == b) {
            let &colour = run.first()?;
            if !colours.contains(&colour) {
                if colours.len() >= most {
                    return None;
                }
                colours.push(colour);
            }
        }
        Some(colours)
    }

    /// The colour that most pixels have, of the first 256 that there are.
    fn most_frequent(&self) -> u32 {
        let mut counts: Vec<(u32, usize)> = Vec::new();
        for run in self.pixels.chunk_by(|a, b| a == b) {
            let Some(&colour) = run.first() else { continue };
            if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == colour) {
                *count += run.len();
            } else if counts.len() < 256 {
                counts.push((colour, run.len()));
            }
        }
        counts.into_iter().max_by_key(|&(_, count)| count).map_or(0, |(colour, _)| colour)
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
    /// Rectangles of one colour.
    Rre,
    /// Rectangles of one colour in tiles of 16 by 16.
    Hextile,
    /// Pixel after pixel, deflated.
    Zlib,
    /// One colour, palettes, photographs, deflated pixels.
    Tight,
    /// Palettes and runs in tiles of 64 by 64, deflated.
    Zrle,
    /// As Tight, with a PNG where there is no photograph.
    TightPng,
}

impl Encoding {
    const ALL: [Encoding; 7] = [
        Encoding::Raw,
        Encoding::Rre,
        Encoding::Hextile,
        Encoding::Zlib,
        Encoding::Tight,
        Encoding::Zrle,
        Encoding::TightPng,
    ];

    /// The one of that number.
    pub fn by_number(number: i32) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|one| one.number() == number)
    }

    fn number(self) -> i32 {
        match self {
            Encoding::Raw => encoding::RAW,
            Encoding::Rre => encoding::RRE,
            Encoding::Hextile => encoding::HEXTILE,
            Encoding::Zlib => encoding::ZLIB,
            Encoding::Tight => encoding::TIGHT,
            Encoding::Zrle => encoding::ZRLE,
            Encoding::TightPng => encoding::TIGHT_PNG,
        }
    }
}

/// What a client says of how it wants its pictures packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// zlib's level, 0 to 9.
    pub level: Option<u8>,
    /// Photographs may lose something: from 0, the most, to 9.
    pub quality: Option<u8>,
}

/// One client's encoder.
pub struct Encoder {
    pixels: Pixels,
    encoding: Encoding,
    packing: Packing,
    /// Streams are made when they are first needed, and live as long as the connection, whatever else is used in
    /// between.
    zlib: Option<Deflate>,
    zrle: Option<Deflate>,
    tight: Option<tight::Streams>,
}

impl Encoder {
    /// One that sends raw pixels of [`PixelFormat::OURS`].
    pub fn new() -> Encoder {
        Encoder {
            pixels: Pixels::new(&PixelFormat::OURS),
            encoding: Encoding::Raw,
            packing: Packing::default(),
            zlib: None,
            zrle: None,
            tight: None,
        }
    }

    /// Changes what pixels look like.
    pub fn set_format(&mut self, format: &PixelFormat) {
        self.pixels = Pixels::new(format);
    }

    /// Changes the encoding. Streams that have begun keep their level.
    pub fn set_encoding(&mut self, encoding: Encoding, packing: Packing) {
        self.encoding = encoding;
        self.packing = packing;
    }

    /// A pointer's shape, with its opacity or without.
    pub fn shape(&self, shape: &PointerShape, alpha: bool) -> Vec<u8> {
        if alpha { pointer::with_alpha(shape) } else { pointer::masked(shape, &self.pixels) }
    }

    /// Appends a rectangle with its header; a pointer is drawn over it.
    pub fn rect(
        &mut self,
        out: &mut Vec<u8>,
        frame: &dyn Frame,
        rect: Rect,
        seen: &mut Seen,
        pointer: Option<&Pointer>,
    ) {
        header(out, rect, self.encoding.number());
        let level = self.packing.level.map_or(LEVEL, u32::from);
        let colours = colours_of(frame, rect, seen, pointer);
        let (block, pixels) = (Block::of(&colours, rect, &self.pixels), &self.pixels);
        // Of JPEG's quality 5 to 95: from blocks that are seen to what nobody tells from the original.
        let quality = self.packing.quality.map_or(0, |quality| 5 + 10 * quality.min(9));
        let photo = Photo { colours: &colours, size: (rect.width, rect.height), quality };
        let jpeg = quality > 0 && pixels.are_fine();
        match self.encoding {
            Encoding::Raw => block.pixels.iter().for_each(|&pixel| pixels.put(out, pixel)),
            Encoding::Rre => rre::encode(out, &block, pixels),
            Encoding::Hextile => hextile::encode(out, &block, pixels),
            Encoding::Zlib => {
                let mut plain = Vec::new();
                block.pixels.iter().for_each(|&pixel| pixels.put(&mut plain, pixel));
                self.zlib.get_or_insert_with(|| Deflate::new(level)).run_counted(&plain, out);
            }
            Encoding::Zrle => {
                let deflate = self.zrle.get_or_insert_with(|| Deflate::new(level));
                zrle::encode(out, &block, pixels, deflate);
            }
            Encoding::TightPng if tight::encode_png(out, &block, pixels, photo, jpeg) => {}
            Encoding::Tight | Encoding::TightPng => {
                let streams = self.tight.get_or_insert_with(|| tight::Streams::new(level));
                tight::encode(out, &block, pixels, Some(photo).filter(|_| jpeg), streams);
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
