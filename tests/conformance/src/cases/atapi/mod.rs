//! The ATAPI CD drives: ATA/ATAPI-6 (T13/1410D) for the PACKET protocol, SPC-2 and MMC-3 for what is in the packets.
//! Clauses of ATA's section 8, SPC-2 and MMC-3 are named by their commands.

mod drive;
mod protocol;
mod reading;

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
    case("signature", "ATA/ATAPI-6 9, signature and persistence", protocol::signature),
    case(
        "IDENTIFY DEVICE and READ abort with the signature",
        "ATA/ATAPI-6 8 IDENTIFY DEVICE, READ SECTOR(S)",
        protocol::ata,
    ),
    case("IDENTIFY PACKET DEVICE", "ATA/ATAPI-6 8 IDENTIFY PACKET DEVICE", protocol::identify),
    case("DEVICE RESET", "ATA/ATAPI-6 8 DEVICE RESET", protocol::device_reset),
    case("EXECUTE DEVICE DIAGNOSTIC", "ATA/ATAPI-6 8 EXECUTE DEVICE DIAGNOSTIC", protocol::diagnostic),
    case("software reset", "ATA/ATAPI-6 9.2", protocol::software_reset),
    case("PACKET without data", "ATA/ATAPI-6 9.8", protocol::no_data),
    case("PACKET with data", "ATA/ATAPI-6 9.8, interrupt reason", protocol::with_data),
    case(
        "interrupt is acknowledged, and kept down by nIEN",
        "ATA/ATAPI-6 7, Device Control, nIEN; 7.14",
        protocol::interrupt,
    ),
    case("overlapped PACKET", "ATA/ATAPI-6 8 PACKET, OVL", protocol::overlap),
    case("first command after power-on", "SPC-2 unit attention condition", drive::first_command),
    case("TEST UNIT READY", "SPC-2 TEST UNIT READY", drive::unit_ready),
    case("the empty drive", "MMC-3 TEST UNIT READY, READ CAPACITY, READ (10)", drive::empty),
    case(
        "the empty drive answers what needs no medium",
        "SPC-2 INQUIRY; MMC-3 MODE SENSE (10)",
        drive::empty_answers,
    ),
    case("REQUEST SENSE", "SPC-2 REQUEST SENSE", drive::request_sense),
    case("INQUIRY", "SPC-2 INQUIRY", drive::inquiry),
    case("allocation length", "SPC-2 4, allocation length", drive::allocation),
    case("byte count limit", "ATA/ATAPI-6 8 PACKET, byte count limit", protocol::limits),
    case("odd byte count limit", "ATA/ATAPI-6 8 PACKET, byte count limit", protocol::odd_limit),
    case("READ CAPACITY", "MMC-3 READ CAPACITY", reading::capacity),
    case("READ (10)", "MMC-3 READ (10)", reading::read_10),
    case("READ (12)", "MMC-3 READ (12)", reading::read_12),
    case("READ with a small byte count limit", "ATA/ATAPI-6 8 PACKET, byte count limit", reading::read_limit),
    case("READ of nothing", "MMC-3 READ (10): zero is no error", reading::read_none),
    case("READ beyond the end", "MMC-3 READ (10)", reading::read_beyond),
    case("READ (10) by DMA", "ATA/ATAPI-6 9.9; 82371SB BMICX, BMISX", reading::read_dma),
    case(
        "READ (12) by DMA, scattered",
        "ATA/ATAPI-6 9.9; 82371SB bus master function: PRD format",
        reading::scatter,
    ),
    case("an answer by DMA", "ATA/ATAPI-6 9.9", reading::answer_dma),
    case("an error by DMA", "ATA/ATAPI-6 9.9", reading::dma_error),
    case("READ CD", "MMC-3 READ CD", reading::read_cd),
    case("SEEK", "MMC-3 SEEK (10)", reading::seek),
    case("READ TOC", "MMC-3 READ TOC/PMA/ATIP, format 0", drive::toc),
    case("READ TOC, sessions", "MMC-3 READ TOC/PMA/ATIP, formats 1 and 2", drive::toc_sessions),
    case("READ TOC, wrong fields", "MMC-3 READ TOC/PMA/ATIP", drive::toc_wrong),
    case("READ DISC INFORMATION", "MMC-3 READ DISC INFORMATION", drive::disc),
    case("GET CONFIGURATION", "MMC-3 GET CONFIGURATION", drive::configuration),
    case("MODE SENSE", "MMC-3 MODE SENSE (10), capabilities page", drive::mode_sense),
    case("MODE SENSE, wrong fields", "SPC-2 MODE SENSE (10)", drive::mode_wrong),
    case("GET EVENT STATUS NOTIFICATION", "MMC-3 GET EVENT STATUS NOTIFICATION", drive::events),
    case("START STOP UNIT opens and shuts the tray", "MMC-3 START STOP UNIT", drive::tray),
    case("PREVENT ALLOW MEDIUM REMOVAL", "MMC-3 PREVENT ALLOW MEDIUM REMOVAL", drive::prevent),
    case("MECHANISM STATUS and SET CD SPEED", "MMC-3 MECHANISM STATUS, SET CD SPEED", drive::mechanism),
    case("unknown commands", "SPC-2 sense codes, 20h", drive::unknown),
    case("reset in a transfer", "ATA/ATAPI-6 9.1", protocol::machine_reset),
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
    send(bench, unit, packet, features, limit);
    CHANNEL.settled(bench)
}

/// Sends a packet. One whose data goes by DMA may be busy with it until the engine runs.
fn send(bench: &mut Bench<'_>, unit: u8, packet: &[u8; 12], features: u8, limit: u16) {
    let [low, high] = limit.to_le_bytes();
    CHANNEL.command(bench, [features, 0, 0, low, high, 0xa0 | unit << 4], 0xa0);
    CHANNEL.give(bench, packet);
    bench.wait(1000);
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
