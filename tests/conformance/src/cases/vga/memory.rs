//! Memory at 0xa0000 as the graphics controller and the sequencer make it.

use super::{graphics, planar, sequencer};
use crate::bench::Bench;
use crate::machine::Size;

const WINDOW: u64 = 0xa_0000;

fn put(bench: &mut Bench<'_>, at: u64, value: u8) {
    bench.write(WINDOW + at, Size::B1, value.into());
}

fn get(bench: &mut Bench<'_>, at: u64) -> u8 {
    bench.read(WINDOW + at, Size::B1) as u8
}

/// Writes four planes plainly, in planar mode; leaves all planes to be written.
fn put_planes(bench: &mut Bench<'_>, at: u64, values: [u8; 4]) {
    for (index, value) in [(0, 0), (1, 0), (3, 0), (5, 0), (8, 0xff)] {
        graphics(bench, index, value);
    }
    for (plane, value) in values.into_iter().enumerate() {
        sequencer(bench, 2, 1 << plane);
        put(bench, at, value);
    }
    sequencer(bench, 2, 0xf);
}

/// Reads four planes in read mode 0.
fn planes(bench: &mut Bench<'_>, at: u64) -> [u8; 4] {
    graphics(bench, 5, 0);
    std::array::from_fn(|plane| {
        graphics(bench, 4, plane as u8);
        get(bench, at)
    })
}

fn check_planes(bench: &mut Bench<'_>, what: &str, at: u64, wanted: [u8; 4]) {
    let got = planes(bench, at);
    bench.check_bytes(what, &got, &wanted);
}

pub(super) fn map_mask(bench: &mut Bench<'_>) {
    planar(bench);
    for mask in [0u8, 1, 2, 4, 8, 5, 0xa, 0xf] {
        put_planes(bench, 0x10, [1, 2, 3, 4]);
        sequencer(bench, 2, mask);
        put(bench, 0x10, 0x5a);
        let wanted = std::array::from_fn(|plane| if mask >> plane & 1 != 0 { 0x5a } else { plane as u8 + 1 });
        check_planes(bench, &format!("mask {mask:#x}"), 0x10, wanted);
    }
    put_planes(bench, 0xffff, [9, 8, 7, 6]);
    check_planes(bench, "the last byte of 64 KiB", 0xffff, [9, 8, 7, 6]);
    check_planes(bench, "the first is not touched", 0x10, [0x5a; 4]);
}

pub(super) fn set_reset(bench: &mut Bench<'_>) {
    planar(bench);
    for (value, enable, wanted) in [
        (0xau8, 0xfu8, [0, 0xff, 0, 0xff]),
        (0x5, 0xf, [0xff, 0, 0xff, 0]),
        (0xf, 3, [0xff, 0xff, 0x3c, 0x3c]),
        (0, 8, [0x3c, 0x3c, 0x3c, 0]),
        (0xf, 0, [0x3c; 4]),
    ] {
        put_planes(bench, 0x20, [0x11, 0x22, 0x44, 0x88]);
        graphics(bench, 0, value);
        graphics(bench, 1, enable);
        put(bench, 0x20, 0x3c);
        check_planes(bench, &format!("{value:#x}, enabled {enable:#x}"), 0x20, wanted);
    }
}

pub(super) fn rotate(bench: &mut Bench<'_>) {
    planar(bench);
    for count in 0..8u8 {
        put_planes(bench, 0x30, [0; 4]);
        graphics(bench, 3, count);
        put(bench, 0x30, 0xb1);
        check_planes(bench, &format!("by {count}"), 0x30, [0xb1u8.rotate_right(count.into()); 4]);
    }
    // What is set comes after the rotation, and does not turn.
    put_planes(bench, 0x30, [0; 4]);
    for (index, value) in [(0, 1), (1, 1), (3, 3)] {
        graphics(bench, index, value);
    }
    put(bench, 0x30, 0x0f);
    check_planes(bench, "set/reset", 0x30, [0xff, 0xe1, 0xe1, 0xe1]);
}

