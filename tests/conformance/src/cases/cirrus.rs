//! Cirrus Logic's GD5446: what drivers find and rely on (SeaBIOS's VGA BIOS, Linux's cirrusfb, X.org's driver), beyond the
//! VGA's own registers. The clauses name the register; what it does is what these have in common.

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const SLOT: u8 = 2;
const SEQUENCER: u16 = 0x3c4;
const GRAPHICS: u16 = 0x3ce;
const CRTC: u16 = 0x3d4;
/// Where cases put the BARs.
const LFB: u64 = 0xe000_0000;
const MMIO: u64 = 0xe400_0000;

pub(super) const GROUP: Group = Group {
    device: "cirrus",
    about: "Cirrus Logic GD5446",
    setup: Setup { disks: &[], args: &["-device", "cirrus-vga"] },
    cases: &[
        case("identity", "PCI 2.1, 6.2.1; GD5446", identity),
        case("BARs and their sizes", "PCI 2.1, 6.2.5", bars),
        case("the key unlocks", "SR6", key),
        case("which chip it is", "CR27", chip),
        case("how much memory there is", "SRF, SR15", memory),
        case("hidden DAC register", "HDR: four reads of 3C6", hidden_dac),
        case("registers that are storage", "SR7 to SR1F, GR9 to GRB, CR19 to CR1D", storage),
        case("linear memory holds bytes, words and more", "SR7, BAR 0", linear),
        case("banks of 4 KiB", "GR9, GRB", banks),
        case("two banks of 16 KiB", "GR9, GRA, GRB bits 0 and 5", two_banks),
        case("a rectangle is copied", "GR20 to GR32, BitBLT", copies),
        case("backwards, over itself", "GR30 bit 0", backwards),
        case("sixteen raster operations", "GR32", operations),
        case("bits become colours", "GR30 bit 7, GR0, GR1", expands),
        case("bits that are not set leave what was there", "GR30 bits 7 and 3", transparent),
        case("a pattern of eight by eight", "GR30 bit 6", patterns),
        case("one colour fills", "GR33 bit 2", solid),
        case("the processor gives the source", "GR30 bit 2", from_system),
        case("registers of the blitter in memory", "SR17 bit 2, BAR 1", in_memory),
        case("a reset ends a transfer", "GR31 bit 2", blit_reset),
        case("after reset", "PCI 2.1, 4.3; SR6", reset),
    ],
};

fn sequencer(bench: &mut Bench<'_>, index: u8, value: u8) {
    bench.set_indexed(SEQUENCER, index, value);
}

fn graphics(bench: &mut Bench<'_>, index: u8, value: u8) {
    bench.set_indexed(GRAPHICS, index, value);
}

/// Puts the BARs in place, unlocks the chip, and sets eight bits a pixel, packed and linear.
fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, LFB as u32);
    bench.set_config(SLOT, 0, 0x14, Size::B4, MMIO as u32);
    bench.set_config(SLOT, 0, 4, Size::B2, 3);
    bench.outb(0x3c2, 0x63);
    for (index, value) in [(0, 3), (1, 1), (2, 0xf), (3, 0), (4, 0xe), (6, 0x12), (7, 0xf1), (0x17, 0x20)] {
        sequencer(bench, index, value);
    }
    for (index, value) in [0, 0, 0, 0, 0, 0x40, 5, 0xf, 0xff, 0, 0, 0].into_iter().enumerate() {
        graphics(bench, index as u8, value);
    }
}

/// Words of the blitter's registers, two bytes each but addresses, which are three.
struct Blit {
    width: u16,
    height: u16,
    to: u32,
    from: u32,
    pitch: u16,
    mode: u8,
    rop: u8,
    ext: u8,
}

const PITCH: u16 = 64;
const SOURCE: u32 = 0x1_0000;
const DEST: u32 = 0x2_0000;
const COPY: u8 = 0x0d;

/// Sixteen bytes by two lines, copied.
const PLAIN: Blit =
    Blit { width: 16, height: 2, to: DEST, from: SOURCE, pitch: PITCH, mode: 0, rop: COPY, ext: 0 };

