//! The bus master.

use super::*;
use crate::bench::Bench;
use crate::machine::{Op, Size};

const READ: u8 = 0xc8;
const READ_EXT: u8 = 0x25;
const WRITE: u8 = 0xca;
const WRITE_EXT: u8 = 0x35;

const DONE: u8 = DRDY;
/// Status bits that say how a command ended.
const ENDS: u8 = BSY | DRDY | DF | DRQ | ERR;
/// No case writes this byte to a disk; RAM is filled with it before a transfer.
const FILL: u8 = 0xe5;

fn fill(bench: &mut Bench<'_>, len: usize) {
    bench.poke(BUFFER, &vec![FILL; len]);
}

/// How a transfer must have ended: the engine idle with an interrupt, the drive without an error.
fn well(bench: &mut Bench<'_>, (master, status): (u8, u8)) {
    bench.check_bits("bus master: interrupt, error, active", master, 7u8, INTERRUPT);
    bench.check_bits("status", status, ENDS, DONE);
}

fn other(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 256 * 13 + at * 3) as u8 ^ seed).collect()
}

/// What the disk holds, by PIO.
fn on_disk(bench: &mut Bench<'_>, unit: u8, lba: u32, count: u8) -> Vec<u8> {
    PRIMARY.acknowledge(bench);
    PRIMARY.lba28(bench, unit, lba, count, 0x20);
    PRIMARY.blocks(bench, count.into(), 1)
}

pub(super) fn read(bench: &mut Bench<'_>) {
    on(bench);
    fill(bench, 4096);
    let ended = PRIMARY.dma(bench, 0, 0x300, 4, READ, &[(BUFFER, 2048)]);
    well(bench, ended);
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    PRIMARY.acknowledge(bench);
    let down = bench.irq(14);
    bench.check("acknowledged", down, false);
    let command = bench.inb(PRIMARY.master);
    bench.check("command is kept", command, START | TO_MEMORY);
    let data = bench.peek(BUFFER, 2048);
    bench.check_that("data", data == sectors(0x300, 4), format!("{data:02x?}"));
    let after = bench.peek(BUFFER + 2048, 16);
    bench.check_bytes("nothing behind it", &after, &[FILL; 16]);
    let table = bench.inl(PRIMARY.master + 4);
    bench.note("table", table);
}

pub(super) fn write(bench: &mut Bench<'_>) {
    on(bench);
    let new = other(7, 1536);
    bench.poke(BUFFER, &new);
    let ended = PRIMARY.dma(bench, 0, 0x400, 3, WRITE, &[(BUFFER, 1536)]);
    well(bench, ended);
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    let data = on_disk(bench, 0, 0x3ff, 5);
    let want = [sectors(0x3ff, 1), new, sectors(0x403, 1)].concat();
    bench.check_that("what is there now", data == want, "other data");
}

pub(super) fn slave(bench: &mut Bench<'_>) {
    on(bench);
    let new = other(0x21, 512);
    bench.poke(BUFFER, &new);
    let ended = PRIMARY.dma(bench, 1, 30, 1, WRITE, &[(BUFFER, 512)]);
    well(bench, ended);
    let data = on_disk(bench, 0, 30, 1);
    bench.check_bytes("drive 0", &data, &sectors(30, 1));
    fill(bench, 1024);
    let ended = PRIMARY.dma(bench, 1, 30, 2, READ, &[(BUFFER, 1024)]);
    well(bench, ended);
    let data = bench.peek(BUFFER, 1024);
    bench.check_that("drive 1", data == [new, sectors(31, 1)].concat(), "other data");
}

pub(super) fn read_ext(bench: &mut Bench<'_>) {
    on(bench);
    // 0x110 sectors: three regions.
    PRIMARY.table(bench, &[(BUFFER, 0), (BUFFER + 0x1_0000, 0), (BUFFER + 0x2_0000, 0x2000)]);
    PRIMARY.lba48(bench, 0, 0x1000, 0x110, READ_EXT);
    PRIMARY.start(bench, TO_MEMORY);
    let ended = PRIMARY.finished(bench);
    well(bench, ended);
    let data = bench.peek(BUFFER, 0x110 * 512);
    bench.check_that("data", data == sectors(0x1000, 0x110), "other data");
}

pub(super) fn write_ext(bench: &mut Bench<'_>) {
    on(bench);
    let new = other(0x55, 1024);
    bench.poke(BUFFER, &new);
    PRIMARY.table(bench, &[(BUFFER, 1024)]);
    PRIMARY.lba48(bench, 0, 60_000, 2, WRITE_EXT);
    PRIMARY.start(bench, 0);
    let ended = PRIMARY.finished(bench);
    well(bench, ended);
    let data = on_disk(bench, 0, 60_000, 2);
    bench.check_that("what is there now", data == new, "other data");
}

