//! The ATAPI CD drives: ATA/ATAPI-6 (T13/1410D) for the PACKET protocol, SPC-2 and MMC-3 for what is in the packets.
//! Clauses of ATA's section 8, SPC-2 and MMC-3 are named by their commands.

use super::ide::*;
use crate::bench::Bench;
use crate::case::{Case, Disk, Group, Setup, case};

/// Frames of the medium.
const FRAMES: u32 = 4096;
const FRAME: usize = 2048;
/// The drive with the medium, and the one without.
const FULL: u8 = 0;
const EMPTY: u8 = 1;
const CHANNEL: Channel = SECONDARY;

pub(super) const GROUP: Group = Group {
    device: "atapi",
    about: "ATAPI CD drives",
    setup: Setup { disks: &[Disk::Cd { slot: 2, sectors: FRAMES }, Disk::EmptyCd { slot: 3 }], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("signature", "ATA/ATAPI-6 9, signature and persistence", signature),
    case(
        "IDENTIFY DEVICE and READ abort with the signature",
        "ATA/ATAPI-6 8 IDENTIFY DEVICE, READ SECTOR(S)",
        ata,
    ),
    case("IDENTIFY PACKET DEVICE", "ATA/ATAPI-6 8 IDENTIFY PACKET DEVICE", identify),
    case("DEVICE RESET", "ATA/ATAPI-6 8 DEVICE RESET", device_reset),
    case("EXECUTE DEVICE DIAGNOSTIC", "ATA/ATAPI-6 8 EXECUTE DEVICE DIAGNOSTIC", diagnostic),
    case("software reset", "ATA/ATAPI-6 9.2", software_reset),
    case("PACKET without data", "ATA/ATAPI-6 9.8", no_data),
    case("PACKET with data", "ATA/ATAPI-6 9.8, interrupt reason", with_data),
    case(
        "interrupt is acknowledged, and kept down by nIEN",
        "ATA/ATAPI-6 7, Device Control, nIEN; 7.14",
        interrupt,
    ),
    case("overlapped PACKET", "ATA/ATAPI-6 8 PACKET, OVL", overlap),
    case("first command after power-on", "SPC-2 unit attention condition", first_command),
    case("TEST UNIT READY", "SPC-2 TEST UNIT READY", unit_ready),
    case("the empty drive", "MMC-3 TEST UNIT READY, READ CAPACITY, READ (10)", empty),
    case(
        "the empty drive answers what needs no medium",
        "SPC-2 INQUIRY; MMC-3 MODE SENSE (10)",
        empty_answers,
    ),
    case("REQUEST SENSE", "SPC-2 REQUEST SENSE", request_sense),
    case("INQUIRY", "SPC-2 INQUIRY", inquiry),
    case("allocation length", "SPC-2 4, allocation length", allocation),
    case("byte count limit", "ATA/ATAPI-6 8 PACKET, byte count limit", limits),
    case("odd byte count limit", "ATA/ATAPI-6 8 PACKET, byte count limit", odd_limit),
    case("READ CAPACITY", "MMC-3 READ CAPACITY", capacity),
    case("READ (10)", "MMC-3 READ (10)", read_10),
    case("READ (12)", "MMC-3 READ (12)", read_12),
    case("READ with a small byte count limit", "ATA/ATAPI-6 8 PACKET, byte count limit", read_limit),
    case("READ of nothing", "MMC-3 READ (10): zero is no error", read_none),
    case("READ beyond the end", "MMC-3 READ (10)", read_beyond),
    case("READ (10) by DMA", "ATA/ATAPI-6 9.9; 82371SB BMICX, BMISX", read_dma),
    case("READ (12) by DMA, scattered", "ATA/ATAPI-6 9.9; 82371SB bus master function: PRD format", scatter),
    case("an answer by DMA", "ATA/ATAPI-6 9.9", answer_dma),
    case("an error by DMA", "ATA/ATAPI-6 9.9", dma_error),
    case("READ CD", "MMC-3 READ CD", read_cd),
    case("SEEK", "MMC-3 SEEK (10)", seek),
    case("READ TOC", "MMC-3 READ TOC/PMA/ATIP, format 0", toc),
    case("READ TOC, sessions", "MMC-3 READ TOC/PMA/ATIP, formats 1 and 2", toc_sessions),
    case("READ TOC, wrong fields", "MMC-3 READ TOC/PMA/ATIP", toc_wrong),
    case("READ DISC INFORMATION", "MMC-3 READ DISC INFORMATION", disc),
    case("GET CONFIGURATION", "MMC-3 GET CONFIGURATION", configuration),
    case("MODE SENSE", "MMC-3 MODE SENSE (10), capabilities page", mode_sense),
    case("MODE SENSE, wrong fields", "SPC-2 MODE SENSE (10)", mode_wrong),
    case("GET EVENT STATUS NOTIFICATION", "MMC-3 GET EVENT STATUS NOTIFICATION", events),
    case("START STOP UNIT opens and shuts the tray", "MMC-3 START STOP UNIT", tray),
    case("PREVENT ALLOW MEDIUM REMOVAL", "MMC-3 PREVENT ALLOW MEDIUM REMOVAL", prevent),
    case("MECHANISM STATUS and SET CD SPEED", "MMC-3 MECHANISM STATUS, SET CD SPEED", mechanism),
    case("unknown commands", "SPC-2 sense codes, 20h", unknown),
    case("reset in a transfer", "ATA/ATAPI-6 9.1", machine_reset),
];

const SIGNATURE: [u8; 4] = [1, 1, 0x14, 0xeb];

// Sense keys and additional sense codes.
const NOT_READY: u8 = 2;
const ILLEGAL: u8 = 5;
const NO_MEDIUM: u8 = 0x3a;
const BAD_OPCODE: u8 = 0x20;
const BAD_FIELD: u8 = 0x24;
const OUT_OF_RANGE: u8 = 0x21;
const PREVENTED: u8 = 0x53;

const TEST_UNIT_READY: [u8; 12] = [0; 12];
const INQUIRY: [u8; 12] = [0x12, 0, 0, 0, 96, 0, 0, 0, 0, 0, 0, 0];

/// What frames hold.
fn frames(lba: u32, count: u32) -> Vec<u8> {
    let at = |lba: u32| u64::from(lba) * FRAME as u64;
    (at(lba)..at(lba + count)).map(Disk::byte).collect()
}

/// Sends a packet; status once the drive is not busy.
fn packet(bench: &mut Bench<'_>, unit: u8, packet: &[u8; 12], features: u8, limit: u16) -> u8 {
    let [low, high] = limit.to_le_bytes();
    CHANNEL.command(bench, [features, 0, 0, low, high, 0xa0 | unit << 4], 0xa0);
    CHANNEL.give(bench, packet);
    bench.wait(1000);
    CHANNEL.settled(bench)
}

/// Sends a packet and takes all data by PIO: block by block, and the status at the end.
fn blocks(bench: &mut Bench<'_>, unit: u8, command: &[u8; 12], limit: u16) -> (Vec<Vec<u8>>, u8) {
    let mut status = packet(bench, unit, command, 0, limit);
    let mut all = Vec::new();
    while status & (BSY | DRQ) == DRQ && all.len() < 64 {
        CHANNEL.acknowledge(bench);
        let [_, _, low, high] = CHANNEL.file(bench);
        let count = usize::from(u16::from_le_bytes([low, high]));
        if count == 0 {
            break;
        }
        let mut data = CHANNEL.take(bench, count.next_multiple_of(2));
        data.truncate(count);
        all.push(data);
        status = CHANNEL.settled(bench);
    }
    CHANNEL.acknowledge(bench);
    (all, status)
}

/// All data of a packet that must end well.
fn ask(bench: &mut Bench<'_>, what: &str, unit: u8, command: &[u8; 12]) -> Vec<u8> {
    let (data, status) = blocks(bench, unit, command, 0xfffe);
    bench.check_bits(format!("{what}: status"), status, BSY | DRQ | ERR, 0u8);
    data.concat()
}

/// Sense key and code.
fn sense(bench: &mut Bench<'_>, unit: u8) -> (u8, u8) {
    let (data, _) = blocks(bench, unit, &[3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0], 0xfffe);
    let data = data.concat();
    (data.get(2).map_or(0xff, |key| key & 15), data.get(12).copied().unwrap_or(0xff))
}

/// A packet that must fail with a sense key (none: any) and a code.
fn fails(bench: &mut Bench<'_>, what: &str, unit: u8, command: &[u8; 12], key: Option<u8>, code: u8) {
    let (_, status) = blocks(bench, unit, command, 0xfffe);
    bench.check_bits(format!("{what}: status"), status, BSY | DRQ | ERR, ERR);
    let error = CHANNEL.get(bench, ERROR);
    let (found, found_code) = sense(bench, unit);
    bench.check(format!("{what}: error register has the sense key"), error >> 4, found);
    match key {
        Some(key) => bench.check(format!("{what}: sense key"), found, key),
        None => bench.note(format!("{what}: sense key"), found),
    }
    bench.check(format!("{what}: additional sense code"), found_code, code);
}

/// The controller on, and unit attentions out of the way.
fn ready(bench: &mut Bench<'_>) {
    on(bench);
    for _ in 0..3 {
        let status = packet(bench, FULL, &TEST_UNIT_READY, 0, 0);
        CHANNEL.acknowledge(bench);
        if status & ERR == 0 {
            break;
        }
        sense(bench, FULL);
    }
}

fn command_10(opcode: u8, lba: u32, count: u16) -> [u8; 12] {
    let [a, b, c, d] = lba.to_be_bytes();
    let [e, f] = count.to_be_bytes();
    [opcode, 0, a, b, c, d, 0, e, f, 0, 0, 0]
}

fn command_12(lba: u32, count: u32) -> [u8; 12] {
    let [a, b, c, d] = lba.to_be_bytes();
    let [e, f, g, h] = count.to_be_bytes();
    [0xa8, 0, a, b, c, d, e, f, g, h, 0, 0]
}

fn signature(bench: &mut Bench<'_>) {
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

fn ata(bench: &mut Bench<'_>) {
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

fn identify(bench: &mut Bench<'_>) {
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

fn device_reset(bench: &mut Bench<'_>) {
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

fn diagnostic(bench: &mut Bench<'_>) {
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

fn software_reset(bench: &mut Bench<'_>) {
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

fn no_data(bench: &mut Bench<'_>) {
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
    let status = CHANNEL.settled(bench);
    bench.check_bits("it is done", status, BSY | DRDY | DRQ | ERR, DRDY);
    let reason = CHANNEL.get(bench, COUNT);
    bench.check_bits("reason: end", reason, 3u8, 3u8);
    let up = bench.irq(15);
    bench.check("interrupt at the end", up, true);
}

fn with_data(bench: &mut Bench<'_>) {
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
    let status = CHANNEL.settled(bench);
    bench.check_bits("it is done", status, BSY | DRDY | DRQ | ERR, DRDY);
    let reason = CHANNEL.get(bench, COUNT);
    bench.check_bits("reason: end", reason, 3u8, 3u8);
    let up = bench.irq(15);
    bench.check("interrupt at the end", up, true);
}

fn interrupt(bench: &mut Bench<'_>) {
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

fn overlap(bench: &mut Bench<'_>) {
    on(bench);
    let status = CHANNEL.command(bench, [2, 0, 0, 0, 0, 0xa0], 0xa0);
    bench.check_bits("status", status, BSY | DRQ | ERR, ERR);
    let error = CHANNEL.get(bench, ERROR);
    bench.check_bits("error", error, ABRT, ABRT);
}

fn first_command(bench: &mut Bench<'_>) {
    on(bench);
    let status = packet(bench, FULL, &TEST_UNIT_READY, 0, 0);
    CHANNEL.acknowledge(bench);
    bench.note("TEST UNIT READY: status", status);
    let (key, code) = sense(bench, FULL);
    bench.note("sense key", key);
    bench.note("additional sense code", code);
    // Whatever it was: it is told once.
    packet(bench, FULL, &TEST_UNIT_READY, 0, 0);
    CHANNEL.acknowledge(bench);
    sense(bench, FULL);
    let status = packet(bench, FULL, &TEST_UNIT_READY, 0, 0);
    bench.check_bits("the third is ready", status, BSY | DRQ | ERR, 0u8);
}

fn unit_ready(bench: &mut Bench<'_>) {
    ready(bench);
    for round in 0..3 {
        let status = packet(bench, FULL, &TEST_UNIT_READY, 0, 0);
        bench.check_bits(format!("status, {round}"), status, BSY | DRDY | DF | DRQ | ERR, DRDY);
        CHANNEL.acknowledge(bench);
    }
    let key = sense(bench, FULL).0;
    bench.check("no sense", key, 0u8);
}

fn empty(bench: &mut Bench<'_>) {
    on(bench);
    for (what, command) in [
        ("TEST UNIT READY", TEST_UNIT_READY),
        ("READ CAPACITY", command_10(0x25, 0, 0)),
        ("READ (10)", command_10(0x28, 0, 1)),
        ("READ (12)", command_12(0, 1)),
        ("READ TOC", [0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0]),
        ("READ DISC INFORMATION", command_10(0x51, 0, 34)),
    ] {
        fails(bench, what, EMPTY, &command, Some(NOT_READY), NO_MEDIUM);
    }
}

fn empty_answers(bench: &mut Bench<'_>) {
    on(bench);
    let data = ask(bench, "INQUIRY", EMPTY, &INQUIRY);
    bench.check("INQUIRY: CD", data.first().copied().unwrap_or(0xff), 5u8);
    let data = ask(bench, "MODE SENSE", EMPTY, &[0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255, 0, 0, 0]);
    bench.note_bytes("MODE SENSE", &data);
    let data = ask(bench, "GET CONFIGURATION", EMPTY, &command_10(0x46, 0, 255));
    bench.check_bytes("current profile", data.get(6..8).unwrap_or(&[]), &[0, 0]);
    let data = ask(bench, "GET EVENT STATUS", EMPTY, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0]);
    bench.check("no medium is present", data.get(5).map_or(0xff, |byte| byte & 2), 0u8);
    let (_, status) = blocks(bench, EMPTY, &[0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0xfffe);
    bench.check_bits("ALLOW MEDIUM REMOVAL: status", status, BSY | DRQ | ERR, 0u8);
}

fn request_sense(bench: &mut Bench<'_>) {
    ready(bench);
    let command = [3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0];
    let data = ask(bench, "nothing to tell", FULL, &command);
    bench.check("nothing to tell: bytes", data.len() as u64, 18u64);
    let byte = |data: &[u8], at: usize| data.get(at).copied().unwrap_or(0xff);
    bench.check("response code", byte(&data, 0) & 0x7f, 0x70u8);
    bench.check("additional length", byte(&data, 7), 10u8);
    bench.check("no sense", byte(&data, 2) & 15, 0u8);
    let (_, status) = blocks(bench, FULL, &[0xff; 12], 0xfffe);
    bench.check_bits("a wrong command: status", status, ERR, ERR);
    let data = ask(bench, "after it", FULL, &command);
    bench.check("its sense key", byte(&data, 2) & 15, ILLEGAL);
    bench.check("its code", byte(&data, 12), BAD_OPCODE);
    bench.note_bytes("all bytes", &data);
    let (_, status) = blocks(bench, FULL, &TEST_UNIT_READY, 0xfffe);
    bench.check_bits("a good command: status", status, ERR, 0u8);
    let data = ask(bench, "after a good command", FULL, &[3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    bench.check("allocation length", data.len() as u64, 8u64);
    bench.check("after a good command: sense key", byte(&data, 2) & 15, 0u8);
}

fn inquiry(bench: &mut Bench<'_>) {
    on(bench);
    let data = ask(bench, "standard", FULL, &INQUIRY);
    bench.check_that("at least 36 bytes", data.len() >= 36, data.len());
    let byte = |at: usize| data.get(at).copied().unwrap_or(0xff);
    bench.check("CD", byte(0), 5u8);
    bench.check("removable medium", byte(1) & 0x80, 0x80u8);
    bench.check("response data format", byte(3) & 15, 1u8);
    bench.check("additional length", u64::from(byte(4)), data.len() as u64 - 5);
    bench.note_bytes("bytes", &data);
    let (pages, status) = blocks(bench, FULL, &[0x12, 1, 0, 0, 96, 0, 0, 0, 0, 0, 0, 0], 0xfffe);
    bench.note("vital product data 0: status", status);
    bench.note_bytes("vital product data 0", &pages.concat());
    let names = ask(bench, "device identification", FULL, &[0x12, 1, 0x83, 0, 254, 0, 0, 0, 0, 0, 0, 0]);
    bench.note_bytes("vital product data 83h", &names);
    fails(
        bench,
        "an unknown page",
        FULL,
        &[0x12, 1, 0xee, 0, 96, 0, 0, 0, 0, 0, 0, 0],
        Some(ILLEGAL),
        BAD_FIELD,
    );
}

fn allocation(bench: &mut Bench<'_>) {
    on(bench);
    // Odd ones come last.
    for len in [8u8, 36, 0, 35, 5] {
        let data = ask(bench, &format!("{len} bytes"), FULL, &[0x12, 0, 0, 0, len, 0, 0, 0, 0, 0, 0, 0]);
        bench.check(format!("{len}: bytes that came"), data.len() as u64, u64::from(len));
    }
}

fn limits(bench: &mut Bench<'_>) {
    on(bench);
    let whole = ask(bench, "in one", FULL, &INQUIRY);
    let (parts, status) = blocks(bench, FULL, &INQUIRY, 16);
    let sizes: Vec<u8> = parts.iter().map(|part| part.len() as u8).collect();
    bench.check_bytes("sizes of blocks", &sizes, &[16, 16, 4]);
    bench.check_bits("status", status, BSY | DRQ | ERR, 0u8);
    bench.check_bytes("data", &parts.concat(), &whole);
}

fn odd_limit(bench: &mut Bench<'_>) {
    on(bench);
    let whole = ask(bench, "in one", FULL, &INQUIRY);
    let (parts, status) = blocks(bench, FULL, &INQUIRY, 9);
    let sizes: Vec<u8> = parts.iter().map(|part| part.len() as u8).collect();
    bench.check_bytes("all but the last are even", &sizes, &[8, 8, 8, 8, 4]);
    bench.check_bits("status", status, BSY | DRQ | ERR, 0u8);
    bench.check_bytes("data", &parts.concat(), &whole);
}

fn capacity(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "READ CAPACITY", FULL, &command_10(0x25, 0, 0));
    let want = [(FRAMES - 1).to_be_bytes(), (FRAME as u32).to_be_bytes()].concat();
    bench.check_bytes("last frame, bytes of a frame", &data, &want);
}

fn read_10(bench: &mut Bench<'_>) {
    ready(bench);
    for (lba, count) in [(0u32, 1u16), (16, 1), (100, 7), (FRAMES - 1, 1)] {
        let data = ask(bench, &format!("{count} from {lba}"), FULL, &command_10(0x28, lba, count));
        let same = data == frames(lba, count.into());
        bench.check_that(format!("{count} from {lba}: data"), same, format!("{} bytes", data.len()));
    }
}

fn read_12(bench: &mut Bench<'_>) {
    ready(bench);
    for (lba, count) in [(1u32, 1u32), (33, 40)] {
        let data = ask(bench, &format!("{count} from {lba}"), FULL, &command_12(lba, count));
        let same = data == frames(lba, count);
        bench.check_that(format!("{count} from {lba}: data"), same, format!("{} bytes", data.len()));
    }
}

fn read_limit(bench: &mut Bench<'_>) {
    ready(bench);
    let (parts, status) = blocks(bench, FULL, &command_10(0x28, 5, 2), 1024);
    bench.check_bits("1024: status", status, BSY | DRQ | ERR, 0u8);
    bench.check_that("1024: no block is larger", parts.iter().all(|part| part.len() <= 1024), parts.len());
    bench.check_that("1024: data", parts.concat() == frames(5, 2), "other data");
    let (parts, _) = blocks(bench, FULL, &command_10(0x28, 5, 2), 2048);
    let sizes: Vec<u64> = parts.iter().map(|part| part.len() as u64).collect();
    bench.check_that("2048: a frame a block", sizes == [2048, 2048], format!("{sizes:?}"));
    let (parts, _) = blocks(bench, FULL, &command_10(0x28, 5, 3), 3000);
    bench.check_that("3000: no block is larger", parts.iter().all(|part| part.len() <= 3000), parts.len());
    bench.check_that("3000: data", parts.concat() == frames(5, 3), "other data");
}

fn read_none(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "READ (10)", FULL, &command_10(0x28, 5, 0));
    bench.check("READ (10): bytes", data.len() as u64, 0u64);
    let data = ask(bench, "READ (12)", FULL, &command_12(5, 0));
    bench.check("READ (12): bytes", data.len() as u64, 0u64);
}

fn read_beyond(bench: &mut Bench<'_>) {
    ready(bench);
    fails(bench, "the next frame", FULL, &command_10(0x28, FRAMES, 1), Some(ILLEGAL), OUT_OF_RANGE);
    fails(bench, "over the end", FULL, &command_10(0x28, FRAMES - 1, 2), Some(ILLEGAL), OUT_OF_RANGE);
    fails(bench, "far beyond", FULL, &command_12(u32::MAX, 1), Some(ILLEGAL), OUT_OF_RANGE);
    let data = ask(bench, "the last one", FULL, &command_10(0x28, FRAMES - 1, 1));
    bench.check_that("the last one: data", data == frames(FRAMES - 1, 1), "other data");
}

/// A packet whose data goes by DMA: bus master status, drive's status.
fn dma(bench: &mut Bench<'_>, command: &[u8; 12], entries: &[(u64, u32)]) -> (u8, u8) {
    // The packet goes through the same RAM.
    CHANNEL.table(bench, entries);
    packet(bench, FULL, command, 1, 0);
    CHANNEL.start(bench, TO_MEMORY);
    CHANNEL.finished(bench)
}

fn well(bench: &mut Bench<'_>, (master, status): (u8, u8)) {
    bench.check_bits("bus master: interrupt, error, active", master, 7u8, INTERRUPT);
    bench.check_bits("status", status, BSY | DRDY | DRQ | ERR, DRDY);
    let reason = CHANNEL.get(bench, COUNT);
    bench.check_bits("reason: end", reason, 3u8, 3u8);
    let up = bench.irq(15);
    bench.check("interrupt", up, true);
    CHANNEL.acknowledge(bench);
}

fn read_dma(bench: &mut Bench<'_>) {
    ready(bench);
    let to = BUFFER + 0x1000;
    let ended = dma(bench, &command_10(0x28, 50, 3), &[(to, 3 * FRAME as u32)]);
    well(bench, ended);
    let data = bench.peek(to, 3 * FRAME);
    bench.check_that("data", data == frames(50, 3), "other data");
}

fn scatter(bench: &mut Bench<'_>) {
    ready(bench);
    let at = BUFFER + 0x1000;
    let parts = [(at + 0x2000, 1000u32), (at + 2, 98), (at + 0x1000, 2998)];
    let ended = dma(bench, &command_12(200, 2), &parts);
    well(bench, ended);
    let data: Vec<u8> = parts.iter().flat_map(|(at, len)| bench.peek(*at, *len as usize)).collect();
    bench.check_that("data", data == frames(200, 2), "other data");
}

fn answer_dma(bench: &mut Bench<'_>) {
    ready(bench);
    let whole = ask(bench, "by PIO", FULL, &INQUIRY);
    let to = BUFFER + 0x1000;
    let ended = dma(bench, &INQUIRY, &[(to, 36)]);
    well(bench, ended);
    let data = bench.peek(to, 36);
    bench.check_bytes("the same by DMA", &data, &whole);
}

fn dma_error(bench: &mut Bench<'_>) {
    ready(bench);
    CHANNEL.table(bench, &[(BUFFER + 0x1000, FRAME as u32)]);
    let status = packet(bench, FULL, &command_10(0x28, FRAMES, 1), 1, 0);
    bench.check_bits("status", status, BSY | DRQ | ERR, ERR);
    let up = bench.irq(15);
    bench.check("interrupt", up, true);
    CHANNEL.acknowledge(bench);
    let (key, code) = sense(bench, FULL);
    bench.check("sense key", key, ILLEGAL);
    bench.check("additional sense code", code, OUT_OF_RANGE);
    let to = BUFFER + 0x1000;
    let ended = dma(bench, &command_10(0x28, 1, 1), &[(to, FRAME as u32)]);
    well(bench, ended);
}

fn read_cd(bench: &mut Bench<'_>) {
    ready(bench);
    let command = |flags: u8, count: u8| [0xbe, 0, 0, 0, 0, 20, 0, 0, count, flags, 0, 0];
    let data = ask(bench, "user data", FULL, &command(0x10, 2));
    bench.check_that("user data", data == frames(20, 2), format!("{} bytes", data.len()));
    let data = ask(bench, "all of a frame", FULL, &command(0xf8, 1));
    bench.check("all of a frame: bytes", data.len() as u64, 2352u64);
    let sync = [&[0u8][..], &[0xff; 10], &[0]].concat();
    bench.check_bytes("sync pattern", data.get(..12).unwrap_or(&[]), &sync);
    // Frame 20 is at 00:02:20, mode 1.
    bench.check_bytes("header", data.get(12..16).unwrap_or(&[]), &[0, 2, 0x20, 1]);
    bench.check_that("its user data", data.get(16..2064) == Some(&frames(20, 1)[..]), "other data");
    let data = ask(bench, "nothing", FULL, &command(0x10, 0));
    bench.check("nothing: bytes", data.len() as u64, 0u64);
}

fn seek(bench: &mut Bench<'_>) {
    ready(bench);
    ask(bench, "to a frame", FULL, &command_10(0x2b, 77, 0));
    fails(bench, "beyond the end", FULL, &command_10(0x2b, FRAMES, 0), Some(ILLEGAL), OUT_OF_RANGE);
}

fn toc_command(msf: u8, format: u8, track: u8) -> [u8; 12] {
    [0x43, msf, format, 0, 0, 0, track, 0, 255, 0, 0, 0]
}

fn toc(bench: &mut Bench<'_>) {
    ready(bench);
    let end = FRAMES.to_be_bytes();
    let data = ask(bench, "by frames", FULL, &toc_command(0, 0, 0));
    let head = [0u8, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0];
    bench.check_bytes("by frames: header and track 1", data.get(..12).unwrap_or(&[]), &head);
    bench.check("lead-out", data.get(14).copied().unwrap_or(0), 0xaau8);
    bench.check_bytes("lead-out is at the end", data.get(16..20).unwrap_or(&[]), &end);
    bench.check_bits("lead-out of a data disc", data.get(13).copied().unwrap_or(0), 4u8, 4u8);
    bench.note("lead-out: control", data.get(13).copied().unwrap_or(0));
    let data = ask(bench, "by time", FULL, &toc_command(2, 0, 0));
    bench.check_bytes("track 1 by time", data.get(8..12).unwrap_or(&[]), &[0, 0, 2, 0]);
    // 4096 + 150 frames of 75 a second: 56 s, 46 frames.
    bench.check_bytes("lead-out by time", data.get(16..20).unwrap_or(&[]), &[0, 0, 56, 46]);
    let data = ask(bench, "from the lead-out", FULL, &toc_command(0, 0, 0xaa));
    bench.check("from the lead-out: length", data.get(1).copied().unwrap_or(0), 10u8);
    bench.check("from the lead-out: track", data.get(6).copied().unwrap_or(0), 0xaau8);
}

fn toc_sessions(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "format 1", FULL, &toc_command(0, 1, 0));
    bench.check_bytes("one session", data.get(..4).unwrap_or(&[]), &[0, 10, 1, 1]);
    bench.note_bytes("format 1", &data);
    let data = ask(bench, "format 2", FULL, &toc_command(2, 2, 0));
    bench.check_bytes("format 2: first and last session", data.get(2..4).unwrap_or(&[]), &[1, 1]);
    let len = data.get(..2).map_or(0, |len| usize::from(u16::from_be_bytes([len[0], len[1]])));
    bench.check("format 2: length", len as u64 + 2, data.len() as u64);
    bench.note_bytes("format 2", &data);
}

fn toc_wrong(bench: &mut Bench<'_>) {
    ready(bench);
    fails(bench, "no such track", FULL, &toc_command(0, 0, 7), Some(ILLEGAL), BAD_FIELD);
    fails(bench, "no such format", FULL, &toc_command(0, 9, 0), Some(ILLEGAL), BAD_FIELD);
}

fn disc(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "READ DISC INFORMATION", FULL, &command_10(0x51, 0, 34));
    bench.check_bytes("length", data.get(..2).unwrap_or(&[]), &[0, 32]);
    let byte = data.get(2).copied().unwrap_or(0);
    bench.check_bits("complete disc, complete session", byte, 0x0fu8, 0x0eu8);
    bench.check_bytes("first track, sessions, tracks", data.get(3..7).unwrap_or(&[]), &[1, 1, 1, 1]);
    bench.note_bytes("bytes", &data);
}

fn configuration(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "from feature 0", FULL, &command_10(0x46, 0, 0xff));
    let len = data.get(..4).map_or(0, |len| u32::from_be_bytes([len[0], len[1], len[2], len[3]]));
    bench.check("length", len + 4, data.len() as u64);
    bench.check_bytes("current profile: CD-ROM", data.get(6..8).unwrap_or(&[]), &[0, 8]);
    bench.check_bytes("feature 0 comes first", data.get(8..10).unwrap_or(&[]), &[0, 0]);
    bench.note_bytes("bytes", &data);
    let data = ask(bench, "8 bytes", FULL, &command_10(0x46, 0, 8));
    bench.check("8 bytes came", data.len() as u64, 8u64);
}

fn mode(control: u8, page: u8) -> [u8; 12] {
    [0x5a, 0, control << 6 | page, 0, 0, 0, 0, 0, 255, 0, 0, 0]
}

fn mode_sense(bench: &mut Bench<'_>) {
    ready(bench);
    for (what, page) in [("error recovery", 0x01u8), ("audio control", 0x0e), ("capabilities", 0x2a)] {
        let data = ask(bench, what, FULL, &mode(0, page));
        let len = data.get(..2).map_or(0, |len| u16::from_be_bytes([len[0], len[1]]));
        bench.check(format!("{what}: length"), u64::from(len) + 2, data.len() as u64);
        bench.check(format!("{what}: page"), data.get(8).map_or(0xff, |page| page & 0x3f), page);
        let page_len = data.get(9).map_or(0, |len| u64::from(*len));
        bench.check(format!("{what}: length of the page"), page_len + 10, data.len() as u64);
        bench.note_bytes(format!("{what}: bytes"), &data);
    }
    let all = ask(bench, "all pages", FULL, &mode(0, 0x3f));
    bench.note_bytes("all pages: bytes", &all);
    let short = ask(bench, "8 bytes", FULL, &[0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 8, 0, 0, 0]);
    bench.check("8 bytes came", short.len() as u64, 8u64);
}

fn mode_wrong(bench: &mut Bench<'_>) {
    ready(bench);
    fails(bench, "no such page", FULL, &mode(0, 0x1b), Some(ILLEGAL), BAD_FIELD);
    fails(bench, "saved values", FULL, &mode(3, 0x2a), Some(ILLEGAL), 0x39);
}

fn events(bench: &mut Bench<'_>) {
    ready(bench);
    let ask_for = |classes: u8| [0x4a, 1, 0, 0, classes, 0, 0, 0, 255, 0, 0, 0];
    let data = ask(bench, "media", FULL, &ask_for(0x10));
    bench.check("media: bytes", data.len() as u64, 8u64);
    bench.check_bytes("media: length", data.get(..2).unwrap_or(&[]), &[0, 4]);
    bench.check("media: class", data.get(2).map_or(0xff, |class| class & 0x87), 4u8);
    bench.check("medium is present, tray is shut", data.get(5).map_or(0xff, |byte| byte & 3), 2u8);
    bench.check("supported classes", data.get(3).map_or(0, |byte| byte & 0x10), 0x10u8);
    bench.note_bytes("media: bytes", &data);
    let data = ask(bench, "a class that it does not have", FULL, &ask_for(0x20));
    bench.check("no event available", data.get(2).map_or(0, |byte| byte & 0x80), 0x80u8);
    let mut asynchronous = ask_for(0x10);
    asynchronous[1] = 0;
    fails(bench, "not polled", FULL, &asynchronous, Some(ILLEGAL), BAD_FIELD);
}

fn start_stop(bits: u8) -> [u8; 12] {
    [0x1b, 0, 0, 0, bits, 0, 0, 0, 0, 0, 0, 0]
}

fn tray(bench: &mut Bench<'_>) {
    ready(bench);
    ask(bench, "start", FULL, &start_stop(1));
    ask(bench, "stop", FULL, &start_stop(0));
    ask(bench, "open", FULL, &start_stop(2));
    fails(bench, "READ (10) while it is open", FULL, &command_10(0x28, 0, 1), Some(NOT_READY), NO_MEDIUM);
    let data = ask(bench, "event status", FULL, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0]);
    bench.check("tray is open", data.get(5).map_or(0xff, |byte| byte & 1), 1u8);
    ask(bench, "shut", FULL, &start_stop(3));
    for _ in 0..3 {
        let (_, status) = blocks(bench, FULL, &TEST_UNIT_READY, 0xfffe);
        if status & ERR == 0 {
            break;
        }
        sense(bench, FULL);
    }
    let data = ask(bench, "READ (10) with the tray shut", FULL, &command_10(0x28, 3, 1));
    bench.check_that("its data", data == frames(3, 1), "other data");
}

fn prevent(bench: &mut Bench<'_>) {
    ready(bench);
    let prevent = |on: u8| [0x1e, 0, 0, 0, on, 0, 0, 0, 0, 0, 0, 0];
    ask(bench, "prevent", FULL, &prevent(1));
    let page = ask(bench, "capabilities", FULL, &mode(0, 0x2a));
    bench.check("locked", page.get(14).map_or(0, |byte| byte & 2), 2u8);
    fails(bench, "open", FULL, &start_stop(2), None, PREVENTED);
    let (_, status) = blocks(bench, FULL, &TEST_UNIT_READY, 0xfffe);
    bench.check_bits("the medium is still there", status, ERR, 0u8);
    ask(bench, "allow", FULL, &prevent(0));
    let page = ask(bench, "capabilities, allowed", FULL, &mode(0, 0x2a));
    bench.check("not locked", page.get(14).map_or(0xff, |byte| byte & 2), 0u8);
    ask(bench, "open, allowed", FULL, &start_stop(2));
    fails(bench, "the medium is out", FULL, &TEST_UNIT_READY, Some(NOT_READY), NO_MEDIUM);
}

fn mechanism(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "MECHANISM STATUS", FULL, &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]);
    bench.check("MECHANISM STATUS: bytes", data.len() as u64, 8u64);
    bench.note_bytes("MECHANISM STATUS", &data);
    ask(bench, "SET CD SPEED", FULL, &[0xbb, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
}

fn unknown(bench: &mut Bench<'_>) {
    ready(bench);
    for opcode in [0x04u8, 0x7f, 0xc5, 0xff] {
        let mut command = [0; 12];
        command[0] = opcode;
        fails(bench, &format!("{opcode:#x}"), FULL, &command, Some(ILLEGAL), BAD_OPCODE);
    }
    ask(bench, "the next command", FULL, &TEST_UNIT_READY);
}

fn machine_reset(bench: &mut Bench<'_>) {
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
