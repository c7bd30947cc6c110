//! Requests that are slow, refused or late, and states that are lies.

use std::sync::Mutex;

use devices_core::block::{BlockInfo, BlockRequest, BlockStore, Completion};
use devices_core::{Device, Saved, Slot};

use super::*;
use crate::storage::ide::spec::cmd;

const BASE: u16 = 0x1f0;
const STATUS: u16 = 0x1f7;
const ALT: u16 = 0x3f6;

/// A backend that answers when it is told to, and takes so many requests.
struct Slow {
    store: MemoryStore,
    waiting: Mutex<Vec<BlockRequest>>,
    room: usize,
}

impl BlockBackend for Slow {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let mut waiting = self.waiting.lock().unwrap();
        if waiting.len() == self.room {
            return Err(request);
        }
        waiting.push(request);
        Ok(())
    }
    fn idle(&self) -> bool {
        self.waiting.lock().unwrap().is_empty()
    }
}

impl Slow {
    /// Answers the oldest request.
    fn answer(&self) {
        let BlockRequest { token, op, offset, mut payload, done } = self.waiting.lock().unwrap().remove(0);
        let result = self.store.run(op, offset, &mut payload);
        done.deliver(Completion::new(token, payload, result));
    }
}

fn slow(room: usize) -> (Machine, Arc<Slow>, Arc<Slot<Ide>>) {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let store = MemoryStore::new(pattern(DISK_SECTORS), false);
    let backend = Arc::new(Slow { store, waiting: Mutex::default(), room });
    let geometry = Geometry::guess(DISK_SECTORS as u64, &[]).0;
    let disk = DriveConfig::Disk { backend: backend.clone(), geometry, serial: None };
    let cd = DriveConfig::Cd { medium: None, serial: None };
    let irqs = [rig.irqs().line(14), rig.irqs().line(15)];
    let ide = Ide::new(&wiring, rig.ram().clone(), irqs, [Some(disk), Some(cd), None, None]);
    let tray = ide.medium(1).expect("there is a CD drive");
    let slot = rig.attach_pci(ide, &wiring, 1, 1);
    rig.config_write(1, 1, pci_reg::BAR0 + 16, Size::B4, BM.into());
    rig.config_write(1, 1, pci_reg::COMMAND, Size::B2, 5);
    let disk = Arc::new(MemoryStore::new(Vec::new(), false));
    (Machine { rig, disk, tray, heard: Arc::default(), save: false }, backend, slot)
}

#[test]
fn quiesce_waits_for_the_disk() {
    let (mut m, disk, slot) = slow(8);
    assert!(slot.lock().quiesce());
    m.command(BASE, 0, 1, 3, cmd::READ);
    assert!(!slot.lock().quiesce());
    disk.answer();
    assert!(slot.lock().quiesce());
    assert_eq!(m.data(BASE, 512), pattern(4)[3 * 512..]);
}

#[test]
fn a_late_answer_is_nobodys() {
    let (mut m, disk, _) = slow(8);
    m.table(0, &[(0x2_0000, 512)]);
    m.command(BASE, 0, 1, 3, cmd::READ_DMA);
    m.out(BM, 9);
    m.out(ALT, 4);
    m.out(ALT, 0);
    m.command(BASE, 0, 1, 5, cmd::READ);
    disk.answer();
    assert_eq!(m.inb(ALT) & BSY, BSY, "the new command still waits");
    assert!(!m.rig.irq(14));
    disk.answer();
    assert_eq!(m.data(BASE, 512), pattern(6)[5 * 512..]);
}

#[test]
fn a_stopped_engine_starts_the_data_over() {
    let (mut m, disk, _) = slow(8);
    m.table(0, &[(0x2_0000, 512)]);
    m.command(BASE, 0, 1, 3, cmd::READ_DMA);
    m.out(BM, 9);
    m.out(BM, 8);
    assert_eq!(m.inb(BM + 2) & 1, 0);
    disk.answer();
    assert!(!m.rig.irq(14));
    m.table(0, &[(0x3_0000, 512)]);
    m.out(BM, 9);
    disk.answer();
    assert!(m.rig.irq(14));
    assert_eq!(m.rig.peek(0x3_0000, 512), pattern(4)[3 * 512..]);
}