pub(super) fn engine_first(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.table(bench, &[(BUFFER, 512)]);
    PRIMARY.start(bench, TO_MEMORY);
    let status = bench.inb(PRIMARY.master + 2);
    bench.check_bits("active", status, 7u8, ACTIVE);
    PRIMARY.lba28(bench, 0, 0x77, 1, READ);
    let ended = PRIMARY.finished(bench);
    well(bench, ended);
    let data = bench.peek(BUFFER, 512);
    bench.check_bytes("data", &data, &sectors(0x77, 1));
}

pub(super) fn scatter(bench: &mut Bench<'_>) {
    on(bench);
    fill(bench, 0x2000);
    // Regions are in no order, none is a whole number of sectors, two lie at odd words.
    let parts = [
        (BUFFER + 0x1000, 100u32),
        (BUFFER, 2),
        (BUFFER + 0x802, 1000),
        (BUFFER + 0x1ffe, 2),
        (BUFFER + 0x400, 944),
    ];
    let ended = PRIMARY.dma(bench, 0, 0x40, 4, READ, &parts);
    well(bench, ended);
    let want = sectors(0x40, 4);
    let mut at = 0;
    for (index, (address, len)) in parts.into_iter().enumerate() {
        let len = len as usize;
        let got = bench.peek(address, len);
        bench.check_that(format!("region {index}"), got == want[at..at + len], format!("{got:02x?}"));
        let after = bench.peek(address + len as u64, 2);
        if index != 3 {
            bench.check_bytes(format!("behind region {index}"), &after, &[FILL; 2]);
        }
        at += len;
    }
}

pub(super) fn gather(bench: &mut Bench<'_>) {
    on(bench);
    let new = other(0x11, 0x1000);
    bench.poke(BUFFER, &new);
    let parts = [(BUFFER + 0x802, 10u32), (BUFFER, 502), (BUFFER + 0x200, 512)];
    let ended = PRIMARY.dma(bench, 0, 0x50, 2, WRITE, &parts);
    well(bench, ended);
    let data = on_disk(bench, 0, 0x50, 2);
    let want = [&new[0x802..0x80c], &new[..502], &new[0x200..0x400]].concat();
    bench.check_that("what is there now", data == want, "other data");
}

pub(super) fn page_end(bench: &mut Bench<'_>) {
    on(bench);
    let end = BUFFER + 0x1_0000;
    let ended = PRIMARY.dma(bench, 0, 9, 2, READ, &[(end - 512, 512), (end, 512)]);
    well(bench, ended);
    let data = bench.peek(end - 512, 1024);
    bench.check_that("data", data == sectors(9, 2), format!("{data:02x?}"));
    // A table that ends where its own page of 64 KiB does.
    let table = BUFFER + 0x2_0000 - 16;
    let entry = |address: u64, len: u32| [(address as u32).to_le_bytes(), len.to_le_bytes()].concat();
    bench.poke(table, &[entry(end, 512), entry(end + 0x200, 512 | 1 << 31)].concat());
    bench.outb(PRIMARY.master, 0);
    bench.outb(PRIMARY.master + 2, FAILED | INTERRUPT);
    bench.outl(PRIMARY.master + 4, table as u32);
    PRIMARY.acknowledge(bench);
    PRIMARY.lba28(bench, 0, 20, 2, READ);
    PRIMARY.start(bench, TO_MEMORY);
    let ended = PRIMARY.finished(bench);
    well(bench, ended);
    let data = bench.peek(end, 1024);
    bench.check_that("data by a table at the end of a page", data == sectors(20, 2), format!("{data:02x?}"));
}

pub(super) fn zero_count(bench: &mut Bench<'_>) {
    on(bench);
    bench.poke(BUFFER + 0x1_0000, &[FILL; 16]);
    let ended = PRIMARY.dma(bench, 0, 0x80, 128, READ, &[(BUFFER, 0)]);
    well(bench, ended);
    let data = bench.peek(BUFFER, 0x1_0000);
    bench.check_that("data", data == sectors(0x80, 128), "other data");
    let after = bench.peek(BUFFER + 0x1_0000, 16);
    bench.check_bytes("nothing behind it", &after, &[FILL; 16]);
}

