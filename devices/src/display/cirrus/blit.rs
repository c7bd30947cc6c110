//! The BitBLT engine: rectangles of video memory, filled, copied, expanded from bits, and combined with what is there.
//!
//! A blit is a number of lines. Its registers are copied when it starts, and bound what it costs: 8192 bytes by 2048
//! lines at most. Each byte's address goes through the chip's mask, so that a rectangle that leaves the memory goes on
//! at its other end, as on hardware. A line is read before it is written: drivers choose the direction in such a way that
//! this cannot be told.

use serde::{Deserialize, Serialize};

use super::extended::Extended;
use super::memory::Memory;
use super::spec::{blt, gfx};

/// A raster operation on a byte of the source and one of the destination. What is none leaves the destination.
pub fn combine(rop: u8, source: u8, dest: u8) -> u8 {
    match rop {
        0x00 => 0,
        0x05 => source & dest,
        0x09 => source & !dest,
        0x0b => !dest,
        0x0d => source,
        0x0e => 0xff,
        0x50 => !source & dest,
        0x59 => source ^ dest,
        0x6d => source | dest,
        0x90 => !(source | dest),
        0x95 => !(source ^ dest),
        0xad => source | !dest,
        0xd0 => !source,
        0xd6 => !source | dest,
        0xda => !(source & dest),
        _ => dest,
    }
}

/// The operation that takes the source as it is.
const COPY: u8 = 0x0d;

/// One operation, as the registers had it when it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blit {
    /// Bytes of a line.
    width: u32,
    /// Lines.
    height: u32,
    /// First byte of the destination; of a backward one the last.
    to: u32,
    /// First byte of the source, likewise.
    from: u32,
    pitch: u16,
    source_pitch: u16,
    mode: u8,
    ext: u8,
    rop: u8,
    skip: u8,
    foreground: [u8; 4],
    background: [u8; 4],
    /// Two bytes of the colour that is not drawn.
    key: [u8; 2],
}

/// Whose bytes the source of a line is.
enum Source<'a> {
    /// The video memory's.
    Screen,
    /// These.
    System(&'a [u8]),
}

impl Blit {
    /// What the registers ask for; none if it is nothing that the engine can do.
    pub fn of(registers: &Extended) -> Option<Blit> {
        let word = |index| u32::from(registers.graphics_word(index));
        let address = |index| word(index) | u32::from(registers.graphics(index + 2)) << 16;
        let key = registers.graphics_word(gfx::KEY).to_le_bytes();
        let blit = Blit {
            width: word(gfx::WIDTH) % blt::MAX_WIDTH + 1,
            height: word(gfx::HEIGHT) % blt::MAX_HEIGHT + 1,
            to: address(gfx::TO),
            from: address(gfx::FROM),
            pitch: registers.graphics_word(gfx::PITCH),
            source_pitch: registers.graphics_word(gfx::SOURCE_PITCH),
            mode: registers.graphics(gfx::MODE),
            ext: registers.graphics(gfx::MODE_EXT),
            rop: registers.graphics(gfx::ROP),
            skip: registers.graphics(gfx::SKIP),
            foreground: registers.fill_colour(1),
            background: registers.fill_colour(0),
            key,
        };
        blit.is_possible().then_some(blit)
    }

    /// Whether a loaded one is what the registers can ask for.
    pub fn is_valid(&self) -> bool {
        (1..=blt::MAX_WIDTH).contains(&self.width)
            && (1..=blt::MAX_HEIGHT).contains(&self.height)
            && self.is_possible()
    }

    fn is_possible(&self) -> bool {
        let plain = !self.is(blt::PATTERN) && !self.is(blt::EXPAND);
        let both = self.is(blt::TO_SYSTEM) && self.is(blt::FROM_SYSTEM);
        // Only 8 and 16 bits of a colour can be compared.
        let comparable = !plain || !self.is(blt::TRANSPARENT) || self.depth() <= 2;
        !both && comparable && (plain || !self.is(blt::TO_SYSTEM))
    }

    fn is(&self, bit: u8) -> bool {
        self.mode & bit != 0
    }

    fn is_solid(&self) -> bool {
        let kind = blt::TO_SYSTEM | blt::TRANSPARENT | blt::PATTERN | blt::EXPAND;
        self.ext & blt::SOLID != 0 && self.mode & kind == blt::PATTERN | blt::EXPAND
    }

    /// Whether the processor gives or takes the bytes.
    pub fn has_transfer(&self) -> bool {
        !self.is_solid() && (self.is(blt::FROM_SYSTEM) || self.is(blt::TO_SYSTEM))
    }

    /// Bytes of a pixel.
    fn depth(&self) -> usize {
        usize::from((self.mode & blt::DEPTH) >> 4) + 1
    }

    /// Pixels of a line, one that is cut counted.
    fn pixels(&self) -> usize {
        (self.width as usize).div_ceil(self.depth())
    }

