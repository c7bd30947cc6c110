//! What OVMF's driver and a CFI probe do with a chip.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use devices_core::block::{BlockError, BlockInfo, BlockRequest, Inline, MemoryStore};
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};
use devices_core::{DeviceCell, Size};
use hypervisor::memory::new_block;

use super::*;

const SIZE: usize = 4 * BLOCK;
const BASE: u64 = (1 << 32) - SIZE as u64;

/// A chip whose first bytes count up, and what its image is.
struct Chip {
    store: Arc<MemoryStore>,
    cell: Arc<DeviceCell<Flash>>,
}

fn options(rig: &Rig, image: Arc<dyn BlockBackend>, contents: &[u8]) -> (Options, devices_core::Wiring) {
    let wiring = rig.wiring();
    let block = new_block(0, SIZE as u64).unwrap();
    block.write_slice(contents, MemoryRegionAddress(0)).unwrap();
    let done = CompletionQueue::new(wiring.waker(), IMAGE);
    (Options { name: model::NAMES[0], base: BASE, block, image, mapper: rig.recorder(), done }, wiring)
}

fn contents() -> Vec<u8> {
    (0..SIZE).map(|at| if at < 256 { at as u8 } else { 0xff }).collect()
}

fn attach(rig: &mut Rig, read_only: bool) -> Chip {
    let store = Arc::new(MemoryStore::new(contents(), read_only));
    let image = Arc::new(Inline::new(store.clone(), rig.wiring()));
    let (options, wiring) = options(rig, image, &contents());
    let cell = rig.attach(Flash::new(options), &wiring);
    Chip { store, cell }
}

fn put(rig: &mut Rig, at: u64, value: u8) {
    rig.mmio_write(BASE + at, Size::B1, value.into());
}

fn get(rig: &mut Rig, at: u64) -> u8 {
    rig.mmio_read(BASE + at, Size::B1) as u8
}

/// Whether reads of the chip are reads of memory now, by the last mapping.
fn is_mapped(rig: &Rig, before: bool) -> bool {
    rig.take_mappings().last().map_or(before, |mapping| mapping.read.is_some())
}

#[test]
fn ovmf_knows_a_flash() {
    scenario(|rig| {
        attach(rig, false);
        // QemuFlashDetected: a byte that is no command, the status cleared, the status read.
        assert_eq!(get(rig, 3), 3);
        put(rig, 3, command::CLEAR_STATUS);
        assert_eq!(get(rig, 3), 3, "not RAM");
        put(rig, 3, command::READ_STATUS);
        assert_eq!(get(rig, 3), 0, "neither RAM nor ROM");
        put(rig, 3, command::READ_ARRAY);
        assert_eq!(get(rig, 3), 3);
    });
}

#[test]
fn what_is_programmed_is_in_the_image_before_the_guest_knows() {
    scenario(|rig| {
        let chip = attach(rig, false);
        for (at, byte) in [(0x1000, 0xaa), (0x1001, 0x55), (0x2fff, 0x12)] {
            put(rig, at, command::PROGRAM);
            put(rig, at, byte);
        }
        put(rig, 0, command::READ_ARRAY);
        let stored = chip.store.contents();
        assert_eq!((stored[0x1000], stored[0x1001], stored[0x2fff]), (0xaa, 0x55, 0x12));
        assert_eq!(get(rig, 0x1000), 0xaa);
        // A block is erased, and its neighbours are not.
        put(rig, 0x1234, command::ERASE);
        put(rig, 0x1234, command::CONFIRM);
        assert_eq!(get(rig, 0x1234), status::READY);
        let stored = chip.store.contents();
        assert_eq!((stored[0x1000], stored[0x2fff], stored[255]), (0xff, 0x12, 255));
        put(rig, 0, command::READ_ARRAY);
        assert_eq!(get(rig, 0x1001), 0xff);
        // A double word at once.
        put(rig, 0, command::PROGRAM_ALTERNATE);
        rig.mmio_write(BASE + 8, Size::B4, 0x0403_0201);
        assert_eq!(rig.mmio_read(BASE, Size::B4), 0x0080_0080);
        assert_eq!(chip.store.contents()[8..12], [1, 2, 3, 4]);
    });
}

