//! Commands without sectors: features, power, parameters, health.

use super::*;
use crate::bench::Bench;

const IDENTIFY: u8 = 0xec;
const SET_FEATURES: u8 = 0xef;
const SMART: u8 = 0xb0;
/// What SMART wants in mid and high.
const KEY: [u8; 2] = [0x4f, 0xc2];

/// Gives a command to drive 0 and says how it must end.
fn ends(bench: &mut Bench<'_>, what: &str, file: [u8; 6], command: u8, well: bool) {
    PRIMARY.command(bench, file, command);
    let status = PRIMARY.over(bench);
    bench.check_bits(format!("{what}: status"), status, BSY | DRQ | ERR, if well { 0 } else { ERR });
    let up = bench.irq(14);
    bench.check(format!("{what}: interrupt"), up, true);
    PRIMARY.acknowledge(bench);
    if !well {
        let error = PRIMARY.get(bench, ERROR);
        bench.check_bits(format!("{what}: error"), error, ABRT, ABRT);
    }
}

pub(super) fn flush(bench: &mut Bench<'_>) {
    on(bench);
    ends(bench, "FLUSH CACHE", [0, 0, 0, 0, 0, 0xe0], 0xe7, true);
    ends(bench, "FLUSH CACHE EXT", [0, 0, 0, 0, 0, 0xe0], 0xea, true);
    ends(bench, "FLUSH CACHE of drive 1", [0, 0, 0, 0, 0, 0xf0], 0xe7, true);
}

pub(super) fn transfer_mode(bench: &mut Bench<'_>) {
    on(bench);
    for (what, value, multiword, ultra) in [
        ("multiword DMA 2", 0x22u8, 0x04u16, 0x00u16),
        ("Ultra DMA 2", 0x42, 0x00, 0x04),
        ("multiword DMA 0", 0x20, 0x01, 0x00),
        ("Ultra DMA 5", 0x45, 0x00, 0x20),
    ] {
        ends(bench, what, [3, value, 0, 0, 0, 0xe0], SET_FEATURES, true);
        let words = PRIMARY.identify(bench, 0, IDENTIFY);
        bench.check(format!("{what}: word 63, chosen"), words[63] >> 8, multiword);
        bench.check(format!("{what}: word 88, chosen"), words[88] >> 8, ultra);
    }
    ends(bench, "PIO 4", [3, 0x0c, 0, 0, 0, 0xe0], SET_FEATURES, true);
    ends(bench, "default PIO", [3, 0, 0, 0, 0, 0xe0], SET_FEATURES, true);
    ends(bench, "no such mode", [3, 0xa0, 0, 0, 0, 0xe0], SET_FEATURES, false);
}

pub(super) fn write_cache(bench: &mut Bench<'_>) {
    on(bench);
    for (what, feature, enabled) in [("off", 0x82u8, 0u16), ("on", 0x02, 1), ("off again", 0x82, 0)] {
        ends(bench, what, [feature, 0, 0, 0, 0, 0xe0], SET_FEATURES, true);
        let words = PRIMARY.identify(bench, 0, IDENTIFY);
        bench.check(format!("{what}: word 85"), words[85] >> 5 & 1, enabled);
    }
    PRIMARY.lba28(bench, 0, 60, 1, 0x30);
    PRIMARY.give(bench, &[0xab; 512]);
    let status = PRIMARY.over(bench);
    bench.check_bits("a write without cache", status, BSY | DRQ | ERR, 0u8);
    PRIMARY.lba28(bench, 0, 60, 1, 0x20);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("what was written", &data, &[0xab; 512]);
}

pub(super) fn unknown(bench: &mut Bench<'_>) {
    on(bench);
    ends(bench, "feature 00h", [0, 0, 0, 0, 0, 0xe0], SET_FEATURES, false);
    ends(bench, "feature FFh", [0xff, 0, 0, 0, 0, 0xe0], SET_FEATURES, false);
    ends(bench, "look-ahead", [0xaa, 0, 0, 0, 0, 0xe0], SET_FEATURES, true);
}

pub(super) fn parameters(bench: &mut Bench<'_>) {
    on(bench);
    // 8 heads of 32 sectors.
    ends(bench, "8 heads, 32 sectors", [0, 32, 0, 0, 0, 0xa7], 0x91, true);
    let words = PRIMARY.identify(bench, 0, IDENTIFY);
    bench.check("default heads", words[3], 16u16);
    bench.check("default sectors", words[6], 63u16);
    bench.check("current heads", words[55], 8u16);
    bench.check("current sectors", words[56], 32u16);
    bench.check("current cylinders", words[54], MASTER_SECTORS / (8 * 32));
    // Cylinder 5, head 7, sector 2.
    PRIMARY.command(bench, [0, 1, 2, 5, 0, 0xa7], 0x20);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("a sector by it", &data, &sectors((5 * 8 + 7) * 32 + 1, 1));
}

