//! An inflater of the tests' own, after RFC 1950 and 1951 alone: what the server's compressor writes is not
//! judged by the same library's other half.

/// Order in which the lengths of the code length codes come (RFC 1951, 3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A zlib stream that goes on from packet to packet.
#[derive(Default)]
pub struct Inflate {
    begun: bool,
    window: Vec<u8>,
}

/// Bits of a packet, lowest first.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> usize {
        (0..count).fold(0, |value, bit| {
            let byte = self.data.get(self.at / 8).expect("a packet ends within a block");
            let value = value | usize::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
            value
        })
    }
    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
    fn done(&self) -> bool {
        self.at.div_ceil(8) >= self.data.len()
    }
}

/// A canonical Huffman code: how many codes of each length there are, and symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Code {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&len| counts[len] += 1);
        counts[0] = 0;
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&symbol| lengths[symbol] != 0).collect();
        symbols.sort_by_key(|&symbol| lengths[symbol]);
        Code { counts, symbols }
    }
    fn symbol(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1);
            if code < first + count {
                return self.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("a code that no symbol has")
    }
}

/// Base and extra bits of a length's or a distance's symbol, of which `group` share their extra bits (3.2.5).
fn base(symbol: usize, group: usize, first: usize) -> (usize, u32) {
    let extra = (symbol / group).saturating_sub(1) as u32;
    let base = if symbol < group { symbol } else { (group + symbol % group) << extra };
    (base + first, extra)
}

impl Inflate {
    /// What a packet says. It must end where a block does, with nothing kept back: at a byte, with an empty
    /// stored block, so that whoever has the packet has all that went into it.
    pub fn packet(&mut self, data: &[u8]) -> Vec<u8> {
        let mut bits = Bits { data, at: 0 };
        if !std::mem::replace(&mut self.begun, true) {
            let [a, b] = [bits.take(8), bits.take(8)];
            assert!(a & 0x0f == 8 && (a << 8 | b) % 31 == 0 && b & 0x20 == 0, "a zlib header");
        }
        let start = self.window.len();
        let mut empty = false;
        while !bits.done() {
            empty = self.block(&mut bits);
        }
        assert!(empty, "a packet ends with an empty block");
        let plain = self.window[start..].to_vec();
        let extra = self.window.len().saturating_sub(1 << 15);
        self.window.drain(..extra);
        plain
    }

    /// One block; whether it is a stored one of nothing.
    fn block(&mut self, bits: &mut Bits<'_>) -> bool {
        assert_eq!(bits.take(1), 0, "the stream goes on");
        match bits.take(2) {
            0 => {
                bits.align();
                let (len, check) = (bits.take(16), bits.take(16));
                assert_eq!(len, !check & 0xffff);
                for _ in 0..len {
                    let byte = bits.take(8) as u8;
                    self.window.push(byte);
                }
                return len == 0;
            }
            1 => {
                let lengths: Vec<usize> = (0..288)
                    .map(|symbol| match symbol {
                        0..=143 | 280.. => 8,
                        144..=255 => 9,
                        _ => 7,
                    })
                    .collect();
                self.codes(bits, &Code::new(&lengths), &Code::new(&[5; 30]));
            }
            2 => {
                let (literals, distances) = lengths(bits);
                self.codes(bits, &Code::new(&literals), &Code::new(&distances));
            }
            _ => panic!("a block of no kind"),
        }
        false
    }

    fn codes(&mut self, bits: &mut Bits<'_>, literals: &Code, distances: &Code) {
        loop {
            match literals.symbol(bits) {
                symbol @ 0..=255 => self.window.push(symbol as u8),
                256 => return,
                symbol => {
                    let (from, extra) = if symbol == 285 { (258, 0) } else { base(symbol - 257, 4, 3) };
                    let len = from + bits.take(extra);
                    let (from, extra) = base(distances.symbol(bits), 2, 1);
                    let back = from + bits.take(extra);
                    for _ in 0..len {
                        let byte = self.window[self.window.len().checked_sub(back).expect("in the window")];
                        self.window.push(byte);
                    }
                }
            }
        }
    }
}

/// The lengths of a dynamic block's codes.
fn lengths(bits: &mut Bits<'_>) -> (Vec<usize>, Vec<usize>) {
    let (literals, distances, count) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut of_lengths = [0; 19];
    for &place in &ORDER[..count] {
        of_lengths[place] = bits.take(3);
    }
    let code = Code::new(&of_lengths);
    let mut all: Vec<usize> = Vec::new();
    while all.len() < literals + distances {
        let (len, times) = match code.symbol(bits) {
            16 => (*all.last().unwrap(), 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            len => (len, 1),
        };
        all.resize(all.len() + times, len);
    }
    let rest = all.split_off(literals);
    (all, rest)
}
