//! Reading the medium, by PIO and by DMA.

use super::*;

pub(super) fn capacity(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "READ CAPACITY", FULL, &command_10(0x25, 0, 0));
    let want = [(FRAMES - 1).to_be_bytes(), (FRAME as u32).to_be_bytes()].concat();
    bench.check_bytes("last frame, bytes of a frame", &data, &want);
}

pub(super) fn read_10(bench: &mut Bench<'_>) {
    ready(bench);
    for (lba, count) in [(0u32, 1u16), (16, 1), (100, 7), (FRAMES - 1, 1)] {
        let data = ask(bench, &format!("{count} from {lba}"), FULL, &command_10(0x28, lba, count));
        let same = data == frames(lba, count.into());
        bench.check_that(format!("{count} from {lba}: data"), same, format!("{} bytes", data.len()));
    }
}

pub(super) fn read_12(bench: &mut Bench<'_>) {
    ready(bench);
    for (lba, count) in [(1u32, 1u32), (33, 40)] {
        let data = ask(bench, &format!("{count} from {lba}"), FULL, &command_12(lba, count));
        let same = data == frames(lba, count);
        bench.check_that(format!("{count} from {lba}: data"), same, format!("{} bytes", data.len()));
    }
}

pub(super) fn read_limit(bench: &mut Bench<'_>) {
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

pub(super) fn read_none(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "READ (10)", FULL, &command_10(0x28, 5, 0));
    bench.check("READ (10): bytes", data.len() as u64, 0u64);
    let data = ask(bench, "READ (12)", FULL, &command_12(5, 0));
    bench.check("READ (12): bytes", data.len() as u64, 0u64);
}

pub(super) fn read_beyond(bench: &mut Bench<'_>) {
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
    send(bench, FULL, command, 1, 0);
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

pub(super) fn read_dma(bench: &mut Bench<'_>) {
    ready(bench);
    let to = BUFFER + 0x1000;
    let ended = dma(bench, &command_10(0x28, 50, 3), &[(to, 3 * FRAME as u32)]);
    well(bench, ended);
    let data = bench.peek(to, 3 * FRAME);
    bench.check_that("data", data == frames(50, 3), "other data");
}

pub(super) fn scatter(bench: &mut Bench<'_>) {
    ready(bench);
    let at = BUFFER + 0x1000;
    let parts = [(at + 0x2000, 1000u32), (at + 2, 98), (at + 0x1000, 2998)];
    let ended = dma(bench, &command_12(200, 2), &parts);
    well(bench, ended);
    let data: Vec<u8> = parts.iter().flat_map(|(at, len)| bench.peek(*at, *len as usize)).collect();
    bench.check_that("data", data == frames(200, 2), "other data");
}

pub(super) fn answer_dma(bench: &mut Bench<'_>) {
    ready(bench);
    let whole = ask(bench, "by PIO", FULL, &INQUIRY);
    let to = BUFFER + 0x1000;
    let ended = dma(bench, &INQUIRY, &[(to, 36)]);
    well(bench, ended);
    let data = bench.peek(to, 36);
    bench.check_bytes("the same by DMA", &data, &whole);
}

pub(super) fn dma_error(bench: &mut Bench<'_>) {
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

pub(super) fn read_cd(bench: &mut Bench<'_>) {
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

pub(super) fn seek(bench: &mut Bench<'_>) {
    ready(bench);
    ask(bench, "to a frame", FULL, &command_10(0x2b, 77, 0));
    fails(bench, "beyond the end", FULL, &command_10(0x2b, FRAMES, 0), Some(ILLEGAL), OUT_OF_RANGE);
}
