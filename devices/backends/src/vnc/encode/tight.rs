//! Tight (rfbproto's registry, "Tight Encoding"): a rectangle is of one colour, of a few, a photograph, or anything; each
//! kind goes its own way, the last three through zlib streams of their own. TightPNG is the same with a PNG in the place
//! of the zlib streams, for viewers in browsers.

use super::deflate::Deflate;
use super::{Block, Photo};
use crate::vnc::format::Pixels;

/// A whole rectangle of one colour.
const FILL: u8 = 0x80;
/// A rectangle as a JPEG.
const JPEG: u8 = 0x90;
/// A rectangle as a PNG.
const PNG: u8 = 0xa0;
/// A filter is named.
const FILTER: u8 = 0x40;
const PALETTE: u8 = 1;
/// Streams: of pixels, of bits, of numbers in a palette.
const PIXELS: u8 = 0;
const BITS: u8 = 1;
const NUMBERS: u8 = 2;
/// Most colours of a palette. More than these compress badly as numbers.
const COLOURS: usize = 64;
/// Fewer bytes are not deflated.
const PLAIN: usize = 12;
/// Less than so many pixels are never a photograph.
const PHOTO: usize = 256;

/// The streams, and how well they compress.
pub struct Streams {
    level: u32,
    streams: [Option<Deflate>; 3],
}

impl Streams {
    /// At their start.
    pub fn new(level: u32) -> Streams {
        Streams { level, streams: [None, None, None] }
    }

    fn put(&mut self, out: &mut Vec<u8>, stream: u8, data: &[u8]) {
        if data.len() < PLAIN {
            return out.extend(data);
        }
        let mut packed = Vec::new();
        if let Some(stream) = self.streams.get_mut(usize::from(stream)) {
            stream.get_or_insert_with(|| Deflate::new(self.level)).run(data, &mut packed);
        }
        put_length(out, packed.len());
        out.extend(packed);
    }
}

/// A length of at most 22 bits, seven in a byte, the low ones first.
fn put_length(out: &mut Vec<u8>, len: usize) {
    let part = |shift: u32| (len >> shift) as u8;
    match len {
        0..0x80 => out.push(part(0)),
        0x80..0x4000 => out.extend([part(0) | 0x80, part(7)]),
        _ => out.extend([part(0) | 0x80, part(7) | 0x80, part(14)]),
    }
}

/// How a rectangle goes.
enum Kind {
    Fill(u32),
    Palette(Vec<u32>),
    Photo,
    Pixels,
}

fn kind(block: &Block, photo: Option<Photo<'_>>) -> Kind {
    match (block.palette(COLOURS), photo) {
        (Some(colours), _) => match colours[..] {
            [colour] => Kind::Fill(colour),
            _ => Kind::Palette(colours),
        },
        (None, Some(photo)) if block.pixels.len() >= PHOTO && photo.is_smooth() => Kind::Photo,
        _ => Kind::Pixels,
    }
}

/// Appends a rectangle; as a JPEG of that quality if it looks like a photograph.
pub fn encode(
    out: &mut Vec<u8>,
    block: &Block,
    pixels: &Pixels,
    photo: Option<Photo<'_>>,
    streams: &mut Streams,
) {
    match kind(block, photo) {
        Kind::Fill(colour) => {
            out.push(FILL);
            pixels.put_tight(out, colour);
        }
        Kind::Palette(colours) => {
            let stream = if colours.len() == 2 { BITS } else { NUMBERS };
            out.extend([stream << 4 | FILTER, PALETTE, (colours.len() - 1) as u8]);
            colours.iter().for_each(|&colour| pixels.put_tight(out, colour));
            streams.put(out, stream, &numbers(block, &colours));
        }
        Kind::Photo if put_photo(out, photo) => {}
        Kind::Photo | Kind::Pixels => {
            out.push(PIXELS << 4);
            let mut plain = Vec::with_capacity(block.pixels.len() * 4);
            block.pixels.iter().for_each(|&pixel| pixels.put_tight(&mut plain, pixel));
            streams.put(out, PIXELS, &plain);
        }
    }
}

/// Appends a rectangle of TightPNG. False: nothing was, since there is no PNG of it.
pub fn encode_png(out: &mut Vec<u8>, block: &Block, pixels: &Pixels, photo: Photo<'_>, jpeg: bool) -> bool {
    match kind(block, Some(photo).filter(|_| jpeg)) {
        Kind::Fill(colour) => {
            out.push(FILL);
            pixels.put_tight(out, colour);
            true
        }
        Kind::Photo if put_photo(out, Some(photo)) => true,
        _ => put(out, PNG, photo.png()),
    }
}

fn put_photo(out: &mut Vec<u8>, photo: Option<Photo<'_>>) -> bool {
    put(out, JPEG, photo.and_then(|photo| photo.jpeg()))
}

fn put(out: &mut Vec<u8>, kind: u8, data: Option<Vec<u8>>) -> bool {
    // Longer ones have no length.
    let Some(data) = data.filter(|data| data.len() < 1 << 22) else { return false };
    out.push(kind);
    put_length(out, data.len());
    out.extend(data);
    true
}

/// The place of each pixel's colour: a bit if there are two, the leftmost the highest and each row from a new byte on;
/// else a byte.
fn numbers(block: &Block, colours: &[u32]) -> Vec<u8> {
    let number = |pixel: &u32| colours.iter().position(|colour| colour == pixel).unwrap_or_default() as u8;
    if colours.len() > 2 {
        return block.pixels.iter().map(number).collect();
    }
    let rows = block.pixels.chunks(block.width);
    let byte = |eight: &[u32]| (0..).zip(eight).fold(0, |byte, (at, pixel)| byte | number(pixel) << (7 - at));
    rows.flat_map(|row| row.chunks(8).map(byte)).collect()
}
