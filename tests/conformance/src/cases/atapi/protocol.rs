//! The PACKET protocol: signature, resets, interrupts, byte counts.

use super::drive::mode;
use super::*;

pub(super) fn signature(bench: &mut Bench<'_>) {
    on(bench);
    for unit in [FULL, EMPTY] {
        CHANNEL.set(bench, SELECT, 0xa0 | unit << 4);
        let status = CHANNEL.settled(bench);
        bench.check_bits(format!("drive {unit}: BSY, DRQ, ERR"), status, BSY | DRQ | ERR, 0u8);
        bench.note(format!("drive {unit}: status"), status);
        let file = CHANNEL.file(bench);
        bench.check_bytes(format!("drive {unit}: count, low, mid, high"), &file, &SIGNATURE);
    }
}

pub(super) fn ata(bench: &mut Bench<'_>) {
    on(bench);
    for command in [0xecu8, 0x20] {
        CHANNEL.command(bench, [0, 0, 0, 0, 0, 0xa0], command);
        let up = bench.irq(15);
        bench.check(format!("{command:#x}: interrupt"), up, true);
        let status = CHANNEL.acknowledge(bench);
        bench.check_bits(format!("{command:#x}: status"), status, BSY | DRQ | ERR, ERR);
        let error = CHANNEL.get(bench, ERROR);
        bench.check_bits(format!("{command:#x}: error"), error, ABRT, ABRT);
        let file = CHANNEL.file(bench);
        bench.check_bytes(format!("{command:#x}: mid, high"), &file[2..], &SIGNATURE[2..]);
    }
    for command in [0x30u8, 0xc8, 0xc4, 0xf8] {
        CHANNEL.command(bench, [0, 1, 0, 0, 0, 0xe0], command);
        let status = CHANNEL.acknowledge(bench);
        bench.check_bits(format!("{command:#x}: status"), status, BSY | DRQ | ERR, ERR);
    }
}

pub(super) fn identify(bench: &mut Bench<'_>) {
    on(bench);
    for unit in [FULL, EMPTY] {
        let words = CHANNEL.identify(bench, unit, 0xa1);
        let name = |what: &str| format!("drive {unit}: {what}");
        bench.check_bits(name("word 0: a packet device"), words[0], 0xc000u16, 0x8000u16);
        bench.check_bits(name("word 0: CD"), words[0], 0x1f00u16, 0x0500u16);
        bench.check_bits(name("word 0: removable medium"), words[0], 0x80u16, 0x80u16);
        bench.check_bits(name("word 0: packets of 12 bytes"), words[0], 3u16, 0u16);
        bench.check_bits(name("word 49: DMA"), words[49], 0x100u16, 0x100u16);
        bench.check_bits(name("word 49: LBA"), words[49], 0x200u16, 0x200u16);
        bench.check_bits(name("word 53: words 64-70 and 88 are valid"), words[53], 6u16, 6u16);
        bench.check_bits(name("word 80: ATA/ATAPI-4"), words[80], 0x10u16, 0x10u16);
        let text: Vec<u8> = words[27..47].iter().flat_map(|word| word.to_be_bytes()).collect();
        let printable = text.iter().all(|byte| (0x20..0x7f).contains(byte));
        bench.check_that(name("model is printable"), printable, format!("{text:02x?}"));
        for word in (0..256).filter(|word| words[*word] != 0) {
            bench.note(name(&format!("word {word}")), words[word]);
        }
    }
}

pub(super) fn device_reset(bench: &mut Bench<'_>) {
    on(bench);
    packet(bench, FULL, &INQUIRY, 0, 16);
    CHANNEL.command(bench, [0, 0, 0, 0, 0, 0xa0], 0x08);
    bench.wait(1_000_000);
    let status = CHANNEL.settled(bench);
    bench.check_bits("BSY, DRQ, ERR", status, BSY | DRQ | ERR, 0u8);
    let up = bench.irq(15);
    bench.check("no interrupt", up, false);
    let file = CHANNEL.file(bench);
    bench.check_bytes("count, low, mid, high", &file, &SIGNATURE);
    let code = CHANNEL.get(bench, ERROR);
    bench.check("passed", code & 0x7f, 1u8);
    let data = ask(bench, "INQUIRY after it", FULL, &INQUIRY);
    bench.check_that("its data", data.len() >= 36, data.len());
}

pub(super) fn diagnostic(bench: &mut Bench<'_>) {
    on(bench);
    CHANNEL.command(bench, [0, 0x55, 0x55, 0x55, 0x55, 0xb0], 0x90);
    let up = bench.irq(15);
    bench.check("interrupt", up, true);
    CHANNEL.acknowledge(bench);
    for unit in [FULL, EMPTY] {
        CHANNEL.set(bench, SELECT, 0xa0 | unit << 4);
        let file = CHANNEL.file(bench);
        bench.check_bytes(format!("drive {unit}: count, low, mid, high"), &file, &SIGNATURE);
        let code = CHANNEL.get(bench, ERROR);
        bench.check(format!("drive {unit}: passed"), code, 1u8);
        let status = CHANNEL.settled(bench);
        bench.check_bits(format!("drive {unit}: DRDY is clear"), status, DRDY, 0u8);
    }
}

