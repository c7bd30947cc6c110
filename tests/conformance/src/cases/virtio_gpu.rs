//! Virtio GPU. Virtual I/O Device, version 1.3 (V); EDID is VESA's E-EDID Standard (E).

use super::virtio_blk::driver::*;
use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

pub(super) const GROUP: Group = Group {
    device: "virtio-gpu",
    about: "Virtio GPU in two dimensions",
    setup: Setup {
        disks: &[],
        args: &[
            "-vga",
            "none",
            "-device",
            "virtio-gpu-pci,addr=3,max_outputs=2,xres=1024,yres=768,max_hostmem=1048576",
        ],
    },
    cases: &[
        case("identity", "V 4.1.2, 5.7.1", identity),
        case("queues that there are", "V 5.7.2", queues),
        case("features", "V 5.7.3", offered),
        case("configuration", "V 5.7.4", config),
        case("monitors", "V 5.7.6.8, GET_DISPLAY_INFO", monitors),
        case("the monitor's EDID", "V 5.7.6.8, GET_EDID; E 3", edid),
        case("the EDID of no monitor", "V 5.7.6.8, GET_EDID", no_edid),
        case("a picture is made, shown and ended", "V 5.7.6.1", picture),
        case("formats", "V 5.7.6.8, RESOURCE_CREATE_2D", formats),
        case("resources that cannot be", "V 5.7.6.8, RESOURCE_CREATE_2D", resources),
        case("more memory than there is", "V 5.7.6.7, ERR_OUT_OF_MEMORY", memory),
        case("resources that are not there", "V 5.7.6.7, ERR_INVALID_RESOURCE_ID", unknown),
        case("heads that are not there", "V 5.7.6.7, ERR_INVALID_SCANOUT_ID", heads),
        case("parts of a picture for a head", "V 5.7.6.8, SET_SCANOUT", scanouts),
        case("copies outside of a picture", "V 5.7.6.8, TRANSFER_TO_HOST_2D", transfers),
        case("flushes outside of a picture", "V 5.7.6.8, RESOURCE_FLUSH", flushes),
        case("backing", "V 5.7.6.8, RESOURCE_ATTACH_BACKING", backing),
        case("a resource without backing", "no document: QEMU's", unbacked),
        case("fences", "V 5.7.6.7, VIRTIO_GPU_FLAG_FENCE", fences),
        case("commands that nobody knows", "V 5.7.6.7, ERR_UNSPEC", commands),
        case("a command that is cut short", "V 5.7.6.7, ERR_UNSPEC", short),
        case("an answer without room", "V 2.7.4", room),
        case("the cursor queue", "V 5.7.6.10", cursor),
        case("a reset ends all resources", "V 2.1.2", reset),
    ],
};

const EDID: u64 = 1 << 1;

const DISPLAY_INFO: u32 = 0x100;
const CREATE: u32 = 0x101;
const UNREF: u32 = 0x102;
const SCANOUT: u32 = 0x103;
const FLUSH: u32 = 0x104;
const TRANSFER: u32 = 0x105;
const ATTACH: u32 = 0x106;
const DETACH: u32 = 0x107;
const GET_EDID: u32 = 0x10a;

const DONE: u32 = 0x1100;
const UNSPEC: u32 = 0x1200;
const OUT_OF_MEMORY: u32 = 0x1201;
const NO_SCANOUT: u32 = 0x1202;
const NO_RESOURCE: u32 = 0x1203;
const PARAMETER: u32 = 0x1205;

/// Bytes of a header.
const HEADER: usize = 24;
const CURSOR_RING: u64 = RING + 0x4000;
/// Where the cases have pixels.
const PIXELS: u32 = 0x13_0000;

/// A driver that is set up, and how many commands it has given.
struct Driver<'a, 'b>(&'a mut Bench<'b>, u16);

