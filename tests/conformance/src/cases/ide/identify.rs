//! IDENTIFY DEVICE.

use super::*;
use crate::bench::Bench;

const IDENTIFY: u8 = 0xec;

fn words(bench: &mut Bench<'_>) -> Vec<u16> {
    on(bench);
    PRIMARY.identify(bench, 0, IDENTIFY)
}

fn double(words: &[u16], at: usize) -> u32 {
    u32::from(words[at]) | u32::from(words[at + 1]) << 16
}

pub(super) fn protocol(bench: &mut Bench<'_>) {
    on(bench);
    let status = PRIMARY.command(bench, [0, 0, 0, 0, 0, 0xe0], IDENTIFY);
    bench.check_bits("data is there", status, BSY | DRDY | DRQ | ERR, DRDY | DRQ);
    let up = bench.irq(14);
    bench.check("interrupt", up, true);
    PRIMARY.acknowledge(bench);
    let down = bench.irq(14);
    bench.check("acknowledged", down, false);
    PRIMARY.take(bench, 510);
    let status = bench.inb(PRIMARY.control);
    bench.check_bits("255 words are not all", status, DRQ, DRQ);
    PRIMARY.take(bench, 2);
    let status = PRIMARY.settled(bench);
    bench.check_bits("256 words are", status, BSY | DRDY | DRQ | ERR, DRDY);
    let up = bench.irq(14);
    bench.check("no interrupt at the end", up, false);
}

pub(super) fn capacity(bench: &mut Bench<'_>) {
    on(bench);
    for (unit, sectors) in [(0u8, MASTER_SECTORS), (1, SLAVE_SECTORS)] {
        let words = PRIMARY.identify(bench, unit, IDENTIFY);
        bench.check(format!("drive {unit}: 28 bits"), double(&words, 60), sectors);
        bench.check(format!("drive {unit}: 48 bits, low"), double(&words, 100), sectors);
        bench.check(format!("drive {unit}: 48 bits, high"), double(&words, 102), 0u32);
    }
}

pub(super) fn geometry(bench: &mut Bench<'_>) {
    on(bench);
    for (unit, sectors) in [(0u8, MASTER_SECTORS), (1, SLAVE_SECTORS)] {
        let words = PRIMARY.identify(bench, unit, IDENTIFY);
        bench.check(format!("drive {unit}: heads"), words[3], 16u16);
        bench.check(format!("drive {unit}: sectors of a track"), words[6], 63u16);
        let cylinders = sectors / (16 * 63);
        bench.check(format!("drive {unit}: cylinders"), words[1], cylinders);
        bench.check_bits(format!("drive {unit}: words 54-58 are valid"), words[53], 1u16, 1u16);
        let current = [words[54], words[55], words[56]];
        let same = current == [words[1], words[3], words[6]];
        bench.check_that(format!("drive {unit}: current is default"), same, format!("{current:?}"));
        bench.check(format!("drive {unit}: current capacity"), double(&words, 57), cylinders * 16 * 63);
    }
}

pub(super) fn capabilities(bench: &mut Bench<'_>) {
    let words = words(bench);
    bench.check_bits("word 0: an ATA device", words[0], 0x8000u16, 0u16);
    bench.check_bits("word 49: LBA", words[49], 0x200u16, 0x200u16);
    bench.check_bits("word 49: DMA", words[49], 0x100u16, 0x100u16);
    bench.check_bits("word 49: IORDY", words[49], 0x800u16, 0x800u16);
    bench.check_bits("word 47: bits 15:8", words[47], 0xff00u16, 0x8000u16);
    bench.note("word 47: sectors of a block", words[47] & 0xff);
    bench.check_bits("word 53: words 64-70 are valid", words[53], 2u16, 2u16);
    bench.check_bits("word 53: word 88 is valid", words[53], 4u16, 4u16);
    for word in [0, 48, 49, 50, 51, 52, 53, 59] {
        bench.note(format!("word {word}"), words[word]);
    }
}

