//! The DISPI registers, the linear frame buffer and BAR 2.

use super::{CRTC, LFB, MMIO, graphics, on, planar, sequencer};
use crate::bench::Bench;
use crate::machine::{Op, Size};

const INDEX: u16 = 0x1ce;
const DATA: u16 = 0x1cf;
const ID: u16 = 0;
const XRES: u16 = 1;
const YRES: u16 = 2;
const BPP: u16 = 3;
const ENABLE: u16 = 4;
const BANK: u16 = 5;
const VIRT_WIDTH: u16 = 6;
const VIRT_HEIGHT: u16 = 7;
const X_OFFSET: u16 = 8;
const Y_OFFSET: u16 = 9;
const MEMORY: u16 = 10;

fn get(bench: &mut Bench<'_>, index: u16) -> u16 {
    bench.perform(&[Op::Out(INDEX, Size::B2, index.into()), Op::In(DATA, Size::B2)])[1] as u16
}

fn put(bench: &mut Bench<'_>, index: u16, value: u16) {
    bench.perform(&[Op::Out(INDEX, Size::B2, index.into()), Op::Out(DATA, Size::B2, value.into())]);
}

/// Turns a mode on.
fn mode(bench: &mut Bench<'_>, width: u16, height: u16, bpp: u16, enable: u16) {
    put(bench, ENABLE, 0);
    for (index, value) in [(XRES, width), (YRES, height), (BPP, bpp), (ENABLE, enable)] {
        put(bench, index, value);
    }
}

fn check(bench: &mut Bench<'_>, what: &str, index: u16, wanted: u16) {
    let got = get(bench, index);
    bench.check(what, got, wanted);
}

pub(super) fn versions(bench: &mut Bench<'_>) {
    on(bench);
    check(bench, "at first", ID, 0xb0c5);
    for version in 0xb0c0..=0xb0c5 {
        put(bench, ID, version);
        check(bench, &format!("{version:#x}"), ID, version);
    }
    put(bench, ID, 0x1234);
    check(bench, "no such version", ID, 0xb0c5);
    let index = bench.inw(INDEX);
    bench.check("the index reads back", index, ID);
}

pub(super) fn geometry(bench: &mut Bench<'_>) {
    on(bench);
    for (width, height, bpp) in
        [(640, 480, 32), (800, 600, 16), (1024, 768, 24), (1280, 1024, 8), (1920, 1080, 32)]
    {
        mode(bench, width, height, bpp, 0x41);
        let what = format!("{width}x{height}x{bpp}");
        check(bench, &format!("width of {what}"), XRES, width);
        check(bench, &format!("height of {what}"), YRES, height);
        check(bench, &format!("depth of {what}"), BPP, bpp);
        check(bench, &format!("virtual width of {what}"), VIRT_WIDTH, width);
        check(bench, &format!("enable of {what}"), ENABLE, 0x41);
    }
    put(bench, ENABLE, 0);
    check(bench, "off", ENABLE, 0);
}

pub(super) fn caps(bench: &mut Bench<'_>) {
    on(bench);
    mode(bench, 640, 480, 32, 0x43);
    for (what, index) in [("width", XRES), ("height", YRES), ("depth", BPP)] {
        let got = get(bench, index);
        bench.note(what, got);
    }
    let got = get(bench, BPP);
    bench.check("depth", got, 32u8);
    put(bench, ENABLE, 0x41);
    check(bench, "width of the mode again", XRES, 640);
}

pub(super) fn clears(bench: &mut Bench<'_>) {
    on(bench);
    for (what, enable, wanted) in
        [("NOCLEARMEM keeps", 0xc1, 0x1234_5678u32), ("without it is cleared", 0x41, 0)]
    {
        mode(bench, 640, 480, 32, 0xc1);
        bench.writel(LFB, 0x1234_5678);
        bench.writel(LFB + 640 * 480 * 4 - 4, 0x1234_5678);
        mode(bench, 640, 480, 32, enable);
        let got = bench.readl(LFB);
        bench.check(format!("{what}: first"), got, wanted);
        let got = bench.readl(LFB + 640 * 480 * 4 - 4);
        bench.check(format!("{what}: last"), got, wanted);
    }
    // What is on already is not turned on.
    bench.writel(LFB, 0x5555_aaaa);
    put(bench, ENABLE, 0x41);
    let got = bench.readl(LFB);
    bench.check("enabling what is on", got, 0x5555_aaaau32);
}

pub(super) fn virtual_size(bench: &mut Bench<'_>) {
    on(bench);
    mode(bench, 640, 480, 32, 0x41);
    check(bench, "height: what 16 MiB hold", VIRT_HEIGHT, 6553);
    put(bench, VIRT_WIDTH, 1024);
    check(bench, "width", VIRT_WIDTH, 1024);
    check(bench, "height at that width", VIRT_HEIGHT, 4096);
    put(bench, VIRT_WIDTH, 320);
    let got = get(bench, VIRT_WIDTH);
    bench.note("narrower than the mode", got);
    let got = get(bench, VIRT_HEIGHT);
    bench.note("its height", got);
}

