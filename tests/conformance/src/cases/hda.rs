//! Intel HD Audio with QEMU's duplex codec: High Definition Audio Specification, 1.0a (H).

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const SLOT: u8 = 4;
const BAR: u64 = 0xf000_0000;
const CORB: u64 = 0x11_0000;
const RIRB: u64 = 0x11_0800;
const POSITIONS: u64 = 0x11_1000;
const LIST: u64 = 0x11_2000;
const BUFFER: u64 = 0x11_4000;
/// The first output stream.
const OUT: u64 = 0x100;
/// Of each buffer: ten milliseconds of two channels of 16 bits at 48 kHz.
const BYTES: u32 = 1920;
const MS: u64 = 1_000_000;

pub(super) const GROUP: Group = Group {
    device: "hda",
    about: "Intel HD Audio (ICH6) with QEMU's duplex codec",
    setup: Setup {
        disks: &[],
        args: &[
            "-audiodev",
            "none,id=sound",
            "-device",
            "intel-hda,addr=4",
            "-device",
            "hda-duplex,audiodev=sound",
        ],
    },
    cases: &[
        case("identity", "PCI 2.1, 6.2.1; ICH6 19.1", identity),
        case("BAR", "PCI 2.1, 6.2.5", bar),
        case("MSI", "PCI 3.0, 6.8.1", msi),
        case("registers after power-on", "H 3.3", power_on),
        case("out of its reset", "H 4.2.2, 3.3.7", out_of_reset),
        case("back into its reset", "H 4.2.2", into_reset),
        case("codecs that have come", "H 4.3, 3.3.9", codecs),
        case("bits that are written", "H 3.3", storage),
        case("the wall clock", "H 3.3.16", wall_clock),
        case("pointers of the rings are reset", "H 3.3.21, 3.3.27", pointers),
        case("commands and responses", "H 4.4", commands),
        case("an interrupt for responses", "H 4.4.2, 3.3.30", response_interrupt),
        case("commands one by one", "H 3.4.3", immediate),
        case("ids of the codec", "H 7.3.4.1, 7.3.4.2", ids),
        case("the tree", "H 7.3.4.3 to 7.3.4.11", tree),
        case("connections and defaults of pins", "H 7.3.3.3, 7.3.3.31", pins),
        case("registers of a converter", "H 7.3.3.8, 7.3.3.11, 7.3.3.7", converter),
        case("control of a pin", "H 7.3.3.13", pin_control),
        case("a stream descriptor after power-on", "H 3.3.35 to 3.3.42", descriptor),
        case("a stream is reset", "H 3.3.35, SRST", stream_reset),
        case("a stream plays", "H 4.5", plays),
        case("positions in memory", "H 3.3.32, 4.5.6", positions),
        case("a stream stops and goes on", "H 3.3.35, RUN", goes_on),
        case("after reset", "PCI 2.1, 4.3", reset),
    ],
};

fn identity(bench: &mut Bench<'_>) {
    let get = |bench: &mut Bench<'_>, reg, size| bench.config(SLOT, 0, reg, size);
    let id = get(bench, 0, Size::B4);
    bench.check("vendor and device", id, 0x2668_8086u32);
    let class = get(bench, 8, Size::B4);
    bench.check("class", class >> 8, 0x04_0300u32);
    bench.note("revision", class & 0xff);
    let pin = get(bench, 0x3d, Size::B1);
    bench.check("pin", pin, 1u8);
    let control = get(bench, 0x40, Size::B1);
    bench.check("HDCTL", control, 1u8);
    let subsystem = get(bench, 0x2c, Size::B4);
    bench.note("subsystem", subsystem);
}

fn bar(bench: &mut Bench<'_>) {
    let size = bench.bar_size(SLOT, 0, 0x10);
    bench.check("bytes", size, 0x4000u32);
}

fn msi(bench: &mut Bench<'_>) {
    let at = bench.config(SLOT, 0, 0x34, Size::B1);
    bench.check("first capability", at, 0x60u8);
    let control = bench.config(SLOT, 0, 0x60, Size::B4);
    bench.check("one message, 64-bit addresses", control & 0xffff_00ff, 0x0080_0005u32);
    bench.note("next capability", control >> 8 & 0xff);
}