impl<'a, 'b> Driver<'a, 'b> {
    fn new(bench: &'a mut Bench<'b>) -> Driver<'a, 'b> {
        negotiate(bench, VERSION_1 | EDID);
        for (queue, at) in [(0, RING), (1, CURSOR_RING)] {
            bench.poke(at, &[0; 0x3000]);
            enable(bench, queue, at);
        }
        set_status(bench, 0xf);
        Driver(bench, 0)
    }

    /// A command of these bytes: its answer, in so much room.
    fn raw(&mut self, bytes: &[u8], room: u32) -> Vec<u8> {
        let Driver(bench, number) = self;
        bench.poke(DATA, bytes);
        bench.poke(TABLE, &vec![0xee; room as usize]);
        chain(bench, RING, &[(DATA, bytes.len() as u32, false), (TABLE, room, true)]);
        available(bench, RING, *number);
        bench.write(NOTIFY, Size::B2, 0);
        *number += 1;
        let (index, _, written) = wait_used(bench, RING, *number);
        if index != *number {
            // It never comes back.
            return Vec::new();
        }
        bench.peek(TABLE, written.min(room) as usize)
    }

    /// The type of a command's answer.
    fn run(&mut self, kind: u32, words: &[u32]) -> u32 {
        word(&self.raw(&bytes(kind, words), 2048), 0)
    }

    fn expect(&mut self, what: &str, kind: u32, words: &[u32], expected: u32) {
        let answer = self.run(kind, words);
        self.0.check(what, answer, expected);
    }

    /// Makes resource 1, of 64 by 32.
    fn picture(&mut self) {
        self.expect("made", CREATE, &[1, 2, 64, 32], DONE);
        self.expect("backing", ATTACH, &[1, 1, PIXELS, 0, 64 * 32 * 4, 0], DONE);
    }
}

fn bytes(kind: u32, words: &[u32]) -> Vec<u8> {
    [kind, 0, 0, 0, 0, 0].iter().chain(words).flat_map(|word| word.to_le_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1050_1af4u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class and revision", class, 0x0380_0001u32);
    let subsystem = bench.config(SLOT, 0, 0x2c, Size::B4);
    bench.note("subsystem", subsystem);
    let ports = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("no ports", ports, 0u8);
    let control = bench.config(SLOT, 0, 0x9a, Size::B2);
    bench.note("vectors", control & 0x7ff);
}

fn queues(bench: &mut Bench<'_>) {
    on(bench);
    let count = get(bench, 0x12, Size::B2);
    bench.check("queues: control, cursor", count, 2u8);
    for queue in 0..3 {
        set(bench, 0x16, Size::B2, queue);
        let size = get(bench, 0x18, Size::B2);
        bench.note(format!("elements of queue {queue}"), size);
    }
}

fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    bench.check_bits("EDID", offered, EDID, EDID);
    bench.check("no 3D, UUIDs, blobs, contexts", offered & 0x1d, 0u8);
}

fn config(bench: &mut Bench<'_>) {
    on(bench);
    for (what, at, value) in
        [("events", 0, 0u32), ("to be cleared", 4, 0), ("heads", 8, 2), ("capability sets", 12, 0)]
    {
        let got = bench.readl(DEVICE + at);
        bench.check(what, got, value);
    }
    bench.writel(DEVICE + 8, 7);
    let heads = bench.readl(DEVICE + 8);
    bench.check("heads cannot be written", heads, 2u8);
}

fn monitors(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    let info = driver.raw(&bytes(DISPLAY_INFO, &[]), 2048);
    driver.0.check("type", word(&info, 0), 0x1101u32);
    driver.0.check("bytes", info.len() as u64, (HEADER + 16 * 24) as u64);
    for (what, at, value) in [
        ("left", 0, 0),
        ("top", 4, 0),
        ("width", 8, 1024),
        ("height", 12, 768),
        ("enabled", 16, 1),
        ("flags", 20, 0),
    ] {
        driver.0.check(what, word(&info, HEADER + at), value as u32);
    }
    driver.0.check("the second head has none", word(&info, HEADER + 24 + 16), 0u8);
}