#[test]
fn a_buffer_is_programmed() {
    scenario(|rig| {
        let chip = attach(rig, false);
        put(rig, 0x2000, command::WRITE_BUFFER);
        assert_eq!(get(rig, 0x2000), status::READY);
        put(rig, 0x2000, 2);
        (0..3).for_each(|at| put(rig, 0x2000 + at, 0x10 + at as u8));
        put(rig, 0x2000, command::CONFIRM);
        assert_eq!(get(rig, 0x2000), status::READY);
        assert_eq!(chip.store.contents()[0x2000..0x2004], [0x10, 0x11, 0x12, 0xff]);
        put(rig, 0, command::READ_ARRAY);
        assert_eq!(get(rig, 0x2001), 0x11);
        // One with something for elsewhere, which is not confirmed.
        for write in [(0x20ff, command::WRITE_BUFFER), (0x20ff, 1), (0x20ff, 7), (0x2100, 8)] {
            put(rig, write.0, write.1);
        }
        assert_eq!(get(rig, 0), status::READY | status::PROGRAM_ERROR);
        put(rig, 0, command::READ_ARRAY);
        assert_eq!(get(rig, 0x20ff), 0xff);
        assert_eq!(chip.store.contents()[0x20ff..0x2101], [0xff, 0xff]);
    });
}

#[test]
fn a_probe_reads_the_table_and_no_identity() {
    scenario(|rig| {
        attach(rig, false);
        put(rig, 0x55, command::QUERY);
        let query: Vec<u8> = (0x10..0x13).map(|at| get(rig, at)).collect();
        assert_eq!(query, b"QRY");
        assert_eq!(get(rig, 0x27), 14, "the size's logarithm");
        assert_eq!([0x2d, 0x2e, 0x2f, 0x30].map(|at| get(rig, at)), [3, 0, 16, 0]);
        put(rig, 0, 0x12);
        assert_eq!(get(rig, 0x10), b'Q', "only one command ends it");
        put(rig, 0, command::READ_ARRAY);
        put(rig, 0, command::READ_ID);
        assert_eq!((get(rig, 0), get(rig, 1)), (0, 0));
        put(rig, 0, command::AMD_RESET);
        assert_eq!(get(rig, 9), 9);
        // What it does not know, and what does not confirm.
        for writes in [[0x77, 0x77], [command::ERASE, 0x12], [command::LOCK, 0x33]] {
            writes.iter().for_each(|&byte| put(rig, 0x3000, byte));
            assert_eq!(get(rig, 9), 9);
        }
        put(rig, 0, command::LOCK);
        put(rig, 0, command::LOCK_BLOCK);
        assert_eq!(get(rig, 0), status::READY);
    });
}

#[test]
fn reads_are_reads_of_memory_while_no_command_is_on() {
    let mut rig = Rig::new();
    attach(&mut rig, false);
    assert!(is_mapped(&rig, false), "from the start");
    put(&mut rig, 0, command::CLEAR_STATUS);
    assert!(rig.take_mappings().is_empty(), "nothing changes");
    put(&mut rig, 0, command::PROGRAM);
    assert!(!is_mapped(&rig, true));
    put(&mut rig, 0, 1);
    assert!(!is_mapped(&rig, false), "its status is read");
    put(&mut rig, 0, command::READ_ARRAY);
    assert!(is_mapped(&rig, false));
    put(&mut rig, 0, command::READ_STATUS);
    assert!(!is_mapped(&rig, true));
    rig.reset();
    assert!(is_mapped(&rig, false));
}

#[test]
fn what_cannot_be_written_says_so() {
    scenario(|rig| {
        let chip = attach(rig, true);
        put(rig, 0, command::PROGRAM);
        put(rig, 0, 0x77);
        assert_eq!(get(rig, 0), status::READY | status::PROGRAM_ERROR);
        put(rig, 0, command::ERASE);
        put(rig, 0, command::CONFIRM);
        assert_eq!(get(rig, 0), status::READY | status::PROGRAM_ERROR | status::ERASE_ERROR);
        put(rig, 0, command::CLEAR_STATUS);
        assert_eq!(get(rig, 5), 5);
        assert_eq!(chip.store.contents(), contents());
    });
}

#[test]
fn what_the_host_did_not_write_is_tried_again() {
    let mut rig = Rig::new();
    let chip = attach(&mut rig, false);
    chip.store.set_broken(true);
    put(&mut rig, 0x1000, command::PROGRAM);
    put(&mut rig, 0x1000, 7);
    assert_eq!(get(&mut rig, 0), status::READY | status::PROGRAM_ERROR);
    chip.store.set_broken(false);
    put(&mut rig, 0, command::CLEAR_STATUS);
    put(&mut rig, 0x3000, command::PROGRAM);
    put(&mut rig, 0x3000, 8);
    assert_eq!(get(&mut rig, 0), status::READY);
    let stored = chip.store.contents();
    assert_eq!((stored[0x1000], stored[0x3000]), (7, 8));
}

/// An image that does nothing until it is told to.
struct Slow {
    held: Mutex<VecDeque<BlockRequest>>,
}