pub(super) fn functions(bench: &mut Bench<'_>) {
    planar(bench);
    let old = [0x0f, 0xf0, 0x33, 0xff];
    for (what, function, of) in [
        ("AND", 1u8, (|old, new| old & new) as fn(u8, u8) -> u8),
        ("OR", 2, |old, new| old | new),
        ("XOR", 3, |old, new| old ^ new),
        ("none", 0, |_, new| new),
    ] {
        put_planes(bench, 0x40, old);
        get(bench, 0x40);
        graphics(bench, 3, function << 3);
        put(bench, 0x40, 0x5a);
        check_planes(bench, what, 0x40, old.map(|old| of(old, 0x5a)));
    }
    // With rotation, and at another place than the latches are from.
    put_planes(bench, 0x41, [0; 4]);
    put_planes(bench, 0x40, old);
    get(bench, 0x40);
    graphics(bench, 3, 3 << 3 | 4);
    put(bench, 0x41, 0x5a);
    check_planes(bench, "XOR, rotated, elsewhere", 0x41, old.map(|old| old ^ 0xa5));
}

pub(super) fn bit_mask(bench: &mut Bench<'_>) {
    planar(bench);
    let old = [0x00, 0xff, 0x55, 0xaa];
    for mask in [0xf0u8, 0x0f, 0x18, 0, 0xff] {
        put_planes(bench, 0x50, old);
        get(bench, 0x50);
        graphics(bench, 8, mask);
        put(bench, 0x50, 0x3c);
        check_planes(bench, &format!("{mask:#04x}"), 0x50, old.map(|old| old & !mask | 0x3c & mask));
    }
    // The rest is the latches', not the memory's.
    put_planes(bench, 0x51, [0xff; 4]);
    put_planes(bench, 0x50, old);
    get(bench, 0x50);
    graphics(bench, 8, 0xf0);
    put(bench, 0x51, 0);
    check_planes(bench, "latches from elsewhere", 0x51, old.map(|old| old & 0x0f));
    put_planes(bench, 0x50, old);
    get(bench, 0x50);
    for (index, value) in [(0, 0xf), (1, 0xf), (8, 0x81)] {
        graphics(bench, index, value);
    }
    put(bench, 0x50, 0);
    check_planes(bench, "with set/reset", 0x50, old.map(|old| old | 0x81));
}

pub(super) fn mode1(bench: &mut Bench<'_>) {
    planar(bench);
    put_planes(bench, 0x61, [0; 4]);
    put_planes(bench, 0x60, [0x12, 0x34, 0x56, 0x78]);
    // Nothing of this matters.
    for (index, value) in [(0, 0xf), (1, 0xf), (3, 0x1b), (8, 0), (5, 1)] {
        graphics(bench, index, value);
    }
    get(bench, 0x60);
    put(bench, 0x61, 0xff);
    check_planes(bench, "copied", 0x61, [0x12, 0x34, 0x56, 0x78]);
    put_planes(bench, 0x61, [1, 1, 1, 1]);
    graphics(bench, 5, 1);
    get(bench, 0x60);
    sequencer(bench, 2, 6);
    put(bench, 0x61, 0);
    check_planes(bench, "two planes", 0x61, [1, 0x34, 0x56, 1]);
}

pub(super) fn mode2(bench: &mut Bench<'_>) {
    planar(bench);
    for colour in [0u8, 5, 0xa, 0xf, 0xf1] {
        put_planes(bench, 0x70, [0x11, 0x22, 0x44, 0x88]);
        graphics(bench, 5, 2);
        put(bench, 0x70, colour);
        let wanted = std::array::from_fn(|plane| if colour >> plane & 1 != 0 { 0xff } else { 0 });
        check_planes(bench, &format!("colour {colour:#x}"), 0x70, wanted);
    }
    let old = [0x11, 0x22, 0x44, 0x88];
    put_planes(bench, 0x70, old);
    get(bench, 0x70);
    for (index, value) in [(5, 2), (8, 0x0f), (1, 0xf), (0, 0)] {
        graphics(bench, index, value);
    }
    put(bench, 0x70, 3);
    check_planes(bench, "with a mask", 0x70, [0x1f, 0x2f, 0x40, 0x80]);
    put_planes(bench, 0x70, old);
    get(bench, 0x70);
    for (index, value) in [(5, 2), (3, 0x18)] {
        graphics(bench, index, value);
    }
    put(bench, 0x70, 9);
    check_planes(bench, "with XOR", 0x70, [0xee, 0x22, 0x44, 0x77]);
}