fn edid(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    let answer = driver.raw(&bytes(GET_EDID, &[0, 0]), 2048);
    let bench = driver.0;
    bench.check("type", word(&answer, 0), 0x1104u32);
    bench.check("bytes", answer.len() as u64, (HEADER + 8 + 1024) as u64);
    let edid = answer.get(HEADER + 8..HEADER + 8 + 128).unwrap_or_default();
    bench.check_bytes("header", edid.get(..8).unwrap_or_default(), &[0, 255, 255, 255, 255, 255, 255, 0]);
    let sum = edid.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bench.check("sum", sum, 0u8);
    let at = |at: usize| edid.get(at).copied().map_or(0, u32::from);
    bench.check("width of the preferred mode", at(56) | (at(58) >> 4) << 8, 1024u32);
    bench.check("height", at(59) | (at(61) >> 4) << 8, 768u32);
    let size = word(&answer, HEADER);
    bench.check_that("whole blocks", size >= 128 && size.is_multiple_of(128) && size <= 1024, size);
}

fn no_edid(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.expect("of the second head", GET_EDID, &[1, 0], 0x1104);
    driver.expect("of no head", GET_EDID, &[2, 0], PARAMETER);
    driver.expect("far beyond", GET_EDID, &[u32::MAX, 0], PARAMETER);
}

fn picture(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.picture();
    driver.expect("all of it is copied", TRANSFER, &[0, 0, 64, 32, 0, 0, 1, 0], DONE);
    driver.expect("shown", SCANOUT, &[0, 0, 64, 32, 0, 1], DONE);
    driver.expect("flushed", FLUSH, &[0, 0, 64, 32, 1, 0], DONE);
    driver.expect("a part is copied", TRANSFER, &[8, 4, 16, 8, (4 * 64 + 8) * 4, 0, 1, 0], DONE);
    driver.expect("no head shows it", SCANOUT, &[0, 0, 0, 0, 0, 0], DONE);
    driver.expect("no backing", DETACH, &[1, 0], DONE);
    driver.expect("ended", UNREF, &[1, 0], DONE);
    driver.expect("it is gone", UNREF, &[1, 0], NO_RESOURCE);
}

fn formats(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    for format in [1, 2, 3, 4, 67, 68, 121, 134] {
        driver.expect(&format!("{format}"), CREATE, &[format, format, 16, 16], DONE);
    }
    for format in [0, 5, 66, 69, 135, u32::MAX] {
        driver.expect(&format!("{format}"), CREATE, &[200, format, 16, 16], PARAMETER);
    }
}

fn resources(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.expect("number 0", CREATE, &[0, 1, 16, 16], NO_RESOURCE);
    driver.expect("one", CREATE, &[5, 1, 16, 16], DONE);
    driver.expect("the same again", CREATE, &[5, 1, 16, 16], NO_RESOURCE);
    driver.expect("the largest number", CREATE, &[u32::MAX, 1, 16, 16], DONE);
}

fn memory(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.expect("twice as much", CREATE, &[1, 1, 512, 1024], OUT_OF_MEMORY);
    driver.expect("three quarters", CREATE, &[1, 1, 512, 384], DONE);
    driver.expect("a half more", CREATE, &[2, 1, 512, 256], OUT_OF_MEMORY);
    driver.expect("an eighth", CREATE, &[2, 1, 512, 64], DONE);
    driver.expect("the first ends", UNREF, &[1, 0], DONE);
    driver.expect("now there is room", CREATE, &[3, 1, 512, 256], DONE);
}

fn unknown(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.picture();
    for (what, kind, words) in [
        ("end", UNREF, &[9, 0][..]),
        ("show", SCANOUT, &[0, 0, 64, 32, 0, 9]),
        ("flush", FLUSH, &[0, 0, 64, 32, 9, 0]),
        ("copy", TRANSFER, &[0, 0, 64, 32, 0, 0, 9, 0]),
        ("backing", ATTACH, &[9, 1, PIXELS, 0, 4096, 0]),
        ("no backing", DETACH, &[9, 0]),
    ] {
        driver.expect(what, kind, words, NO_RESOURCE);
    }
}