/// The BAR and bus mastering.
fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, BAR as u32);
    bench.set_config(SLOT, 0, 4, Size::B2, 6);
}

fn get(bench: &mut Bench<'_>, at: u64, size: Size) -> u64 {
    bench.read(BAR + at, size)
}

fn put(bench: &mut Bench<'_>, at: u64, size: Size, value: u64) {
    bench.write(BAR + at, size, value);
}

/// Out of its reset.
fn ready(bench: &mut Bench<'_>) {
    on(bench);
    put(bench, 0xe, Size::B2, 0x7fff);
    put(bench, 8, Size::B4, 0);
    bench.wait(MS);
    put(bench, 8, Size::B4, 1);
    bench.wait(MS);
}

/// Both rings run, without interrupts.
fn rings(bench: &mut Bench<'_>) {
    ready(bench);
    for (at, value) in [(0x40, CORB), (0x44, 0), (0x50, RIRB), (0x54, 0)] {
        put(bench, at, Size::B4, value);
    }
    put(bench, 0x5a, Size::B2, 0xff);
    put(bench, 0x5c, Size::B1, 2);
    put(bench, 0x4c, Size::B1, 2);
}

/// What codec 0 says to a command, by the register for one.
fn ask(bench: &mut Bench<'_>, node: u64, command: u64) -> u64 {
    put(bench, 0x68, Size::B2, 2);
    put(bench, 0x60, Size::B4, node << 20 | command);
    put(bench, 0x68, Size::B2, 1);
    get(bench, 0x64, Size::B4)
}

fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at, size, expected) in [
        ("GCAP", 0, Size::B2, 0x4401u64),
        ("VMIN", 2, Size::B1, 0),
        ("VMAJ", 3, Size::B1, 1),
        ("OUTPAY", 4, Size::B2, 0x3c),
        ("INPAY", 6, Size::B2, 0x1d),
        ("GCTL", 8, Size::B4, 0),
        ("WAKEEN", 0xc, Size::B2, 0),
        ("INTCTL", 0x20, Size::B4, 0),
        ("INTSTS", 0x24, Size::B4, 0),
        ("CORBSIZE", 0x4e, Size::B1, 0x42),
        ("RIRBSIZE", 0x5e, Size::B1, 0x42),
    ] {
        let found = get(bench, at, size);
        bench.check(name, found, expected);
    }
}

fn out_of_reset(bench: &mut Bench<'_>) {
    ready(bench);
    let control = get(bench, 8, Size::B4);
    bench.check("GCTL", control, 1u8);
}

fn into_reset(bench: &mut Bench<'_>) {
    ready(bench);
    put(bench, 0x20, Size::B4, 0xc000_00ff);
    put(bench, 8, Size::B4, 0);
    let control = get(bench, 8, Size::B4);
    bench.check("GCTL", control, 0u8);
    let interrupts = get(bench, 0x20, Size::B4);
    bench.check("INTCTL", interrupts, 0u8);
    put(bench, 0x20, Size::B4, 0xc000_00ff);
    let interrupts = get(bench, 0x20, Size::B4);
    bench.check("it is not written meanwhile", interrupts, 0u8);
}

fn codecs(bench: &mut Bench<'_>) {
    ready(bench);
    let found = get(bench, 0xe, Size::B2);
    bench.check("STATESTS", found, 1u8);
    put(bench, 0xe, Size::B2, 1);
    let found = get(bench, 0xe, Size::B2);
    bench.check("cleared by a one", found, 0u8);
}