pub(super) fn mode3(bench: &mut Bench<'_>) {
    planar(bench);
    let old = [0x55; 4];
    for (what, rotate, mask, data, bits) in [
        ("plain", 0u8, 0xffu8, 0x3cu8, 0x3cu8),
        ("rotated", 2, 0xff, 0x3c, 0x0f),
        ("with a mask", 0, 0x0f, 0x3c, 0x0c),
    ] {
        put_planes(bench, 0x80, old);
        get(bench, 0x80);
        // Enable set/reset does not matter.
        for (index, value) in [(5, 3), (0, 5), (1, 0), (3, rotate), (8, mask)] {
            graphics(bench, index, value);
        }
        put(bench, 0x80, data);
        let wanted = std::array::from_fn(|plane| {
            let colour = if 5 >> plane & 1 != 0 { 0xff } else { 0 };
            0x55 & !bits | colour & bits
        });
        check_planes(bench, what, 0x80, wanted);
    }
}

pub(super) fn read_map(bench: &mut Bench<'_>) {
    planar(bench);
    put_planes(bench, 0x90, [0xa1, 0xb2, 0xc3, 0xd4]);
    for (plane, value) in [(3u8, 0xd4u8), (0, 0xa1), (2, 0xc3), (1, 0xb2)] {
        graphics(bench, 4, plane);
        let got = get(bench, 0x90);
        bench.check(format!("plane {plane}"), got, value);
    }
    // The map mask is for writes.
    sequencer(bench, 2, 1);
    graphics(bench, 4, 3);
    let got = get(bench, 0x90);
    bench.check("with another map mask", got, 0xd4u8);
}

pub(super) fn compare(bench: &mut Bench<'_>) {
    planar(bench);
    // Pixels 7 to 0, left to right: colours 15, 0, 1, 2, 4, 8, 5, 10.
    put_planes(bench, 0xa0, [0b1010_0010, 0b1001_0001, 0b1000_1010, 0b1000_0101]);
    for (colour, wanted) in
        [(15u8, 0x80u8), (0, 0x40), (1, 0x20), (2, 0x10), (4, 0x08), (8, 0x04), (5, 0x02), (10, 0x01), (3, 0)]
    {
        for (index, value) in [(5, 8), (2, colour), (7, 0xf)] {
            graphics(bench, index, value);
        }
        let got = get(bench, 0xa0);
        bench.check(format!("colour {colour}"), got, wanted);
    }
}

pub(super) fn dont_care(bench: &mut Bench<'_>) {
    planar(bench);
    put_planes(bench, 0xa0, [0b1010_0010, 0b1001_0001, 0b1000_1010, 0b1000_0101]);
    graphics(bench, 5, 8);
    for (colour, care, wanted) in
        [(1u8, 1u8, 0xa2u8), (0, 1, 0x5d), (0, 0, 0xff), (0xf, 0, 0xff), (2, 2, 0x91), (0, 0xc, 0x70)]
    {
        graphics(bench, 2, colour);
        graphics(bench, 7, care);
        let got = get(bench, 0xa0);
        bench.check(format!("colour {colour}, planes {care:#x}"), got, wanted);
    }
}

pub(super) fn latches(bench: &mut Bench<'_>) {
    planar(bench);
    put_planes(bench, 0xb2, [0; 4]);
    put_planes(bench, 0xb0, [1, 2, 3, 4]);
    put_planes(bench, 0xb1, [5, 6, 7, 8]);
    for (what, mode, from, wanted) in
        [("read mode 0", 0, 0xb0, [1, 2, 3, 4]), ("read mode 1", 8, 0xb1, [5, 6, 7, 8])]
    {
        graphics(bench, 5, mode);
        get(bench, from);
        graphics(bench, 5, 1);
        put(bench, 0xb2, 0);
        check_planes(bench, what, 0xb2, wanted);
    }
    // A write leaves them as they are.
    graphics(bench, 5, 0);
    get(bench, 0xb0);
    put(bench, 0xb3, 0x99);
    graphics(bench, 5, 1);
    put(bench, 0xb2, 0);
    check_planes(bench, "after a write elsewhere", 0xb2, [1, 2, 3, 4]);
}