fn heads(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.picture();
    driver.expect("the second", SCANOUT, &[0, 0, 64, 32, 1, 1], DONE);
    driver.expect("a third", SCANOUT, &[0, 0, 64, 32, 2, 1], NO_SCANOUT);
    driver.expect("a third, off", SCANOUT, &[0, 0, 0, 0, 2, 0], NO_SCANOUT);
    driver.expect("far beyond", SCANOUT, &[0, 0, 64, 32, u32::MAX, 1], NO_SCANOUT);
}

fn scanouts(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.picture();
    driver.expect("a part", SCANOUT, &[8, 8, 40, 20, 0, 1], DONE);
    driver.expect("up to the edges", SCANOUT, &[24, 12, 40, 20, 0, 1], DONE);
    for (what, rect) in [
        ("too wide", [0, 0, 65, 32]),
        ("too high", [0, 0, 64, 33]),
        ("beyond the right edge", [25, 0, 40, 32]),
        ("below", [0, 13, 64, 20]),
        ("a sum that wraps", [u32::MAX - 15, 0, 48, 32]),
        ("no width", [0, 0, 0, 32]),
        ("no height", [0, 0, 64, 0]),
    ] {
        driver.expect(what, SCANOUT, &[&rect[..], &[0, 1]].concat(), PARAMETER);
    }
}

/// Parts that are outside of the picture.
const OUTSIDE: [(&str, [u32; 4]); 5] = [
    ("too wide", [0, 0, 65, 1]),
    ("too high", [0, 0, 1, 33]),
    ("beyond the right edge", [60, 0, 5, 1]),
    ("below", [0, 30, 1, 3]),
    ("a sum that wraps", [u32::MAX, 0, 2, 1]),
];

fn transfers(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.picture();
    for (what, rect) in OUTSIDE {
        driver.expect(what, TRANSFER, &[&rect[..], &[0, 0, 1, 0]].concat(), PARAMETER);
    }
    driver.expect("the last pixel", TRANSFER, &[63, 31, 1, 1, 64 * 32 * 4 - 4, 0, 1, 0], DONE);
}

fn flushes(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.picture();
    for (what, rect) in OUTSIDE {
        driver.expect(what, FLUSH, &[&rect[..], &[1, 0]].concat(), PARAMETER);
    }
    driver.expect("one that no head shows", FLUSH, &[0, 0, 64, 32, 1, 0], DONE);
}

fn backing(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.expect("made", CREATE, &[1, 2, 64, 32], DONE);
    driver.expect("fewer entries than are said", ATTACH, &[1, 2, PIXELS, 0, 4096, 0], UNSPEC);
    driver.expect("more entries than may be", ATTACH, &[1, 16385, PIXELS, 0, 4096, 0], UNSPEC);
    driver.expect("an empty entry", ATTACH, &[1, 1, PIXELS, 0, 0, 0], UNSPEC);
    driver.expect("two entries", ATTACH, &[1, 2, PIXELS, 0, 4096, 0, PIXELS + 0x2000, 0, 4096, 0], DONE);
    driver.expect("twice", ATTACH, &[1, 1, PIXELS, 0, 4096, 0], UNSPEC);
    driver.expect("copied", TRANSFER, &[0, 0, 64, 32, 0, 0, 1, 0], DONE);
    driver.expect("taken away", DETACH, &[1, 0], DONE);
    driver.expect("twice", DETACH, &[1, 0], UNSPEC);
}

fn unbacked(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.expect("made", CREATE, &[1, 2, 64, 32], DONE);
    driver.expect("copied", TRANSFER, &[0, 0, 64, 32, 0, 0, 1, 0], UNSPEC);
    driver.expect("shown", SCANOUT, &[0, 0, 64, 32, 0, 1], UNSPEC);
    driver.expect("flushed", FLUSH, &[0, 0, 64, 32, 1, 0], DONE);
}

