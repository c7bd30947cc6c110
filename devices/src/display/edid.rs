//! What a monitor says of itself: EDID 1.4 (VESA E-EDID Standard, Release A, revision 2), with timings of VESA CVT,
//! version 1.2, with reduced blanking.
//!
//! A detailed timing of EDID's has 12 bits for each direction and 16 for the clock. A mode beyond that is in an extension
//! block of DisplayID 1.3, where both are wider.

/// Bytes of a block.
pub const BLOCK: usize = 128;

/// A monitor with one mode that it likes best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Its name, of which 13 characters are told.
    pub name: &'static str,
    /// Pixels of a line, and lines; none is 0, nor more than 16384.
    pub preferred: (u32, u32),
}

/// Frames a second.
const REFRESH: u32 = 60;
/// Dots an inch, by which the size in millimetres is made.
const DPI: u32 = 100;

/// A mode: for each direction displayed, blanked, front porch and sync.
struct Timing {
    khz: u32,
    h: [u32; 4],
    v: [u32; 4],
}

impl Timing {
    /// CVT's with reduced blanking.
    fn of((width, height): (u32, u32)) -> Timing {
        // The sync's width tells the aspect ratio.
        let is = |x: u32, y: u32| width * y == height * x;
        let sync = match () {
            () if is(4, 3) => 4,
            () if is(16, 9) => 5,
            () if is(16, 10) => 6,
            () if is(5, 4) || is(15, 9) => 7,
            () => 10,
        };
        // At least 460 us of a frame are blank, and no less than front porch, sync and 6 lines.
        let frame = 1_000_000 / REFRESH;
        let blank = (460 * height / (frame - 460) + 1).max(3 + sync + 6);
        let dots = u64::from(width + 160) * u64::from(height + blank) * u64::from(REFRESH);
        // In steps of a quarter of a megahertz.
        let khz = (dots / 250_000 * 250).max(250) as u32;
        Timing { khz, h: [width, 160, 48, 32], v: [height, blank, 3, sync] }
    }

    /// A descriptor of EDID's; none: it does not hold the mode.
    fn detailed(&self, mm: (u32, u32)) -> Option<[u8; 18]> {
        let clock = u16::try_from(self.khz / 10).ok()?;
        let fits = self.h[0].max(self.v[0]).max(self.v[1]) < 1 << 12;
        let [h, v] = [self.h, self.v];
        let nibbles = |high: u32, low: u32| ((high >> 8) << 4 | low >> 8) as u8;
        fits.then_some([
            clock as u8,
            (clock >> 8) as u8,
            h[0] as u8,
            h[1] as u8,
            nibbles(h[0], h[1]),
            v[0] as u8,
            v[1] as u8,
            nibbles(v[0], v[1]),
            h[2] as u8,
            h[3] as u8,
            (v[2] << 4 | v[3]) as u8,
            0,
            mm.0 as u8,
            mm.1 as u8,
            nibbles(mm.0, mm.1),
            0,
            0,
            // Digital separate sync, horizontal positive, vertical negative: reduced blanking.
            0x1a,
        ])
    }

    /// A block of DisplayID with that one timing, of its type I.
    fn display_id(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let [h, v] = [self.h, self.v];
        let clock = (self.khz / 10 - 1).to_le_bytes();
        // Tag, version 1.3, bytes of the section, a display, no more sections; type I timings, revision 0, 20 bytes.
        block[..8].copy_from_slice(&[0x70, 0x13, 121, 0x03, 0, 0x03, 0, 20]);
        block[8..11].copy_from_slice(&clock[..3]);
        // The preferred one; no stereo, no interlace, the aspect ratio is not said.
        block[11] = 0x88;
        let words =
            [h[0] - 1, h[1] - 1, (h[2] - 1) | 0x8000, h[3] - 1, v[0] - 1, v[1] - 1, v[2] - 1, v[3] - 1];
        for (to, word) in block[12..28].chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&(word as u16).to_le_bytes());
        }
        // The section has a sum of its own, without the tag.
        block[126] = checksum(&block[1..126]);
        block[127] = checksum(&block[..127]);
        block
    }
}

/// What makes the sum of all bytes a multiple of 256.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// A display descriptor with text, padded as the standard wants it.
fn text(tag: u8, text: &str) -> [u8; 18] {
    let mut block = [b' '; 18];
    block[..5].copy_from_slice(&[0, 0, 0, tag, 0]);
    let text = text.as_bytes();
    let len = text.len().min(13);
    block[5..5 + len].copy_from_slice(&text[..len]);
    if let Some(end) = block.get_mut(5 + len) {
        *end = b'\n';
    }
    block
}

