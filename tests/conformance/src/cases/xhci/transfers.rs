//! Transfers.

use super::driver::*;
use crate::bench::Bench;

fn note(bench: &mut Bench<'_>, driver: &Driver, slot: u32, what: &str, setup: [u8; 8]) {
    let reply = driver.request(bench, slot, setup);
    bench.check_that(format!("{what}: it is answered"), reply.is_some(), "it is not");
    bench.note_bytes(what, &reply.unwrap_or_default());
}

pub(super) fn tablet(bench: &mut Bench<'_>) {
    let driver = start(bench);
    let slot = driver.address(bench, 5, 3, 64);
    note(bench, &driver, slot, "device", [0x80, 6, 0, 1, 0, 0, 18, 0]);
    note(bench, &driver, slot, "eight bytes", [0x80, 6, 0, 1, 0, 0, 8, 0]);
    note(bench, &driver, slot, "configuration", [0x80, 6, 0, 2, 0, 0, 0xff, 0]);
    for index in [1, 3, 7, 10] {
        note(bench, &driver, slot, &format!("string {index}"), [0x80, 6, index, 3, 9, 4, 0xff, 0]);
    }
}

pub(super) fn stall(bench: &mut Bench<'_>) {
    let driver = start(bench);
    let slot = driver.address(bench, 5, 3, 64);
    let reply = driver.request(bench, slot, [0x80, 6, 0, 0x77, 0, 0, 8, 0]);
    bench.check_that("it is refused", reply.is_none(), "it is answered");
    let found = state(bench, 1);
    bench.check("the endpoint is halted", found, 2u8);
    let (code, _) = driver.command(bench, 14, 0, slot << 24 | 1 << 16);
    bench.check("it is reset", code, 1u8);
    let found = state(bench, 1);
    bench.check("and stopped then", found, 3u8);
}

pub(super) fn nothing(bench: &mut Bench<'_>) {
    let driver = start(bench);
    let slot = driver.address(bench, 5, 3, 64);
    driver.configure(bench, slot, &[(3, 7, 8, IN)]);
    Driver::put(bench, (IN, &driver.ins), DATA, 8, 1 << 10 | 0x24);
    set(bench, 0x2000 + 4 * u64::from(slot), 3);
    bench.wait(100_000_000);
    let event = driver.event(bench);
    bench.check("no event", event.kind, 0u8);
}

/// A disk with an address and its endpoints.
fn attach(bench: &mut Bench<'_>) -> (Driver, u32) {
    let driver = start(bench);
    let slot = driver.address(bench, 2, 4, 512);
    driver.configure(bench, slot, &[(3, 6, 1024, IN), (4, 2, 1024, OUT)]);
    // The unit attention of power-on, if the device tells one.
    for _ in 0..2 {
        command(bench, (&driver, slot), &[0; 6], None, 0);
        command(bench, (&driver, slot), &[3, 0, 0, 0, 18, 0], Some(true), 18);
    }
    (driver, slot)
}

/// A command with data at `DATA` + 0x1000: the status, and what is left.
fn command(
    bench: &mut Bench<'_>,
    (driver, slot): (&Driver, u32),
    cdb: &[u8],
    inward: Option<bool>,
    len: u32,
) -> (u8, u32) {
    let mut cbw = [0x4342_5355, 0x77, len].map(u32::to_le_bytes).concat();
    cbw.extend([u8::from(inward == Some(true)) << 7, 0, cdb.len() as u8]);
    cbw.extend(cdb);
    cbw.resize(31, 0);
    bench.poke(DATA, &cbw);
    let doorbell = 0x2000 + 4 * u64::from(slot);
    let (ins, outs) = ((IN, &driver.ins), (OUT, &driver.outs));
    let bits = 1 << 10 | 0x24;
    let at = Driver::put(bench, outs, DATA, 31, bits);
    set(bench, doorbell, 4);
    driver.of(bench, at);
    if let Some(inward) = inward {
        let at = Driver::put(bench, if inward { ins } else { outs }, DATA + 0x1000, len, bits);
        set(bench, doorbell, if inward { 3 } else { 4 });
        driver.of(bench, at);
    }
    let at = Driver::put(bench, ins, DATA + 0x100, 13, bits);
    set(bench, doorbell, 3);
    let event = driver.of(bench, at);
    bench.check("the status comes whole", event.code << 8 | event.length, 1u32 << 8);
    let csw = bench.peek(DATA + 0x100, 13);
    bench.check_bytes("signature and tag", &csw[..8], &[0x55, 0x53, 0x42, 0x53, 0x77, 0, 0, 0]);
    (csw[12], u32::from_le_bytes([csw[8], csw[9], csw[10], csw[11]]))
}