pub(super) fn chain4(bench: &mut Bench<'_>) {
    planar(bench);
    sequencer(bench, 4, 0xe);
    for at in 0..8u8 {
        put(bench, 0x100 + u64::from(at), 0x10 + at);
    }
    let got: Vec<u8> = (0..8).map(|at| get(bench, 0x100 + at)).collect();
    bench.check_bytes("read back", &got, &[0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17]);
    // The map mask takes planes away.
    sequencer(bench, 2, 5);
    for at in 0..4 {
        put(bench, 0x100 + at, 0xff);
    }
    let got: Vec<u8> = (0..4).map(|at| get(bench, 0x100 + at)).collect();
    bench.check_bytes("with a map mask", &got, &[0xff, 0x11, 0xff, 0x13]);
    // Bytes 0x100 to 0x103 are one address of the planes; its number is an adapter's own.
    sequencer(bench, 2, 0xf);
    sequencer(bench, 4, 6);
    let at_same = planes(bench, 0x100);
    let at_quarter = planes(bench, 0x40);
    bench.note_bytes("planes at the same address", &at_same);
    bench.note_bytes("planes at a quarter of it", &at_quarter);
}

pub(super) fn odd_even(bench: &mut Bench<'_>) {
    planar(bench);
    put_planes(bench, 0x200, [0xee; 4]);
    put_planes(bench, 0x201, [0xee; 4]);
    // As text modes have it: even addresses in planes 0 and 2, odd ones in 1 and 3.
    sequencer(bench, 4, 2);
    sequencer(bench, 2, 3);
    graphics(bench, 5, 0x10);
    graphics(bench, 6, 6);
    graphics(bench, 4, 0);
    put(bench, 0x200, 0x41);
    put(bench, 0x201, 0x07);
    let got = [get(bench, 0x200), get(bench, 0x201)];
    bench.check_bytes("read back", &got, &[0x41, 0x07]);
    sequencer(bench, 4, 6);
    graphics(bench, 6, 5);
    let first = planes(bench, 0x200);
    bench.check_bytes("planes of the pair", &first, &[0x41, 0x07, 0xee, 0xee]);
}

pub(super) fn windows(bench: &mut Bench<'_>) {
    planar(bench);
    put_planes(bench, 0, [0x77; 4]);
    put_planes(bench, 0x8000, [0x88; 4]);
    for (what, map, base) in [
        ("64 KiB at A0000", 1u8, 0xa_0000u64),
        ("32 KiB at B0000", 2, 0xb_0000),
        ("32 KiB at B8000", 3, 0xb_8000),
        ("128 KiB at A0000", 0, 0xa_0000),
    ] {
        graphics(bench, 6, map << 2 | 1);
        let got = bench.read(base, Size::B1);
        bench.check(what, got, 0x77u8);
        if map < 2 {
            let got = bench.read(base + 0x8000, Size::B1);
            bench.check(format!("{what}, second half"), got, 0x88u8);
        }
    }
    // A write outside of the window goes nowhere.
    for (what, map, outside) in [("A0000", 1u8, 0xb_8000u64), ("B0000", 2, 0xa_0000), ("B8000", 3, 0xb_0000)]
    {
        graphics(bench, 6, map << 2 | 1);
        bench.write(outside, Size::B1, 0x99);
        graphics(bench, 6, 5);
        let got = planes(bench, 0);
        bench.check_bytes(format!("a write outside of {what}"), &got, &[0x77; 4]);
    }
}

pub(super) fn wide(bench: &mut Bench<'_>) {
    planar(bench);
    for (what, size, len) in [("2 bytes", Size::B2, 2u64), ("4 bytes", Size::B4, 4)] {
        bench.write(WINDOW + 0x300, size, 0x4433_2211);
        let got: Vec<u8> = (0..len).map(|at| get(bench, 0x300 + at)).collect();
        bench.check_bytes(format!("{what} written"), &got, &[0x11, 0x22, 0x33, 0x44][..len as usize]);
        let got = bench.read(WINDOW + 0x300, size);
        bench.check(format!("{what} read"), got, 0x4433_2211 & ((1u64 << (8 * len)) - 1));
    }
    bench.write(WINDOW + 0x303, Size::B2, 0xbbaa);
    let got = [get(bench, 0x303), get(bench, 0x304)];
    bench.check_bytes("at an odd address", &got, &[0xaa, 0xbb]);
}

pub(super) fn off(bench: &mut Bench<'_>) {
    planar(bench);
    put_planes(bench, 0x400, [0x13; 4]);
    bench.outb(0x3c2, 0x61);
    put(bench, 0x400, 0x31);
    bench.outb(0x3c2, 0x63);
    let got = planes(bench, 0x400);
    bench.check_bytes("a write meanwhile is lost", &got, &[0x13; 4]);
}
