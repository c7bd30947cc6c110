//! The task file, selection, reset, interrupts, commands that no disk has.

use super::*;
use crate::bench::Bench;
use crate::machine::{Op, Size};

/// What a disk leaves in its registers after reset and diagnostic.
const DISK: [u8; 4] = [1, 1, 0, 0];

fn is_ready(bench: &mut Bench<'_>, what: &str, status: u8) {
    bench.check_bits(format!("{what}: BSY, DRDY, DF, DRQ, ERR"), status, BSY | DRDY | DF | DRQ | ERR, DRDY);
}

pub(super) fn signature(bench: &mut Bench<'_>) {
    on(bench);
    for unit in [0u8, 1] {
        PRIMARY.set(bench, SELECT, 0xa0 | unit << 4);
        let status = PRIMARY.settled(bench);
        is_ready(bench, &format!("drive {unit}"), status);
        let file = PRIMARY.file(bench);
        bench.check_bytes(format!("drive {unit}: count, low, mid, high"), &file, &DISK);
        let error = PRIMARY.get(bench, ERROR);
        bench.note(format!("drive {unit}: error"), error);
    }
}

pub(super) fn hold(bench: &mut Bench<'_>) {
    on(bench);
    for (round, flip) in [0u8, 0xff].into_iter().enumerate() {
        for (reg, value) in [(COUNT, 0x5a), (LOW, 0x12), (MID, 0x34), (HIGH, 0xc5)] {
            PRIMARY.set(bench, reg, value ^ flip);
        }
        let file = PRIMARY.file(bench);
        let want = [0x5a, 0x12, 0x34, 0xc5].map(|value: u8| value ^ flip);
        bench.check_bytes(format!("count, low, mid, high, {round}"), &file, &want);
    }
    PRIMARY.set(bench, ERROR, 0x55);
    let error = PRIMARY.get(bench, ERROR);
    bench.check_that("features is not error", error != 0x55, error);
    for value in [0x00u8, 0x4f, 0x5a] {
        PRIMARY.set(bench, SELECT, value);
        let got = PRIMARY.get(bench, SELECT);
        bench.check_bits(format!("device {value:#x}"), got, 0x5fu8, value);
        bench.note(format!("device {value:#x}, obsolete bits"), got & 0xa0);
    }
}

pub(super) fn both(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.set(bench, SELECT, 0xa0);
    PRIMARY.set(bench, COUNT, 0x77);
    PRIMARY.set(bench, MID, 0x88);
    PRIMARY.set(bench, SELECT, 0xb0);
    let file = PRIMARY.file(bench);
    bench.check("the other drive's count", file[0], 0x77u8);
    bench.check("the other drive's mid", file[2], 0x88u8);
    PRIMARY.set(bench, LOW, 0x99);
    PRIMARY.set(bench, SELECT, 0xa0);
    let low = PRIMARY.get(bench, LOW);
    bench.check("and back: low", low, 0x99u8);
}

pub(super) fn select(bench: &mut Bench<'_>) {
    on(bench);
    // One drive has an error, the other has not.
    PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xa0], 0xff);
    let first = PRIMARY.get(bench, STATUS);
    bench.check_bits("drive 0 has an error", first, ERR, ERR);
    PRIMARY.set(bench, SELECT, 0xb0);
    let second = PRIMARY.settled(bench);
    is_ready(bench, "drive 1", second);
    PRIMARY.set(bench, SELECT, 0xa0);
    let again = PRIMARY.settled(bench);
    bench.check_bits("drive 0 still has it", again, ERR, ERR);
    let error = PRIMARY.get(bench, ERROR);
    bench.check("which one", error, ABRT);
}

pub(super) fn alternate(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], 0xe7);
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    let alternate = bench.inb(PRIMARY.control);
    let still = bench.irq(14);
    bench.check("after alternate status", still, true);
    let status = PRIMARY.acknowledge(bench);
    bench.check("the same status", status, alternate);
    let down = bench.irq(14);
    bench.check("after status", down, false);
    let other = bench.irq(15);
    bench.check("the other channel's", other, false);
}