pub(super) fn disk(bench: &mut Bench<'_>) {
    let driver = start(bench);
    let slot = driver.address(bench, 2, 4, 512);
    note(bench, &driver, slot, "device", [0x80, 6, 0, 1, 0, 0, 18, 0]);
    note(bench, &driver, slot, "configuration", [0x80, 6, 0, 2, 0, 0, 0xff, 0]);
    note(bench, &driver, slot, "BOS", [0x80, 6, 0, 15, 0, 0, 0xff, 0]);
    for index in [1, 2, 3, 6] {
        note(bench, &driver, slot, &format!("string {index}"), [0x80, 6, index, 3, 9, 4, 0xff, 0]);
    }
    driver.configure(bench, slot, &[(3, 6, 1024, IN), (4, 2, 1024, OUT)]);
    note(bench, &driver, slot, "highest unit", [0xa1, 0xfe, 0, 0, 0, 0, 1, 0]);
}

pub(super) fn read(bench: &mut Bench<'_>) {
    let (driver, slot) = attach(bench);
    let read = [0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0];
    let (status, residue) = command(bench, (&driver, slot), &read, Some(true), 1024);
    bench.check("status", status, 0u8);
    bench.check("residue", residue, 0u8);
    let data = bench.peek(DATA + 0x1000, 1024);
    let expected: Vec<u8> = (3 * 512..5 * 512).map(crate::case::Disk::byte).collect();
    bench.check_bytes("data", &data, &expected);
    let (status, residue) = command(bench, (&driver, slot), &[0x12, 0, 0, 0, 36, 0], Some(true), 36);
    bench.check("INQUIRY", status, 0u8);
    bench.check("its residue", residue, 0u8);
    let data = bench.peek(DATA + 0x1000, 32);
    bench.note_bytes("its data", &data);
    let (status, residue) = command(bench, (&driver, slot), &[0x1a, 0, 0x3f, 0, 192, 0], Some(true), 192);
    bench.check("MODE SENSE", status, 0u8);
    bench.note("its residue, of 192", residue);
}

pub(super) fn written(bench: &mut Bench<'_>) {
    let (driver, slot) = attach(bench);
    bench.poke(DATA + 0x1000, &[0xa5; 512]);
    let write = [0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0];
    let (status, residue) = command(bench, (&driver, slot), &write, Some(false), 512);
    bench.check("status", status, 0u8);
    bench.check("residue", residue, 0u8);
    bench.poke(DATA + 0x1000, &[0; 512]);
    let read = [0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0];
    command(bench, (&driver, slot), &read, Some(true), 512);
    let data = bench.peek(DATA + 0x1000, 512);
    bench.check_bytes("what is read then", &data, &[0xa5; 512]);
}

pub(super) fn failed(bench: &mut Bench<'_>) {
    let (driver, slot) = attach(bench);
    let (status, _) = command(bench, (&driver, slot), &[0xc7, 0, 0, 0, 0, 0], None, 0);
    bench.check("status", status, 1u8);
    let (status, _) = command(bench, (&driver, slot), &[3, 0, 0, 0, 18, 0], Some(true), 18);
    bench.check("REQUEST SENSE", status, 0u8);
    let data = bench.peek(DATA + 0x1000, 18);
    bench.check("illegal request", data[2] & 0xf, 5u8);
    bench.check("invalid operation code", data[12], 0x20u8);
    let read = [0x28, 0, 0, 0, 0x10, 0, 0, 0, 1, 0];
    let (status, residue) = command(bench, (&driver, slot), &read, Some(true), 512);
    bench.check("beyond the end", status, 1u8);
    bench.check("its residue", residue, 512u16);
}
