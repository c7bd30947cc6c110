//! Ports 0x3b0 to 0x3df.

use super::{CRTC, GRAPHICS, SEQUENCER, on};
use crate::bench::Bench;
use crate::machine::{Op, Size};

const ATTRIBUTE: u16 = 0x3c0;
const STATUS1: u16 = 0x3da;

fn out(port: u16, value: u8) -> Op {
    Op::Out(port, Size::B1, value.into())
}

fn read(port: u16) -> Op {
    Op::In(port, Size::B1)
}

/// Colour addresses.
fn colour(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(0x3c2, 0x67);
}

pub(super) fn misc(bench: &mut Bench<'_>) {
    on(bench);
    for value in [0u8, 0x01, 0x02, 0x04, 0x08, 0x20, 0x40, 0x80, 0xef, 0x67] {
        bench.outb(0x3c2, value);
        let got = bench.inb(0x3cc);
        bench.check_bits(format!("{value:#04x}"), got, 0xefu8, value);
    }
}

pub(super) fn crtc_ports(bench: &mut Bench<'_>) {
    colour(bench);
    bench.set_indexed(CRTC, 0xf, 0x5a);
    bench.outb(0x3c2, 0x66);
    let got = bench.indexed(0x3b4, 0xf);
    bench.check("read at 3b5", got, 0x5au8);
    bench.set_indexed(0x3b4, 0xf, 0xa5);
    bench.set_indexed(CRTC, 0xf, 0x77);
    let got = bench.indexed(CRTC, 0xf);
    bench.note("3d5 in monochrome", got);
    bench.outb(0x3c2, 0x67);
    let got = bench.indexed(CRTC, 0xf);
    bench.check("read at 3d5", got, 0xa5u8);
    bench.set_indexed(0x3b4, 0xf, 0x88);
    let got = bench.indexed(CRTC, 0xf);
    bench.check("a write at 3b5 in colour", got, 0xa5u8);
}

pub(super) fn status_ports(bench: &mut Bench<'_>) {
    colour(bench);
    for (what, misc, port) in [("colour", 0x67, STATUS1), ("monochrome", 0x66, 0x3ba)] {
        bench.outb(0x3c2, misc);
        // Reading it makes the attribute controller expect an index.
        let ops = [read(port), out(ATTRIBUTE, 0x11), read(port), out(ATTRIBUTE, 0x12), read(ATTRIBUTE)];
        let got = bench.perform(&ops)[4];
        bench.check_bits(what, got, 0x1fu8, 0x12u8);
    }
}

pub(super) fn feature(bench: &mut Bench<'_>) {
    colour(bench);
    for value in [3u8, 1, 2, 0] {
        bench.outb(STATUS1, value);
        let got = bench.inb(0x3ca);
        bench.note(format!("{value}"), got);
    }
    let got = bench.inb(0x3ca);
    bench.check_bits("vertical sync select", got, 8u8, 0u8);
}

pub(super) fn status0(bench: &mut Bench<'_>) {
    colour(bench);
    let got = bench.inb(0x3c2);
    bench.note("port 3c2", got);
    // Bits 0 to 3 are reserved.
    bench.check_bits("reserved bits", got, 0xfu8, 0u8);
}

pub(super) fn status1(bench: &mut Bench<'_>) {
    colour(bench);
    bench.set_indexed(CRTC, 0x11, 0);
    let text = [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f];
    for (index, value) in text.into_iter().enumerate() {
        bench.set_indexed(CRTC, index as u8, value);
    }
    for (index, value) in [(0x10, 0x9c), (0x11, 0x8e), (0x12, 0x8f), (0x15, 0x96), (0x16, 0xb9), (0x17, 0xa3)]
    {
        bench.set_indexed(CRTC, index, value);
    }
    // Frames take 14 ms, retrace two lines of them.
    let ops = [Op::Wait(23_000), read(STATUS1)].repeat(2000);
    let got: Vec<u64> = bench.perform(&ops).into_iter().skip(1).step_by(2).collect();
    for (what, bit) in [("display enable", 1), ("vertical retrace", 8)] {
        let ups = got.iter().filter(|value| **value & bit != 0).count();
        bench.check_range(format!("{what} comes and goes"), ups as u64, 1, 1999);
    }
}

