//! Data by PIO.

use super::*;
use crate::bench::Bench;
use crate::machine::{Op, Size};

const READ: u8 = 0x20;
const READ_EXT: u8 = 0x24;
const WRITE: u8 = 0x30;
const WRITE_EXT: u8 = 0x34;
const READ_MULTIPLE: u8 = 0xc4;
const WRITE_MULTIPLE: u8 = 0xc5;
const SET_MULTIPLE: u8 = 0xc6;

/// The drive has ended a command well.
fn ended(bench: &mut Bench<'_>, what: &str) {
    let status = PRIMARY.over(bench);
    bench.check_bits(format!("{what}: status"), status, BSY | DRDY | DF | DRQ | ERR, DRDY);
}

/// The drive has refused an address, with an interrupt: IDNF, or ABRT instead of it, as it likes. Which.
fn refused(bench: &mut Bench<'_>, what: &str) -> u8 {
    let status = PRIMARY.settled(bench);
    bench.check_bits(format!("{what}: status"), status, BSY | DRQ | ERR, ERR);
    let up = bench.irq(14);
    bench.check(format!("{what}: interrupt"), up, true);
    PRIMARY.acknowledge(bench);
    let error = PRIMARY.get(bench, ERROR);
    bench.check_that(format!("{what}: IDNF or ABRT"), error & (IDNF | ABRT) != 0, error);
    error
}

/// Bytes that no disk holds at first.
fn other(seed: u8, sectors: usize) -> Vec<u8> {
    (0..sectors * 512).map(|at| (at / 512 * 31 + at * 7) as u8 ^ seed).collect()
}

pub(super) fn read_one(bench: &mut Bench<'_>) {
    on(bench);
    let status = PRIMARY.lba28(bench, 0, 0x1234, 1, READ);
    bench.check_bits("status", status, BSY | DRDY | DF | DRQ | ERR, DRDY | DRQ);
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    PRIMARY.acknowledge(bench);
    let down = bench.irq(14);
    bench.check("acknowledged", down, false);
    let data = PRIMARY.take(bench, 512);
    bench.check_bytes("data", &data, &sectors(0x1234, 1));
    ended(bench, "after the data");
    let up = bench.irq(14);
    bench.check("no interrupt at the end", up, false);
    let error = PRIMARY.get(bench, ERROR);
    bench.note("error", error);
    let file = PRIMARY.file(bench);
    bench.note_bytes("count, low, mid, high", &file);
}

pub(super) fn read_many(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.lba28(bench, 0, 100, 5, READ);
    for sector in 0..5u64 {
        let status = PRIMARY.settled(bench);
        bench.check_bits(format!("{sector}: DRQ"), status, DRQ | ERR, DRQ);
        let up = bench.irq(14);
        bench.check(format!("{sector}: interrupt"), up, true);
        PRIMARY.acknowledge(bench);
        let data = PRIMARY.take(bench, 512);
        bench.check_that(format!("{sector}: data"), data == sectors(100 + sector, 1), format!("{data:02x?}"));
    }
    ended(bench, "after the data");
    let up = bench.irq(14);
    bench.check("no sixth interrupt", up, false);
}

pub(super) fn read_256(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.lba28(bench, 0, 512, 0, READ);
    let data = PRIMARY.blocks(bench, 256, 1);
    bench.check("bytes", data.len() as u64, 256u64 * 512);
    bench.check_that("data", data == sectors(512, 256), "other data");
    ended(bench, "after the data");
}

pub(super) fn read_chs(bench: &mut Bench<'_>) {
    on(bench);
    let words = PRIMARY.identify(bench, 0, 0xec);
    let (heads, track) = (u64::from(words[3]), u64::from(words[6]));
    for (cylinder, head, sector) in [(0u16, 0u8, 1u8), (0, 1, 1), (1, 0, 1), (17, 9, 63), (30, 15, 33)] {
        let [low, high] = cylinder.to_le_bytes();
        PRIMARY.command(bench, [0, 1, sector, low, high, 0xa0 | head], READ);
        let data = PRIMARY.blocks(bench, 1, 1);
        let lba = (u64::from(cylinder) * heads + u64::from(head)) * track + u64::from(sector) - 1;
        bench.check_bytes(format!("{cylinder}/{head}/{sector}"), &data, &sectors(lba, 1));
    }
    // Over the end of a track and a cylinder.
    PRIMARY.command(bench, [0, 3, 62, 2, 0, 0xa0 | (heads - 1) as u8], READ);
    let data = PRIMARY.blocks(bench, 3, 1);
    let first = (3 * heads - 1) * track + 61;
    bench.check_that("over the end of a cylinder", data == sectors(first, 3), "other data");
}

