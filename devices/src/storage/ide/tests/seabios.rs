//! A BIOS reads by PIO from disks that are late: by its rules of waiting, it must never see an error.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use devices_core::block::{BlockInfo, BlockRequest, BlockStore, Completion};
use devices_core::rig::Random;

use super::*;
use crate::storage::ide::spec::cmd;

const BASE: u16 = 0x1f0;
const STATUS: u16 = 0x1f7;
const CONTROL: u16 = 0x3f6;
const ERRORS: u8 = 0x21;
/// Where a sector goes.
const SECTOR_AT: u64 = 0x4_0000;

/// Does a request when it is told to, by hand or by a thread.
struct Late {
    store: Arc<MemoryStore>,
    waiting: Mutex<Vec<BlockRequest>>,
    /// With this, requests go to a thread instead.
    thread: Option<Sender<BlockRequest>>,
}

fn answer(store: &MemoryStore, request: BlockRequest) {
    let BlockRequest { token, op, offset, mut payload, done } = request;
    let result = store.run(op, offset, &mut payload);
    done.deliver(Completion::new(token, payload, result));
}

impl Late {
    /// Answers what waits, if anything does.
    fn answer(&self) -> bool {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        let any = !waiting.is_empty();
        waiting.into_iter().for_each(|request| answer(&self.store, request));
        any
    }
}

impl BlockBackend for Late {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        match &self.thread {
            Some(thread) => thread.send(request).map_err(|back| back.0),
            None => {
                self.waiting.lock().unwrap().push(request);
                Ok(())
            }
        }
    }
    fn idle(&self) -> bool {
        self.waiting.lock().unwrap().is_empty()
    }
}

/// The reader, and when its disk answers.
struct Bios {
    rig: Rig,
    disk: Arc<Late>,
    random: Random,
    /// Looks at the status until the disk answers.
    patience: u64,
    save: bool,
}

impl Bios {
    fn new(thread: Option<Sender<BlockRequest>>, store: Arc<MemoryStore>, seed: u64) -> Bios {
        let mut rig = Rig::new();
        let wiring = rig.wiring();
        let disk = Arc::new(Late { store, waiting: Mutex::default(), thread });
        let geometry = Geometry::guess(DISK_SECTORS as u64, &[]).0;
        let drive = DriveConfig::Disk { backend: disk.clone(), geometry, labels: Labels::default() };
        let irqs = [rig.irqs().line(14), rig.irqs().line(15)];
        let ide = Ide::new(&wiring, rig.ram().clone(), irqs, [Some(drive), None, None, None]);
        rig.attach_pci(ide, &wiring, 1, 1);
        Bios { rig, disk, random: Random::new(seed), patience: 0, save: false }
    }

    fn look(&mut self, port: u16) -> u8 {
        if self.disk.thread.is_none() {
            if self.patience == 0 && self.disk.answer() {
                self.patience = self.random.below(20);
            }
            self.patience = self.patience.saturating_sub(1);
            // A save waits until the disk is idle; what is in flight then is asked for anew.
            if self.save && self.random.below(4) == 0 && self.disk.idle() {
                self.rig.save_load();
            }
        }
        self.rig.inb(port)
    }

    /// Waits until the drive is not busy; its status then.
    fn await_not_busy(&mut self) -> u8 {
        for _ in 0..50_000_000 {
            let status = self.look(STATUS);
            if status & BSY == 0 {
                return status;
            }
        }
        panic!("busy for ever");
    }

    fn send(&mut self, lba: u32, count: u8, command: u8) {
        self.await_not_busy();
        let [low, mid, high, top] = lba.to_le_bytes();
        let before = self.rig.inb(BASE + 6);
        self.rig.outb(BASE + 6, 0x40 | top);
        assert_eq!(before & 0x10, 0, "drive 0 is selected");
        for (port, value) in (BASE + 1..).zip([0, count, low, mid, high]) {
            self.rig.outb(port, value);
        }
        self.rig.outb(STATUS, command);
    }

    /// Reads sectors as a BIOS does: by `rep insw`, with a look at the alternate status between two of them.
    fn read(&mut self, lba: u32, count: u8) {
        self.rig.outb(CONTROL, 0x0a);
        self.send(lba, count, cmd::READ);
        let mut status = self.await_not_busy();
        let all = pattern(DISK_SECTORS);
        for sector in 0..u32::from(count) {
            assert_eq!(status & (BSY | DRQ | ERRORS), DRQ, "sector {sector} of {count} from {lba}");
            self.rig.string(Dir::Read, BASE, Size::B2, 256, SECTOR_AT);
            let at = (lba + sector) as usize * 512;
            assert!(self.rig.peek(SECTOR_AT, 512) == all[at..at + 512], "sector {sector} from {lba}");
            self.look(CONTROL);
            status = self.await_not_busy();
        }
        assert_eq!(status & (BSY | DRQ | ERRORS), 0, "after {count} from {lba}");
        assert!(!self.rig.irq(14), "interrupts were off");
        self.rig.outb(CONTROL, 0x08);
    }

    fn reset(&mut self) {
        self.rig.outb(CONTROL, 0x0e);
        self.rig.outb(CONTROL, 0x0a);
        self.await_not_busy();
        self.rig.outb(BASE + 6, 0);
        while self.look(STATUS) & 0x40 == 0 {}
        self.rig.outb(CONTROL, 0x08);
    }

    fn reads(&mut self, times: u32) {
        for _ in 0..times {
            let count = self.random.below(9) as u8 + 1;
            let lba = self.random.below(DISK_SECTORS as u64 - 9) as u32;
            if self.random.below(8) == 0 {
                // A command that is given up for a reset in its midst.
                self.send(lba, count, cmd::READ);
                self.reset();
            }
            self.read(lba, count);
        }
    }
}

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(pattern(DISK_SECTORS), false))
}

#[test]
fn a_bios_waits_for_a_late_disk() {
    for seed in 0..40 {
        let mut bios = Bios::new(None, store(), seed);
        bios.save = seed % 2 == 1;
        bios.reads(40);
    }
}

/// The disk answers from a thread of its own, at any instant between two accesses.
#[test]
fn a_bios_waits_for_a_disk_with_a_thread() {
    let (send, receive) = channel::<BlockRequest>();
    let (store, mut random) = (store(), Random::new(7));
    let from = store.clone();
    let disk = std::thread::spawn(move || {
        for request in receive {
            match random.below(4) {
                0 => std::thread::park_timeout(Duration::from_micros(random.below(300))),
                1 => std::thread::yield_now(),
                _ => {}
            }
            answer(&from, request);
        }
    });
    let mut bios = Bios::new(Some(send), store, 11);
    bios.reads(600);
    drop(bios);
    disk.join().unwrap();
}