pub(super) fn software_reset(bench: &mut Bench<'_>) {
    on(bench);
    packet(bench, FULL, &INQUIRY, 0, 16);
    CHANNEL.software_reset(bench);
    for unit in [FULL, EMPTY] {
        CHANNEL.set(bench, SELECT, 0xa0 | unit << 4);
        let status = CHANNEL.settled(bench);
        bench.check_bits(format!("drive {unit}: BSY, DRDY, DRQ, ERR"), status, BSY | DRDY | DRQ | ERR, 0u8);
        let file = CHANNEL.file(bench);
        bench.check_bytes(format!("drive {unit}: count, low, mid, high"), &file, &SIGNATURE);
    }
    let up = bench.irq(15);
    bench.check("no interrupt", up, false);
}

/// The packet's command has come to its end.
fn done(bench: &mut Bench<'_>) {
    let status = CHANNEL.settled(bench);
    bench.check_bits("it is done", status, BSY | DRDY | DRQ | ERR, DRDY);
    let reason = CHANNEL.get(bench, COUNT);
    bench.check_bits("reason: end", reason, 3u8, 3u8);
    let up = bench.irq(15);
    bench.check("interrupt at the end", up, true);
}

pub(super) fn no_data(bench: &mut Bench<'_>) {
    ready(bench);
    let status = CHANNEL.command(bench, [0, 0, 0, 0, 0, 0xa0], 0xa0);
    bench.check_bits("the drive asks for the packet", status, BSY | DRQ | ERR, DRQ);
    let reason = CHANNEL.get(bench, COUNT);
    bench.check_bits("reason: command, from the host", reason, 3u8, 1u8);
    let up = bench.irq(15);
    // Word 0 of IDENTIFY PACKET DEVICE says that it asks without an interrupt.
    bench.check("no interrupt before the packet", up, false);
    CHANNEL.give(bench, &TEST_UNIT_READY);
    bench.wait(1000);
    done(bench);
}

pub(super) fn with_data(bench: &mut Bench<'_>) {
    ready(bench);
    let status = packet(bench, FULL, &INQUIRY, 0, 0xfffe);
    bench.check_bits("data is there", status, BSY | DRQ | ERR, DRQ);
    let reason = CHANNEL.get(bench, COUNT);
    bench.check_bits("reason: data, to the host", reason, 3u8, 2u8);
    let up = bench.irq(15);
    bench.check("interrupt", up, true);
    CHANNEL.acknowledge(bench);
    let [_, _, low, high] = CHANNEL.file(bench);
    bench.check("byte count", u16::from_le_bytes([low, high]), 36u16);
    CHANNEL.take(bench, 36);
    done(bench);
}

pub(super) fn interrupt(bench: &mut Bench<'_>) {
    ready(bench);
    packet(bench, FULL, &TEST_UNIT_READY, 0, 0);
    bench.inb(CHANNEL.control);
    let up = bench.irq(15);
    bench.check("interrupt", up, true);
    CHANNEL.acknowledge(bench);
    let up = bench.irq(15);
    bench.check("acknowledged", up, false);
    bench.outb(CHANNEL.control, 2);
    packet(bench, FULL, &TEST_UNIT_READY, 0, 0);
    let up = bench.irq(15);
    bench.check("none with nIEN", up, false);
}

pub(super) fn overlap(bench: &mut Bench<'_>) {
    on(bench);
    let status = CHANNEL.command(bench, [2, 0, 0, 0, 0, 0xa0], 0xa0);
    bench.check_bits("status", status, BSY | DRQ | ERR, ERR);
    let error = CHANNEL.get(bench, ERROR);
    bench.check_bits("error", error, ABRT, ABRT);
}

pub(super) fn limits(bench: &mut Bench<'_>) {
    on(bench);
    let whole = ask(bench, "in one", FULL, &INQUIRY);
    let (parts, status) = blocks(bench, FULL, &INQUIRY, 16);
    let sizes: Vec<u8> = parts.iter().map(|part| part.len() as u8).collect();
    bench.check_bytes("sizes of blocks", &sizes, &[16, 16, 4]);
    bench.check_bits("status", status, BSY | DRQ | ERR, 0u8);
    bench.check_bytes("data", &parts.concat(), &whole);
}

pub(super) fn odd_limit(bench: &mut Bench<'_>) {
    on(bench);
    let whole = ask(bench, "in one", FULL, &INQUIRY);
    let (parts, status) = blocks(bench, FULL, &INQUIRY, 9);
    let sizes: Vec<u8> = parts.iter().map(|part| part.len() as u8).collect();
    bench.check_bytes("all but the last are even", &sizes, &[8, 8, 8, 8, 4]);
    bench.check_bits("status", status, BSY | DRQ | ERR, 0u8);
    bench.check_bytes("data", &parts.concat(), &whole);
}

pub(super) fn machine_reset(bench: &mut Bench<'_>) {
    ready(bench);
    ask(bench, "prevent", FULL, &[0x1e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    packet(bench, FULL, &command_10(0x28, 0, 4), 0, 2048);
    CHANNEL.take(bench, 100);
    bench.reset();
    signature(bench);
    let up = bench.irq(15);
    bench.check("no interrupt", up, false);
    ready(bench);
    let page = ask(bench, "capabilities", FULL, &mode(0, 0x2a));
    bench.check("not locked any more", page.get(14).map_or(0xff, |byte| byte & 2), 0u8);
    let data = ask(bench, "READ (10)", FULL, &command_10(0x28, 9, 1));
    bench.check_that("data", data == frames(9, 1), "other data");
}
