//! What the drive says of itself and of its medium, and its tray.

use super::*;

pub(super) fn first_command(bench: &mut Bench<'_>) {
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

pub(super) fn unit_ready(bench: &mut Bench<'_>) {
    ready(bench);
    for round in 0..3 {
        let status = packet(bench, FULL, &TEST_UNIT_READY, 0, 0);
        bench.check_bits(format!("status, {round}"), status, BSY | DRDY | DF | DRQ | ERR, DRDY);
        CHANNEL.acknowledge(bench);
    }
    let key = sense(bench, FULL).0;
    bench.check("no sense", key, 0u8);
}

pub(super) fn empty(bench: &mut Bench<'_>) {
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

pub(super) fn empty_answers(bench: &mut Bench<'_>) {
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

pub(super) fn request_sense(bench: &mut Bench<'_>) {
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

pub(super) fn inquiry(bench: &mut Bench<'_>) {
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

pub(super) fn allocation(bench: &mut Bench<'_>) {
    on(bench);
    // Odd ones come last.
    for len in [8u8, 36, 0, 35, 5] {
        let data = ask(bench, &format!("{len} bytes"), FULL, &[0x12, 0, 0, 0, len, 0, 0, 0, 0, 0, 0, 0]);
        bench.check(format!("{len}: bytes that came"), data.len() as u64, u64::from(len));
    }
}

fn toc_command(msf: u8, format: u8, track: u8) -> [u8; 12] {
    [0x43, msf, format, 0, 0, 0, track, 0, 255, 0, 0, 0]
}

pub(super) fn toc(bench: &mut Bench<'_>) {
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

pub(super) fn toc_sessions(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "format 1", FULL, &toc_command(0, 1, 0));
    bench.check_bytes("one session", data.get(..4).unwrap_or(&[]), &[0, 10, 1, 1]);
    bench.check_bytes("first track of the last session", data.get(4..8).unwrap_or(&[]), &[0, 0x14, 1, 0]);
    let data = ask(bench, "format 2", FULL, &toc_command(2, 2, 0));
    bench.check_bytes("format 2: first and last session", data.get(2..4).unwrap_or(&[]), &[1, 1]);
    let len = data.get(..2).map_or(0, |len| usize::from(u16::from_be_bytes([len[0], len[1]])));
    bench.check("format 2: length", len as u64 + 2, data.len() as u64);
    bench.note_bytes("format 2", &data);
}

pub(super) fn toc_wrong(bench: &mut Bench<'_>) {
    ready(bench);
    fails(bench, "no such track", FULL, &toc_command(0, 0, 7), Some(ILLEGAL), BAD_FIELD);
    fails(bench, "no such format", FULL, &toc_command(0, 9, 0), Some(ILLEGAL), BAD_FIELD);
}

pub(super) fn disc(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "READ DISC INFORMATION", FULL, &command_10(0x51, 0, 34));
    bench.check_bytes("length", data.get(..2).unwrap_or(&[]), &[0, 32]);
    let byte = data.get(2).copied().unwrap_or(0);
    bench.check_bits("complete disc, complete session", byte, 0x0fu8, 0x0eu8);
    bench.check_bytes("first track, sessions, tracks", data.get(3..7).unwrap_or(&[]), &[1, 1, 1, 1]);
    bench.note_bytes("bytes", &data);
}

pub(super) fn configuration(bench: &mut Bench<'_>) {
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

pub(super) fn mode(control: u8, page: u8) -> [u8; 12] {
    [0x5a, 0, control << 6 | page, 0, 0, 0, 0, 0, 255, 0, 0, 0]
}

pub(super) fn mode_sense(bench: &mut Bench<'_>) {
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

pub(super) fn mode_wrong(bench: &mut Bench<'_>) {
    ready(bench);
    fails(bench, "no such page", FULL, &mode(0, 0x1b), Some(ILLEGAL), BAD_FIELD);
    fails(bench, "saved values", FULL, &mode(3, 0x2a), Some(ILLEGAL), 0x39);
}

pub(super) fn events(bench: &mut Bench<'_>) {
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

pub(super) fn tray(bench: &mut Bench<'_>) {
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

pub(super) fn prevent(bench: &mut Bench<'_>) {
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

pub(super) fn mechanism(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, "MECHANISM STATUS", FULL, &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]);
    bench.check("MECHANISM STATUS: bytes", data.len() as u64, 8u64);
    bench.note_bytes("MECHANISM STATUS", &data);
    ask(bench, "SET CD SPEED", FULL, &[0xbb, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
}

pub(super) fn unknown(bench: &mut Bench<'_>) {
    ready(bench);
    for opcode in [0x04u8, 0x7f, 0xc5, 0xff] {
        let mut command = [0; 12];
        command[0] = opcode;
        fails(bench, &format!("{opcode:#x}"), FULL, &command, Some(ILLEGAL), BAD_OPCODE);
    }
    ask(bench, "the next command", FULL, &TEST_UNIT_READY);
}