impl BlockBackend for Slow {
    fn info(&self) -> BlockInfo {
        BlockInfo { size: SIZE as u64, read_only: false, physical_block: 512, discard: false }
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        self.held.lock().unwrap().push_back(request);
        Ok(())
    }
    fn idle(&self) -> bool {
        self.held.lock().unwrap().is_empty()
    }
}

impl Slow {
    /// Answers the oldest request: what it was, and where.
    fn answer(&self, result: Result<(), BlockError>) -> (BlockOp, u64) {
        let request = self.held.lock().unwrap().pop_front().unwrap();
        let BlockRequest { token, op, offset, payload, done } = request;
        done.deliver(Completion::new(token, payload, result));
        (op, offset)
    }
}

#[test]
fn the_guest_waits_for_a_slow_image_and_a_flush_follows() {
    let mut rig = Rig::new();
    let image = Arc::new(Slow { held: Mutex::default() });
    let (options, wiring) = options(&rig, image.clone(), &contents());
    let cell = rig.attach(Flash::new(options), &wiring);
    for at in [0x1000, 0x1001, 0x2000] {
        put(&mut rig, at, command::PROGRAM);
        put(&mut rig, at, 0);
    }
    assert!(!cell.lock().quiesce() && !cell.lock().drained());
    let (done, end) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        put(&mut rig, 0, command::READ_ARRAY);
        done.send(()).unwrap();
        rig
    });
    while cell.lock().waiting.is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(image.answer(Ok(())), (BlockOp::Write, 0x1000));
    assert_eq!(image.answer(Ok(())), (BlockOp::Write, 0x1000), "it changed while it was written");
    assert!(end.try_recv().is_err());
    assert_eq!(image.answer(Ok(())), (BlockOp::Write, 0x2000));
    end.recv().unwrap();
    drop(other.join().unwrap());
    assert!(!cell.lock().quiesce());
    assert_eq!(image.answer(Ok(())), (BlockOp::Flush, 0));
    assert!(cell.lock().quiesce() && cell.lock().drained());
}

#[test]
fn a_block_that_cannot_be_written_holds_up_no_other() {
    let mut rig = Rig::new();
    let image = Arc::new(Slow { held: Mutex::default() });
    let (options, wiring) = options(&rig, image.clone(), &contents());
    let cell = rig.attach(Flash::new(options), &wiring);
    for at in [0x1000, 0x2000] {
        put(&mut rig, at, command::PROGRAM);
        put(&mut rig, at, 0);
    }
    assert_eq!(image.answer(Err(BlockError::Io)), (BlockOp::Write, 0x1000));
    assert_eq!(image.answer(Ok(())), (BlockOp::Write, 0x2000));
    assert_eq!(image.answer(Ok(())), (BlockOp::Flush, 0));
    assert_eq!(get(&mut rig, 0), status::READY | status::PROGRAM_ERROR);
    assert!(cell.lock().quiesce(), "it is not tried for ever");
    // It is tried again before a guest that was saved goes on, and with the next program.
    cell.lock().resume();
    assert_eq!(image.answer(Err(BlockError::NoSpace)), (BlockOp::Write, 0x1000));
    put(&mut rig, 0x3000, command::PROGRAM);
    put(&mut rig, 0x3000, 0);
    assert_eq!(image.answer(Ok(())), (BlockOp::Write, 0x1000));
    assert_eq!(image.answer(Ok(())), (BlockOp::Write, 0x3000));
    assert_eq!(image.answer(Ok(())), (BlockOp::Flush, 0));
}

#[test]
fn a_saved_chip_brings_its_contents() {
    let mut rig = Rig::new();
    let chip = attach(&mut rig, false);
    put(&mut rig, 0x1000, command::PROGRAM);
    put(&mut rig, 0x1000, 0x42);
    let saved = chip.cell.lock().save().unwrap();

    // Its image is of another day.
    let mut rig = Rig::new();
    let other = attach(&mut rig, false);
    other.cell.lock().load(&saved).unwrap();
    other.cell.lock().resume();
    assert_eq!(get(&mut rig, 0), status::READY);
    assert_eq!(other.store.contents()[0x1000], 0x42);
    put(&mut rig, 0, command::READ_ARRAY);
    assert_eq!(get(&mut rig, 0x1000), 0x42);
    // One that cannot be written has none.
    let mut rig = Rig::new();
    let fixed = attach(&mut rig, true);
    let saved = fixed.cell.lock().save().unwrap();
    assert!(saved.body.len() < 200);
    other.cell.lock().load(&saved).unwrap();
}

#[test]
fn fuzzed() {
    let board = || {
        let mut rig = Rig::new();
        attach(&mut rig, false);
        rig
    };
    fuzz(board, 11, &[FuzzRange::Memory(BASE, SIZE as u64)], |_, _| {});
}