pub(super) fn hob(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.set(bench, SELECT, 0xe0);
    for (reg, before, now) in [(COUNT, 1, 2), (LOW, 3, 4), (MID, 5, 6), (HIGH, 7, 8)] {
        PRIMARY.set(bench, reg, before);
        PRIMARY.set(bench, reg, now);
    }
    let now = PRIMARY.file(bench);
    bench.check_bytes("without HOB", &now, &[2, 4, 6, 8]);
    bench.outb(PRIMARY.control, 0x80);
    let before = PRIMARY.file(bench);
    bench.check_bytes("with HOB", &before, &[1, 3, 5, 7]);
    PRIMARY.set(bench, LOW, 9);
    let now = PRIMARY.file(bench);
    bench.check_bytes("a write ends it", &now, &[2, 9, 6, 8]);
    bench.outb(PRIMARY.control, 0x80);
    let low = PRIMARY.get(bench, LOW);
    bench.check("what was written before that", low, 4u8);
}

pub(super) fn empty(bench: &mut Bench<'_>) {
    on(bench);
    for unit in [0u8, 1] {
        SECONDARY.set(bench, SELECT, 0xa0 | unit << 4);
        bench.wait(1000);
        let status = SECONDARY.get(bench, STATUS);
        bench.check_bits(format!("drive {unit}: BSY"), status, BSY, 0u8);
        bench.note(format!("drive {unit}: status"), status);
        let file = SECONDARY.file(bench);
        bench.note_bytes(format!("drive {unit}: count, low, mid, high"), &file);
    }
    SECONDARY.command(bench, [0, 0, 0, 0, 0, 0xa0], 0xec);
    let up = bench.irq(15);
    bench.check("no interrupt of a command", up, false);
    let status = SECONDARY.get(bench, STATUS);
    bench.check_bits("no data of a command", status, BSY | DRQ, 0u8);
}

pub(super) fn diagnostic(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.command(bench, [0, 0x55, 0x55, 0x55, 0x55, 0xb0], 0x90);
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    let device = PRIMARY.get(bench, SELECT);
    bench.check_bits("drive 0 is selected", device, 0x10u8, 0u8);
    let status = PRIMARY.acknowledge(bench);
    is_ready(bench, "drive 0", status);
    let code = PRIMARY.get(bench, ERROR);
    bench.check("drive 0: passed", code, 1u8);
    let file = PRIMARY.file(bench);
    bench.check_bytes("drive 0: count, low, mid, high", &file, &DISK);
    PRIMARY.set(bench, SELECT, 0xb0);
    let file = PRIMARY.file(bench);
    bench.check_bytes("drive 1: count, low, mid, high", &file, &DISK);
    let code = PRIMARY.get(bench, ERROR);
    bench.check("drive 1: passed", code, 1u8);
}

pub(super) fn software_reset(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.command(bench, [0, 0x55, 0x55, 0x55, 0x55, 0xf0], 0xff);
    PRIMARY.acknowledge(bench);
    bench.perform(&[Op::Out(PRIMARY.control, Size::B1, 4), Op::Wait(10_000)]);
    let held = bench.inb(PRIMARY.control);
    bench.check_bits("busy while SRST is set", held, BSY, BSY);
    bench.perform(&[Op::Out(PRIMARY.control, Size::B1, 0), Op::Wait(3_000_000)]);
    let status = PRIMARY.settled(bench);
    is_ready(bench, "drive 0", status);
    let code = PRIMARY.get(bench, ERROR);
    bench.check("passed", code, 1u8);
    let device = PRIMARY.get(bench, SELECT);
    bench.check_bits("drive 0 is selected, head 0", device, 0x1fu8, 0u8);
    for unit in [0u8, 1] {
        PRIMARY.set(bench, SELECT, unit << 4);
        let file = PRIMARY.file(bench);
        bench.check_bytes(format!("drive {unit}: count, low, mid, high"), &file, &DISK);
    }
    let up = bench.irq(14);
    bench.check("no interrupt", up, false);
}