    /// Backward is for copies only.
    fn is_backward(&self) -> bool {
        self.is(blt::BACKWARD) && !self.is(blt::PATTERN) && !self.is(blt::EXPAND)
    }

    /// Pixels that are left out at the left of each line. 24-bit ones are told in bytes.
    fn skipped(&self) -> usize {
        match self.depth() {
            3 => usize::from(self.skip & 0x1f) / 3,
            _ => usize::from(self.skip & 7),
        }
    }

    /// Bytes of a pattern of colours from a line to the next.
    fn pattern_pitch(&self) -> usize {
        match self.depth() {
            depth @ (1 | 2) => depth * 8,
            _ => 32,
        }
    }

    /// Bytes of a pattern, and lines that it is moved up by.
    fn pattern(&self, memory: Memory<'_>) -> (Vec<u8>, usize) {
        let len = if self.is(blt::EXPAND) { 8 } else { self.pattern_pitch() * 8 };
        let mut pattern = vec![0; len];
        memory.read(i64::from(self.from) & !(len as i64 - 1), &mut pattern);
        (pattern, self.from as usize & 7)
    }

    /// Bytes that the processor moves for a line, or for a pattern.
    fn transfer_bytes(&self) -> usize {
        let bits = self.pixels();
        match (self.is(blt::PATTERN), self.is(blt::EXPAND)) {
            (true, true) => 8,
            (true, false) => self.pattern_pitch() * 8,
            (false, true) if self.ext & blt::DWORDS != 0 => bits.div_ceil(32) * 4,
            (false, true) => bits.div_ceil(8),
            (false, false) => (self.width as usize).next_multiple_of(4),
        }
    }

    /// Does all of one whose source and destination are in video memory.
    pub fn run(&self, memory: Memory<'_>) {
        if self.is(blt::PATTERN) && !self.is_solid() {
            let (pattern, first) = self.pattern(memory);
            return self.run_pattern(memory, &pattern, first);
        }
        for line in 0..self.height {
            self.line(memory, line, &Source::Screen);
        }
    }

    fn run_pattern(&self, memory: Memory<'_>, pattern: &[u8], first: usize) {
        let pitch = if self.is(blt::EXPAND) { 1 } else { self.pattern_pitch() };
        for line in 0..self.height {
            let at = (first + line as usize) % 8 * pitch;
            self.line(memory, line, &Source::System(pattern.get(at..at + pitch).unwrap_or_default()));
        }
    }

    /// Draws a line.
    fn line(&self, memory: Memory<'_>, line: u32, source: &Source<'_>) {
        let line = i64::from(line);
        let (pixels, depth) = (self.pixels(), self.depth());
        let whole = pixels * depth;
        if self.is_solid() {
            let colour = self.foreground.iter().take(depth).copied().cycle();
            let bytes = colour.take(whole).collect();
            return self.put(memory, i64::from(self.to) + line * i64::from(self.pitch), bytes, None);
        }
        if self.is(blt::EXPAND) {
            return self.expand(memory, line, source);
        }
        if let (true, Source::System(pattern)) = (self.is(blt::PATTERN), source) {
            let to = i64::from(self.to) + line * i64::from(self.pitch);
            let skipped = self.skipped().min(pixels);
            let bytes = (skipped..pixels).flat_map(|x| {
                (0..depth).map(move |byte| pattern.get(x % 8 * depth + byte).copied().unwrap_or_default())
            });
            return self.put(memory, to + (skipped * depth) as i64, bytes.collect(), None);
        }
        self.copy(memory, line, source);
    }

    /// A line that is copied.
    fn copy(&self, memory: Memory<'_>, line: i64, source: &Source<'_>) {
        let keyed = self.is(blt::TRANSPARENT);
        let len = if keyed { self.pixels() * self.depth() } else { self.width as usize };
        let (way, back) = if self.is_backward() { (-1, len as i64 - 1) } else { (1, 0) };
        let to = i64::from(self.to) + way * line * i64::from(self.pitch) - back;
        let mut bytes = vec![0; len];
        match source {
            Source::Screen => {
                let from = i64::from(self.from) + way * line * i64::from(self.source_pitch) - back;
                memory.read(from, &mut bytes);
            }
            Source::System(row) => bytes.iter_mut().zip(*row).for_each(|(byte, &given)| *byte = given),
        }
        self.put(memory, to, bytes, keyed.then_some(&self.key[..self.depth().min(2)]));
    }