fn storage(bench: &mut Bench<'_>) {
    ready(bench);
    for (name, at, size, expected) in [
        ("INTCTL", 0x20u64, Size::B4, 0xc000_00ffu64),
        ("CORBLBASE", 0x40, Size::B4, 0xffff_ff80),
        ("CORBUBASE", 0x44, Size::B4, 0xffff_ffff),
        ("CORBWP", 0x48, Size::B2, 0xff),
        ("RIRBLBASE", 0x50, Size::B4, 0xffff_ff80),
        ("RINTCNT", 0x5a, Size::B2, 0xff),
        ("DPLBASE", 0x70, Size::B4, 0xffff_ff81),
        ("CBL", OUT + 8, Size::B4, 0xffff_ffff),
        ("LVI", OUT + 0xc, Size::B2, 0xff),
        ("FMT", OUT + 0x12, Size::B2, 0x7f7f),
        ("BDPL", OUT + 0x18, Size::B4, 0xffff_ff80),
    ] {
        put(bench, at, size, 0xffff_ffff);
        let found = get(bench, at, size);
        bench.check(name, found, expected);
    }
}

fn wall_clock(bench: &mut Bench<'_>) {
    ready(bench);
    let before = get(bench, 0x30, Size::B4);
    bench.wait(10 * MS);
    let after = get(bench, 0x30, Size::B4);
    // An access takes QEMU's CPU some microseconds.
    let slack = bench.slack() * 24 / 1000 + 4_800;
    bench.check_range("24 MHz", after.wrapping_sub(before) & 0xffff_ffff, 240_000, 240_000 + slack);
    let alias = get(bench, 0x2030, Size::B4);
    bench.check_range("its alias", alias.wrapping_sub(after) & 0xffff_ffff, 0, slack);
}

fn pointers(bench: &mut Bench<'_>) {
    ready(bench);
    put(bench, 0x4a, Size::B2, 0x8000);
    let pointer = get(bench, 0x4a, Size::B2);
    bench.check("CORBRP until it is cleared", pointer, 0x8000u16);
    put(bench, 0x4a, Size::B2, 0);
    let pointer = get(bench, 0x4a, Size::B2);
    bench.check("CORBRP", pointer, 0u8);
    put(bench, 0x58, Size::B2, 0x8000);
    let pointer = get(bench, 0x58, Size::B2);
    bench.check("RIRBWP", pointer, 0u8);
}

fn commands(bench: &mut Bench<'_>) {
    rings(bench);
    for (n, verb) in [0x000f_0000u32, 0x000f_0004, 0x001f_0005].into_iter().enumerate() {
        bench.poke(CORB + 4 * (n as u64 + 1), &verb.to_le_bytes());
    }
    put(bench, 0x48, Size::B2, 3);
    bench.wait(MS);
    let read = get(bench, 0x4a, Size::B2);
    bench.check("CORBRP", read, 3u8);
    let write = get(bench, 0x58, Size::B2);
    bench.check("RIRBWP", write, 3u8);
    let responses = bench.peek(RIRB + 8, 24);
    let expected = [0x1af4_0022u64, 0x1_0001, 1].map(u64::to_le_bytes);
    bench.check_bytes("responses", &responses, expected.as_flattened());
}

fn response_interrupt(bench: &mut Bench<'_>) {
    rings(bench);
    put(bench, 0x5c, Size::B1, 3);
    put(bench, 0x20, Size::B4, 0xc000_0000);
    bench.poke(CORB + 4, &0x000f_0000u32.to_le_bytes());
    put(bench, 0x48, Size::B2, 1);
    bench.wait(MS);
    let status = get(bench, 0x24, Size::B4);
    bench.check("INTSTS", status, 0xc000_0000u32);
    let status = get(bench, 0x5d, Size::B1);
    bench.check("RIRBSTS", status, 1u8);
    put(bench, 0x5d, Size::B1, 1);
    let status = get(bench, 0x24, Size::B4);
    bench.check("INTSTS then", status, 0u8);
}

fn immediate(bench: &mut Bench<'_>) {
    ready(bench);
    put(bench, 0x60, Size::B4, 0x000f_0000);
    put(bench, 0x68, Size::B2, 1);
    let status = get(bench, 0x68, Size::B2);
    bench.check_bits("valid and not busy", status, 3u8, 2u8);
    let response = get(bench, 0x64, Size::B4);
    bench.check("response", response, 0x1af4_0022u32);
    put(bench, 0x68, Size::B2, 2);
    let status = get(bench, 0x68, Size::B2);
    bench.check_bits("taken", status, 3u8, 0u8);
}