impl Blit {
    fn start(&self, bench: &mut Bench<'_>) {
        let words = [(0x20, self.width - 1), (0x22, self.height - 1), (0x24, self.pitch), (0x26, self.pitch)];
        for (index, word) in words {
            let [low, high] = word.to_le_bytes();
            graphics(bench, index, low);
            graphics(bench, index + 1, high);
        }
        for (index, address) in [(0x28, self.to), (0x2c, self.from)] {
            for (at, byte) in (index..).zip(&address.to_le_bytes()[..3]) {
                graphics(bench, at, *byte);
            }
        }
        for (index, value) in [(0x2f, 0), (0x30, self.mode), (0x32, self.rop), (0x33, self.ext), (0x31, 2)] {
            graphics(bench, index, value);
        }
    }

    /// Starts it; it is over soon.
    fn run(&self, bench: &mut Bench<'_>) {
        self.start(bench);
        bench.outb(GRAPHICS, 0x31);
        let status = bench.poll(GRAPHICS + 1, 100, |status| status & 1 == 0);
        bench.check_bits("it is over", status, 1u8, 0u8);
    }
}

fn put(bench: &mut Bench<'_>, at: u32, data: &[u8]) {
    for (at, four) in (at..).step_by(4).zip(data.chunks(4)) {
        let mut word = [0; 4];
        word[..four.len()].copy_from_slice(four);
        bench.writel(LFB + u64::from(at), u32::from_le_bytes(word));
    }
}

fn get(bench: &mut Bench<'_>, at: u32, len: usize) -> Vec<u8> {
    let words = (0..len.div_ceil(4)).map(|word| bench.readl(LFB + u64::from(at) + 4 * word as u64));
    let mut data: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    data.truncate(len);
    data
}

/// A line of the source, and what is where it goes.
const LINE: [u8; 16] = [1, 2, 3, 4, 0x55, 0xaa, 0, 0xff, 9, 10, 11, 12, 0xf0, 0x0f, 0x33, 0xcc];
const THERE: [u8; 16] = [0x11; 16];

fn prepare(bench: &mut Bench<'_>) {
    on(bench);
    for line in 0..2 {
        put(bench, SOURCE + line * u32::from(PITCH), &LINE);
        put(bench, DEST + line * u32::from(PITCH), &THERE);
    }
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x00b8_1013u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class: VGA", class >> 8, 0x03_0000u32);
    let kind = bench.config(SLOT, 0, 0xe, Size::B1);
    bench.check("header type", kind, 0u8);
    let space = bench.config_space(SLOT, 0, 64);
    bench.note("revision", space[8]);
    bench.note_bytes("subsystem", &space[0x2c..0x30]);
}

fn bars(bench: &mut Bench<'_>) {
    for (what, reg, size) in [("BAR 0", 0x10, 32u32 << 20), ("BAR 1", 0x14, 4096), ("BAR 2", 0x18, 0)] {
        let got = bench.bar_size(SLOT, 0, reg);
        bench.check(what, got, size);
    }
    let kinds = [0x10, 0x14].map(|reg| bench.config(SLOT, 0, reg, Size::B1) & 0xf);
    bench.check("BAR 0 is prefetchable memory", kinds[0], 8u8);
    bench.check("BAR 1 is memory", kinds[1], 0u8);
}

fn key(bench: &mut Bench<'_>) {
    on(bench);
    for (written, read) in
        [(0x12u8, 0x12u8), (0, 0x0f), (0x13, 0x0f), (0x32, 0x12), (0x1f, 0x0f), (0x12, 0x12)]
    {
        sequencer(bench, 6, written);
        let got = bench.indexed(SEQUENCER, 6);
        bench.check(format!("after {written:#x}"), got, read);
    }
}

fn chip(bench: &mut Bench<'_>) {
    on(bench);
    let id = bench.indexed(CRTC, 0x27);
    bench.check("a GD5446", id, 0xb8u8);
    bench.set_indexed(CRTC, 0x27, 0);
    let id = bench.indexed(CRTC, 0x27);
    bench.check("it cannot be changed", id, 0xb8u8);
}

fn memory(bench: &mut Bench<'_>) {
    on(bench);
    let dram = bench.indexed(SEQUENCER, 0x0f);
    bench.check_bits("width and banks of 4 MiB", dram, 0x98u8, 0x98u8);
    let scratch = bench.indexed(SEQUENCER, 0x15);
    bench.note("SR15", scratch);
    let config = bench.indexed(SEQUENCER, 0x17);
    bench.check_bits("a PCI bus", config, 0x38u8, 0x20u8);
}