/// Values whose bits of `mask` must be held.
fn holds(bench: &mut Bench<'_>, port: u16, masks: &[(u8, u8)]) {
    for (index, mask) in masks {
        for value in [0xffu8, 0, 0x55, 0xaa] {
            bench.set_indexed(port, *index, value);
            let got = bench.indexed(port, *index);
            bench.check_bits(format!("{index:#04x} with {value:#04x}"), got, *mask, value & mask);
        }
    }
}

pub(super) fn sequencer(bench: &mut Bench<'_>) {
    colour(bench);
    holds(bench, SEQUENCER, &[(0, 3), (1, 0x3d), (2, 0xf), (3, 0x3f), (4, 0xe)]);
    for index in 0..5 {
        bench.set_indexed(SEQUENCER, index, 0xff);
        let got = bench.indexed(SEQUENCER, index);
        bench.note(format!("{index} with ones"), got);
    }
}

pub(super) fn graphics(bench: &mut Bench<'_>) {
    colour(bench);
    let masks = [(0, 0xf), (1, 0xf), (2, 0xf), (3, 0x1f), (4, 3), (5, 0x7b), (6, 0xf), (7, 0xf), (8, 0xff)];
    holds(bench, GRAPHICS, &masks);
    for index in 0..9 {
        bench.set_indexed(GRAPHICS, index, 0xff);
        let got = bench.indexed(GRAPHICS, index);
        bench.note(format!("{index} with ones"), got);
    }
}

pub(super) fn crtc(bench: &mut Bench<'_>) {
    colour(bench);
    bench.set_indexed(CRTC, 0x11, 0);
    let mut masks: Vec<(u8, u8)> = (0..0x19).map(|index| (index, 0xff)).collect();
    for (index, mask) in
        [(8usize, 0x7f), (0xa, 0x3f), (0xb, 0x7f), (0x11, 0x0f), (0x14, 0x7f), (0x17, 0xef), (3, 0x7f_u8)]
    {
        masks[index].1 = mask;
    }
    for (index, mask) in masks {
        holds(bench, CRTC, &[(index, mask)]);
        if index == 0x11 {
            bench.set_indexed(CRTC, 0x11, 0);
        }
    }
}

pub(super) fn protect(bench: &mut Bench<'_>) {
    colour(bench);
    bench.set_indexed(CRTC, 0x11, 0);
    for index in 0..8 {
        bench.set_indexed(CRTC, index, 0x45);
    }
    bench.set_indexed(CRTC, 0x11, 0x80);
    for index in 0..8 {
        bench.set_indexed(CRTC, index, 0xba);
    }
    for index in 0..7 {
        let got = bench.indexed(CRTC, index);
        bench.check(format!("register {index}"), got, 0x45u8);
    }
    // Bit 4 of the overflow register is the line compare's, which is not protected.
    let got = bench.indexed(CRTC, 7);
    bench.check("overflow", got, 0x55u8);
    bench.set_indexed(CRTC, 8, 0x12);
    let got = bench.indexed(CRTC, 8);
    bench.check("register 8", got, 0x12u8);
    bench.set_indexed(CRTC, 0x11, 0);
    bench.set_indexed(CRTC, 0, 0xba);
    let got = bench.indexed(CRTC, 0);
    bench.check("without protection", got, 0xbau8);
}

pub(super) fn indexes(bench: &mut Bench<'_>) {
    colour(bench);
    for (what, port, mask) in
        [("sequencer", SEQUENCER, 7u8), ("graphics", GRAPHICS, 0xf), ("CRTC", CRTC, 0x1f)]
    {
        for value in [0u8, 2, 5] {
            bench.outb(port, value);
            let got = bench.inb(port);
            bench.check_bits(format!("{what} {value}"), got, mask, value);
        }
        bench.outb(port, 0xff);
        let got = bench.inb(port);
        bench.note(format!("{what} with ones"), got);
    }
}

pub(super) fn words(bench: &mut Bench<'_>) {
    colour(bench);
    for (what, port, word) in
        [("sequencer", SEQUENCER, 0x0502u16), ("graphics", GRAPHICS, 0x5a08), ("CRTC", CRTC, 0x770f)]
    {
        bench.outw(port, word);
        let got = bench.indexed(port, word as u8);
        bench.check(what, got, (word >> 8) as u8);
        let got = bench.inw(port);
        bench.check(format!("{what} read as a word"), got, word);
    }
}

/// Reads an attribute register; the flip-flop is at the index before and after.
fn attribute_read(bench: &mut Bench<'_>, index: u8) -> u8 {
    bench.perform(&[read(STATUS1), out(ATTRIBUTE, index), read(ATTRIBUTE + 1), read(STATUS1)])[2] as u8
}