#[test]
fn a_full_backend_ends_the_command_with_an_error() {
    let (mut m, disk, _) = slow(2);
    for _ in 0..3 {
        m.command(BASE, 0, 1, 0, cmd::READ);
        m.out(ALT, 4);
        m.out(ALT, 0);
    }
    assert_eq!(disk.waiting.lock().unwrap().len(), 2);
    m.command(BASE, 0, 1, 0, cmd::READ);
    assert_eq!([m.inb(STATUS) & 0x89, m.inb(0x1f1)], [1, 4]);
    disk.answer();
    disk.answer();
    m.command(BASE, 0, 1, 0, cmd::READ);
    disk.answer();
    assert_eq!(m.data(BASE, 512), pattern(1));
}

#[test]
fn a_packet_drive_without_a_medium_says_so() {
    let (mut m, _, _) = slow(2);
    m.out(0x1f6, 0x10);
    m.command(BASE, 0, 0, 0x1000_0000, cmd::IDENTIFY);
    m.out(0x1f6, 0x10);
    m.out(STATUS, cmd::PACKET);
    for _ in 0..6 {
        m.rig.outw(BASE, 0);
    }
    assert_eq!([m.inb(STATUS) & 1, m.inb(0x1f1)], [1, 0x20]);
}

/// A medium that, when it is closed, waits for the drive as a thread of its own would.
struct Closing(MemoryStore, Arc<Mutex<Option<Arc<Slot<Ide>>>>>);

impl BlockBackend for Closing {
    fn info(&self) -> BlockInfo {
        self.0.info()
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        Err(request)
    }
    fn idle(&self) -> bool {
        true
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(slot) = self.1.lock().unwrap().take() {
            assert!(slot.lock().quiesce());
        }
    }
}

#[test]
fn a_medium_is_closed_with_the_drive_unlocked() {
    let (m, _, slot) = slow(1);
    let closed = Arc::new(Mutex::new(Some(slot)));
    let medium = Closing(MemoryStore::new(pattern(4), true), closed.clone());
    m.tray.insert(Arc::new(medium), false).unwrap();
    m.tray.eject(false).unwrap();
    assert!(closed.lock().unwrap().is_none(), "it was closed");
}

/// States of a drive in the midst of things.
fn states() -> Vec<Saved> {
    let mut m = Machine::new(false);
    let mut all = Vec::new();
    let mut note = |m: &mut Machine| all.push(m.rig.bus().save().unwrap().remove(0).1);
    m.command(BASE, 0, 3, 5, cmd::READ);
    note(&mut m);
    m.wait();
    note(&mut m);
    m.out(ALT, 4);
    m.out(ALT, 0);
    m.table(0, &[(0x2_0000, 1024)]);
    m.command(BASE, 0, 1, 0, cmd::WRITE_DMA);
    m.out(BM, 1);
    note(&mut m);
    m.command(0x170, 0, 0, 0x0008_0000, cmd::PACKET);
    for word in [0x28, 0, 0x0300, 0, 9, 0] {
        m.rig.outw(0x170, word);
    }
    note(&mut m);
    m.wait();
    note(&mut m);
    all
}

#[test]
fn states_that_are_lies_do_no_harm() {
    let states = states();
    let mut seed = 7u64;
    let mut taken = 0;
    for _ in 0..2000 {
        let mut next = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize
        };
        let mut saved = states[next() % states.len()].clone();
        for _ in 0..next() % 3 + 1 {
            let at = next() % saved.body.len();
            saved.body[at] = next() as u8;
        }
        let mut m = Machine::new(false);
        if m.rig.bus().load("ide", &saved).unwrap().is_ok() {
            taken += 1;
            m.rig.bus().remap_all();
            m.rig.advance(us(300));
            for base in [BASE, 0x170] {
                m.rig.string(Dir::Read, base, Size::B2, 2000, 0x2_0000);
                m.rig.advance(us(300));
                m.rig.string(Dir::Write, base, Size::B4, 2000, 0x2_0000);
                m.rig.advance(us(300));
            }
            m.rig.save_load();
        }
    }
    assert!(taken > 50, "most of the lies were not told: {taken}");
}

#[test]
fn another_machines_state_is_refused() {
    let (m, _, _) = slow(1);
    let error = m.rig.bus().load("ide", &states()[0]).unwrap().unwrap_err().to_string();
    assert!(error.contains("drive"), "{error}");
}
