//! The blitter: what drivers do with it, and random operations beside a slow model of it in words, pixel by pixel. X.org's driver and the miniport of Windows write the registers in BAR 1 (or at 0xb8000) and set the start bit;
//! Linux's cirrusfb uses GR20 to GR32 by ports and waits while GR31 bit 3 or 0 is set.

use devices_core::Size;
use devices_core::rig::{Rig, scenario};
use vm_memory::{Bytes, MemoryRegionAddress};

use super::*;

pub const COPY: u8 = 0x0d;

/// Every operation: what it makes of source and destination bits 00, 01, 10 and 11, the first in bit 0 (names of X11).
const ROPS: [(u8, u8); 16] = [
    (0x00, 0b0000), // clear
    (0x05, 0b1000), // and
    (0x06, 0b1010), // noop
    (0x09, 0b0100), // and reverse
    (0x0b, 0b0101), // invert
    (0x0d, 0b1100), // copy
    (0x0e, 0b1111), // set
    (0x50, 0b0010), // and inverted
    (0x59, 0b0110), // xor
    (0x6d, 0b1110), // or
    (0x90, 0b0001), // nor
    (0x95, 0b1001), // equiv
    (0xad, 0b1101), // or reverse
    (0xd0, 0b0011), // copy inverted
    (0xd6, 0b1011), // or inverted
    (0xda, 0b0111), // nand
];

/// What is written to the registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Regs {
    pub width: u16,
    pub height: u16,
    pub pitch: u16,
    pub source_pitch: u16,
    pub to: u32,
    pub from: u32,
    pub skip: u8,
    pub mode: u8,
    pub rop: u8,
    pub ext: u8,
    pub key: u16,
    pub foreground: u32,
    pub background: u32,
}

/// Writes them through BAR 1 and starts.
pub fn start(rig: &mut Rig, regs: &Regs) {
    let mut write = |at: u64, size, value: u32| rig.mmio_write(BAR1 + 0x100 + at, size, value.into());
    write(0x00, Size::B4, regs.background);
    write(0x04, Size::B4, regs.foreground);
    write(0x08, Size::B2, u32::from(regs.width) - 1);
    write(0x0a, Size::B2, u32::from(regs.height) - 1);
    write(0x0c, Size::B2, regs.pitch.into());
    write(0x0e, Size::B2, regs.source_pitch.into());
    write(0x14, Size::B4, (regs.from & 0x3f_ffff) | u32::from(regs.skip) << 24);
    write(0x10, Size::B4, regs.to & 0x3f_ffff);
    write(0x18, Size::B1, regs.mode.into());
    write(0x1a, Size::B1, regs.rop.into());
    write(0x1b, Size::B1, regs.ext.into());
    write(0x1c, Size::B2, regs.key.into());
    write(0x40, Size::B1, 0x02);
}

pub fn status(rig: &mut Rig) -> u8 {
    rig.mmio_read(BAR1 + 0x140, Size::B1) as u8
}

fn bytes(block: &RamBlock, at: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    block.read_slice(&mut out, MemoryRegionAddress(at)).unwrap();
    out
}
fn fill(block: &RamBlock, at: u64, data: &[u8]) {
    block.write_slice(data, MemoryRegionAddress(at)).unwrap();
}

/// A pattern that has no period of interest.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

#[test]
fn a_screen_is_filled_and_a_window_moved() {
    scenario(|rig| {
        let (_, block) = attach(rig);
        // 16 bits a pixel, 100 by 3 pixels, one colour.
        let solid = Regs {
            width: 200,
            height: 3,
            pitch: 2048,
            to: 0x1000,
            mode: 0xd0,
            ext: 4,
            rop: COPY,
            foreground: 0x1234,
            ..Regs::default()
        };
        start(rig, &solid);
        assert_eq!(status(rig), 0);
        assert_eq!(bytes(&block, 0x1000 + 2048 * 2, 204), [[0x34, 0x12].repeat(100), vec![0; 4]].concat());
        assert_eq!(bytes(&block, 0x1000 + 2048 * 3, 2), [0, 0]);
        // Down by a line, backward, for the two overlap.
        let text = noise(64, 7);
        fill(&block, 0x8000, &text);
        let down = Regs {
            width: 32,
            height: 2,
            pitch: 32,
            source_pitch: 32,
            to: 0x8000 + 95,
            from: 0x8000 + 63,
            mode: 1,
            rop: COPY,
            ..Regs::default()
        };
        start(rig, &down);
        assert_eq!(bytes(&block, 0x8020, 64), text);
    });
}