fn hidden_dac(bench: &mut Bench<'_>) {
    on(bench);
    let reach = |bench: &mut Bench<'_>| {
        // A read of another port of the DAC begins the count anew.
        bench.inb(0x3c8);
        for _ in 0..4 {
            bench.inb(0x3c6);
        }
    };
    bench.outb(0x3c6, 0xff);
    for value in [0xc5u8, 0xe1, 0] {
        reach(bench);
        bench.outb(0x3c6, value);
        reach(bench);
        let got = bench.inb(0x3c6);
        bench.check(format!("{value:#x}"), got, value);
    }
    bench.inb(0x3c8);
    let mask = bench.inb(0x3c6);
    bench.check("the mask is another register", mask, 0xffu8);
}

fn storage(bench: &mut Bench<'_>) {
    on(bench);
    for (port, index, value) in [
        (SEQUENCER, 0x0bu8, 0x66u8),
        (SEQUENCER, 0x0e, 0x2a),
        (SEQUENCER, 0x1b, 0x3b),
        (SEQUENCER, 0x1e, 0x1f),
        (SEQUENCER, 0x1f, 0x22),
        (GRAPHICS, 0x09, 0x40),
        (GRAPHICS, 0x0a, 0x80),
        (GRAPHICS, 0x20, 0x5a),
        (GRAPHICS, 0x24, 0xa5),
        (GRAPHICS, 0x34, 0x77),
        (CRTC, 0x19, 0x12),
        (CRTC, 0x1b, 0x22),
        (CRTC, 0x1d, 0x80),
    ] {
        bench.set_indexed(port, index, value);
        let got = bench.indexed(port, index);
        bench.check(format!("{port:#x} index {index:#x}"), got, value);
    }
}

fn linear(bench: &mut Bench<'_>) {
    on(bench);
    bench.write(LFB + 0x3000, Size::B4, 0x4433_2211);
    let bytes = [0, 1, 2, 3].map(|at| bench.read(LFB + 0x3000 + at, Size::B1) as u8);
    bench.check_bytes("bytes of a double word", &bytes, &[0x11, 0x22, 0x33, 0x44]);
    bench.write(LFB + 0x3001, Size::B1, 0x99);
    bench.write(LFB + 0x3002, Size::B2, 0x8877);
    let got = bench.readl(LFB + 0x3000);
    bench.check("a byte and a word", got, 0x8877_9911u32);
    let end = (4u64 << 20) - 4;
    bench.writel(LFB + end, 0x0102_0304);
    let got = bench.readl(LFB + end);
    bench.check("the last of 4 MiB", got, 0x0102_0304u32);
}

fn banks(bench: &mut Bench<'_>) {
    on(bench);
    bench.writel(LFB + 0x2_3004, 0x1357_9bdf);
    graphics(bench, 9, 0x23);
    let got = bench.readl(0xa_0004);
    bench.check("bank 0x23 begins at 0x23000", got, 0x1357_9bdfu32);
    bench.writel(0xa_0008, 0x2468_ace0);
    let got = bench.readl(LFB + 0x2_3008);
    bench.check("what is written there", got, 0x2468_ace0u32);
}

fn two_banks(bench: &mut Bench<'_>) {
    on(bench);
    bench.writel(LFB + 0x4_0000, 0x1111_1111);
    bench.writel(LFB + 0x8_0000, 0x2222_2222);
    graphics(bench, 0x0b, 0x21);
    graphics(bench, 9, 0x10);
    graphics(bench, 0x0a, 0x20);
    let got = [0xa_0000, 0xa_8000].map(|at| bench.readl(at));
    bench.check("lower half", got[0], 0x1111_1111u32);
    bench.check("upper half", got[1], 0x2222_2222u32);
}

fn copies(bench: &mut Bench<'_>) {
    prepare(bench);
    PLAIN.run(bench);
    for line in 0..2 {
        let got = get(bench, DEST + line * u32::from(PITCH), 20);
        let want = [&LINE[..], &[0; 4]].concat();
        bench.check_bytes(format!("line {line}"), &got, &want);
    }
    let third = get(bench, DEST + 2 * u32::from(PITCH), 16);
    bench.check_bytes("no line more", &third, &[0; 16]);
    // Three bytes of a line.
    Blit { width: 3, height: 1, to: DEST + 33, from: SOURCE + 4, ..PLAIN }.run(bench);
    let got = get(bench, DEST + 32, 8);
    bench.check_bytes("three bytes", &got, &[0, 0x55, 0xaa, 0, 0, 0, 0, 0]);
}

