//! Hextile (RFC 6143, 7.7.4).

use super::Block;
use crate::vnc::format::Pixels;
use crate::vnc::spec::hextile::*;

const SIDE: usize = 16;
/// A tile of more colours is sent pixel by pixel without trying.
const COLOURS: usize = 32;

/// Appends a rectangle.
pub fn encode(out: &mut Vec<u8>, block: &Block, pixels: &Pixels) {
    // A background holds until a tile says otherwise; a raw tile makes it uncertain.
    let mut background = None;
    for tile in block.tiles(SIDE) {
        background = encode_tile(out, &tile, pixels, background);
    }
}

fn encode_tile(out: &mut Vec<u8>, tile: &Block, pixels: &Pixels, before: Option<u32>) -> Option<u32> {
    let start = out.len();
    let raw = tile.pixels.len() * pixels.bytes();
    if let Some((background, colours)) = count(tile) {
        out.push(0);
        let mut flags = 0;
        if before != Some(background) {
            flags |= BACKGROUND;
            pixels.put(out, background);
        }
        if let &[foreground] = &colours[..] {
            flags |= FOREGROUND;
            pixels.put(out, foreground);
        }
        if !colours.is_empty() {
            flags |= SUBRECTS;
        }
        if colours.len() > 1 {
            flags |= COLOURED;
        }
        let fits = colours.is_empty() || subrects(out, tile, background, flags, pixels, start + raw);
        if fits && let Some(first) = out.get_mut(start) {
            *first = flags;
            return Some(background);
        }
        out.truncate(start);
    }
    out.push(RAW);
    tile.pixels.iter().for_each(|&pixel| pixels.put(out, pixel));
    None
}

/// The most frequent colour and the others; None if there are many.
fn count(tile: &Block) -> Option<(u32, Vec<u32>)> {
    let mut counts: Vec<(u32, usize)> = Vec::new();
    for run in tile.pixels.chunk_by(|a, b| a == b) {
        let &colour = run.first()?;
        if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == colour) {
            *count += run.len();
        } else if counts.len() < COLOURS {
            counts.push((colour, run.len()));
        } else {
            return None;
        }
    }
    let (background, _) = counts.iter().copied().max_by_key(|&(_, count)| count)?;
    let others = counts.iter().map(|&(colour, _)| colour).filter(|&colour| colour != background);
    Some((background, others.collect()))
}

/// Appends all that is not background, if that ends before `limit`.
fn subrects(
    out: &mut Vec<u8>,
    tile: &Block,
    background: u32,
    flags: u8,
    pixels: &Pixels,
    limit: usize,
) -> bool {
    let number = out.len();
    out.push(0);
    let mut left = tile.pixels.clone();
    let mut count = 0u8;
    for at in 0..left.len() {
        let Some(&colour) = left.get(at).filter(|&&colour| colour != background) else { continue };
        let (width, height) = cover(&mut left, tile.width, at, colour, background);
        if flags & COLOURED != 0 {
            pixels.put(out, colour);
        }
        let (x, y) = (at % tile.width, at / tile.width);
        out.extend([(x << 4 | y) as u8, ((width - 1) << 4 | (height - 1)) as u8]);
        match count.checked_add(1) {
            Some(next) if out.len() <= limit => count = next,
            _ => return false,
        }
    }
    if let Some(number) = out.get_mut(number) {
        *number = count;
    }
    true
}

/// Paints over the rectangle of one colour that starts at `at`, and gives its width and height.
pub fn cover(left: &mut [u32], stride: usize, at: usize, colour: u32, background: u32) -> (usize, usize) {
    let room = stride - at % stride;
    let of_colour = |row: &[u32]| row.iter().take(room).take_while(|&&pixel| pixel == colour).count();
    let width = left.get(at..).map_or(0, of_colour).max(1);
    let mut height = 0;
    while let Some(row) = left.get_mut(at + height * stride..at + height * stride + width) {
        if row.iter().any(|&pixel| pixel != colour) {
            break;
        }
        row.fill(background);
        height += 1;
    }
    (width, height.max(1))
}