pub(super) fn reset_in_command(bench: &mut Bench<'_>) {
    on(bench);
    let status = PRIMARY.lba28(bench, 0, 10, 4, 0x20);
    bench.check_bits("data is there", status, DRQ, DRQ);
    PRIMARY.take(bench, 100);
    PRIMARY.software_reset(bench);
    let status = PRIMARY.settled(bench);
    is_ready(bench, "after it", status);
    let up = bench.irq(14);
    bench.check("no interrupt after it", up, false);
    PRIMARY.lba28(bench, 0, 3, 1, 0x20);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("the next command reads", &data, &sectors(3, 1));
}

pub(super) fn no_interrupt(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(PRIMARY.control, 2);
    let status = PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], 0xe7);
    is_ready(bench, "the command ends", status);
    let up = bench.irq(14);
    bench.check("no interrupt", up, false);
    PRIMARY.acknowledge(bench);
    bench.outb(PRIMARY.control, 0);
    let up = bench.irq(14);
    bench.check("none that was acknowledged comes later", up, false);
    PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], 0xe7);
    let up = bench.irq(14);
    bench.check("interrupt with nIEN clear", up, true);
    bench.outb(PRIMARY.control, 2);
    let up = bench.irq(14);
    bench.check("nIEN takes it down", up, false);
}

pub(super) fn command_acknowledges(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], 0xe7);
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    bench.outb(PRIMARY.control, 0);
    PRIMARY.lba28(bench, 0, 0, 1, 0x30);
    let up = bench.irq(14);
    bench.check("a command that raises none has taken it down", up, false);
}

pub(super) fn vector(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(0xa1, !(1 << 6));
    bench.outb(0x21, !(1 << 2));
    let early = bench.interrupt(1_000_000);
    bench.check_that("none before", early.is_none(), format!("{early:?}"));
    PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], 0xe7);
    let taken = bench.interrupt(100_000_000);
    bench.check_that("vector of IRQ 14", taken == Some(0x2e), format!("{taken:?}"));
    let status = PRIMARY.acknowledge(bench);
    is_ready(bench, "status", status);
}

pub(super) fn unknown(bench: &mut Bench<'_>) {
    on(bench);
    for command in [0x01u8, 0x0f, 0x80, 0xff] {
        PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], command);
        let up = bench.irq(14);
        bench.check(format!("{command:#x}: interrupt"), up, true);
        let status = PRIMARY.acknowledge(bench);
        bench.check_bits(
            format!("{command:#x}: BSY, DRDY, DRQ, ERR"),
            status,
            BSY | DRDY | DRQ | ERR,
            DRDY | ERR,
        );
        let error = PRIMARY.get(bench, ERROR);
        bench.check(format!("{command:#x}: error"), error, ABRT);
    }
    PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], 0xe7);
    let status = PRIMARY.acknowledge(bench);
    is_ready(bench, "the next command", status);
}

pub(super) fn nop(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.command(bench, [0, 0x12, 0x34, 0x56, 0x78, 0xe0], 0x00);
    let status = PRIMARY.acknowledge(bench);
    bench.check_bits("status", status, BSY | DRQ | ERR, ERR);
    let error = PRIMARY.get(bench, ERROR);
    bench.check_bits("error", error, ABRT, ABRT);
    let file = PRIMARY.file(bench);
    bench.check_bytes("low, mid and high are kept", &file[1..], &[0x34, 0x56, 0x78]);
}

pub(super) fn packet(bench: &mut Bench<'_>) {
    on(bench);
    for command in [0xa0u8, 0xa1, 0x08] {
        PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], command);
        let status = PRIMARY.acknowledge(bench);
        bench.check_bits(format!("{command:#x}: status"), status, BSY | DRQ | ERR, ERR);
        let error = PRIMARY.get(bench, ERROR);
        bench.check_bits(format!("{command:#x}: error"), error, ABRT, ABRT);
    }
}

pub(super) fn machine_reset(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.lba28(bench, 1, 10, 4, 0x20);
    PRIMARY.take(bench, 100);
    bench.reset();
    on(bench);
    let up = bench.irq(14);
    bench.check("no interrupt", up, false);
    let device = PRIMARY.get(bench, SELECT);
    bench.check_bits("drive 0 is selected", device, 0x10u8, 0u8);
    signature(bench);
    PRIMARY.lba28(bench, 1, 7, 1, 0x20);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("a command reads", &data, &sectors(7, 1));
}