fn ids(bench: &mut Bench<'_>) {
    ready(bench);
    for (name, node, command, expected) in [
        ("vendor and device", 0, 0xf_0000, 0x1af4_0022u64),
        ("revision", 0, 0xf_0002, 0x10_0101),
        ("subsystem", 1, 0xf_2000, 0x1af4_0022),
    ] {
        let found = ask(bench, node, command);
        bench.check(name, found, expected);
    }
}

fn tree(bench: &mut Bench<'_>) {
    ready(bench);
    for (node, id, expected) in [
        (0, 4, 0x1_0001u64),
        (1, 4, 0x2_0004),
        (1, 5, 1),
        (1, 8, 0x808),
        (1, 0xa, 0x2_01fc),
        (1, 0xb, 1),
        (2, 9, 0x1d),
        (2, 0xa, 0x2_01fc),
        (2, 0xb, 1),
        (2, 0xd, 0),
        (2, 0xe, 0),
        (2, 0x12, 0x8003_4a4a),
        (3, 9, 0x40_0101),
        (3, 0xc, 0x10),
        (3, 0xe, 1),
        (4, 9, 0x10_011b),
        (4, 0xd, 0x8003_4a4a),
        (4, 0xe, 1),
        (4, 0x12, 0),
        (5, 9, 0x40_0001),
        (5, 0xc, 0x20),
        (5, 0xe, 0),
        (6, 9, 0),
    ] {
        let found = ask(bench, node, 0xf_0000 | id);
        bench.check(format!("node {node}, parameter {id:#x}"), found, expected);
    }
}

fn pins(bench: &mut Bench<'_>) {
    ready(bench);
    for (name, node, command, expected) in [
        ("what feeds the output", 3, 0xf_0200, 2u64),
        ("what feeds the converter", 4, 0xf_0200, 5),
        ("configuration of the output", 3, 0xf_1c00, 0x4010),
        ("configuration of the input", 5, 0xf_1c00, 0x80_5020),
        ("power state", 1, 0xf_0500, 0),
    ] {
        let found = ask(bench, node, command);
        bench.check(name, found, expected);
    }
}

fn converter(bench: &mut Bench<'_>) {
    ready(bench);
    for (name, node, set, get, initial, value) in [
        ("format", 2, 0x2_4011u64, 0xa_0000u64, 0x11u64, 0x4011u64),
        ("stream and channel", 2, 0x7_0652, 0xf_0600, 0, 0x52),
        ("gain to the left", 2, 0x3_a011, 0xb_a000, 0x4a, 0x11),
        ("gain to the right, mute", 2, 0x3_9092, 0xb_8000, 0x4a, 0x92),
        ("gain of the input", 4, 0x3_6033, 0xb_2000, 0, 0x33),
    ] {
        let found = ask(bench, node, get);
        bench.check(format!("{name} at first"), found, initial);
        ask(bench, node, set);
        let found = ask(bench, node, get);
        bench.check(name, found, value);
    }
    let found = ask(bench, 2, 0xb_2000);
    bench.check("an amplifier that is not there", found, 0u8);
}

fn pin_control(bench: &mut Bench<'_>) {
    ready(bench);
    let found = ask(bench, 3, 0xf_0700);
    bench.check("at first", found, 0x40u8);
    ask(bench, 3, 0x7_0700);
    let found = ask(bench, 3, 0xf_0700);
    bench.check("then", found, 0u8);
}

fn descriptor(bench: &mut Bench<'_>) {
    ready(bench);
    for (name, at, size, expected) in [
        ("CTL", 0u64, Size::B2, 0u64),
        ("LPIB", 4, Size::B4, 0),
        ("CBL", 8, Size::B4, 0),
        ("LVI", 0xc, Size::B2, 0),
        ("FMT", 0x12, Size::B2, 0),
    ] {
        let found = get(bench, OUT + at, size);
        bench.check(name, found, expected);
    }
    let status = get(bench, OUT + 3, Size::B1);
    bench.check_bits("STS: no events", status, 0x1cu8, 0u8);
    let fifo = get(bench, OUT + 0x10, Size::B2);
    bench.note("FIFOS", fifo);
}

