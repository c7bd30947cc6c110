//! Units by their commands, with no controller around them. Every command is saved and loaded while the medium works.

mod cd;
mod disk;
mod flight;

use std::sync::{Arc, Mutex};

use devices_core::block::{
    BlockBackend, BlockInfo, BlockRequest, Completion, CompletionQueue, Inline, MemoryStore, Recall, Segment,
};
use devices_core::dma::Dma;
use devices_core::rig::{Rig, us};
use devices_core::wiring::Waker;

use super::*;
use crate::storage::geometry::Geometry;

pub(crate) const DISK: Address = Address { target: 1, lun: 0 };
pub(crate) const CD: Address = Address { target: 2, lun: 0 };
pub(crate) const SECTORS: usize = 512;
pub(crate) const FRAMES: usize = 64;
const DATA_IN: u64 = 0x1_0000;
const DATA_OUT: u64 = 0x8_0000;

pub(crate) fn contents() -> Vec<u8> {
    (0..SECTORS * 512).map(|at| (at / 512) as u8).collect()
}
pub(crate) fn disc() -> Vec<u8> {
    (0..FRAMES * 2048).map(|at| (at / 2048) as u8 ^ 0x5a).collect()
}

/// A disk of that medium.
pub(crate) fn disk_of(backend: Arc<dyn BlockBackend>) -> UnitOptions {
    let medium = Medium::Disk {
        backend,
        geometry: Geometry { cylinders: 2, heads: 16, sectors: 63 },
        block: 512,
        physical_block: Some(4096),
        discard_granularity: 4096,
        rotation_rate: 1,
        removable: false,
        fua: true,
    };
    let labels = Labels { serial: Some("S1".into()), wwn: 0x5000_c500_0000_0001, ..Labels::default() };
    UnitOptions::new(medium, labels)
}
pub(crate) fn cd_of(medium: Option<Arc<dyn BlockBackend>>) -> UnitOptions {
    UnitOptions::new(Medium::Cd(medium), Labels::default())
}
pub(crate) fn memory(
    rig: &Rig,
    bytes: Vec<u8>,
    read_only: bool,
) -> (Arc<MemoryStore>, Arc<dyn BlockBackend>) {
    let store = Arc::new(MemoryStore::new(bytes, read_only));
    (store.clone(), Arc::new(Inline::new(store, rig.wiring())))
}

/// A bus, and guest memory for it.
pub(super) struct Desk {
    pub(super) rig: Rig,
    pub(super) bus: ScsiBus<u32>,
    pub(super) dma: Dma,
    /// It is saved and loaded while commands are in flight.
    pub(super) restless: bool,
}

/// What a command has answered: status, sense key and code, bytes moved, data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u8,
    pub(super) sense: spec::Sense,
    pub(super) moved: u64,
    pub(super) data: Vec<u8>,
}

pub(super) fn sense_of(data: &[u8]) -> spec::Sense {
    match *data {
        [0x72, key, code, qualifier, ..] => spec::Sense::new(key, code, qualifier),
        [0x70, _, key, ..] => spec::Sense::new(key, data[12], data[13]),
        _ => spec::Sense::default(),
    }
}

impl Desk {
    pub(super) fn new() -> Desk {
        let rig = Rig::new();
        let dma = Dma::always(rig.ram().clone());
        Desk { rig, bus: ScsiBus::new(Waker::calling(|_| {})), dma, restless: true }
    }

    /// With a disk whose reset was told.
    pub(super) fn with_disk() -> (Desk, Arc<MemoryStore>) {
        let mut desk = Desk::new();
        let (store, backend) = memory(&desk.rig, contents(), false);
        desk.bus.plug(DISK, disk_of(backend)).unwrap();
        assert_eq!(desk.fails(DISK, &[0; 6]), spec::sense::RESET);
        (desk, store)
    }