pub(super) fn longer(bench: &mut Bench<'_>) {
    on(bench);
    fill(bench, 2048);
    let (master, status) = PRIMARY.dma(bench, 0, 3, 1, READ, &[(BUFFER, 1024)]);
    bench.check_bits("interrupt and active", master, INTERRUPT | ACTIVE, INTERRUPT | ACTIVE);
    bench.check_bits("no error", master, FAILED, 0u8);
    bench.check_bits("status", status, ENDS, DONE);
    let data = bench.peek(BUFFER, 512);
    bench.check_bytes("data", &data, &sectors(3, 1));
    let after = bench.peek(BUFFER + 512, 16);
    bench.check_bytes("the rest is not touched", &after, &[FILL; 16]);
    bench.outb(PRIMARY.master, TO_MEMORY);
    let stopped = bench.inb(PRIMARY.master + 2);
    bench.check_bits("stopped: not active", stopped, ACTIVE, 0u8);
    PRIMARY.acknowledge(bench);
    let ended = PRIMARY.dma(bench, 0, 4, 1, READ, &[(BUFFER, 512)]);
    well(bench, ended);
}

pub(super) fn shorter(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.table(bench, &[(BUFFER, 512)]);
    PRIMARY.lba28(bench, 0, 3, 2, READ);
    PRIMARY.start(bench, TO_MEMORY);
    let master = bench.poll(PRIMARY.master + 2, 500, |status| status & ACTIVE == 0);
    bench.check_bits("neither interrupt nor active", master, INTERRUPT | ACTIVE, 0u8);
    let up = bench.irq(14);
    bench.check("no interrupt", up, false);
    let status = bench.inb(PRIMARY.control);
    bench.note("status", status);
    bench.outb(PRIMARY.master, 0);
    PRIMARY.software_reset(bench);
    let ended = PRIMARY.dma(bench, 0, 4, 1, READ, &[(BUFFER, 512)]);
    well(bench, ended);
    let data = bench.peek(BUFFER, 512);
    bench.check_bytes("the next command reads", &data, &sectors(4, 1));
}

pub(super) fn no_ram(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.table(bench, &[(0xd000_0000, 512)]);
    PRIMARY.lba28(bench, 0, 3, 1, READ);
    PRIMARY.start(bench, TO_MEMORY);
    let (master, status) = PRIMARY.finished(bench);
    bench.check_bits("error", master, FAILED, FAILED);
    bench.check_bits("not active", master, ACTIVE, 0u8);
    bench.check_bits("the drive is not busy", status, BSY, 0u8);
    bench.outb(PRIMARY.master, 0);
    bench.outb(PRIMARY.master + 2, FAILED | INTERRUPT);
    let cleared = bench.inb(PRIMARY.master + 2);
    bench.check_bits("a one clears it", cleared, 7u8, 0u8);
    PRIMARY.software_reset(bench);
    let ended = PRIMARY.dma(bench, 0, 4, 1, READ, &[(BUFFER, 512)]);
    well(bench, ended);
}

pub(super) fn not_master(bench: &mut Bench<'_>) {
    on(bench);
    bench.set_config(DEVICE, FUNCTION, 4, Size::B2, 1);
    fill(bench, 512);
    PRIMARY.table(bench, &[(BUFFER, 512)]);
    PRIMARY.lba28(bench, 0, 3, 1, READ);
    PRIMARY.start(bench, TO_MEMORY);
    bench.wait(50_000_000);
    let data = bench.peek(BUFFER, 512);
    bench.check_bytes("RAM is not touched", &data, &[FILL; 512]);
    let master = bench.inb(PRIMARY.master + 2);
    bench.note("bus master", master);
    bench.outb(PRIMARY.master, 0);
    PRIMARY.software_reset(bench);
    bench.set_config(DEVICE, FUNCTION, 4, Size::B2, 5);
    let ended = PRIMARY.dma(bench, 0, 4, 1, READ, &[(BUFFER, 512)]);
    well(bench, ended);
}

pub(super) fn acknowledge(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.dma(bench, 0, 3, 1, READ, &[(BUFFER, 512)]);
    PRIMARY.acknowledge(bench);
    let kept = bench.inb(PRIMARY.master + 2);
    bench.check_bits("the drive's status does not clear it", kept, INTERRUPT, INTERRUPT);
    bench.outb(PRIMARY.master, 0);
    let kept = bench.inb(PRIMARY.master + 2);
    bench.check_bits("stopping does not", kept, INTERRUPT, INTERRUPT);
    bench.outb(PRIMARY.master + 2, INTERRUPT);
    let cleared = bench.inb(PRIMARY.master + 2);
    bench.check_bits("a one does", cleared, 7u8, 0u8);
    // The other way round: the drive's line stays until its status is read.
    PRIMARY.dma(bench, 0, 3, 1, READ, &[(BUFFER, 512)]);
    bench.outb(PRIMARY.master + 2, INTERRUPT);
    let up = bench.irq(14);
    bench.check("the drive's line is its own", up, true);
    PRIMARY.acknowledge(bench);
    let up = bench.irq(14);
    bench.check("and acknowledged", up, false);
}