pub(super) fn chs_sector_0(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.command(bench, [0, 1, 0, 0, 0, 0xa0], READ);
    let error = refused(bench, "sector 0 of track 0");
    bench.note("which", error);
}

pub(super) fn read_ext(bench: &mut Bench<'_>) {
    on(bench);
    let status = PRIMARY.lba48(bench, 0, 0x2345, 1, READ_EXT);
    bench.check_bits("status", status, BSY | DRDY | DRQ | ERR, DRDY | DRQ);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("one sector", &data, &sectors(0x2345, 1));
    PRIMARY.lba48(bench, 0, 0x1000, 0x102, READ_EXT);
    let data = PRIMARY.blocks(bench, 0x102, 1);
    bench.check("bytes of 0x102 sectors", data.len() as u64, 0x102u64 * 512);
    bench.check_that("data of 0x102 sectors", data == sectors(0x1000, 0x102), "other data");
    ended(bench, "after the data");
}

pub(super) fn wide(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.lba28(bench, 0, 77, 1, READ);
    PRIMARY.acknowledge(bench);
    bench.perform(&[
        Op::InString(PRIMARY.base, Size::B4, 64, BUFFER),
        Op::InString(PRIMARY.base, Size::B2, 128, BUFFER + 256),
    ]);
    let data = bench.peek(BUFFER, 512);
    bench.check_bytes("64 of four bytes, 128 of two", &data, &sectors(77, 1));
    ended(bench, "after the read");
    let new = other(3, 1);
    bench.poke(BUFFER, &new);
    PRIMARY.lba28(bench, 0, 78, 1, WRITE);
    bench.perform(&[Op::OutString(PRIMARY.base, Size::B4, 128, BUFFER)]);
    ended(bench, "after the write");
    PRIMARY.lba28(bench, 0, 78, 1, READ);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("what was written", &data, &new);
}

pub(super) fn idle_port(bench: &mut Bench<'_>) {
    on(bench);
    bench.outw(PRIMARY.base, 0x1234);
    bench.inw(PRIMARY.base);
    ended(bench, "after writing and reading it");
    PRIMARY.lba28(bench, 0, 5, 1, READ);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("a command reads", &data, &sectors(5, 1));
    bench.inw(PRIMARY.base);
    bench.outw(PRIMARY.base, 0x4321);
    ended(bench, "after more than there is");
}

pub(super) fn write(bench: &mut Bench<'_>) {
    on(bench);
    let new = other(1, 3);
    let status = PRIMARY.lba28(bench, 0, 2000, 3, WRITE);
    bench.check_bits("status", status, BSY | DRDY | DRQ | ERR, DRDY | DRQ);
    let up = bench.irq(14);
    bench.check("no interrupt before the first sector", up, false);
    for (index, sector) in new.chunks(512).enumerate() {
        PRIMARY.give(bench, sector);
        let status = PRIMARY.settled(bench);
        let want = if index < 2 { DRQ } else { 0 };
        bench.check_bits(format!("after sector {index}"), status, BSY | DRQ | ERR, want);
        let up = bench.irq(14);
        bench.check(format!("interrupt after sector {index}"), up, true);
        PRIMARY.acknowledge(bench);
    }
    PRIMARY.lba28(bench, 0, 1999, 5, READ);
    let data = PRIMARY.blocks(bench, 5, 1);
    let want = [sectors(1999, 1), new, sectors(2003, 1)].concat();
    bench.check_that("what is there now", data == want, "other data");
}