    /// A line of pixels that are a bit each.
    fn expand(&self, memory: Memory<'_>, line: i64, source: &Source<'_>) {
        let (pixels, depth) = (self.pixels(), self.depth());
        let mut row = Vec::new();
        let bits = match source {
            Source::System(bits) => *bits,
            // Lines of bits lie one after the other: there is no pitch.
            Source::Screen => {
                row.resize(pixels.div_ceil(8), 0);
                memory.read(i64::from(self.from) + line * row.len() as i64, &mut row);
                &row
            }
        };
        // A pattern is a byte of bits, again and again.
        let byte = |x: usize| bits.get(x / 8 % bits.len().max(1)).copied().unwrap_or_default();
        let bit = |x: usize| byte(x) >> (7 - x % 8) & 1 != 0;
        let to = i64::from(self.to) + line * i64::from(self.pitch);
        let skipped = self.skipped().min(pixels);
        let first = to + (skipped * depth) as i64;
        if !self.is(blt::TRANSPARENT) {
            let colour = |x| if bit(x) { &self.foreground } else { &self.background };
            let bytes = (skipped..pixels).flat_map(|x| colour(x).iter().take(depth).copied());
            return self.put(memory, first, bytes.collect(), None);
        }
        let inverted = self.ext & blt::INVERT != 0;
        let colour = if inverted { &self.background } else { &self.foreground };
        let mut bytes = vec![0; (pixels - skipped) * depth];
        memory.read(first, &mut bytes);
        for (x, pixel) in (skipped..pixels).zip(bytes.chunks_exact_mut(depth)) {
            if bit(x) != inverted {
                pixel.iter_mut().zip(colour).for_each(|(to, &from)| *to = combine(self.rop, from, *to));
            }
        }
        memory.write(first, &bytes);
    }

    /// Combines a line of the source with what is there. A pixel that comes out as the key stays as it was.
    fn put(&self, memory: Memory<'_>, to: i64, mut bytes: Vec<u8>, key: Option<&[u8]>) {
        if self.rop != COPY || key.is_some() {
            let mut there = vec![0; bytes.len()];
            memory.read(to, &mut there);
            bytes.iter_mut().zip(&there).for_each(|(byte, &dest)| *byte = combine(self.rop, *byte, dest));
            if let Some(key) = key {
                let pairs = bytes.chunks_mut(key.len()).zip(there.chunks(key.len()));
                pairs
                    .filter(|(pixel, _)| **pixel == *key)
                    .for_each(|(pixel, dest)| pixel.copy_from_slice(dest));
            }
        }
        memory.write(to, &bytes);
    }
}

/// A blit whose bytes the processor gives or takes, under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    blit: Blit,
    /// Which line is next.
    line: u32,
    /// Bytes of it: those that were given, or those that are still to be taken, the next one last.
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

impl Transfer {
    /// Starts one.
    pub fn new(blit: Blit, memory: Memory<'_>) -> Transfer {
        let mut transfer = Transfer { blit, line: 0, bytes: Vec::new() };
        transfer.fetch(memory);
        transfer
    }

    /// Whether a loaded one can go on.
    pub fn is_valid(&self) -> bool {
        let Transfer { blit, line, bytes } = self;
        let most = blit.transfer_bytes();
        let fits = if self.to_system() { (1..=most).contains(&bytes.len()) } else { bytes.len() < most };
        blit.is_valid() && blit.has_transfer() && *line < blit.height && fits
    }

    /// Whether the processor takes the bytes.
    pub fn to_system(&self) -> bool {
        self.blit.is(blt::TO_SYSTEM)
    }

    /// Takes the next line out of the memory.
    fn fetch(&mut self, memory: Memory<'_>) {
        if self.to_system() {
            let Blit { width, from, source_pitch, .. } = self.blit;
            let (way, back) = if self.blit.is_backward() { (-1, i64::from(width) - 1) } else { (1, 0) };
            let mut row = vec![0; width as usize];
            memory.read(
                i64::from(from) + way * i64::from(self.line) * i64::from(source_pitch) - back,
                &mut row,
            );
            row.resize(self.blit.transfer_bytes(), 0);
            row.reverse();
            self.bytes = row;
        }
    }

    /// The processor takes a byte; whether it was the last one.
    pub fn take(&mut self, memory: Memory<'_>) -> (u8, bool) {
        let byte = self.bytes.pop().unwrap_or(0xff);
        if !self.bytes.is_empty() {
            return (byte, false);
        }
        self.line += 1;
        let over = self.line >= self.blit.height;
        if !over {
            self.fetch(memory);
        }
        (byte, over)
    }

    /// The processor gives a byte; whether it was the last one.
    pub fn give(&mut self, byte: u8, memory: Memory<'_>) -> bool {
        self.bytes.push(byte);
        if self.bytes.len() < self.blit.transfer_bytes() {
            return false;
        }
        let row = std::mem::take(&mut self.bytes);
        if self.blit.is(blt::PATTERN) {
            self.blit.run_pattern(memory, &row, 0);
            return true;
        }
        self.blit.line(memory, self.line, &Source::System(&row));
        self.line += 1;
        self.line >= self.blit.height
    }
}