fn attribute_write(bench: &mut Bench<'_>, index: u8, value: u8) {
    bench.perform(&[read(STATUS1), out(ATTRIBUTE, index), out(ATTRIBUTE, value)]);
}

pub(super) fn flip(bench: &mut Bench<'_>) {
    colour(bench);
    let ops = [0x11, 0x3f, 0x12, 0x05, 0x13].map(|value| out(ATTRIBUTE, value));
    bench.perform(&[&[read(STATUS1)], &ops[..]].concat());
    let index = bench.inb(ATTRIBUTE);
    bench.check_bits("fifth write is an index", index, 0x3fu8, 0x13u8);
    let got = [0x11, 0x12].map(|index| attribute_read(bench, index));
    bench.check("second write is data", got[0], 0x3fu8);
    bench.check("fourth write is data", got[1], 5u8);
    // Reading the registers themselves turns nothing.
    let ops =
        [read(STATUS1), out(ATTRIBUTE, 0x12), read(ATTRIBUTE), read(ATTRIBUTE + 1), out(ATTRIBUTE, 0xa)];
    bench.perform(&ops);
    let got = attribute_read(bench, 0x12);
    bench.check("data after reads", got, 0xau8);
    bench.perform(&[read(STATUS1), out(ATTRIBUTE, 0x13), read(STATUS1), out(ATTRIBUTE, 0x12)]);
    let got = bench.inb(ATTRIBUTE);
    bench.check_bits("input status 1 goes back to the index", got, 0x1fu8, 0x12u8);
}

pub(super) fn attribute(bench: &mut Bench<'_>) {
    colour(bench);
    let palette = (0..0x10).map(|index| (index, 0x3fu8));
    for (index, mask) in palette.chain([(0x10, 0xef), (0x11, 0x3f), (0x12, 0x3f), (0x13, 0xf), (0x14, 0xf)]) {
        for value in [0xffu8, 0, 0x15, 0x2a] {
            attribute_write(bench, index, value);
            let got = attribute_read(bench, index);
            bench.check_bits(format!("{index:#04x} with {value:#04x}"), got, mask, value & mask);
        }
    }
    for index in [0, 0x10, 0x11, 0x12, 0x13, 0x14] {
        attribute_write(bench, index, 0xff);
        let got = attribute_read(bench, index);
        bench.note(format!("{index:#04x} with ones"), got);
    }
}

pub(super) fn palette_lock(bench: &mut Bench<'_>) {
    colour(bench);
    attribute_write(bench, 5, 0x15);
    attribute_write(bench, 0x25, 0x2a);
    let got = attribute_read(bench, 5);
    bench.note("palette written with bit 5", got);
    attribute_write(bench, 0x32, 7);
    let index = bench.inb(ATTRIBUTE);
    bench.check_bits("bit 5 reads back", index, 0x3fu8, 0x32u8);
    let got = attribute_read(bench, 0x12);
    bench.check("other registers do not mind", got, 7u8);
}

/// Writes colours from an index on.
fn colours(bench: &mut Bench<'_>, index: u8, values: &[u8]) {
    let mut ops = vec![out(0x3c8, index)];
    ops.extend(values.iter().map(|value| out(0x3c9, *value)));
    bench.perform(&ops);
}

fn colours_read(bench: &mut Bench<'_>, index: u8, len: usize) -> Vec<u8> {
    let ops = [vec![out(0x3c7, index)], vec![read(0x3c9); len]].concat();
    bench.perform(&ops)[1..].iter().map(|value| *value as u8).collect()
}

pub(super) fn dac_write(bench: &mut Bench<'_>) {
    colour(bench);
    colours(bench, 0x40, &[1, 2, 3, 4, 5, 6]);
    let index = bench.inb(0x3c8);
    bench.check("index after two colours", index, 0x42u8);
    let got = colours_read(bench, 0x40, 6);
    bench.check_bytes("both", &got, &[1, 2, 3, 4, 5, 6]);
    let got = colours_read(bench, 0x41, 3);
    bench.check_bytes("the second", &got, &[4, 5, 6]);
}