#[test]
fn text_is_expanded_from_the_processor() {
    scenario(|rig| {
        let (_, block) = attach(rig);
        // 12 pixels of 8 bits by 2 lines: 2 bytes of bits each; the last access has 2 more than are asked for.
        let letters = Regs {
            width: 12,
            height: 2,
            pitch: 64,
            to: 0x100,
            mode: 0x84,
            rop: COPY,
            foreground: 0xf0,
            background: 0x0b,
            ..Regs::default()
        };
        start(rig, &letters);
        assert_eq!(status(rig) & 1, 1);
        rig.mmio_write(BAR0 + (16 << 20), Size::B2, 0x5081);
        assert_eq!(bytes(&block, 0x100, 3), [0xf0, 0x0b, 0x0b]);
        assert_eq!(status(rig) & 1, 1);
        rig.mmio_write(0xa_0000, Size::B4, 0xffff_30ff);
        assert_eq!(status(rig), 0);
        assert_eq!(bytes(&block, 0x107, 6), [0xf0, 0x0b, 0xf0, 0x0b, 0xf0, 0]);
        assert_eq!(bytes(&block, 0x148, 4), [0x0b, 0x0b, 0xf0, 0xf0]);
        // The bytes too many were dropped: they are not in the memory behind the window.
        assert_eq!(bytes(&block, 0, 8), [0; 8]);
        // Transparent, inverted, lines ending at double words, through the linear window, which is not mapped meanwhile.
        let clear = Regs { height: 1, mode: 0x8c, ext: 3, background: 0x77, to: 0x200, ..letters };
        start(rig, &clear);
        rig.mmio_write(BAR0 + 0x5000, Size::B1, 0x7f);
        rig.mmio_write(BAR0 + 0x5001, Size::B1, 0xff);
        assert_eq!(status(rig) & 1, 1);
        rig.mmio_write(BAR0 + 0x5002, Size::B2, 0);
        assert_eq!(status(rig), 0);
        assert_eq!(bytes(&block, 0x200, 3), [0x77, 0, 0]);
    });
}