pub(super) fn write_ext(bench: &mut Bench<'_>) {
    on(bench);
    let new = other(9, 2);
    PRIMARY.lba48(bench, 0, 65_530, 2, WRITE_EXT);
    for sector in new.chunks(512) {
        PRIMARY.settled(bench);
        PRIMARY.acknowledge(bench);
        PRIMARY.give(bench, sector);
    }
    ended(bench, "after the data");
    PRIMARY.lba48(bench, 0, 65_530, 2, READ_EXT);
    let data = PRIMARY.blocks(bench, 2, 1);
    bench.check_that("by 48 bits", data == new, "other data");
    PRIMARY.lba28(bench, 0, 65_530, 2, READ);
    let data = PRIMARY.blocks(bench, 2, 1);
    bench.check_that("by 28 bits", data == new, "other data");
}

pub(super) fn slave(bench: &mut Bench<'_>) {
    on(bench);
    let new = other(5, 1);
    PRIMARY.lba28(bench, 1, 40, 1, WRITE);
    PRIMARY.give(bench, &new);
    ended(bench, "the write");
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    PRIMARY.acknowledge(bench);
    PRIMARY.lba28(bench, 0, 40, 1, READ);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("drive 0", &data, &sectors(40, 1));
    PRIMARY.lba28(bench, 1, 40, 1, READ);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("drive 1", &data, &new);
}

pub(super) fn set_multiple(bench: &mut Bench<'_>) {
    on(bench);
    let words = PRIMARY.identify(bench, 0, 0xec);
    let most = words[47] as u8;
    for count in [1u8, 2, 4, 8, 16] {
        if count > most {
            continue;
        }
        let status = PRIMARY.command(bench, [0, count, 0, 0, 0, 0xe0], SET_MULTIPLE);
        bench.check_bits(format!("{count}: status"), status, BSY | DRQ | ERR, 0u8);
        let words = PRIMARY.identify(bench, 0, 0xec);
        bench.check(format!("{count}: word 59"), words[59] & 0x1ff, 0x100 | u16::from(count));
    }
    let status = PRIMARY.command(bench, [0, most.wrapping_mul(2), 0, 0, 0, 0xe0], SET_MULTIPLE);
    bench.check_bits("more than it can: status", status, BSY | DRQ | ERR, ERR);
    let error = PRIMARY.get(bench, ERROR);
    bench.check("more than it can: error", error, ABRT);
    let status = PRIMARY.command(bench, [0, 3, 0, 0, 0, 0xe0], SET_MULTIPLE);
    bench.check_bits("no power of two: status", status, BSY | DRQ | ERR, ERR);
}

/// READ and WRITE MULTIPLE with blocks of 4 sectors.
fn by_four(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.command(bench, [0, 4, 0, 0, 0, 0xe0], SET_MULTIPLE);
    PRIMARY.acknowledge(bench);
}

pub(super) fn read_multiple(bench: &mut Bench<'_>) {
    by_four(bench);
    for (name, ext) in [("28 bits", false), ("48 bits", true)] {
        if ext {
            PRIMARY.lba48(bench, 0, 700, 10, 0x29);
        } else {
            PRIMARY.lba28(bench, 0, 700, 10, READ_MULTIPLE);
        }
        for (index, (from, count)) in [(700u64, 4u64), (704, 4), (708, 2)].into_iter().enumerate() {
            let status = PRIMARY.settled(bench);
            bench.check_bits(format!("{name}, block {index}: DRQ"), status, DRQ | ERR, DRQ);
            let up = bench.irq(14);
            bench.check(format!("{name}, block {index}: interrupt"), up, true);
            PRIMARY.acknowledge(bench);
            let data = PRIMARY.take(bench, count as usize * 512);
            let same = data == sectors(from, count);
            bench.check_that(format!("{name}, block {index}: data"), same, "other data");
        }
        ended(bench, name);
    }
    PRIMARY.lba28(bench, 0, 700, 3, READ_MULTIPLE);
    let data = PRIMARY.blocks(bench, 3, 4);
    bench.check_that("less than a block", data == sectors(700, 3), "other data");
    ended(bench, "less than a block");
}