/// A descriptor that says nothing.
const DUMMY: [u8; 18] = [0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// 23 to 76 Hz, 15 to 300 kHz, up to 2550 MHz; no formula for timings.
const LIMITS: [u8; 18] =
    [0, 0, 0, 0xfd, 0x08, 23, 76, 15, 45, 255, 0x01, 0x0a, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20];

impl Monitor {
    /// Its EDID: a block, or two.
    pub fn edid(&self) -> Vec<u8> {
        let (width, height) = self.preferred;
        let mm = |pixels: u32| (pixels * 254 / (10 * DPI)).clamp(1, 4095);
        let (mm, timing) = ((mm(width), mm(height)), Timing::of(self.preferred));
        let mut edid = vec![0; BLOCK];
        let centimetres = |mm: u32| (mm / 10).clamp(1, 255) as u8;
        edid[..20].copy_from_slice(&[
            0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, // fixed
            0x06, 0x8c, // the maker's three letters, five bits each
            0x01, 0x00, 0x00, 0x00, 0x00, 0x00, // product, serial number
            0xff, 34, // model year 2024
            1, 4, // EDID 1.4
        ]);
        // Digital, 8 bits a colour, DisplayPort; centimetres; gamma 2.2; sRGB, the first timing is the preferred one.
        edid[20..25].copy_from_slice(&[0xa5, centimetres(mm.0), centimetres(mm.1), 120, 0x06]);
        edid[25..54].copy_from_slice(&[
            0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, // sRGB's chromaticities
            0x21, 0x08, 0x00, // 640x480, 800x600, 1024x768 at 60 Hz
            0x81, 0x80, 0x81, 0x40, 0x95, 0x00, 0xa9, 0x40, // 1280x1024, 1280x960, 1440x900, 1600x1200
            0xb3, 0x00, 0xd1, 0xc0, 0x81, 0xc0, 0x01, 0x01, // 1680x1050, 1920x1080, 1280x720, unused
        ]);
        let detailed = timing.detailed(mm);
        let name = text(0xfc, self.name);
        let descriptors = match detailed {
            Some(detailed) => [detailed, LIMITS, name, DUMMY],
            None => [LIMITS, name, DUMMY, DUMMY],
        };
        for (to, descriptor) in edid[54..126].chunks_exact_mut(18).zip(descriptors) {
            to.copy_from_slice(&descriptor);
        }
        edid[126] = u8::from(detailed.is_none());
        edid[127] = checksum(&edid[..127]);
        if detailed.is_none() {
            edid.extend_from_slice(&timing.display_id());
        }
        edid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edid(preferred: (u32, u32)) -> Vec<u8> {
        let edid = Monitor { name: "Ailurus", preferred }.edid();
        for block in edid.chunks_exact(BLOCK) {
            assert_eq!(block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0, "{preferred:?}");
        }
        assert_eq!(edid.len(), BLOCK * (1 + usize::from(edid[126])));
        edid
    }

    /// Horizontal and vertical displayed and blanked, and the clock in kHz, as Linux's parser reads the first descriptor.
    fn timing(edid: &[u8]) -> [u32; 5] {
        let d = &edid[54..72];
        let wide = |low: usize, nibble: u8| u32::from(d[low]) | u32::from(nibble) << 8;
        [
            wide(2, d[4] >> 4),
            wide(3, d[4] & 15),
            wide(5, d[7] >> 4),
            wide(6, d[7] & 15),
            (u32::from(d[0]) | u32::from(d[1]) << 8) * 10,
        ]
    }

    /// Modes as `cvt -r` gives them.
    #[test]
    fn timings_are_cvt_s() {
        assert_eq!(timing(&edid((1280, 800))), [1280, 160, 800, 23, 71_000]);
        assert_eq!(timing(&edid((1920, 1080))), [1920, 160, 1080, 31, 138_500]);
        assert_eq!(timing(&edid((1024, 768))), [1024, 160, 768, 22, 56_000]);
        assert_eq!(timing(&edid((2560, 1600))), [2560, 160, 1600, 46, 268_500]);
    }

    #[test]
    fn what_a_descriptor_does_not_hold_is_in_an_extension() {
        for preferred in [(4095, 2160), (640, 480), (1, 1), (16, 4)] {
            assert_eq!(edid(preferred)[126], 0, "{preferred:?}");
        }
        let wide = edid((5120, 2880));
        assert_eq!((wide[126], wide[128], &wide[54..59]), (1, 0x70, &[0, 0, 0, 0xfd, 8][..]));
        assert_eq!(
            wide[129..255].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)),
            0,
            "the section's sum"
        );
        let word = |at: usize| u32::from(u16::from_le_bytes([wide[at], wide[at + 1]]));
        assert_eq!((word(128 + 12) + 1, word(128 + 20) + 1), (5120, 2880));
        edid((16384, 16384));
    }
}
