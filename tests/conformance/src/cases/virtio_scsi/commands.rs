//! The disk's commands.

use super::driver::DATA;
use super::host::{DISK, Host};
use crate::bench::Bench;
use crate::case::Disk;

/// What the disk holds at first.
fn pattern(sector: u64, bytes: u64) -> Vec<u8> {
    (sector * 512..sector * 512 + bytes).map(Disk::byte).collect()
}

/// A command of ten bytes with a first block and a number of blocks.
const fn ten(code: u8, flags: u8, lba: u8, blocks: u8) -> [u8; 10] {
    [code, flags, 0, 0, 0, lba, 0, 0, blocks, 0]
}
const fn sixteen(code: u8, flags: u8, lba: u8, blocks: u8) -> [u8; 16] {
    [code, flags, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, blocks, 0, 0]
}
const fn twelve(code: u8, lba: u8, blocks: u8) -> [u8; 12] {
    [code, 0, 0, 0, 0, lba, 0, 0, 0, blocks, 0, 0]
}

pub(super) fn inquiry(bench: &mut Bench<'_>) {
    let mut host = Host::start(bench);
    let data = host.read(bench, &[0x12, 0, 0, 0, 36, 0], 36);
    bench.check_bytes("head", &data[..8], &[0, 0, 5, 0x12, 31, 0, 0, 0x12]);
    bench.check_bytes("vendor and product", &data[8..32], b"QEMU    QEMU HARDDISK   ");
    let data = host.read(bench, &[0x12, 0, 0, 0, 5, 0], 5);
    bench.check("a part of it", data[4], 31u8);
}

fn page(host: &mut Host, bench: &mut Bench<'_>, page: u8) -> Vec<u8> {
    host.read(bench, &[0x12, 1, page, 0, 255, 0], 255)
}