pub(super) fn dac_read(bench: &mut Bench<'_>) {
    colour(bench);
    colours(bench, 0x10, &[10, 20, 30, 11, 21, 31, 12, 22, 32]);
    let got = colours_read(bench, 0x11, 6);
    bench.check_bytes("from the middle", &got, &[11, 21, 31, 12, 22, 32]);
    // An index begins with red, wherever it was.
    bench.perform(&[out(0x3c7, 0x10), read(0x3c9)]);
    let got = colours_read(bench, 0x12, 3);
    bench.check_bytes("after half a colour", &got, &[12, 22, 32]);
}

pub(super) fn dac_state(bench: &mut Bench<'_>) {
    colour(bench);
    for (what, port, state) in [("write", 0x3c8, 0u8), ("read", 0x3c7, 3), ("write again", 0x3c8, 0)] {
        bench.outb(port, 7);
        let got = bench.inb(0x3c7);
        bench.check_bits(what, got, 3u8, state);
    }
}

pub(super) fn dac_bits(bench: &mut Bench<'_>) {
    colour(bench);
    colours(bench, 0x80, &[0x3f, 0x2a, 0x15]);
    let got = colours_read(bench, 0x80, 3);
    bench.check_bytes("six bits", &got, &[0x3f, 0x2a, 0x15]);
    colours(bench, 0x80, &[0xff, 0xc1, 0x40]);
    let got = colours_read(bench, 0x80, 3);
    bench.check_bytes("the low six of eight", &got, &[0x3f, 1, 0]);
}

pub(super) fn dac_round(bench: &mut Bench<'_>) {
    colour(bench);
    colours(bench, 0xff, &[1, 2, 3, 4, 5, 6]);
    let got = colours_read(bench, 0, 3);
    bench.check_bytes("0 follows 255 in writing", &got, &[4, 5, 6]);
    let got = colours_read(bench, 0xff, 6);
    bench.check_bytes("and in reading", &got, &[1, 2, 3, 4, 5, 6]);
    for index in 0..=255u8 {
        colours(bench, index, &[index & 0x3f, index >> 2, 63 - (index & 0x3f)]);
    }
    let wanted: Vec<u8> =
        (0..=255u8).flat_map(|index| [index & 0x3f, index >> 2, 63 - (index & 0x3f)]).collect();
    let got = colours_read(bench, 0, 768);
    bench.check_bytes("all 256", &got, &wanted);
}

pub(super) fn dac_half(bench: &mut Bench<'_>) {
    colour(bench);
    colours(bench, 0x20, &[1, 2, 3]);
    colours(bench, 0x20, &[9, 8]);
    let got = colours_read(bench, 0x20, 3);
    bench.note_bytes("after two of three", &got);
}

pub(super) fn dac_mask(bench: &mut Bench<'_>) {
    colour(bench);
    for value in [0u8, 0x55, 0xaa, 0xff] {
        bench.outb(0x3c6, value);
        let got = bench.inb(0x3c6);
        bench.check(format!("{value:#04x}"), got, value);
    }
    bench.outb(0x3c6, 0);
    colours(bench, 0x33, &[7, 8, 9]);
    let got = colours_read(bench, 0x33, 3);
    bench.check_bytes("it is not for reads and writes", &got, &[7, 8, 9]);
}

pub(super) fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    for (what, again) in [("power-on", false), ("reset", true)] {
        if again {
            bench.outb(0x3c2, 0x67);
            bench.set_indexed(SEQUENCER, 2, 5);
            bench.set_indexed(GRAPHICS, 8, 0x5a);
            bench.reset();
            on(bench);
        }
        let misc = bench.inb(0x3cc);
        bench.check_bits(format!("miscellaneous output at {what}"), misc, 0xffu8, 0u8);
        let sequencer: Vec<u8> = (0..5).map(|index| bench.indexed(SEQUENCER, index)).collect();
        bench.note_bytes(format!("sequencer at {what}"), &sequencer);
        let graphics: Vec<u8> = (0..9).map(|index| bench.indexed(GRAPHICS, index)).collect();
        bench.note_bytes(format!("graphics at {what}"), &graphics);
        bench.outb(0x3c2, 1);
        let crtc: Vec<u8> = (0..0x19).map(|index| bench.indexed(CRTC, index)).collect();
        bench.note_bytes(format!("CRTC at {what}"), &crtc);
        let attribute: Vec<u8> = (0..0x15).map(|index| attribute_read(bench, index)).collect();
        bench.note_bytes(format!("attribute at {what}"), &attribute);
        let mask = bench.inb(0x3c6);
        bench.note(format!("DAC mask at {what}"), mask);
        let state = bench.inb(0x3c7);
        bench.note(format!("DAC state at {what}"), state);
    }
}
