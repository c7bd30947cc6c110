//! A CD drive.

use super::super::spec::{op, sense};
use super::*;

fn read(lba: u8, frames: u8) -> Vec<u8> {
    vec![op::READ_10, 0, 0, 0, 0, lba, 0, 0, frames, 0]
}

fn with_cd(full: bool) -> (Desk, devices_core::block::Tray) {
    let mut desk = Desk::new();
    let medium = full.then(|| memory(&desk.rig, disc(), true).1);
    let tray = desk.bus.plug(CD, cd_of(medium)).unwrap().unwrap();
    assert_eq!(desk.fails(CD, &[0; 6]), sense::RESET);
    (desk, tray)
}

#[test]
fn says_what_it_is_and_is_read() {
    let (mut desk, _) = with_cd(true);
    let data = desk.reads(CD, &[op::INQUIRY, 0, 0, 0, 36, 0], 36);
    assert_eq!((data[0], data[1], &data[16..32]), (5, 0x80, &b"QEMU CD-ROM     "[..]));
    assert_eq!(desk.reads(CD, &[op::INQUIRY, 1, 0, 0, 36, 0], 36), [5, 0, 0, 2, 0, 0x83]);
    assert_eq!(desk.reads(CD, &[op::READ_CAPACITY, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8), [0, 0, 0, 63, 0, 0, 8, 0]);
    assert_eq!(desk.reads(CD, &read(3, 2), 4096), disc()[3 * 2048..5 * 2048]);
    assert_eq!(desk.fails(CD, &read(63, 2)), sense::RANGE);
    // With header and error correction, more than a piece.
    let raw = [op::READ_CD, 0, 0, 0, 0, 2, 0, 0, 40, 0xf8, 0, 0];
    let frames = desk.reads(CD, &raw, 40 * 2352);
    assert_eq!(frames.len(), 40 * 2352);
    for (frame, lba) in frames.chunks_exact(2352).zip(2..) {
        assert_eq!(frame[16..2064], disc()[lba * 2048..][..2048]);
    }
    let toc = desk.reads(CD, &[op::READ_TOC, 0, 0, 0, 0, 0, 0, 0, 12, 0], 12);
    assert_eq!(toc, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]);
    let page = desk.reads(CD, &[op::MODE_SENSE_10, 0, 0x2a, 0, 0, 0, 0, 0, 64, 0], 64);
    assert_eq!((page[0], page[1], page[7], page[8], page[9]), (0, 28, 0, 0x2a, 20));
    // It is no disk, and takes no writes.
    assert_eq!(desk.fails_with(CD, &[op::WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[0; 2048]), sense::OPCODE);
}

#[test]
fn a_medium_comes_and_goes() {
    let (mut desk, tray) = with_cd(false);
    assert_eq!(desk.fails(CD, &[0; 6]), sense::NO_MEDIUM);
    assert_eq!(desk.fails(CD, &read(0, 1)), sense::NO_MEDIUM);
    let (_, medium) = memory(&desk.rig, disc(), true);
    tray.insert(medium, false).unwrap();
    desk.bus.completions(&desk.dma);
    desk.save_load();
    assert_eq!(desk.fails(CD, &[0; 6]), sense::MEDIUM_GONE);
    assert_eq!(desk.fails(CD, &read(0, 1)), sense::MEDIUM_CHANGED);
    assert_eq!(desk.reads(CD, &read(0, 1), 2048), disc()[..2048]);
    // The guest keeps it shut, is asked to let go, and does.
    let prevent = |on: u8| [op::PREVENT_REMOVAL, 0, 0, 0, on, 0];
    desk.writes(CD, &prevent(1), &[]);
    tray.eject(false).unwrap_err();
    desk.bus.completions(&desk.dma);
    let event = [op::GET_EVENT_STATUS, 1, 0, 0, 0x10, 0, 0, 0, 8, 0];
    assert_eq!(desk.reads(CD, &event, 8), [0, 4, 4, 0x10, 1, 2, 0, 0]);
    assert_eq!(desk.fails(CD, &[op::START_STOP, 0, 0, 0, 2, 0]), sense::LOCKED);
    desk.writes(CD, &prevent(0), &[]);
    desk.writes(CD, &[op::START_STOP, 0, 0, 0, 2, 0], &[]);
    assert!(tray.is_open());
    assert_eq!(desk.fails(CD, &[0; 6]), sense::NO_MEDIUM);
    tray.eject(false).unwrap();
    desk.bus.completions(&desk.dma);
    assert_eq!(desk.fails(CD, &[0; 6]), sense::MEDIUM_GONE);
    assert_eq!(desk.fails(CD, &[0; 6]), sense::NO_MEDIUM);
}

/// A medium is taken out while it is read: the old one's frames come, or an error, and nothing of the new one.
#[test]
fn a_medium_leaves_while_it_is_read() {
    let (mut desk, tray) = with_cd(true);
    let command = desk.command(1, &read(0, 2), &[], 4096);
    desk.bus.start(&desk.dma, CD, command, 7);
    tray.eject(true).unwrap();
    desk.bus.completions(&desk.dma);
    desk.save_load();
    desk.bus.completions(&desk.dma);
    let Some((7, Outcome::Ended(end))) = desk.bus.take_ended() else { panic!("it does not end") };
    assert_eq!(sense_of(&end.sense), sense::NO_MEDIUM);
    assert!(desk.bus.idle());
}