pub(super) fn vital(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let data = page(&mut host, bench, 0);
    bench.check_bytes("pages", &data[..10], &[0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    let data = page(&mut host, bench, 0x80);
    bench.check_bytes("serial number", &data[..15], b"\0\x80\0\x0bconformance");
    let data = page(&mut host, bench, 0x83);
    bench.check_bytes("name", &data[4..19], b"\x02\0\0\x0bconformance");
    bench.check_bytes("world wide name", &data[19..31], &[1, 3, 0, 8, 0x50, 0, 0xc5, 0, 0, 0, 0, 1]);
    let data = page(&mut host, bench, 0xb1);
    bench.check_bytes("characteristics", &data[..6], &[0, 0xb1, 0, 0x3c, 0, 0]);
    host.fails(bench, &[0x12, 1, 0x84, 0, 255, 0], (0, 255), [5, 0x24, 0]);
}

pub(super) fn limits(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let data = page(&mut host, bench, 0xb0);
    bench.check("length", data[3], 0x3cu8);
    bench.check_bytes("most to unmap at once", &data[20..28], &[0, 0x20, 0, 0, 0, 0, 0, 255]);
    bench.check_bytes("granularity", &data[28..32], &[0, 0, 0, 8]);
}

pub(super) fn provisioning(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let data = page(&mut host, bench, 0xb2);
    bench.check_bytes("page", &data[..8], &[0, 0xb2, 0, 4, 0, 0xe0, 2, 0]);
}

pub(super) fn report_luns(bench: &mut Bench<'_>) {
    let mut host = Host::start(bench);
    let data = host.read(bench, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], 16);
    bench.check_bytes("the one unit", &data, &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    host.fails(bench, &[0; 6], (0, 0), [6, 0x29, 0]);
    host.fails(bench, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0], (0, 15), [5, 0x24, 0]);
}

pub(super) fn request_sense(bench: &mut Bench<'_>) {
    let mut host = Host::start(bench);
    let data = host.read(bench, &[3, 0, 0, 0, 18, 0], 18);
    bench.check_bytes("power on", &[data[0], data[2], data[12], data[13]], &[0x70, 6, 0x29, 0]);
    host.does(bench, &[0; 6], 0);
    let data = host.read(bench, &[3, 0, 0, 0, 18, 0], 18);
    bench.check("nothing more", data[2], 0u8);
    let data = host.read(bench, &[3, 1, 0, 0, 8, 0], 8);
    bench.check("with descriptors", data[0], 0x72u8);
}

pub(super) fn capacity(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let data = host.read(bench, &ten(0x25, 0, 0, 0), 8);
    bench.check_bytes("by ten bytes", &data, &[0, 0, 0, super::SECTORS as u8 - 1, 0, 0, 2, 0]);
    let data = host.read(bench, &sixteen(0x9e, 0x10, 0, 32), 32);
    bench.check_bytes("by sixteen", &data[..12], &[0, 0, 0, 0, 0, 0, 0, 63, 0, 0, 2, 0]);
    bench.check_bits("it can be unmapped", data[14], 0x80u8, 0x80u8);
    host.fails(bench, &ten(0x25, 0, 1, 0), (0, 8), [5, 0x24, 0]);
}

pub(super) fn reads(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let six = [8, 0, 0, 3, 2, 0];
    let all: [(&str, &[u8]); 4] = [
        ("READ (6)", &six),
        ("READ (10)", &ten(0x28, 0, 3, 2)),
        ("READ (12)", &twelve(0xa8, 3, 2)),
        ("READ (16)", &sixteen(0x88, 0, 3, 2)),
    ];
    for (name, cdb) in all {
        bench.poke(DATA, &[0; 1024]);
        let data = host.read(bench, cdb, 1024);
        bench.check_bytes(name, &data[..16], &pattern(3, 16));
        bench.check_bytes(format!("{name}, the end"), &data[1008..], &pattern(3, 1024)[1008..]);
    }
    host.does(bench, &ten(0x28, 0, 3, 0), 0);
}

/// Writes a sector and reads it again.
fn written(host: &mut Host, bench: &mut Bench<'_>, cdb: &[u8], lba: u8, value: u8) {
    bench.poke(DATA, &[value; 512]);
    host.does(bench, cdb, 512);
    bench.poke(DATA, &[0; 512]);
    let data = host.read(bench, &ten(0x28, 0, lba, 1), 512);
    bench.check_that(format!("it is there after {:02x}", cdb[0]), data == [value; 512], data[0]);
}

pub(super) fn write(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    written(&mut host, bench, &ten(0x2a, 0, 9, 1), 9, 0x5a);
    // It is to be safe by itself.
    written(&mut host, bench, &ten(0x2a, 8, 10, 1), 10, 0x5b);
}

pub(super) fn writes(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    written(&mut host, bench, &[10, 0, 0, 20, 1, 0], 20, 1);
    written(&mut host, bench, &twelve(0xaa, 21, 1), 21, 2);
    written(&mut host, bench, &sixteen(0x8a, 0, 22, 1), 22, 3);
    written(&mut host, bench, &ten(0x2e, 0, 23, 1), 23, 4);
    written(&mut host, bench, &sixteen(0x8e, 0, 24, 1), 24, 5);
}

pub(super) fn beyond(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    host.fails(bench, &ten(0x28, 0, 64, 1), (0, 512), [5, 0x21, 0]);
    host.fails(bench, &ten(0x28, 0, 63, 2), (0, 1024), [5, 0x21, 0]);
    host.fails(bench, &ten(0x2a, 0, 64, 1), (512, 0), [5, 0x21, 0]);
    let far = [0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0];
    host.fails(bench, &far, (0, 512), [5, 0x21, 0]);
    host.fails(bench, &ten(0x2b, 0, 64, 0), (0, 0), [5, 0x21, 0]);
}

pub(super) fn unknown(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    for code in [0x5e, 0x5f, 0x44, 0xa3] {
        let cdb = [code, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        host.fails(bench, &cdb, (0, 0), [5, 0x20, 0]);
    }
    // Protection information.
    host.fails(bench, &ten(0x28, 0x20, 0, 1), (0, 512), [5, 0x24, 0]);
}

pub(super) fn flush(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    host.does(bench, &ten(0x35, 0, 0, 0), 0);
    host.does(bench, &sixteen(0x91, 0, 0, 0), 0);
}

pub(super) fn write_same(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    bench.poke(DATA, &[0xab; 512]);
    host.does(bench, &ten(0x41, 0, 30, 4), 512);
    let data = host.read(bench, &ten(0x28, 0, 33, 1), 512);
    bench.check_that("the last", data == [0xab; 512], data[0]);
    let data = host.read(bench, &ten(0x28, 0, 34, 1), 512);
    bench.check_bytes("no more", &data[..16], &pattern(34, 16));
    bench.poke(DATA, &[0; 512]);
    host.does(bench, &sixteen(0x93, 8, 31, 1), 512);
    let data = host.read(bench, &ten(0x28, 0, 31, 1), 512);
    bench.check_that("zeros", data == [0; 512], data[0]);
    bench.poke(DATA, &[1; 512]);
    host.fails(bench, &ten(0x41, 0, 63, 2), (512, 0), [5, 0x21, 0]);
}

pub(super) fn unmap(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let list = |lba: u8, blocks: u8| {
        [&[0, 22, 0, 16, 0, 0, 0, 0][..], &[0, 0, 0, 0, 0, 0, 0, lba], &[0, 0, 0, blocks], &[0; 4]].concat()
    };
    bench.poke(DATA, &list(40, 8));
    host.does(bench, &ten(0x42, 0, 0, 24), 24);
    bench.poke(DATA, &list(63, 2));
    host.fails(bench, &ten(0x42, 0, 0, 24), (24, 0), [5, 0x21, 0]);
    bench.poke(DATA, &list(0, 1));
    host.fails(bench, &ten(0x42, 1, 0, 24), (24, 0), [5, 0x24, 0]);
}

pub(super) fn verify(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    host.does(bench, &ten(0x2f, 0, 0, 8), 0);
    host.fails(bench, &ten(0x2f, 0, 63, 2), (0, 0), [5, 0x21, 0]);
}

pub(super) fn mode_sense(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let data = host.read(bench, &[0x1a, 0, 8, 0, 64, 0], 64);
    bench.check_bytes("with a block descriptor", &data[..12], &[31, 0, 0, 8, 0, 0, 0, 64, 0, 0, 2, 0]);
    bench.check_bytes("caching", &data[12..15], &[8, 18, 4]);
    let data = host.read(bench, &[0x1a, 8, 8, 0, 64, 0], 64);
    bench.check_bytes("without", &data[..7], &[23, 0, 0, 0, 8, 18, 4]);
    let data = host.read(bench, &[0x1a, 8, 0x48, 0, 64, 0], 64);
    bench.check("it can be changed", data[6], 4u8);
    let data = host.read(bench, &[0x5a, 8, 1, 0, 0, 0, 0, 0, 64, 0], 64);
    bench.check_bytes("error recovery", &data[8..11], &[1, 10, 0x80]);
    host.fails(bench, &[0x1a, 8, 0xc8, 0, 64, 0], (0, 64), [5, 0x39, 0]);
    host.fails(bench, &[0x1a, 8, 0x3e, 0, 64, 0], (0, 64), [5, 0x24, 0]);
    for (name, code) in [("rigid disk", 4), ("flexible disk", 5)] {
        let data = host.read(bench, &[0x1a, 8, code, 0, 64, 0], 64);
        for (at, byte) in data[4..36].iter().enumerate() {
            bench.note(format!("{name}, byte {at}"), *byte);
        }
    }
}

fn caching(on: bool) -> Vec<u8> {
    [&[0, 0, 0, 0, 8, 18, if on { 4 } else { 0 }][..], &[0; 17]].concat()
}

pub(super) fn write_cache(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    for on in [false, true] {
        bench.poke(DATA, &caching(on));
        host.does(bench, &[0x15, 0x10, 0, 0, 24, 0], 24);
        let data = host.read(bench, &[0x1a, 8, 8, 0, 64, 0], 64);
        bench.check(format!("on: {on}"), data[6], if on { 4u8 } else { 0 });
        written(&mut host, bench, &ten(0x2a, 0, 50, 1), 50, 0x60);
    }
}

pub(super) fn mode_select(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    bench.poke(DATA, &caching(true));
    host.fails(bench, &[0x15, 0x11, 0, 0, 24, 0], (24, 0), [5, 0x24, 0]);
    host.fails(bench, &[0x15, 0, 0, 0, 24, 0], (24, 0), [5, 0x24, 0]);
    host.fails(bench, &[0x15, 0x10, 0, 0, 20, 0], (24, 0), [5, 0x1a, 0]);
    let mut other = caching(true);
    other[7] = 1;
    bench.poke(DATA, &other);
    host.fails(bench, &[0x15, 0x10, 0, 0, 24, 0], (24, 0), [5, 0x26, 0]);
}

pub(super) fn nothing(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    for cdb in [[0x1b, 0, 0, 0, 1, 0], [0x1e, 0, 0, 0, 1, 0], [0x16, 0, 0, 0, 0, 0], [0x17, 0, 0, 0, 0, 0]] {
        host.does(bench, &cdb, 0);
    }
    let back = host.run(bench, DISK, &ten(0x2b, 0, 63, 0), 0, 0);
    bench.check("SEEK", back.status, 0u8);
}