fn backwards(bench: &mut Bench<'_>) {
    prepare(bench);
    // Four to the right, over itself: the last byte first.
    let last = SOURCE + u32::from(PITCH) + 15;
    Blit { mode: 1, from: last, to: last + 4, ..PLAIN }.run(bench);
    for line in 0..2 {
        let got = get(bench, SOURCE + line * u32::from(PITCH), 20);
        let want = [&LINE[..4], &LINE[..]].concat();
        bench.check_bytes(format!("line {line}"), &got, &want);
    }
}

/// What becomes of a byte of the source and one that is there.
type Combine = fn(u8, u8) -> u8;

fn operations(bench: &mut Bench<'_>) {
    let table: [(u8, &str, Combine); 16] = [
        (0x00, "zeros", |_, _| 0),
        (0x05, "and", |s, d| s & d),
        (0x06, "nothing", |_, d| d),
        (0x09, "and not", |s, d| s & !d),
        (0x0b, "not what is there", |_, d| !d),
        (0x0d, "copy", |s, _| s),
        (0x0e, "ones", |_, _| 0xff),
        (0x50, "not and", |s, d| !s & d),
        (0x59, "xor", |s, d| s ^ d),
        (0x6d, "or", |s, d| s | d),
        (0x90, "nor", |s, d| !(s | d)),
        (0x95, "xnor", |s, d| !(s ^ d)),
        (0xad, "or not", |s, d| s | !d),
        (0xd0, "not", |s, _| !s),
        (0xd6, "not or", |s, d| !s | d),
        (0xda, "nand", |s, d| !(s & d)),
    ];
    prepare(bench);
    let there: [u8; 16] = std::array::from_fn(|at| [0x11, 0x5a, 0xff, 0][at % 4]);
    for (rop, name, combine) in table {
        put(bench, DEST, &there);
        Blit { height: 1, rop, ..PLAIN }.run(bench);
        let got = get(bench, DEST, 16);
        let want: Vec<u8> = LINE.iter().zip(&there).map(|(s, d)| combine(*s, *d)).collect();
        bench.check_bytes(name, &got, &want);
    }
}

/// Colours for bits that are set and that are not.
fn colours(bench: &mut Bench<'_>) {
    graphics(bench, 0, 0x22);
    graphics(bench, 1, 0x77);
}

fn expands(bench: &mut Bench<'_>) {
    prepare(bench);
    colours(bench);
    put(bench, SOURCE, &[0b1010_0001, 0b0000_1111, 0b1100_0011, 0b0101_0101]);
    Blit { mode: 0x80, ..PLAIN }.run(bench);
    let colour = |bits: u16| -> Vec<u8> {
        (0..16).map(|at| if bits >> (15 - at) & 1 != 0 { 0x77 } else { 0x22 }).collect()
    };
    for (line, bits) in [(0, 0b1010_0001_0000_1111), (1, 0b1100_0011_0101_0101)] {
        let got = get(bench, DEST + line * u32::from(PITCH), 16);
        bench.check_bytes(format!("line {line}"), &got, &colour(bits));
    }
}

fn transparent(bench: &mut Bench<'_>) {
    prepare(bench);
    colours(bench);
    put(bench, SOURCE, &[0b1010_0001, 0b0000_1111, 0, 0]);
    Blit { height: 1, mode: 0x88, ..PLAIN }.run(bench);
    let got = get(bench, DEST, 16);
    let want: Vec<u8> =
        (0..16).map(|at| if 0b1010_0001_0000_1111u16 >> (15 - at) & 1 != 0 { 0x77 } else { 0x11 }).collect();
    bench.check_bytes("the background stays", &got, &want);
}