pub(super) fn write_multiple(bench: &mut Bench<'_>) {
    by_four(bench);
    let new = other(0x40, 6);
    PRIMARY.lba28(bench, 0, 900, 6, WRITE_MULTIPLE);
    let up = bench.irq(14);
    bench.check("no interrupt before the first block", up, false);
    PRIMARY.give(bench, &new[..2048]);
    let status = PRIMARY.settled(bench);
    bench.check_bits("after the first block", status, DRQ | ERR, DRQ);
    let up = bench.irq(14);
    bench.check("interrupt after it", up, true);
    PRIMARY.acknowledge(bench);
    PRIMARY.give(bench, &new[2048..]);
    ended(bench, "after the second");
    let up = bench.irq(14);
    bench.check("interrupt after the second", up, true);
    PRIMARY.lba28(bench, 0, 900, 7, READ);
    let data = PRIMARY.blocks(bench, 7, 1);
    bench.check_that("what is there now", data == [new, sectors(906, 1)].concat(), "other data");
}

pub(super) fn beyond(bench: &mut Bench<'_>) {
    on(bench);
    let end = u64::from(MASTER_SECTORS);
    PRIMARY.lba28(bench, 0, MASTER_SECTORS - 1, 1, READ);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("the last sector", &data, &[0; 512]);
    PRIMARY.lba28(bench, 0, MASTER_SECTORS, 1, READ);
    let error = refused(bench, "the next one");
    bench.note("which of IDNF and ABRT", error);
    PRIMARY.lba48(bench, 0, end, 1, READ_EXT);
    refused(bench, "the next one by 48 bits");
    PRIMARY.lba48(bench, 0, end + (1 << 32), 1, READ_EXT);
    refused(bench, "far beyond by 48 bits");
    PRIMARY.lba48(bench, 0, (1 << 48) - 1, 0, READ_EXT);
    refused(bench, "as far as it goes");
    PRIMARY.lba28(bench, 0, 0x0fff_ffff, 0, READ);
    refused(bench, "as far as 28 bits go");
    PRIMARY.command(bench, [0, 1, 1, 0xff, 0xff, 0xa0], READ);
    refused(bench, "the last cylinder");
    PRIMARY.lba28(bench, 1, SLAVE_SECTORS, 1, READ);
    refused(bench, "the slave's next one");
    PRIMARY.lba28(bench, 0, 1, 1, READ);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("the next command", &data, &sectors(1, 1));
}

pub(super) fn write_beyond(bench: &mut Bench<'_>) {
    on(bench);
    // It may refuse before the data or after.
    let status = PRIMARY.lba28(bench, 1, SLAVE_SECTORS, 1, WRITE);
    bench.note("asks for the data", status & DRQ);
    if status & DRQ != 0 {
        PRIMARY.give(bench, &[0x99; 512]);
    }
    refused(bench, "beyond the end");
    let status = PRIMARY.lba48(bench, 1, u64::from(SLAVE_SECTORS), 1, WRITE_EXT);
    if status & DRQ != 0 {
        PRIMARY.give(bench, &[0x99; 512]);
    }
    refused(bench, "beyond the end by 48 bits");
    let words = PRIMARY.identify(bench, 1, 0xec);
    let size = u32::from(words[60]) | u32::from(words[61]) << 16;
    bench.check("the disk is as large as before", size, SLAVE_SECTORS);
}

pub(super) fn verify(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.lba28(bench, 0, 10, 20, 0x40);
    ended(bench, "good");
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    PRIMARY.acknowledge(bench);
    PRIMARY.lba48(bench, 0, 10, 0x120, 0x42);
    ended(bench, "good, by 48 bits");
    PRIMARY.lba28(bench, 0, MASTER_SECTORS, 1, 0x40);
    refused(bench, "beyond the end");
}

pub(super) fn seek(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.lba28(bench, 0, 1000, 0, 0x70);
    ended(bench, "to a sector");
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    PRIMARY.acknowledge(bench);
    PRIMARY.lba28(bench, 0, 0, 0, 0x70);
    ended(bench, "to the first one");
}
