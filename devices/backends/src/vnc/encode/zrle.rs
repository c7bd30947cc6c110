//! ZRLE (RFC 6143, 7.7.6).

use flate2::{Compress, Compression, FlushCompress};

use super::Block;
use crate::vnc::format::Pixels;

const SIDE: usize = 64;
/// Most colours of a palette that runs refer to.
const PALETTE: usize = 127;
/// Most colours of a palette that packed pixels refer to.
const PACKED: usize = 16;
/// Speed counts for more than size.
const LEVEL: u32 = 3;
/// Deflated bytes that are taken at a time.
const PIECE: usize = 1 << 14;

const RAW: u8 = 0;
const SOLID: u8 = 1;
const RUNS: u8 = 128;

/// The stream that all rectangles of one connection go through.
pub struct Deflate(Compress);

impl Deflate {
    /// At its start.
    pub fn new() -> Deflate {
        Deflate(Compress::new(Compression::new(LEVEL), true))
    }

    /// Appends `data`, deflated, so that all of it can be inflated at once (RFC 6143, 7.7.6).
    fn run(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let mut piece = [0; PIECE];
        let start = self.0.total_in();
        // Room that was left does not say that all is out: a call that starts with output of the one before
        // may end with that, its own flush undone. One that starts with nothing owed and leaves room is whole.
        let mut owed = false;
        loop {
            let (taken, given) = (self.0.total_in(), self.0.total_out());
            let rest = data.get((taken - start) as usize..).unwrap_or_default();
            let status = self.0.compress(rest, &mut piece, FlushCompress::Sync);
            let written = (self.0.total_out() - given) as usize;
            out.extend(piece.get(..written).unwrap_or_default());
            let consumed = (self.0.total_in() - taken) as usize;
            let room = written < piece.len();
            let whole = room && !owed && consumed == rest.len();
            // With nothing taken and nothing given there is nothing left to do, or no way to.
            if whole || status.is_err() || (written == 0 && consumed == 0) {
                return;
            }
            owed = !room;
        }
    }
}

/// Appends a rectangle.
pub fn encode(out: &mut Vec<u8>, block: &Block, pixels: &Pixels, deflate: &mut Deflate) {
    let mut plain = Vec::new();
    for tile in block.tiles(SIDE) {
        encode_tile(&mut plain, &tile, pixels);
    }
    let start = out.len();
    out.extend([0; 4]);
    deflate.run(&plain, out);
    let len = (out.len() - start - 4) as u32;
    if let Some(to) = out.get_mut(start..start + 4) {
        to.copy_from_slice(&len.to_be_bytes());
    }
}

/// A tile's colours, at most [`PALETTE`], with the place of each pixel's in a table.
fn palette(tile: &Block) -> Option<Vec<u32>> {
    let mut colours = Vec::new();
    for run in tile.pixels.chunk_by(|a, b| a == b) {
        let &colour = run.first()?;
        if !colours.contains(&colour) {
            if colours.len() >= PALETTE {
                return None;
            }
            colours.push(colour);
        }
    }
    Some(colours)
}

/// Bytes that a run's length takes.
fn length_bytes(len: usize) -> usize {
    (len - 1) / 255 + 1
}

fn put_length(out: &mut Vec<u8>, len: usize) {
    let less = len.saturating_sub(1);
    out.extend(std::iter::repeat_n(255, less / 255));
    out.push((less % 255) as u8);
}

/// Bits of a packed pixel.
fn packed_bits(colours: usize) -> usize {
    match colours {
        0..=2 => 1,
        3..=4 => 2,
        _ => 4,
    }
}

fn encode_tile(out: &mut Vec<u8>, tile: &Block, pixels: &Pixels) {
    let size = pixels.compact_bytes();
    let palette = palette(tile);
    let runs = || tile.pixels.chunk_by(|a, b| a == b);
    if let Some(&[colour]) = palette.as_deref() {
        out.push(SOLID);
        return pixels.put_compact(out, colour);
    }
    let raw = tile.pixels.len() * size;
    let plain: usize = runs().map(|run| size + length_bytes(run.len())).sum();
    let (mut packed, mut indexed) = (usize::MAX, usize::MAX);
    if let Some(colours) = &palette {
        let rows = tile.pixels.len() / tile.width;
        if colours.len() <= PACKED {
            packed = colours.len() * size + rows * (tile.width * packed_bits(colours.len())).div_ceil(8);
        }
        let run = |run: &[u32]| if run.len() == 1 { 1 } else { 1 + length_bytes(run.len()) };
        indexed = colours.len() * size + runs().map(run).sum::<usize>();
    }
    match (palette, raw.min(plain)) {
        (Some(colours), least) if packed <= least && packed <= indexed => {
            put_packed(out, tile, pixels, &colours);
        }
        (Some(colours), least) if indexed <= least => put_indexed(out, tile, pixels, &colours),
        _ if plain < raw => {
            out.push(RUNS);
            for run in runs() {
                pixels.put_compact(out, run.first().copied().unwrap_or_default());
                put_length(out, run.len());
            }
        }
        _ => {
            out.push(RAW);
            tile.pixels.iter().for_each(|&pixel| pixels.put_compact(out, pixel));
        }
    }
}

fn put_palette(out: &mut Vec<u8>, pixels: &Pixels, kind: u8, colours: &[u32]) {
    out.push(kind + colours.len() as u8);
    colours.iter().for_each(|&colour| pixels.put_compact(out, colour));
}

fn index(colours: &[u32], pixel: u32) -> u8 {
    colours.iter().position(|&colour| colour == pixel).unwrap_or_default() as u8
}

/// Pixels of 1, 2 or 4 bits, the leftmost in the highest bits, each row from a new byte on.
fn put_packed(out: &mut Vec<u8>, tile: &Block, pixels: &Pixels, colours: &[u32]) {
    put_palette(out, pixels, 0, colours);
    let bits = packed_bits(colours.len());
    for row in tile.pixels.chunks(tile.width) {
        for group in row.chunks(8 / bits) {
            let byte = group
                .iter()
                .enumerate()
                .fold(0, |byte, (at, &pixel)| byte | index(colours, pixel) << (8 - bits * (at + 1)));
            out.push(byte);
        }
    }
}

fn put_indexed(out: &mut Vec<u8>, tile: &Block, pixels: &Pixels, colours: &[u32]) {
    put_palette(out, pixels, RUNS, colours);
    for run in tile.pixels.chunk_by(|a, b| a == b) {
        let at = index(colours, run.first().copied().unwrap_or_default());
        if run.len() == 1 {
            out.push(at);
        } else {
            out.push(at | 0x80);
            put_length(out, run.len());
        }
    }
}