fn stream_reset(bench: &mut Bench<'_>) {
    ready(bench);
    put(bench, OUT + 8, Size::B4, 0x1234);
    put(bench, OUT, Size::B1, 1);
    let control = get(bench, OUT, Size::B1);
    bench.check("SRST until it is cleared", control, 1u8);
    let length = get(bench, OUT + 8, Size::B4);
    bench.check("CBL", length, 0u8);
    put(bench, OUT, Size::B1, 0);
    let control = get(bench, OUT, Size::B1);
    bench.check("SRST", control, 0u8);
}

/// Stream 1 on the first output, in a ring of four buffers; the second and the fourth interrupt.
fn play(bench: &mut Bench<'_>) {
    for n in 0..4u32 {
        let words = [BUFFER as u32 + n * BYTES, 0, BYTES, n & 1];
        bench.poke(LIST + u64::from(n) * 16, words.map(u32::to_le_bytes).as_flattened());
    }
    put(bench, OUT + 2, Size::B1, 0x10);
    put(bench, OUT + 8, Size::B4, (4 * BYTES).into());
    put(bench, OUT + 0xc, Size::B2, 3);
    put(bench, OUT + 0x12, Size::B2, 0x11);
    put(bench, OUT + 0x18, Size::B4, LIST);
    put(bench, OUT + 0x1c, Size::B4, 0);
    ask(bench, 2, 0x2_0011);
    ask(bench, 2, 0x7_0610);
    put(bench, OUT, Size::B1, 6);
}

fn plays(bench: &mut Bench<'_>) {
    ready(bench);
    put(bench, 0x20, Size::B4, 0xc000_00ff);
    play(bench);
    let ready = get(bench, OUT + 3, Size::B1);
    bench.check_bits("the FIFO is ready", ready, 0x20u8, 0x20u8);
    bench.wait(15 * MS);
    let status = get(bench, OUT + 3, Size::B1);
    bench.check_bits("a buffer without an interrupt", status, 4u8, 0u8);
    bench.wait(10 * MS);
    let status = get(bench, OUT + 3, Size::B1);
    bench.check_bits("a buffer with one", status, 4u8, 4u8);
    let status = get(bench, 0x24, Size::B4);
    bench.check("INTSTS", status, 0x8000_0010u32);
    put(bench, OUT + 3, Size::B1, 4);
    let status = get(bench, 0x24, Size::B4);
    bench.check("INTSTS then", status, 0u8);
}

fn positions(bench: &mut Bench<'_>) {
    ready(bench);
    put(bench, 0x70, Size::B4, POSITIONS | 1);
    play(bench);
    bench.wait(15 * MS);
    let position = get(bench, OUT + 4, Size::B4);
    bench.check_range("LPIB", position, 1920, 7679);
    let position = bench.peek(POSITIONS + 4 * 8, 4);
    let place = position.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    bench.check_range("in memory", place, 1920, 7679);
}

fn goes_on(bench: &mut Bench<'_>) {
    ready(bench);
    play(bench);
    bench.wait(15 * MS);
    put(bench, OUT, Size::B1, 4);
    let stood = get(bench, OUT + 4, Size::B4);
    bench.wait(15 * MS);
    let stands = get(bench, OUT + 4, Size::B4);
    bench.check_that("it stands", stood == stands && stood > 0, format!("{stood}, {stands}"));
    put(bench, OUT, Size::B1, 6);
    let position = get(bench, OUT + 4, Size::B4);
    bench.check_that("from there on", position >= stood, format!("{position} after {stood}"));
}

fn reset(bench: &mut Bench<'_>) {
    rings(bench);
    bench.reset();
    on(bench);
    let control = get(bench, 8, Size::B4);
    bench.check("GCTL", control, 0u8);
    let base = get(bench, 0x40, Size::B4);
    bench.check("CORBLBASE", base, 0u8);
}