fn patterns(bench: &mut Bench<'_>) {
    prepare(bench);
    let pattern: Vec<u8> = (0..64).collect();
    put(bench, SOURCE, &pattern);
    Blit { mode: 0x40, ..PLAIN }.run(bench);
    for line in 0..2u32 {
        let got = get(bench, DEST + line * u32::from(PITCH), 16);
        let row = &pattern[line as usize * 8..][..8];
        bench.check_bytes(format!("line {line}"), &got, &[row, row].concat());
    }
    // Bits: a byte a line.
    colours(bench);
    put(bench, SOURCE, &[0xf0, 0x0f, 0, 0, 0, 0, 0, 0]);
    Blit { mode: 0xc0, ..PLAIN }.run(bench);
    let (set, clear) = ([0x77; 4], [0x22; 4]);
    let got = get(bench, DEST, 16);
    bench.check_bytes("bits, line 0", &got, &[set, clear, set, clear].concat());
    let got = get(bench, DEST + u32::from(PITCH), 16);
    bench.check_bytes("bits, line 1", &got, &[clear, set, clear, set].concat());
}

fn solid(bench: &mut Bench<'_>) {
    prepare(bench);
    colours(bench);
    Blit { mode: 0xc0, ext: 4, width: 5, ..PLAIN }.run(bench);
    let got = get(bench, DEST, 8);
    bench.check_bytes("five of the foreground", &got, &[0x77, 0x77, 0x77, 0x77, 0x77, 0x11, 0x11, 0x11]);
}

fn from_system(bench: &mut Bench<'_>) {
    prepare(bench);
    let blit = Blit { mode: 4, width: 6, ..PLAIN };
    blit.start(bench);
    let status = bench.indexed(GRAPHICS, 0x31);
    bench.check_bits("it waits for the processor", status, 1u8, 1u8);
    // Each line ends at a double word.
    for word in [0x0403_0201u32, 0x0000_0605, 0x1413_1211, 0x0000_1615] {
        bench.writel(0xa_0000, word);
    }
    let status = bench.indexed(GRAPHICS, 0x31);
    bench.check_bits("it is over", status, 1u8, 0u8);
    let got = get(bench, DEST, 8);
    bench.check_bytes("line 0", &got, &[1, 2, 3, 4, 5, 6, 0x11, 0x11]);
    let got = get(bench, DEST + u32::from(PITCH), 8);
    bench.check_bytes("line 1", &got, &[0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x11, 0x11]);
}

fn in_memory(bench: &mut Bench<'_>) {
    prepare(bench);
    sequencer(bench, 0x17, 0x24);
    for (at, value) in [
        (0x08u64, u32::from(PLAIN.height - 1) << 16 | u32::from(PLAIN.width - 1)),
        (0x0c, u32::from(PITCH) << 16 | u32::from(PITCH)),
        (0x10, DEST),
        (0x14, SOURCE),
    ] {
        bench.writel(MMIO + 0x100 + at, value);
    }
    bench.write(MMIO + 0x100 + 0x18, Size::B1, 0);
    bench.write(MMIO + 0x100 + 0x1a, Size::B1, COPY.into());
    bench.write(MMIO + 0x100 + 0x1b, Size::B1, 0);
    let pitch = bench.indexed(GRAPHICS, 0x24);
    bench.check("they are the same registers", pitch, PITCH as u8);
    bench.write(MMIO + 0x100 + 0x40, Size::B1, 2);
    let got = get(bench, DEST + u32::from(PITCH), 16);
    bench.check_bytes("the last line", &got, &LINE);
}

fn blit_reset(bench: &mut Bench<'_>) {
    prepare(bench);
    Blit { mode: 4, ..PLAIN }.start(bench);
    bench.writel(0xa_0000, 0x0403_0201);
    graphics(bench, 0x31, 4);
    graphics(bench, 0x31, 0);
    let status = bench.indexed(GRAPHICS, 0x31);
    bench.check_bits("it is over", status, 1u8, 0u8);
    Blit { height: 1, ..PLAIN }.run(bench);
    let got = get(bench, DEST, 16);
    bench.check_bytes("another one works", &got, &LINE);
}

fn reset(bench: &mut Bench<'_>) {
    on(bench);
    bench.reset();
    let bar = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("BAR 0", bar & !0xf, 0u32);
    let command = bench.config(SLOT, 0, 4, Size::B2);
    bench.check_bits("nothing is decoded", command, 3u8, 0u8);
    let key = bench.indexed(SEQUENCER, 6);
    bench.check("locked", key, 0x0fu8);
}