pub(super) fn offsets(bench: &mut Bench<'_>) {
    on(bench);
    mode(bench, 640, 480, 32, 0x41);
    check(bench, "x at first", X_OFFSET, 0);
    check(bench, "y at first", Y_OFFSET, 0);
    put(bench, VIRT_WIDTH, 1024);
    put(bench, X_OFFSET, 128);
    put(bench, Y_OFFSET, 480);
    check(bench, "x", X_OFFSET, 128);
    check(bench, "y", Y_OFFSET, 480);
    mode(bench, 640, 480, 32, 0xc1);
    check(bench, "x in a new mode", X_OFFSET, 0);
    check(bench, "y in a new mode", Y_OFFSET, 0);
    put(bench, Y_OFFSET, 0xffff);
    let got = get(bench, Y_OFFSET);
    bench.note("y beyond the memory", got);
}

pub(super) fn banks(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(0x3c2, 0x63);
    mode(bench, 640, 480, 8, 0x01);
    for bank in [0u16, 1, 3, 0xff] {
        put(bench, BANK, bank);
        check(bench, &format!("bank {bank}"), BANK, bank);
        bench.write(0xa_0010, Size::B1, 0x40 | u64::from(bank & 0xf));
        let got = bench.read(LFB + u64::from(bank) * 0x10000 + 0x10, Size::B1);
        bench.check(format!("bank {bank} in the frame buffer"), got, 0x40 | u64::from(bank & 0xf));
    }
    put(bench, BANK, 2);
    bench.writel(LFB + 0x2_0020, 0xdead_beef);
    let got = bench.readl(0xa_0020);
    bench.check("read through the window", got, 0xdead_beefu32);
}

pub(super) fn memory(bench: &mut Bench<'_>) {
    on(bench);
    check(bench, "in 64 KiB", MEMORY, 256);
    put(bench, MEMORY, 1);
    check(bench, "it is read only", MEMORY, 256);
    bench.writel(LFB + (16 << 20) - 4, 0x0bad_cafe);
    let got = bench.readl(LFB + (16 << 20) - 4);
    bench.check("the last of it", got, 0x0bad_cafeu32);
}

pub(super) fn unknown(bench: &mut Bench<'_>) {
    on(bench);
    for index in [11, 12, 0xff, 0xffff] {
        put(bench, index, 0x5555);
        let got = get(bench, index);
        bench.note(format!("register {index:#x}"), got);
    }
    check(bench, "the version is as it was", ID, 0xb0c5);
}

/// A DISPI register in BAR 2.
fn place(index: u16) -> u64 {
    MMIO + 0x500 + 2 * u64::from(index)
}

pub(super) fn mmio(bench: &mut Bench<'_>) {
    on(bench);
    let got = bench.read(place(ID), Size::B2);
    bench.check("version", got, 0xb0c5u16);
    for (index, value) in [(XRES, 1024u16), (YRES, 768), (BPP, 32), (ENABLE, 0x41)] {
        bench.write(place(index), Size::B2, value.into());
        check(bench, &format!("register {index} by its port"), index, value);
        let got = bench.read(place(index), Size::B2);
        bench.check(format!("register {index}"), got, value);
    }
    put(bench, Y_OFFSET, 17);
    let got = bench.read(place(Y_OFFSET), Size::B2);
    bench.check("what the port wrote", got, 17u8);
    // The port's index is the port's alone.
    bench.outw(INDEX, BPP);
    bench.read(place(XRES), Size::B2);
    let got = bench.inw(DATA);
    bench.check("the index of the port", got, 32u8);
}

pub(super) fn mmio_ports(bench: &mut Bench<'_>) {
    on(bench);
    let ports = MMIO + 0x400;
    bench.write(ports + 2, Size::B1, 0x67);
    let got = bench.inb(0x3cc);
    bench.check("miscellaneous output", got, 0x67u8);
    bench.write(ports + 0x14, Size::B1, 0xf);
    bench.write(ports + 0x15, Size::B1, 0x3c);
    let got = bench.indexed(CRTC, 0xf);
    bench.check("CRTC", got, 0x3cu8);
    bench.write(ports + 8, Size::B1, 9);
    for value in [5, 6, 7] {
        bench.write(ports + 9, Size::B1, value);
    }
    bench.outb(0x3c7, 9);
    let got: Vec<u8> = (0..3).map(|_| bench.inb(0x3c9)).collect();
    bench.check_bytes("DAC", &got, &[5, 6, 7]);
    bench.set_indexed(0x3ce, 8, 0x99);
    let got = bench.read(ports + 0xf, Size::B1);
    bench.check("graphics controller read", got, 0x99u8);
    bench.write(ports + 0xe, Size::B2, 0x4408);
    let got = bench.indexed(0x3ce, 8);
    bench.check("index and data in one word", got, 0x44u8);
}

