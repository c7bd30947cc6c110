//! RRE (RFC 6143, 7.7.3): rectangles of one colour on a background.

use super::Block;
use super::hextile::cover;
use crate::vnc::format::Pixels;

/// Appends a rectangle. One pixel of it takes no more than a subrectangle's bytes.
pub fn encode(out: &mut Vec<u8>, block: &Block, pixels: &Pixels) {
    let start = out.len();
    out.extend([0; 4]);
    let background = block.most_frequent();
    pixels.put(out, background);
    let mut left = block.pixels.clone();
    let mut count = 0u32;
    for at in 0..left.len() {
        let Some(&colour) = left.get(at).filter(|&&colour| colour != background) else { continue };
        let (width, height) = cover(&mut left, block.width, at, colour, background);
        pixels.put(out, colour);
        for value in [at % block.width, at / block.width, width, height] {
            out.extend((value as u16).to_be_bytes());
        }
        count += 1;
    }
    if let Some(to) = out.get_mut(start..start + 4) {
        to.copy_from_slice(&count.to_be_bytes());
    }
}
