//! What a pointer looks like, for a client that shows it by itself.

use devices_core::picture::PointerShape;

use super::super::format::Pixels;
use super::super::spec::encoding;

/// Less opaque than this is transparent, where that is all there is.
const OPAQUE: u8 = 0x80;

/// Pixels in the client's format, then a bit for each that is seen, each row from a new byte on (RFC 6143, 7.8.1).
pub fn masked(shape: &PointerShape, pixels: &Pixels) -> Vec<u8> {
    let mut out = Vec::new();
    for [red, green, blue, opacity] in &shape.pixels {
        let own = |part: u8| (u16::from(part) * 0xff / u16::from((*opacity).max(1))).min(0xff) as u8;
        let colour = if *opacity < OPAQUE { [0; 3] } else { [*red, *green, *blue].map(own) };
        pixels.put(&mut out, pixels.pixel(colour));
    }
    for row in shape.pixels.chunks(usize::from(shape.size.0).max(1)) {
        let seen = |bits: u8, (at, pixel): (usize, &[u8; 4])| bits | u8::from(pixel[3] >= OPAQUE) << (7 - at);
        out.extend(row.chunks(8).map(|eight| eight.iter().enumerate().fold(0, seen)));
    }
    out
}

/// Red, green, blue and opacity, whatever the client's format is (the registry's "Cursor With Alpha").
pub fn with_alpha(shape: &PointerShape) -> Vec<u8> {
    let mut out = encoding::RAW.to_be_bytes().to_vec();
    out.extend(shape.pixels.as_flattened());
    out
}
