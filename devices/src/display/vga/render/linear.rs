//! Extended modes with packed pixels.

use super::{Packed, Render};

/// A component of `bits` bits at `shift`, widened to 8 by repeating its upper bits.
fn widen(value: u16, shift: u32, bits: u32) -> u8 {
    let component = value >> shift & ((1 << bits) - 1);
    (component << (8 - bits) | component >> (2 * bits - 8)) as u8
}

fn rgb555(value: u16) -> [u8; 3] {
    [widen(value, 10, 5), widen(value, 5, 5), widen(value, 0, 5)]
}

fn rgb565(value: u16) -> [u8; 3] {
    [widen(value, 11, 5), widen(value, 5, 6), widen(value, 0, 5)]
}

impl Render {
    /// A part of a line.
    pub(super) fn linear(&self, x: usize, y: usize, out: &mut [[u8; 3]]) {
        let Some(packed) = &self.packed else { return };
        let bytes = match packed.bpp {
            8 => 1,
            15 | 16 => 2,
            24 => 3,
            _ => 4,
        };
        let mut line = vec![0; out.len() * bytes];
        self.fetch_wrapped(packed.line(y) + x * bytes, &mut line);
        match bytes {
            1 => self.paint(line.iter().copied(), out),
            2 => words(packed, out, &line),
            3 => pixels(out, &line, |&[b, g, r]: &[u8; 3]| [r, g, b]),
            _ if packed.big_endian => pixels(out, &line, |&[_, r, g, b]: &[u8; 4]| [r, g, b]),
            _ => pixels(out, &line, |&[b, g, r, _]: &[u8; 4]| [r, g, b]),
        }
    }

    /// Reads memory, which begins anew after its end.
    fn fetch_wrapped(&self, start: usize, out: &mut [u8]) {
        let len = self.vram.len().max(1);
        let start = start % len;
        let (first, rest) = out.split_at_mut((len - start).min(out.len()));
        self.vram.read(start, first);
        if !rest.is_empty() {
            self.vram.read(0, rest);
        }
    }
}

fn words(packed: &Packed, out: &mut [[u8; 3]], line: &[u8]) {
    let colour = if packed.bpp == 15 { rgb555 } else { rgb565 };
    let word = if packed.big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
    pixels(out, line, |bytes: &[u8; 2]| colour(word(*bytes)));
}

/// Converts pixels of `N` bytes.
fn pixels<const N: usize>(out: &mut [[u8; 3]], line: &[u8], colour: impl Fn(&[u8; N]) -> [u8; 3]) {
    for (to, from) in out.iter_mut().zip(line.as_chunks().0) {
        *to = colour(from);
    }
}