pub(super) fn native_max(bench: &mut Bench<'_>) {
    on(bench);
    for (unit, last) in [(0u8, MASTER_SECTORS - 1), (1, SLAVE_SECTORS - 1)] {
        PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0 | unit << 4], 0xf8);
        PRIMARY.acknowledge(bench);
        let [_, low, mid, high] = PRIMARY.file(bench);
        let device = PRIMARY.get(bench, SELECT);
        let got = u32::from_le_bytes([low, mid, high, device & 15]);
        bench.check(format!("drive {unit}: 28 bits"), got, last);
        PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0 | unit << 4], 0x27);
        PRIMARY.acknowledge(bench);
        let [_, low, mid, high] = PRIMARY.file(bench);
        bench.outb(PRIMARY.control, 0x80);
        let [_, low2, mid2, high2] = PRIMARY.file(bench);
        bench.outb(PRIMARY.control, 0);
        let got = u64::from_le_bytes([low, mid, high, low2, mid2, high2, 0, 0]);
        bench.check(format!("drive {unit}: 48 bits"), got, last);
    }
}

pub(super) fn power(bench: &mut Bench<'_>) {
    on(bench);
    PRIMARY.command(bench, [0, 0x11, 0, 0, 0, 0xe0], 0xe5);
    let status = PRIMARY.acknowledge(bench);
    bench.check_bits("CHECK POWER MODE", status, BSY | DRQ | ERR, 0u8);
    let mode = PRIMARY.get(bench, COUNT);
    bench.check("active", mode, 0xffu8);
    for (what, command) in
        [("IDLE IMMEDIATE", 0xe1), ("IDLE", 0xe3), ("STANDBY IMMEDIATE", 0xe0), ("STANDBY", 0xe2)]
    {
        ends(bench, what, [0, 0, 0, 0, 0, 0xe0], command, true);
    }
    PRIMARY.lba28(bench, 0, 2, 1, 0x20);
    let data = PRIMARY.blocks(bench, 1, 1);
    bench.check_bytes("a command wakes it", &data, &sectors(2, 1));
}

fn smart(feature: u8, count: u8) -> [u8; 6] {
    [feature, count, 0, KEY[0], KEY[1], 0xe0]
}

pub(super) fn smart_status(bench: &mut Bench<'_>) {
    on(bench);
    ends(bench, "enable", smart(0xd8, 0), SMART, true);
    let words = PRIMARY.identify(bench, 0, IDENTIFY);
    bench.check_bits("word 85 bit 0", words[85], 1u16, 1u16);
    ends(bench, "return status", smart(0xda, 0), SMART, true);
    let [_, _, mid, high] = PRIMARY.file(bench);
    bench.check_bytes("no threshold is exceeded", &[mid, high], &KEY);
    ends(bench, "autosave on", smart(0xd2, 0xf1), SMART, true);
    ends(bench, "autosave off", smart(0xd2, 0), SMART, true);
}

pub(super) fn smart_data(bench: &mut Bench<'_>) {
    on(bench);
    ends(bench, "enable", smart(0xd8, 0), SMART, true);
    for (what, feature) in [("data", 0xd0), ("thresholds", 0xd1)] {
        let status = PRIMARY.command(bench, smart(feature, 1), SMART);
        bench.check_bits(format!("{what}: status"), status, BSY | DRQ | ERR, DRQ);
        PRIMARY.acknowledge(bench);
        let data = PRIMARY.take(bench, 512);
        let sum = data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bench.check(format!("{what}: sum"), sum, 0u8);
        bench.note_bytes(format!("{what}: bytes"), &data);
    }
}

pub(super) fn smart_off(bench: &mut Bench<'_>) {
    on(bench);
    ends(bench, "enable", smart(0xd8, 0), SMART, true);
    ends(bench, "a wrong key", [0xda, 0, 0, 0x4e, 0xc2, 0xe0], SMART, false);
    ends(bench, "no such subcommand", smart(0xff, 0), SMART, false);
    ends(bench, "disable", smart(0xd9, 0), SMART, true);
    let words = PRIMARY.identify(bench, 0, IDENTIFY);
    bench.check_bits("word 85 bit 0", words[85], 1u16, 0u16);
    ends(bench, "return status, disabled", smart(0xda, 0), SMART, false);
    ends(bench, "read data, disabled", smart(0xd0, 1), SMART, false);
}
