//! How a client wants its pixels (RFC 6143, 7.4).

/// A pixel format that a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFormat {
    /// Bytes of a pixel: 1, 2 or 4.
    pub bytes: u8,
    /// Bits of a pixel that mean something.
    pub depth: u8,
    /// The high byte comes first.
    pub big_endian: bool,
    /// Pixels are colours; otherwise numbers in a table of colours.
    pub true_colour: bool,
    /// Largest red, green and blue.
    pub max: [u16; 3],
    /// Where they lie in a pixel.
    pub shift: [u8; 3],
}

impl PixelFormat {
    /// What a server says before a client asks for something else: 32 bits, 0x00RRGGBB.
    pub const OURS: PixelFormat = PixelFormat {
        bytes: 4,
        depth: 24,
        big_endian: false,
        true_colour: true,
        max: [255; 3],
        shift: [16, 8, 0],
    };

    /// What the 256 entries of a colour table are numbered by: three bits of red, three of green, two of
    /// blue.
    const TABLE: PixelFormat = PixelFormat {
        bytes: 1,
        depth: 8,
        big_endian: false,
        true_colour: false,
        max: [7, 7, 3],
        shift: [5, 2, 0],
    };

    /// Reads one. None: no pixel can be like that.
    pub fn parse(raw: [u8; 16]) -> Option<PixelFormat> {
        let [bits, depth, big, colour, r0, r1, g0, g1, b0, b1, red, green, blue, ..] = raw;
        if !matches!(bits, 8 | 16 | 32) {
            return None;
        }
        if colour == 0 {
            return (bits == 8).then_some(PixelFormat::TABLE);
        }
        let max = [[r0, r1], [g0, g1], [b0, b1]].map(u16::from_be_bytes);
        let shift = [red, green, blue];
        if max.contains(&0) || shift.iter().any(|&shift| shift >= bits) {
            return None;
        }
        Some(PixelFormat { bytes: bits / 8, depth, big_endian: big != 0, true_colour: true, max, shift })
    }

    /// On the wire.
    pub fn to_bytes(self) -> [u8; 16] {
        let [[r0, r1], [g0, g1], [b0, b1]] = self.max.map(u16::to_be_bytes);
        let [red, green, blue] = self.shift;
        let (big, colour) = (u8::from(self.big_endian), u8::from(self.true_colour));
        [self.bytes * 8, self.depth, big, colour, r0, r1, g0, g1, b0, b1, red, green, blue, 0, 0, 0]
    }

    /// Red, green and blue of each entry of the colour table, 16 bits each.
    pub fn table() -> impl Iterator<Item = [u16; 3]> {
        let PixelFormat { max, shift, .. } = PixelFormat::TABLE;
        (0..=255u16).map(move |entry| {
            std::array::from_fn(|at| {
                let part = u32::from(entry >> shift[at] & max[at]);
                (part * 0xffff / u32::from(max[at])) as u16
            })
        })
    }

    fn mask(&self, colour: usize) -> u32 {
        u32::from(self.max[colour]) << self.shift[colour]
    }
}

/// Turns colours into a client's pixels and those into bytes.
#[derive(Clone)]
pub struct Pixels {
    /// What each value of red, green and blue adds to a pixel.
    tables: Box<[[u32; 256]; 3]>,
    bytes: u8,
    big_endian: bool,
    /// Bytes of a pixel that ZRLE leaves out, and whether those are the first ones.
    compact: Option<bool>,
    /// Where the bytes of red, green and blue are, if Tight has just these.
    bytes_of: Option<[u8; 3]>,
    true_colour: bool,
}

impl Pixels {
    /// For that format.
    pub fn new(format: &PixelFormat) -> Pixels {
        let tables = std::array::from_fn(|colour| {
            let max = u32::from(format.max[colour]);
            // `max` is below 2^16, so nothing overflows; a pixel's bits beyond its bytes are left out when
            // it is written.
            std::array::from_fn(|value| ((value as u32 * max + 127) / 255) << format.shift[colour])
        });
        Pixels {
            tables: Box::new(tables),
            bytes: format.bytes,
            big_endian: format.big_endian,
            compact: compact(format),
            bytes_of: Some(format.shift).filter(|_| is_tight(format)),
            true_colour: format.true_colour,
        }
    }

    /// Whether pixels are colours of more than a byte: of others no photograph is made.
    pub fn are_fine(&self) -> bool {
        self.true_colour && self.bytes > 1
    }

    /// Bytes of a pixel.
    pub fn bytes(&self) -> usize {
        usize::from(self.bytes)
    }

    /// Bytes of a pixel in ZRLE.
    pub fn compact_bytes(&self) -> usize {
        if self.compact.is_some() { 3 } else { self.bytes() }
    }

    /// The pixel of a colour, given as red, green and blue.
    pub fn pixel(&self, [red, green, blue]: [u8; 3]) -> u32 {
        let [reds, greens, blues] = &*self.tables;
        reds[usize::from(red)] | greens[usize::from(green)] | blues[usize::from(blue)]
    }

    /// Writes a pixel.
    pub fn put(&self, out: &mut Vec<u8>, pixel: u32) {
        match (self.bytes, self.big_endian) {
            (1, _) => out.push(pixel as u8),
            (2, false) => out.extend((pixel as u16).to_le_bytes()),
            (2, true) => out.extend((pixel as u16).to_be_bytes()),
            (_, false) => out.extend(pixel.to_le_bytes()),
            (_, true) => out.extend(pixel.to_be_bytes()),
        }
    }

