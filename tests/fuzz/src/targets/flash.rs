//! A chip of flash memory whose image is served by threads of the host, which takes writes or does not: what a guest has
//! programmed is in the image in the end, whatever happened in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backends::image::Pool;
use devices::storage::pflash::spec::command;
use devices::storage::pflash::{Flash, IMAGE, Options, model};
use devices_core::block::{
    BlockError, BlockInfo, BlockOp, BlockStore, CompletionQueue, MemoryStore, Payload,
};
use devices_core::rig::Rig;
use devices_core::{Device, DeviceCell, Size, Space};
use hypervisor::memory::new_block;
use vm_memory::{Bytes, MemoryRegionAddress};

use super::flight::{PATIENCE, dawdle, until};
use super::outcome;
use crate::script::{self, Between, Window};

/// Bytes of the chip.
const SIZE: u64 = 16 << 10;
const BASE: u64 = (1 << 32) - SIZE;
const WINDOWS: [Window; 1] = [(Space::Mmio, BASE, SIZE)];

/// An image on a host that is now and then slow.
struct Host {
    store: MemoryStore,
    draws: AtomicU64,
}

impl BlockStore for Host {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }
    fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError> {
        let draw = self.draws.fetch_add(0x9e37_79b9, Ordering::Relaxed).wrapping_mul(0x2545_f491) >> 7;
        dawdle(draw % 16);
        self.store.run(op, offset, payload)
    }
}

fn attach(rig: &mut Rig, host: &Arc<Host>) -> Arc<DeviceCell<Flash>> {
    let wiring = rig.wiring();
    let block = new_block(0, SIZE).expect("a few pages");
    block.write_slice(&host.store.contents(), MemoryRegionAddress(0)).expect("as long as the image");
    let (image, mapper) = (Pool::new(host.clone()), rig.recorder());
    let done = CompletionQueue::new(wiring.waker(), IMAGE);
    let options = Options { name: model::NAMES[0], base: BASE, block, image, mapper, done };
    rig.attach(Flash::new(options), &wiring)
}

/// All that can be written has been.
fn settle(chip: &DeviceCell<Flash>) {
    until("a block is never written", || chip.lock().quiesce());
}

/// What a guest reads after a reset.
fn contents(rig: &mut Rig) -> Vec<u8> {
    rig.reset();
    (0..SIZE).step_by(4).flat_map(|at| (rig.mmio_read(BASE + at, Size::B4) as u32).to_le_bytes()).collect()
}

/// The first byte: how slow the host is; the rest: a script (see `script`), with what happens in between.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((&first, script)) = bytes.split_first() else { return 0 };
    Pool::set_patience(PATIENCE);
    let mut rig = Rig::new();
    let store = MemoryStore::new(vec![0x5a; SIZE as usize], false);
    let host = Arc::new(Host { store, draws: AtomicU64::new(first.into()) });
    let mut chip = attach(&mut rig, &host);
    let seen = script::play(&mut rig, &WINDOWS, script, &mut |rig, between| match between {
        Between::Reset => {
            rig.reset();
            until("a reset does not end", || chip.lock().drained());
        }
        Between::Save => {
            // At any instant: what the host answers meanwhile is in the status afterwards.
            let saved = chip.lock().save().expect("it saves at any instant");
            rig.reset();
            chip.lock().load(&saved).expect("it loads what it saved");
            rig.bus().remap_all();
        }
        Between::Host(0) => host.store.set_broken(true),
        Between::Host(1) => host.store.set_broken(false),
        // Saved, and on with another life: what the host did not take before comes with it.
        Between::Host(2) => {
            settle(&chip);
            let saved = chip.lock().save().expect("it saves at any instant");
            *rig = Rig::new();
            chip = attach(rig, &host);
            chip.lock().load(&saved).expect("it loads what another saved");
            rig.bus().remap_all();
            chip.lock().resume();
        }
        Between::Host(number) => dawdle(number.into()),
    });
    host.store.set_broken(false);
    settle(&chip);
    chip.lock().resume();
    settle(&chip);
    let read = contents(&mut rig);
    assert!(host.store.contents() == read, "the image has other contents than the chip");
    outcome(seen.count_ones(), "")
}

pub fn seeds() -> Vec<Vec<u8>> {
    // A byte at an offset of the chip: 24 bits, as it is larger than 256.
    let write = |at: u32, value: u8| vec![0, 0, at as u8, (at >> 8) as u8, 0, 0, value];
    let between = |number: u8| vec![number << 4 | 15];
    let program = |at: u32, value: u8| [write(at, command::PROGRAM), write(at, value)].concat();
    let erase = [write(0x1000, command::ERASE), write(0x1000, command::CONFIRM)].concat();
    let mut buffer = [write(0x2000, command::WRITE_BUFFER), write(0x2000, 3)].concat();
    (0..4).for_each(|at| buffer.extend(write(0x2000 + at, at as u8)));
    buffer.extend(write(0x2000, command::CONFIRM));
    let ends = |script: Vec<u8>| [vec![1], script, write(0, command::READ_ARRAY)].concat();
    let mut all = vec![ends(program(0x1234, 7)), ends(erase.clone()), ends(buffer.clone())];
    for number in 0..16 {
        let parts = [program(0x3fff, 1), between(number), erase.clone(), buffer.clone(), program(0, 2)];
        all.push(ends(parts.concat()));
    }
    all
}