pub(super) fn order(bench: &mut Bench<'_>) {
    on(bench);
    let size = bench.readl(MMIO + 0x600);
    bench.check("bytes of the extension", size, 8u8);
    let at_first = bench.readl(MMIO + 0x604);
    bench.check("little endian at first", at_first, 0x1e1e_1e1eu32);
    for (what, value, wanted) in [
        ("big", 0xbebe_bebeu32, 0xbebe_bebeu32),
        ("neither", 0x1234_5678, 0xbebe_bebe),
        ("little", 0x1e1e_1e1e, 0x1e1e_1e1e),
    ] {
        bench.writel(MMIO + 0x604, value);
        let got = bench.readl(MMIO + 0x604);
        bench.check(what, got, wanted);
    }
}

pub(super) fn edid(bench: &mut Bench<'_>) {
    on(bench);
    let blob: Vec<u8> = (0..128).step_by(4).flat_map(|at| bench.readl(MMIO + at).to_le_bytes()).collect();
    bench.check_bytes("header", &blob[..8], &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    let sum = blob.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bench.check("checksum", sum, 0u8);
    bench.check("version 1", blob[0x12], 1u8);
    bench.check_bits("digital", blob[0x14], 0x80u8, 0x80u8);
    // A detailed timing comes first: the monitor's own mode.
    let width = u16::from(blob[0x38]) | u16::from(blob[0x3a] & 0xf0) << 4;
    let height = u16::from(blob[0x3b]) | u16::from(blob[0x3d] & 0xf0) << 4;
    bench.note("preferred width", width);
    bench.note("preferred height", height);
    bench.note_bytes("the rest", &blob[8..]);
    bench.writel(MMIO, 0x1234_5678);
    let got = bench.readl(MMIO);
    bench.check("it is read only", got, 0xffff_ff00u32);
}

pub(super) fn linear(bench: &mut Bench<'_>) {
    on(bench);
    mode(bench, 640, 480, 32, 0x41);
    let at = LFB + 0x1_2340;
    for (what, size, value) in [
        ("1 byte", Size::B1, 0x81u64),
        ("2 bytes", Size::B2, 0x8182),
        ("4 bytes", Size::B4, 0x8182_8384),
        ("8 bytes", Size::B8, 0x8182_8384_8586_8788),
    ] {
        bench.write(at, size, value);
        let got = bench.read(at, size);
        bench.check(what, got, value);
    }
    let bytes: Vec<u8> = (0..8).map(|index| bench.read(at + index, Size::B1) as u8).collect();
    bench.check_bytes("lowest byte first", &bytes, &[0x88, 0x87, 0x86, 0x85, 0x84, 0x83, 0x82, 0x81]);
    bench.write(at + 0x101, Size::B4, 0x1122_3344);
    let got = bench.read(at + 0x102, Size::B2);
    bench.check("across words", got, 0x2233u16);
}

pub(super) fn planes(bench: &mut Bench<'_>) {
    planar(bench);
    graphics(bench, 5, 0);
    for plane in 0..4 {
        sequencer(bench, 2, 1 << plane);
        bench.write(0xa_0100, Size::B1, 0x70 + plane as u64);
    }
    let got = bench.readl(LFB + 0x400);
    bench.note("four planes at 0x100", got);
    bench.writel(LFB + 0x400, 0x0403_0201);
    graphics(bench, 4, 2);
    let got = bench.read(0xa_0100, Size::B1);
    bench.note("plane 2 as the frame buffer wrote it", got);
    bench.check("a plane is there at all", got & 0xff, 3u8);
}

pub(super) fn dac8(bench: &mut Bench<'_>) {
    on(bench);
    for (what, enable, wanted) in
        [("eight bits", 0x61u16, [0xffu8, 0x81, 0x40]), ("six bits", 0x41, [0x3f, 1, 0])]
    {
        mode(bench, 640, 480, 8, enable);
        bench.outb(0x3c8, 5);
        for value in [0xff, 0x81, 0x40] {
            bench.outb(0x3c9, value);
        }
        bench.outb(0x3c7, 5);
        let got: Vec<u8> = (0..3).map(|_| bench.inb(0x3c9)).collect();
        bench.check_bytes(what, &got, &wanted);
    }
}

pub(super) fn reset(bench: &mut Bench<'_>) {
    on(bench);
    check(bench, "enable at power-on", ENABLE, 0);
    mode(bench, 800, 600, 16, 0x41);
    put(bench, BANK, 3);
    bench.reset();
    on(bench);
    check(bench, "enable after reset", ENABLE, 0);
    check(bench, "version after reset", ID, 0xb0c5);
    for (what, index) in
        [("width", XRES), ("height", YRES), ("depth", BPP), ("bank", BANK), ("index 6", VIRT_WIDTH)]
    {
        let got = get(bench, index);
        bench.note(format!("{what} after reset"), got);
    }
    let index = bench.inw(INDEX);
    bench.note("index", index);
}