    /// Writes a pixel as Tight has it: of 24 bits red, green and blue.
    pub fn put_tight(&self, out: &mut Vec<u8>, pixel: u32) {
        match self.bytes_of {
            Some(shift) => out.extend(shift.map(|shift| (pixel >> shift) as u8)),
            None => self.put(out, pixel),
        }
    }

    /// Writes a pixel as ZRLE has it: without the byte of four that says nothing (7.7.5).
    pub fn put_compact(&self, out: &mut Vec<u8>, pixel: u32) {
        let Some(first) = self.compact else { return self.put(out, pixel) };
        let bytes = if self.big_endian { pixel.to_be_bytes() } else { pixel.to_le_bytes() };
        let [a, b, c, d] = bytes;
        out.extend(if first { [b, c, d] } else { [a, b, c] });
    }
}

/// Whether Tight has three bytes of a pixel, red, green and blue.
fn is_tight(format: &PixelFormat) -> bool {
    format.true_colour && format.bytes == 4 && format.depth == 24 && format.max == [255; 3]
}

/// Whether a pixel has a byte that says nothing, and if so whether it is the first on the wire.
fn compact(format: &PixelFormat) -> Option<bool> {
    if format.bytes != 4 || format.depth > 24 || !format.true_colour {
        return None;
    }
    let mask = (0..3).fold(0, |mask, colour| mask | format.mask(colour));
    if mask >> 24 == 0 {
        Some(format.big_endian)
    } else if mask & 0xff == 0 {
        Some(!format.big_endian)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(bits: u8, big: bool, max: [u16; 3], shift: [u8; 3]) -> PixelFormat {
        let bytes = PixelFormat {
            bytes: bits / 8,
            depth: bits.min(24),
            big_endian: big,
            true_colour: true,
            max,
            shift,
        }
        .to_bytes();
        PixelFormat::parse(bytes).unwrap()
    }

    fn written(format: PixelFormat, colour: [u8; 3]) -> (Vec<u8>, Vec<u8>) {
        let pixels = Pixels::new(&format);
        let (mut whole, mut compact) = (Vec::new(), Vec::new());
        pixels.put(&mut whole, pixels.pixel(colour));
        pixels.put_compact(&mut compact, pixels.pixel(colour));
        assert_eq!((whole.len(), compact.len()), (pixels.bytes(), pixels.compact_bytes()));
        (whole, compact)
    }

    #[test]
    fn pixels_of_all_sizes_and_orders() {
        let colour = [0xff, 0x80, 0x01];
        let whole = |format| written(format, colour).0;
        assert_eq!(whole(PixelFormat::OURS), [0x01, 0x80, 0xff, 0]);
        assert_eq!(whole(format(32, true, [255; 3], [0, 8, 16])), [0, 0x01, 0x80, 0xff]);
        let rgb565 = [31, 63, 31];
        assert_eq!(whole(format(16, false, rgb565, [11, 5, 0])), 0xfc00u16.to_le_bytes());
        assert_eq!(whole(format(16, true, rgb565, [11, 5, 0])), 0xfc00u16.to_be_bytes());
        assert_eq!(whole(format(16, true, rgb565, [0, 5, 11])), 0x041fu16.to_be_bytes());
        assert_eq!(whole(format(8, false, [7, 7, 3], [0, 3, 6])), [0x27]);
        assert_eq!(whole(format(32, false, [1023; 3], [20, 10, 0])), 0x3ff8_0804u32.to_le_bytes());
    }

    #[test]
    fn zrle_leaves_out_the_empty_byte() {
        let colour = [1, 2, 3];
        let compact = |format| written(format, colour).1;
        assert_eq!(compact(PixelFormat::OURS), [3, 2, 1]);
        assert_eq!(compact(format(32, true, [255; 3], [16, 8, 0])), [1, 2, 3]);
        assert_eq!(compact(format(32, false, [255; 3], [24, 16, 8])), [3, 2, 1]);
        assert_eq!(compact(format(32, true, [255; 3], [24, 16, 8])), [1, 2, 3]);
        assert_eq!(compact(format(32, false, [1023; 3], [20, 10, 0])).len(), 4);
        assert_eq!(compact(format(16, false, [31; 3], [10, 5, 0])).len(), 2);
    }

    #[test]
    fn impossible_formats_are_refused() {
        let change = |at: usize, value: u8| {
            let mut bytes = PixelFormat::OURS.to_bytes();
            bytes[at] = value;
            PixelFormat::parse(bytes)
        };
        assert_eq!(PixelFormat::parse(PixelFormat::OURS.to_bytes()), Some(PixelFormat::OURS));
        assert_eq!(change(0, 24), None);
        assert_eq!(change(0, 0), None);
        assert_eq!(change(5, 0), None, "no red at all");
        assert_eq!(change(10, 32), None);
        assert_eq!(change(3, 0), None, "a table of 2^32 colours");
        let mut table = PixelFormat::OURS.to_bytes();
        (table[0], table[3]) = (8, 0);
        assert_eq!(PixelFormat::parse(table), Some(PixelFormat::TABLE));
        let widest = format(32, false, [0xffff; 3], [31, 31, 31]);
        assert_eq!(written(widest, [255; 3]).0, [0, 0, 0, 0x80]);
    }

    #[test]
    fn the_table_goes_from_black_to_white() {
        let table: Vec<_> = PixelFormat::table().collect();
        assert_eq!((table.len(), table[0], table[255]), (256, [0; 3], [0xffff; 3]));
        assert_eq!(table[0xe0], [0xffff, 0, 0]);
    }
}
