//! A disk.

use std::sync::atomic::{AtomicUsize, Ordering};

use devices_core::block::{BlockError, BlockOp, BlockStore, Payload};

use super::super::spec::{Sense, op, sense};
use super::*;

/// A command of ten bytes with a first block and a number of blocks.
fn ten(code: u8, flags: u8, lba: u32, blocks: u16) -> Vec<u8> {
    let [l0, l1, l2, l3] = lba.to_be_bytes();
    let [b0, b1] = blocks.to_be_bytes();
    vec![code, flags, l0, l1, l2, l3, 0, b0, b1, 0]
}
fn twelve(code: u8, lba: u32, blocks: u32) -> Vec<u8> {
    [&[code, 0][..], &lba.to_be_bytes(), &blocks.to_be_bytes(), &[0, 0]].concat()
}
fn sixteen(code: u8, flags: u8, lba: u64, blocks: u32) -> Vec<u8> {
    [&[code, flags][..], &lba.to_be_bytes(), &blocks.to_be_bytes(), &[0, 0]].concat()
}
fn inquiry(page: u8, room: u16) -> Vec<u8> {
    let [high, low] = room.to_be_bytes();
    vec![op::INQUIRY, 1, page, high, low, 0]
}

#[test]
fn says_what_it_is() {
    let (mut desk, _) = Desk::with_disk();
    let data = desk.reads(DISK, &[op::INQUIRY, 0, 0, 0, 96, 0], 96);
    assert_eq!(data[..8], [0, 0, 5, 0x12, 31, 0, 0, 0x12]);
    assert_eq!(&data[8..], b"QEMU    QEMU HARDDISK   2.5+");
    assert_eq!(desk.reads(DISK, &inquiry(0, 96), 96), [0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    assert_eq!(desk.reads(DISK, &inquiry(0x80, 96), 96), *b"\0\x80\0\x02S1");
    let id = desk.reads(DISK, &inquiry(0x83, 96), 96);
    assert_eq!(id[..10], *b"\0\x83\0\x12\x02\0\0\x02S1");
    assert_eq!(id[10..], [1, 3, 0, 8, 0x50, 0, 0xc5, 0, 0, 0, 0, 1]);
    let limits = desk.reads(DISK, &inquiry(0xb0, 96), 96);
    assert_eq!((limits.len(), limits[4]), (64, 1));
    assert_eq!(limits[20..32], [0, 0x20, 0, 0, 0, 0, 0, 255, 0, 0, 0, 8]);
    assert_eq!(limits[36..44], 0xffffu64.to_be_bytes());
    assert_eq!(desk.reads(DISK, &inquiry(0xb1, 96), 96)[..6], [0, 0xb1, 0, 0x3c, 0, 1]);
    assert_eq!(desk.reads(DISK, &inquiry(0xb2, 96), 96), [0, 0xb2, 0, 4, 0, 0xe0, 2, 0]);
    // As much as is asked for.
    assert_eq!(desk.reads(DISK, &[op::INQUIRY, 0, 0, 0, 5, 0], 96).len(), 5);
    // No such page; a page that is not of vital product data; a command's support.
    for cdb in [inquiry(0x84, 96), vec![op::INQUIRY, 0, 0x80, 0, 96, 0], vec![op::INQUIRY, 2, 0, 0, 96, 0]] {
        assert_eq!(desk.fails(DISK, &cdb), sense::FIELD);
    }
    assert_eq!(desk.reads(DISK, &ten(op::READ_CAPACITY, 0, 0, 0), 8), [0, 0, 1, 255, 0, 0, 2, 0]);
    let capacity = desk.reads(DISK, &sixteen(op::SERVICE_ACTION_IN_16, 0x10, 0, 32), 32);
    assert_eq!(capacity[..16], [0, 0, 0, 0, 0, 0, 1, 255, 0, 0, 2, 0, 0, 3, 0x80, 0]);
    assert_eq!(desk.fails(DISK, &ten(op::READ_CAPACITY, 0, 1, 0)), sense::FIELD);
    assert_eq!(desk.fails(DISK, &sixteen(op::SERVICE_ACTION_IN_16, 0x12, 0, 32)), sense::FIELD);
}

#[test]
fn data_goes_both_ways_by_commands_of_all_lengths() {
    let (mut desk, store) = Desk::with_disk();
    let pattern = |value: u8| vec![value; 1024];
    let writes = [
        (vec![op::WRITE_6, 0, 0, 10, 2, 0], 10),
        (ten(op::WRITE_10, 0, 20, 2), 20),
        (twelve(op::WRITE_12, 30, 2), 30),
        (sixteen(op::WRITE_16, 0, 40, 2), 40),
        (ten(op::WRITE_VERIFY_10, 0, 50, 2), 50),
        (twelve(op::WRITE_VERIFY_12, 60, 2), 60),
        (sixteen(op::WRITE_VERIFY_16, 8, 70, 2), 70),
    ];
    for (number, (cdb, sector)) in writes.into_iter().enumerate() {
        let value = 0x80 + number as u8;
        assert_eq!(desk.writes(DISK, &cdb, &pattern(value)), 1024);
        assert_eq!(store.contents()[sector * 512..][..1024], pattern(value), "{cdb:02x?}");
        assert_eq!(store.contents()[(sector + 2) * 512], sector as u8 + 2);
    }
    let reads = [
        vec![op::READ_6, 0, 0, 100, 3, 0],
        ten(op::READ_10, 0x18, 100, 3),
        twelve(op::READ_12, 100, 3),
        sixteen(op::READ_16, 0, 100, 3),
    ];
    for cdb in reads {
        assert_eq!(desk.reads(DISK, &cdb, 1536), contents()[100 * 512..][..1536], "{cdb:02x?}");
    }
    // No blocks at all are none, but of six bytes, where they are 256.
    assert_eq!(desk.reads(DISK, &ten(op::READ_10, 0, 0, 0), 512), []);
    let command = desk.command(1, &[op::READ_6, 0, 0, 0, 0, 0], &[], 512);
    assert_eq!(desk.outcome(DISK, command), Outcome::Overrun);
    // More memory than data: the rest is left alone.
    let answer = desk.run(DISK, &ten(op::READ_10, 0, 1, 1), &[], 4096);
    assert_eq!((answer.moved, answer.data), (512, vec![1; 512]));
}

#[test]
fn what_is_wrong_is_refused() {
    let (mut desk, store) = Desk::with_disk();
    let block = vec![0x11; 512];
    for (cdb, out, wanted) in [
        (ten(op::READ_10, 0, 512, 1), None, sense::RANGE),
        (ten(op::READ_10, 0, 511, 2), None, sense::RANGE),
        (sixteen(op::READ_16, 0, u64::MAX, 1), None, sense::RANGE),
        (sixteen(op::WRITE_16, 0, u64::MAX, 1), Some(&block), sense::RANGE),
        (ten(op::WRITE_10, 0, 512, 1), Some(&block), sense::RANGE),
        (ten(op::SEEK, 0, 512, 0), None, sense::RANGE),
        (ten(op::VERIFY_10, 0, 512, 1), None, sense::RANGE),
        // Protection information.
        (ten(op::READ_10, 0x20, 0, 1), None, sense::FIELD),
        (ten(op::WRITE_10, 0xe0, 0, 1), Some(&block), sense::FIELD),
        (ten(op::VERIFY_10, 4, 0, 1), None, sense::FIELD),
        (ten(op::WRITE_SAME_10, 0, 0, 0), Some(&block), sense::FIELD),
        (sixteen(op::WRITE_SAME_16, 0x10, 0, 1), Some(&block), sense::FIELD),
        (sixteen(op::WRITE_SAME_16, 0, 0, u32::MAX), Some(&block), sense::FIELD),
        // Persistent reservations, commands of CD drives, of no length, of no meaning.
        (ten(0x5e, 0, 0, 0), None, sense::OPCODE),
        (ten(0x5f, 0, 0, 0), None, sense::OPCODE),
        (ten(op::READ_TOC, 0, 0, 12), None, sense::OPCODE),
        (vec![0x7f; 16], None, sense::OPCODE),
        (vec![0xff; 16], None, sense::OPCODE),
        (vec![op::SEND_DIAGNOSTIC, 0, 0, 0, 0, 0], None, sense::FIELD),
    ] {
        let failed = match out {
            Some(out) => desk.fails_with(DISK, &cdb, out),
            None => desk.fails(DISK, &cdb),
        };
        assert_eq!(failed, wanted, "{cdb:02x?}");
    }
    // Less of a command than its group has.
    assert_eq!(desk.fails(DISK, &ten(op::READ_10, 0, 0, 1)[..6]), sense::OPCODE);
    assert_eq!(desk.fails(DISK, &[]), sense::OPCODE);
    assert_eq!(store.contents(), contents());
    for cdb in [
        vec![op::TEST_UNIT_READY, 0, 0, 0, 0, 0],
        vec![op::START_STOP, 0, 0, 0, 0, 0],
        vec![op::PREVENT_REMOVAL, 0, 0, 0, 1, 0],
        vec![op::RESERVE_6, 0, 0, 0, 0, 0],
        ten(op::RELEASE_10, 0, 0, 0),
        ten(op::SYNCHRONIZE_CACHE_10, 0, 0, 0),
        sixteen(op::SYNCHRONIZE_CACHE_16, 0, 0, 0),
        ten(op::SEEK, 0, 511, 0),
        vec![op::SEND_DIAGNOSTIC, 4, 0, 0, 0, 0],
    ] {
        assert_eq!(desk.writes(DISK, &cdb, &[]), 0);
    }
}

/// A command that asks for more than there is memory for does nothing, whatever it is.
#[test]
fn an_overrun_moves_nothing() {
    let (mut desk, store) = Desk::with_disk();
    for (cdb, out, room) in [
        (ten(op::READ_10, 0, 0, 2), 0, 1023),
        (sixteen(op::READ_16, 0, 0, u32::MAX), 0, 512),
        (ten(op::WRITE_10, 0, 0, 2), 1023, 0),
        (ten(op::WRITE_10, 0, 0, 2), 0, 1024),
        (ten(op::WRITE_SAME_10, 0, 0, 2), 511, 0),
        (ten(op::VERIFY_10, 2, 0, 2), 512, 0),
        (vec![op::INQUIRY, 0, 0, 0, 37, 0], 0, 36),
        (vec![op::MODE_SELECT_6, 0x10, 0, 0, 24, 0], 23, 0),
        (ten(op::UNMAP, 0, 0, 24), 23, 0),
        (vec![op::REQUEST_SENSE, 0, 0, 0, 18, 0], 0, 17),
    ] {
        let command = desk.command(1, &cdb, &vec![0x11; out], room);
        assert_eq!(desk.outcome(DISK, command), Outcome::Overrun, "{cdb:02x?}");
    }
    assert_eq!(store.contents(), contents());
}

#[test]
fn a_block_is_written_over_and_over() {
    let (mut desk, store) = Desk::with_disk();
    // More than a piece.
    assert_eq!(desk.writes(DISK, &ten(op::WRITE_SAME_10, 0, 10, 300), &[0xab; 512]), 512);
    assert_eq!(store.contents()[10 * 512..310 * 512], vec![0xab; 300 * 512]);
    assert_eq!([store.contents()[9 * 512], store.contents()[310 * 512]], [9, 54]);
    assert_eq!(desk.writes(DISK, &sixteen(op::WRITE_SAME_16, 8, 20, 2), &[0; 512]), 512);
    assert_eq!(store.contents()[20 * 512..22 * 512], [0; 1024]);
    // No block comes with it.
    assert_eq!(desk.writes(DISK, &sixteen(op::WRITE_SAME_16, 1, 30, 1), &[]), 0);
    assert_eq!(store.contents()[29 * 512..32 * 512], [[0xab; 512], [0; 512], [0xab; 512]].concat());
}

fn unmap_list(ranges: &[(u64, u32)]) -> Vec<u8> {
    let len = ranges.len() as u16 * 16;
    let mut list = [(len + 6).to_be_bytes(), len.to_be_bytes()].concat();
    list.extend([0; 4]);
    for (lba, blocks) in ranges {
        list.extend(lba.to_be_bytes());
        list.extend(blocks.to_be_bytes());
        list.extend([0; 4]);
    }
    list
}

#[test]
fn space_is_given_back() {
    let (mut desk, store) = Desk::with_disk();
    let unmap = |list: &[u8]| ten(op::UNMAP, 0, 0, list.len() as u16);
    let list = unmap_list(&[(8, 8), (100, 0), (40, 2)]);
    assert_eq!(desk.writes(DISK, &unmap(&list), &list), list.len() as u64);
    let zero = |sector: usize| store.contents()[sector * 512..][..512] == [0; 512];
    assert_eq!([7, 8, 15, 16, 40, 41, 42].map(zero), [false, true, true, false, true, true, false]);
    assert_eq!(desk.writes(DISK, &unmap(&[]), &[]), 0);
    let many = vec![(0, 1); 256];
    let mut crooked = unmap_list(&[(0, 1)]);
    crooked[3] = 15;
    let mut short = unmap_list(&[(0, 1)]);
    short.pop();
    for (list, wanted) in [
        (unmap_list(&[(1, 1), (511, 2)]), sense::RANGE),
        (unmap_list(&[(u64::MAX, u32::MAX)]), sense::RANGE),
        (unmap_list(&many), sense::PARAMETER),
        (crooked, sense::LIST_LENGTH),
        (short, sense::LIST_LENGTH),
        (vec![0; 7], sense::LIST_LENGTH),
    ] {
        assert_eq!(desk.fails_with(DISK, &unmap(&list), &list), wanted);
    }
    assert!(!zero(1), "nothing of a list with an error in it is done");
}

#[test]
fn data_is_compared() {
    let (mut desk, store) = Desk::with_disk();
    let compare = ten(op::VERIFY_10, 2, 100, 200);
    assert_eq!(desk.writes(DISK, &ten(op::VERIFY_10, 0, 0, 512), &[]), 0);
    let same = contents()[100 * 512..300 * 512].to_vec();
    assert_eq!(desk.writes(DISK, &compare, &same), same.len() as u64);
    let mut other = same;
    other[150 * 512] ^= 1;
    assert_eq!(desk.fails_with(DISK, &compare, &other), sense::DIFFERENT);
    assert_eq!(store.contents(), contents());
}

/// Counts flushes.
struct Flushes(MemoryStore, AtomicUsize);

impl BlockStore for Flushes {
    fn info(&self) -> BlockInfo {
        self.0.info()
    }
    fn run(&self, what: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError> {
        self.1.fetch_add((what == BlockOp::Flush).into(), Ordering::Relaxed);
        self.0.run(what, offset, payload)
    }
}

#[test]
fn the_write_cache_is_the_guests_to_turn_off() {
    let mut desk = Desk::new();
    let store = Arc::new(Flushes(MemoryStore::new(contents(), false), AtomicUsize::new(0)));
    desk.bus.plug(DISK, disk_of(Arc::new(Inline::new(store.clone(), desk.rig.wiring())))).unwrap();
    desk.fails(DISK, &[0; 6]);
    // What is in flight when a guest is saved is done again.
    desk.restless = false;
    let flushes = || store.1.swap(0, Ordering::Relaxed);
    let sense = |control: u8| [op::MODE_SENSE_6, 8, control << 6 | 8, 0, 64, 0];
    let page = desk.reads(DISK, &sense(0), 64);
    // Write cache, DPO and FUA; no block descriptor.
    assert_eq!((page.len(), &page[..7]), (24, &[23, 0, 0x10, 0, 8, 18, 4][..]));
    assert_eq!(desk.reads(DISK, &sense(1), 64)[6], 4, "it can be changed");
    assert_eq!(desk.fails(DISK, &sense(3)), sense::SAVING);
    let write = ten(op::WRITE_10, 0, 0, 1);
    desk.writes(DISK, &write, &[1; 512]);
    assert_eq!(flushes(), 0);
    // What is to be safe by itself.
    desk.writes(DISK, &ten(op::WRITE_10, 8, 0, 1), &[1; 512]);
    assert_eq!(flushes(), 1);
    let mut list = page;
    list[0] = 0;
    list[6] = 0;
    let select = [op::MODE_SELECT_6, 0x10, 0, 0, list.len() as u8, 0];
    desk.writes(DISK, &select, &list);
    assert_eq!(flushes(), 1, "what was in the cache is safe");
    assert_eq!(desk.reads(DISK, &sense(0), 64)[6], 0);
    desk.writes(DISK, &write, &[1; 512]);
    desk.writes(DISK, &ten(op::WRITE_SAME_10, 0, 0, 200), &[1; 512]);
    assert_eq!(flushes(), 2);
    desk.reads(DISK, &ten(op::READ_10, 0, 0, 1), 512);
    assert_eq!(flushes(), 0, "a read changes nothing");
    // A reset turns it on again.
    desk.bus.reset_units(|_| true);
    desk.fails(DISK, &[0; 6]);
    assert_eq!(desk.reads(DISK, &sense(0), 64)[6], 4);
}

#[test]
fn mode_parameters_are_checked() {
    let (mut desk, _) = Desk::with_disk();
    let all = desk.reads(DISK, &ten(op::MODE_SENSE_10, 0, 0x3f00_0000, 512), 512);
    assert_eq!(all[..8], [0, 6 + 8 + 12 + 24 + 32 + 20 + 12, 0, 0x10, 0, 0, 0, 8]);
    assert_eq!(all[8..16], [0, 0, 2, 0, 0, 0, 2, 0]);
    // Geometry: 2 cylinders of 16 heads and 63 sectors.
    assert_eq!(all[28..36], [4, 22, 0, 0, 2, 16, 0, 0]);
    let mut list = all.clone();
    (list[0], list[1], list[3]) = (0, 0, 0);
    let select = |list: &[u8], flags: u8| ten(op::MODE_SELECT_10, flags, 0, list.len() as u16);
    assert_eq!(desk.writes(DISK, &select(&list, 0x10), &list), list.len() as u64);
    assert_eq!(desk.fails_with(DISK, &select(&list, 0x11), &list), sense::FIELD);
    assert_eq!(desk.fails_with(DISK, &select(&list, 0), &list), sense::FIELD);
    let wrong = |at: usize, value: u8| {
        let mut list = list.clone();
        list[at] = value;
        list
    };
    for list in [wrong(7, 7), wrong(16, 0x3e), wrong(16, 0x41), wrong(17, 9), wrong(18, 0), wrong(33, 1)] {
        assert_eq!(desk.fails_with(DISK, &select(&list, 0x10), &list), sense::PARAMETER);
    }
    for len in [1, 7, 12, 17, 20] {
        assert_eq!(desk.fails_with(DISK, &select(&list[..len], 0x10), &list[..len]), sense::LIST_LENGTH);
    }
    // Sense data with descriptors is what the guest asks for.
    let control = [0, 0, 0, 0, 10, 10, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    desk.writes(DISK, &[op::MODE_SELECT_6, 0x10, 0, 0, 16, 0], &control);
    let command = desk.command(1, &ten(op::READ_10, 0, 512, 1), &[], 512);
    let Outcome::Ended(End { sense, .. }) = desk.outcome(DISK, command) else { panic!() };
    assert_eq!(sense, [0x72, 5, 0x21, 0, 0, 0, 0, 0]);
}

#[test]
fn what_happened_is_told_once() {
    let mut desk = Desk::new();
    let (_, backend) = memory(&desk.rig, contents(), false);
    desk.bus.plug(DISK, disk_of(backend.clone())).unwrap();
    // It does not keep anybody from asking what it is.
    desk.reads(DISK, &[op::INQUIRY, 0, 0, 0, 36, 0], 36);
    desk.reads(DISK, &[op::REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], 16);
    let told = desk.reads(DISK, &[op::REQUEST_SENSE, 0, 0, 0, 18, 0], 18);
    assert_eq!(sense_of(&told), sense::RESET);
    let none = desk.reads(DISK, &[op::REQUEST_SENSE, 1, 0, 0, 18, 0], 18);
    assert_eq!(none, [0x72, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(desk.writes(DISK, &[0; 6], &[]), 0);
    desk.bus.reset_units(|address| address == DISK);
    assert_eq!(desk.fails(DISK, &[0; 6]), sense::RESET);
    assert_eq!(desk.writes(DISK, &[0; 6], &[]), 0);
    // Another unit of the target.
    let other = Address { lun: 300, ..DISK };
    desk.bus.plug(other, disk_of(backend.clone())).unwrap();
    assert_eq!(desk.bus.plug(other, disk_of(backend)).err(), Some(Taken));
    desk.bus.units_changed(other);
    let report = [op::REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    let luns = desk.reads(other, &report, 64);
    assert_eq!(luns, [[0, 0, 0, 16, 0, 0, 0, 0], [0; 8], [0x41, 0x2c, 0, 0, 0, 0, 0, 0]].concat());
    assert_eq!(desk.fails(DISK, &[0; 6]), sense::UNITS_CHANGED);
    desk.bus.units_changed(other);
    desk.reads(DISK, &report, 64);
    assert_eq!(desk.writes(DISK, &[0; 6], &[]), 0, "who has asked for the units knows them");
    assert_eq!(desk.fails(DISK, &[op::REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0]), sense::FIELD);
    assert_eq!(desk.fails(DISK, &[op::REPORT_LUNS, 0, 3, 0, 0, 0, 0, 0, 0, 64, 0, 0]), sense::FIELD);
}

#[test]
fn a_target_answers_for_units_that_are_not_there() {
    let (mut desk, _) = Desk::with_disk();
    let nobody = Address { lun: 5, ..DISK };
    assert!(desk.bus.has_target(DISK.target) && !desk.bus.has_target(9) && !desk.bus.has_unit(nobody));
    let data = desk.reads(nobody, &[op::INQUIRY, 0, 0, 0, 36, 0], 36);
    assert_eq!((data[0], &data[8..12]), (0x7f, &b"QEMU"[..]));
    let told = desk.reads(nobody, &[op::REQUEST_SENSE, 0, 0, 0, 18, 0], 18);
    assert_eq!(sense_of(&told), sense::NO_UNIT);
    let luns = desk.reads(nobody, &[op::REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64);
    assert_eq!(luns.len(), 16);
    assert_eq!(desk.fails(nobody, &[0; 6]), sense::NO_UNIT);
    assert_eq!(desk.fails(nobody, &ten(op::READ_10, 0, 0, 1)), sense::NO_UNIT);
}

#[test]
fn a_host_that_fails_and_a_disk_that_takes_no_writes() {
    let (mut desk, store) = Desk::with_disk();
    store.set_broken(true);
    assert_eq!(desk.fails(DISK, &ten(op::READ_10, 0, 0, 1)), sense::UNRECOVERED_READ);
    assert_eq!(desk.fails_with(DISK, &ten(op::WRITE_10, 0, 0, 1), &[1; 512]), sense::WRITE_ERROR);
    assert_eq!(desk.fails(DISK, &ten(op::SYNCHRONIZE_CACHE_10, 0, 0, 0)), sense::WRITE_ERROR);
    let mut desk = Desk::new();
    let (store, backend) = memory(&desk.rig, contents(), true);
    desk.bus.plug(DISK, disk_of(backend)).unwrap();
    desk.fails(DISK, &[0; 6]);
    let list = unmap_list(&[(0, 1)]);
    for (cdb, out) in [
        (ten(op::WRITE_10, 0, 0, 1), vec![1; 512]),
        (ten(op::WRITE_SAME_10, 0, 0, 1), vec![1; 512]),
        (ten(op::UNMAP, 0, 0, 24), list),
    ] {
        assert_eq!(desk.fails_with(DISK, &cdb, &out), sense::WRITE_PROTECTED);
    }
    assert_eq!(desk.reads(DISK, &[op::MODE_SENSE_6, 8, 8, 0, 64, 0], 64)[2], 0x90);
    assert_eq!(desk.reads(DISK, &ten(op::READ_10, 0, 1, 1), 512), [1; 512]);
    assert_eq!(store.contents(), contents());
    assert_eq!(Sense::default(), sense::NONE);
}

/// Blocks of another length than the medium's sectors.
#[test]
fn a_disk_of_4096_bytes_a_block() {
    let mut desk = Desk::new();
    let (store, backend) = memory(&desk.rig, contents(), false);
    let mut options = disk_of(backend);
    if let Medium::Disk { block, .. } = &mut options.medium {
        *block = 4096;
    }
    desk.bus.plug(DISK, options).unwrap();
    desk.fails(DISK, &[0; 6]);
    assert_eq!(desk.reads(DISK, &ten(op::READ_CAPACITY, 0, 0, 0), 8), [0, 0, 0, 63, 0, 0, 16, 0]);
    assert_eq!(desk.reads(DISK, &ten(op::READ_10, 0, 2, 1), 4096), contents()[8192..][..4096]);
    desk.writes(DISK, &ten(op::WRITE_SAME_10, 0, 62, 2), &[7; 4096]);
    assert_eq!(store.contents()[62 * 4096..], [7; 8192]);
    assert_eq!(desk.fails(DISK, &ten(op::READ_10, 0, 64, 1)), sense::RANGE);
}