pub(super) fn modes(bench: &mut Bench<'_>) {
    let words = words(bench);
    bench.check_bits("multiword DMA 0 to 2", words[63], 7u16, 7u16);
    bench.check_bits("PIO 3 and 4", words[64], 3u16, 3u16);
    bench.check_that("multiword cycle", words[65] >= 120, words[65]);
    bench.check_that("recommended multiword cycle", words[66] >= words[65], words[66]);
    bench.check_that("PIO cycle with IORDY", words[68] >= 120, words[68]);
    let chosen = (words[63] >> 8 & 7).count_ones() + (words[88] >> 8 & 0x7f).count_ones();
    bench.check_that("at most one mode is chosen", chosen <= 1, chosen);
    let outside = words[88] >> 8 & !words[88] & 0x7f;
    bench.check("no chosen mode that is not supported", outside, 0u16);
    for word in [62, 63, 64, 65, 66, 67, 68, 88, 93] {
        bench.note(format!("word {word}"), words[word]);
    }
}

pub(super) fn sets(bench: &mut Bench<'_>) {
    let words = words(bench);
    bench.check_bits("word 80: ATA/ATAPI-6", words[80], 1u16 << 6, 1u16 << 6);
    for (word, valid) in [(83, 0xc000u16), (84, 0xc000), (87, 0xc000)] {
        bench.check_bits(format!("word {word}: bits 15:14 are 01"), words[word], valid, 0x4000u16);
    }
    for (what, word, bit) in [
        ("SMART", 82, 0),
        ("write cache", 82, 5),
        ("48-bit addresses", 83, 10),
        ("FLUSH CACHE", 83, 12),
        ("FLUSH CACHE EXT", 83, 13),
    ] {
        bench.check_bits(format!("{what} supported"), words[word], 1u16 << bit, 1u16 << bit);
    }
    bench.check_bits("48-bit addresses enabled", words[86], 1u16 << 10, 1u16 << 10);
    bench.check_bits("FLUSH CACHE enabled", words[86], 1u16 << 12, 1u16 << 12);
    for (word, value) in words.iter().enumerate().take(88).skip(80) {
        bench.note(format!("word {word}"), *value);
    }
}

/// Text: two characters a word, the first one in the high byte.
fn text(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

pub(super) fn names(bench: &mut Bench<'_>) {
    on(bench);
    for unit in [0u8, 1] {
        let words = PRIMARY.identify(bench, unit, IDENTIFY);
        for (what, from, to) in [("serial number", 10, 20), ("firmware", 23, 27), ("model", 27, 47)] {
            let text = text(&words[from..to]);
            let printable = text.iter().all(|byte| (0x20..0x7f).contains(byte));
            let found = String::from_utf8_lossy(&text).into_owned();
            bench.check_that(format!("drive {unit}: {what} is printable"), printable, found);
            bench.note_bytes(format!("drive {unit}: {what}"), &text);
        }
    }
    let serials = [0, 1].map(|unit| text(&PRIMARY.identify(bench, unit, IDENTIFY)[10..20]));
    bench.check_that("serial numbers differ", serials[0] != serials[1], "they are the same");
}

pub(super) fn checksum(bench: &mut Bench<'_>) {
    let words = words(bench);
    let present = words[255] & 0xff == 0xa5;
    let sum = words.iter().flat_map(|word| word.to_le_bytes()).fold(0u8, u8::wrapping_add);
    bench.check_that("the sum is zero where there is a signature", !present || sum == 0, sum);
    bench.note("word 255 has a signature", present);
}

pub(super) fn rest(bench: &mut Bench<'_>) {
    let words = words(bench);
    for word in (0..256).filter(|word| !matches!(word, 0..=20 | 23..=68 | 80..=88 | 93 | 100..=103)) {
        if words[word] != 0 {
            bench.note(format!("word {word}"), words[word]);
        }
    }
    let others = [2, 4, 5, 20, 21, 22, 69, 76, 106, 117].map(|word: usize| words[word]);
    bench.note_bytes("words 2, 4, 5, 20-22, 69, 76, 106, 117", &others.map(u16::to_be_bytes).concat());
}
