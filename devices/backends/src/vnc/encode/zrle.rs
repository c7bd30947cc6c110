//! ZRLE (RFC 6143, 7.7.6).

use super::Block;
use super::deflate::Deflate;
use crate::vnc::format::Pixels;

const SIDE: usize = 64;
/// Most colours of a palette that runs refer to.
const PALETTE: usize = 127;
/// Most colours of a palette that packed pixels refer to.
const PACKED: usize = 16;

const RAW: u8 = 0;
const SOLID: u8 = 1;
const RUNS: u8 = 128;

/// Appends a rectangle.
pub fn encode(out: &mut Vec<u8>, block: &Block, pixels: &Pixels, deflate: &mut Deflate) {
    let mut plain = Vec::new();
    for tile in block.tiles(SIDE) {
        encode_tile(&mut plain, &tile, pixels);
    }
    deflate.run_counted(&plain, out);
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
    let palette = tile.palette(PALETTE);
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