#[test]
fn the_processor_reads_a_rectangle() {
    scenario(|rig| {
        let (_, block) = attach(rig);
        fill(&block, 0x3000, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let out = Regs {
            width: 3,
            height: 2,
            source_pitch: 5,
            from: 0x3000,
            mode: 2,
            rop: COPY,
            ..Regs::default()
        };
        start(rig, &out);
        assert_eq!(status(rig) & 1, 1);
        assert_eq!(rig.mmio_read(BAR0 + 8, Size::B4), 0x0003_0201);
        assert_eq!(rig.mmio_read(0xa_0000, Size::B2), 0x0706);
        assert_eq!(rig.mmio_read(0xa_0002, Size::B2), 0x0008);
        assert_eq!(status(rig), 0);
    });
}

#[test]
fn a_reset_ends_a_transfer_and_the_last_address_byte_starts() {
    scenario(|rig| {
        let (_, block) = attach(rig);
        let wait = Regs { width: 4, height: 9, pitch: 4, mode: 4, rop: COPY, to: 0x9000, ..Regs::default() };
        start(rig, &wait);
        rig.mmio_write(BAR0 + (16 << 20), Size::B1, 0x99);
        rig.mmio_write(BAR1 + 0x140, Size::B1, 0x04);
        assert_eq!(status(rig), 0x04);
        rig.mmio_write(BAR1 + 0x140, Size::B1, 0x00);
        assert_eq!(status(rig), 0);
        rig.mmio_write(BAR0 + (16 << 20), Size::B4, 0x9999_9999);
        assert_eq!(bytes(&block, 0x9000, 4), [0; 4]);
        // Autostart.
        rig.mmio_write(BAR1 + 0x140, Size::B1, 0x80);
        rig.mmio_write(BAR1 + 0x118, Size::B1, 0xc0);
        rig.mmio_write(BAR1 + 0x11b, Size::B1, 0x04);
        rig.mmio_write(BAR1 + 0x104, Size::B1, 0x42);
        rig.mmio_write(BAR1 + 0x110, Size::B2, 0xa000);
        assert_eq!(bytes(&block, 0xa000, 1), [0]);
        rig.mmio_write(BAR1 + 0x112, Size::B1, 0);
        assert_eq!(bytes(&block, 0xa000, 5), [0x42; 5]);
        assert_eq!(status(rig), 0x80);
    });
}

/// The blitter in words, for one operation, on a copy of the memory. `system` is what the processor gives.
fn model(memory: &mut [u8], regs: &Regs, system: Option<&[u8]>) {
    const MASK: i64 = (4 << 20) - 1;
    let depth = i64::from(regs.mode >> 4 & 3) + 1;
    let table = ROPS.iter().find(|(code, _)| *code == regs.rop).map_or(0b1010, |(_, table)| *table);
    let rop = |s: u8, d: u8| {
        (0..8).fold(0, |out, bit| out | (table >> ((s >> bit & 1) * 2 + (d >> bit & 1)) & 1) << bit)
    };
    let (pattern, expand, keyed) = (regs.mode & 0x40 != 0, regs.mode & 0x80 != 0, regs.mode & 8 != 0);
    let solid = pattern && expand && !keyed && regs.ext & 4 != 0;
    let backward = regs.mode & 1 != 0 && !pattern && !expand;
    let (width, pixels) = (i64::from(regs.width), (i64::from(regs.width) + depth - 1) / depth);
    let (to, from) = (i64::from(regs.to), i64::from(regs.from));
    let skip = if depth == 3 { i64::from(regs.skip & 0x1f) / 3 } else { i64::from(regs.skip & 7) };
    // A pattern is fetched before anything is drawn.
    let fetched = if pattern { memory.to_vec() } else { Vec::new() };
    let colour = |colour: u32, byte: i64| (colour >> (8 * byte)) as u8;
    for y in 0..i64::from(regs.height) {
        let at = |memory: &[u8], address: i64| memory[(address & MASK) as usize];
        let mut out = Vec::new();
        // A bit or a byte of the source; from the processor lines are as long as they need to be.
        let bit = |memory: &[u8], x: i64| {
            let rows = if regs.ext & 1 != 0 { (pixels + 31) / 32 * 4 } else { (pixels + 7) / 8 };
            let byte = match (system, pattern) {
                (Some(system), true) => system[(y % 8) as usize],
                (Some(system), false) => system[(y * rows + x / 8) as usize],
                (None, true) => at(&fetched, (from & !7) + ((from & 7) + y) % 8),
                (None, false) => at(memory, from + y * ((pixels + 7) / 8) + x / 8),
            };
            byte >> (7 - x % 8) & 1 != 0
        };
        for x in 0..pixels {
            if (pattern || expand) && !solid && x < skip {
                continue;
            }
            let mut pixel = Vec::new();
            for byte in 0..depth {
                // The last pixel of a copy may be cut.
                let index = x * depth + byte;
                if !pattern && !expand && !keyed && index >= width {
                    continue;
                }
                let place = if backward {
                    let back = if keyed { x * depth + (depth - 1 - byte) } else { index };
                    to - y * i64::from(regs.pitch) - back
                } else {
                    to + y * i64::from(regs.pitch) + index
                };
                let source = if solid {
                    colour(regs.foreground, byte)
                } else if expand && keyed {
                    let inverted = regs.ext & 2 != 0;
                    if bit(memory, x) == inverted {
                        continue;
                    }
                    colour(if inverted { regs.background } else { regs.foreground }, byte)
                } else if expand {
                    colour(if bit(memory, x) { regs.foreground } else { regs.background }, byte)
                } else if pattern {
                    let pitch = if depth < 3 { depth * 8 } else { 32 };
                    let row = |first: i64| (first + y) % 8 * pitch + x % 8 * depth + byte;
                    match system {
                        Some(system) => system[row(0) as usize],
                        None => at(&fetched, (from & !(pitch * 8 - 1)) + row(from & 7)),
                    }
                } else if let Some(system) = system {
                    system.get((y * ((width + 3) / 4 * 4) + index) as usize).copied().unwrap_or(0)
                } else if backward {
                    at(
                        memory,
                        from - y * i64::from(regs.source_pitch) - (to - y * i64::from(regs.pitch) - place),
                    )
                } else {
                    at(memory, from + y * i64::from(regs.source_pitch) + index)
                };
                pixel.push((place, rop(source, at(memory, place))));
            }
            let key = regs.key.to_le_bytes();
            let hidden = keyed && !pattern && !expand && pixel.iter().zip(key).all(|((_, a), b)| *a == b);
            if !hidden {
                out.append(&mut pixel);
            }
        }
        out.into_iter().for_each(|(place, value)| memory[(place & MASK) as usize] = value);
    }
}

/// A random operation that the engine can do.
fn any(random: &mut Random) -> Regs {
    let kind = random.one(&[0x00, 0x01, 0x08, 0x09, 0x40, 0x80, 0x88, 0xc0, 0xc8]);
    let depth = if kind & 0xc8 == 8 { random.below(2) } else { random.below(4) } as u8;
    let near = random.one(&[0, 0x3f_ff80, 0x2000, 0x20_0000]);
    let pitch = random.below(90) as u16;
    let (rop, key) = (random.one(&ROPS).0, random.next() as u16);
    // Whole pixels where a pair of bytes is compared: how one that is cut is compared is not known.
    let width = (random.below(70) as u16 + 1).next_multiple_of(if kind & 0xc8 == 8 { 2 } else { 1 });
    Regs {
        width,
        height: random.below(12) as u16 + 1,
        pitch,
        source_pitch: random.below(90) as u16,
        to: near + random.below(900) as u32,
        from: random.one(&[near, 0x1000, 0x3f_ffe0]) + random.below(1200) as u32,
        skip: random.next() as u8,
        mode: kind | depth << 4,
        rop: random.one(&[COPY, rop, key as u8]),
        ext: random.one(&[0, 2, 4, 6]),
        key: random.one(&[0, 0xffff, key]),
        foreground: random.next() as u32,
        background: random.next() as u32,
    }
}

/// Bytes that the processor has to give for all of an operation.
fn wanted(regs: &Regs) -> usize {
    let depth = usize::from(regs.mode >> 4 & 3) + 1;
    let (width, height) = (usize::from(regs.width), usize::from(regs.height));
    let pixels = width.div_ceil(depth);
    match regs.mode & 0xc0 {
        0xc0 => 8,
        0x40 => 8 * if depth < 3 { depth * 8 } else { 32 },
        0x80 if regs.ext & 1 != 0 => pixels.div_ceil(32) * 4 * height,
        0x80 => pixels.div_ceil(8) * height,
        _ => width.div_ceil(4) * 4 * height,
    }
}

#[test]
fn random_operations_do_what_the_model_does() {
    let mut rig = Rig::new();
    let (_, block) = attach(&mut rig);
    let mut expected = noise(4 << 20, 0x1234_5678_9abc);
    fill(&block, 0, &expected);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for case in 0..600 {
        let mut regs = any(&mut random);
        let system = case % 3 == 0 && regs.mode & 1 == 0 && regs.ext & 4 == 0;
        let given = system.then(|| {
            regs.mode |= 4;
            regs.ext |= random.below(2) as u8;
            // A cut pair of a copy from the processor has nothing to be compared with.
            noise(wanted(&regs), random.next() | 1)
        });
        start(&mut rig, &regs);
        for &byte in given.iter().flatten() {
            assert_eq!(status(&mut rig) & 1, 1, "{case}: {regs:?}");
            rig.mmio_write(BAR0 + (16 << 20), Size::B1, byte.into());
        }
        assert_eq!(status(&mut rig), 0, "{case}: {regs:?}");
        model(&mut expected, &regs, given.as_deref());
        let all = bytes(&block, 0, 4 << 20);
        let wrong = (all != expected).then(|| all.iter().zip(&expected).position(|(a, b)| a != b));
        assert_eq!(wrong, None, "{case}: {regs:x?}");
    }
}