    pub(super) fn command(&self, tag: u64, cdb: &[u8], out: &[u8], room: u32) -> Command {
        self.rig.poke(DATA_OUT, out);
        let segment = |gpa, len: u32| if len == 0 { vec![] } else { vec![Segment { gpa, len }] };
        // In two pieces, the second of which is elsewhere.
        let mut data_in = segment(DATA_IN, room.min(512));
        data_in.extend(segment(DATA_IN + 0x1000, room - room.min(512)));
        let data_out = segment(DATA_OUT, out.len() as u32);
        Command { tag, cdb: Cdb::new(cdb), len: cdb.len(), data_in, data_out }
    }

    pub(super) fn data(&self, len: usize) -> Vec<u8> {
        let first = len.min(512);
        [self.rig.peek(DATA_IN, first), self.rig.peek(DATA_IN + 0x1000, len - first)].concat()
    }

    /// Saves the bus, resets it and loads it.
    pub(super) fn save_load(&mut self) {
        let state = self.bus.save(|&context| context);
        self.bus.reset();
        self.bus.load(&self.dma, state, Ok).unwrap();
    }

    pub(super) fn outcome(&mut self, at: Address, command: Command) -> Outcome {
        self.bus.start(&self.dma, at, command, 7);
        if let Some((_, outcome)) = self.bus.take_ended() {
            return outcome;
        }
        for _ in 0..400 {
            if self.restless {
                self.save_load();
            }
            self.rig.advance(us(100));
            self.bus.completions(&self.dma);
            if let Some((context, outcome)) = self.bus.take_ended() {
                assert_eq!(context, 7);
                return outcome;
            }
        }
        panic!("the command does not end");
    }

    /// Has a command carried out, with these parameters or so much room for an answer.
    pub(super) fn run(&mut self, at: Address, cdb: &[u8], out: &[u8], room: u32) -> Answer {
        let command = self.command(1, cdb, out, room);
        match self.outcome(at, command) {
            Outcome::Ended(End { status, sense, moved }) => {
                let data = if room > 0 { self.data(moved as usize) } else { Vec::new() };
                Answer { status, sense: sense_of(&sense), moved, data }
            }
            other => panic!("{other:?}"),
        }
    }

    /// What it answers; it ends well.
    pub(super) fn reads(&mut self, at: Address, cdb: &[u8], room: u32) -> Vec<u8> {
        let answer = self.run(at, cdb, &[], room);
        assert_eq!(answer.status, spec::status::GOOD, "{cdb:02x?}: {answer:?}");
        answer.data
    }

    /// A command with data for the unit, which ends well.
    pub(super) fn writes(&mut self, at: Address, cdb: &[u8], out: &[u8]) -> u64 {
        let answer = self.run(at, cdb, out, 0);
        assert_eq!(answer.status, spec::status::GOOD, "{cdb:02x?}: {answer:?}");
        answer.moved
    }

    /// How a command fails that has no data.
    pub(super) fn fails(&mut self, at: Address, cdb: &[u8]) -> spec::Sense {
        self.fails_with(at, cdb, &[])
    }

    pub(super) fn fails_with(&mut self, at: Address, cdb: &[u8], out: &[u8]) -> spec::Sense {
        let answer = self.run(at, cdb, out, if out.is_empty() { 0x10000 } else { 0 });
        assert_eq!(answer.status, spec::status::CHECK_CONDITION, "{cdb:02x?}");
        answer.sense
    }
}

/// A medium that does what it has when it is told to.
#[derive(Default)]
pub(crate) struct Held(pub(crate) Mutex<Vec<BlockRequest>>);

impl BlockBackend for Held {
    fn info(&self) -> BlockInfo {
        BlockInfo { size: 1 << 20, read_only: false, physical_block: 512, discard: true }
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let mut held = self.0.lock().unwrap();
        if held.len() >= 4 {
            return Err(request);
        }
        held.push(request);
        Ok(())
    }
    fn recall(&self, _: &CompletionQueue, _: u64, _: Recall) -> Option<Completion> {
        None
    }
    fn idle(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

impl Held {
    pub(crate) fn finish(&self) {
        for request in std::mem::take(&mut *self.0.lock().unwrap()) {
            let BlockRequest { token, mut payload, done, .. } = request;
            payload.fill(&[0x99; 512]).unwrap();
            done.deliver(Completion::new(token, payload, Ok(())));
        }
    }
}