pub(super) fn stop(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.table(bench, &[(BUFFER, 512)]);
    PRIMARY.start(bench, TO_MEMORY);
    bench.outb(PRIMARY.master, TO_MEMORY);
    let stopped = bench.inb(PRIMARY.master + 2);
    bench.check_bits("stopped: neither active nor interrupt", stopped, 7u8, 0u8);
    fill(bench, 512);
    PRIMARY.lba28(bench, 0, 3, 1, READ);
    bench.wait(10_000_000);
    let data = bench.peek(BUFFER, 512);
    bench.check_bytes("nothing is moved while it is stopped", &data, &[FILL; 512]);
    let up = bench.irq(14);
    bench.check("no interrupt", up, false);
    PRIMARY.start(bench, TO_MEMORY);
    let ended = PRIMARY.finished(bench);
    well(bench, ended);
    let data = bench.peek(BUFFER, 512);
    bench.check_bytes("data", &data, &sectors(3, 1));
}

pub(super) fn beyond(bench: &mut Bench<'_>) {
    on(bench);
    for (what, command) in [("READ DMA", READ), ("WRITE DMA", WRITE)] {
        PRIMARY.table(bench, &[(BUFFER, 512)]);
        PRIMARY.lba28(bench, 0, MASTER_SECTORS, 1, command);
        PRIMARY.start(bench, if command == READ { TO_MEMORY } else { 0 });
        let status = PRIMARY.over(bench);
        bench.check_bits(format!("{what}: status"), status, BSY | DRQ | ERR, ERR);
        let up = bench.irq(14);
        bench.check(format!("{what}: interrupt"), up, true);
        PRIMARY.acknowledge(bench);
        let error = PRIMARY.get(bench, ERROR);
        bench.check_that(format!("{what}: IDNF or ABRT"), error & (IDNF | ABRT) != 0, error);
        let master = bench.inb(PRIMARY.master + 2);
        bench.note(format!("{what}: bus master"), master);
        bench.outb(PRIMARY.master, 0);
    }
    let ended = PRIMARY.dma(bench, 0, 4, 1, READ, &[(BUFFER, 512)]);
    well(bench, ended);
}

pub(super) fn no_interrupt(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(PRIMARY.control, 2);
    fill(bench, 512);
    PRIMARY.table(bench, &[(BUFFER, 512)]);
    PRIMARY.lba28(bench, 0, 3, 1, READ);
    PRIMARY.start(bench, TO_MEMORY);
    let status = PRIMARY.over(bench);
    bench.check_bits("status", status, ENDS, DONE);
    let up = bench.irq(14);
    bench.check("no interrupt", up, false);
    let data = bench.peek(BUFFER, 512);
    bench.check_bytes("data", &data, &sectors(3, 1));
    let master = bench.inb(PRIMARY.master + 2);
    bench.check_bits("not active", master, ACTIVE, 0u8);
    bench.note("bus master", master);
}

pub(super) fn pio_marks(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(PRIMARY.master + 2, INTERRUPT);
    PRIMARY.lba28(bench, 0, 3, 1, 0x20);
    let master = bench.inb(PRIMARY.master + 2);
    bench.check_bits("interrupt", master, 7u8, INTERRUPT);
    let other = bench.inb(SECONDARY.master + 2);
    bench.check_bits("not of the other channel", other, 7u8, 0u8);
}

pub(super) fn reset(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.table(bench, &[(BUFFER, 512)]);
    PRIMARY.start(bench, TO_MEMORY);
    bench.perform(&[Op::Out(PRIMARY.base + SELECT, Size::B1, 0xe0)]);
    bench.reset();
    on(bench);
    let master = bench.inb(PRIMARY.master + 2);
    bench.check("bus master status", master, 0u8);
    let command = bench.inb(PRIMARY.master);
    bench.check("bus master command", command, 0u8);
    fill(bench, 512);
    let ended = PRIMARY.dma(bench, 0, 4, 1, READ, &[(BUFFER, 512)]);
    well(bench, ended);
    let data = bench.peek(BUFFER, 512);
    bench.check_bytes("a command reads", &data, &sectors(4, 1));
}