fn fences(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    for (what, kind) in [("of a command", DISPLAY_INFO), ("of an unknown one", 0x1ff)] {
        let words = [kind, 1, 0x5566_7788, 0x1122_3344, 9, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let answer = driver.raw(&bytes, 2048);
        let expected: Vec<u8> =
            [1, 0x5566_7788, 0x1122_3344, 9].iter().flat_map(|w: &u32| w.to_le_bytes()).collect();
        driver.0.check_bytes(what, answer.get(4..20).unwrap_or_default(), &expected);
    }
    let words = [DISPLAY_INFO, 0, 0x5566_7788, 0x1122_3344, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let answer = driver.raw(&bytes, 2048);
    driver.0.check("no flag, no flag", word(&answer, 4), 0u8);
}

fn commands(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    for kind in [0, 1, 0xff, 0x1ff, 0x200, 0x210, 0x300, 0x1100, u32::MAX] {
        driver.expect(&format!("{kind:#x}"), kind, &[0; 10], UNSPEC);
    }
}

fn short(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    for (what, kind, len) in
        [("made", CREATE, 39), ("ended", UNREF, 31), ("shown", SCANOUT, 47), ("copied", TRANSFER, 55)]
    {
        let whole = bytes(kind, &[1; 8]);
        let answer = driver.raw(whole.get(..len).unwrap_or_default(), 64);
        driver.0.check(what, word(&answer, 0), UNSPEC);
    }
    let answer = driver.raw(&[0, 1, 0, 0], 64);
    driver.0.check("half a header", word(&answer, 0), UNSPEC);
}

fn room(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    let answer = driver.raw(&bytes(DISPLAY_INFO, &[]), 40);
    driver.0.check("it is cut", answer.len() as u64, 40u8);
    let answer = driver.raw(&bytes(DISPLAY_INFO, &[]), 3);
    driver.0.check("in its header", answer.len() as u64, 3u8);
    let answer = driver.raw(&bytes(DISPLAY_INFO, &[]), 2048);
    driver.0.check("the next is whole", answer.len() as u64, (HEADER + 16 * 24) as u64);
}

fn cursor(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.expect("made", CREATE, &[1, 1, 64, 64], DONE);
    driver.expect("another", CREATE, &[2, 1, 16, 16], DONE);
    let bench = driver.0;
    let commands = [
        ("a shape", bytes(0x300, &[0, 5, 5, 0, 1, 0, 0, 0])),
        ("a place", bytes(0x301, &[0, 6, 7, 0, 1, 0, 0, 0])),
        ("one of another size", bytes(0x300, &[0, 5, 5, 0, 2, 0, 0, 0])),
        ("none", bytes(0x300, &[0, 5, 5, 0, 0, 0, 0, 0])),
        ("no such resource", bytes(0x300, &[0, 5, 5, 0, 99, 0, 0, 0])),
        ("no such head", bytes(0x300, &[7, 5, 5, 0, 1, 0, 0, 0])),
        ("too short", vec![0; 10]),
    ];
    for (number, (what, command)) in (0..).zip(commands) {
        bench.poke(DATA, &command);
        chain(bench, CURSOR_RING, &[(DATA, command.len() as u32, false)]);
        available(bench, CURSOR_RING, number);
        bench.write(NOTIFY + 4, Size::B2, 1);
        let (index, _, written) = wait_used(bench, CURSOR_RING, number + 1);
        bench.check(format!("{what}: given back"), index, number + 1);
        bench.check(format!("{what}: nothing written"), written, 0u8);
    }
}

fn reset(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench);
    driver.picture();
    driver.expect("shown", SCANOUT, &[0, 0, 64, 32, 0, 1], DONE);
    let bench = driver.0;
    set_status(bench, 0);
    let mut driver = Driver::new(bench);
    driver.expect("it is gone", UNREF, &[1, 0], NO_RESOURCE);
    driver.expect("there is room for all", CREATE, &[1, 1, 512, 448], DONE);
}
