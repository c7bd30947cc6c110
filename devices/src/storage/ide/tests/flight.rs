//! Requests that are slow, refused or late, and states that are lies.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use devices_core::block::{
    BlockError, BlockInfo, BlockRequest, BlockStore, Completion, CompletionQueue, Recall,
};
use devices_core::{Device, DeviceCell, Saved};

use super::*;
use crate::storage::ide::spec::cmd;

const BASE: u16 = 0x1f0;
const STATUS: u16 = 0x1f7;
const ALT: u16 = 0x3f6;

/// A backend that answers when it is told to, and takes so many requests. Those that wait are running,
/// unless it is `sleepy`: then they have not been begun.
struct Slow {
    store: MemoryStore,
    waiting: Mutex<Vec<BlockRequest>>,
    room: usize,
    sleepy: AtomicBool,
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
    fn recall(&self, done: &CompletionQueue, token: u64, what: Recall) -> Option<Completion> {
        if what == Recall::Answer || !self.sleepy.load(Ordering::SeqCst) {
            return None;
        }
        let mut waiting = self.waiting.lock().unwrap();
        let at = waiting.iter().position(|request| request.token == token && request.done.is(done))?;
        let BlockRequest { token, payload, .. } = waiting.remove(at);
        Some(Completion::new(token, payload, Err(BlockError::Cancelled)))
    }
    fn idle(&self) -> bool {
        self.waiting.lock().unwrap().is_empty()
    }
}

impl Slow {
    fn waiting(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }

    /// Answers the oldest request.
    fn answer(&self) {
        let BlockRequest { token, op, offset, mut payload, done } = self.waiting.lock().unwrap().remove(0);
        let result = self.store.run(op, offset, &mut payload);
        done.deliver(Completion::new(token, payload, result));
    }
}

fn slow(room: usize) -> (Machine, Arc<Slow>, Arc<DeviceCell<Ide>>) {
    slow_beside(room, Some(DriveConfig::Cd { medium: None, labels: Labels::default() }))
}

/// The slow disk with that drive beside it.
fn slow_beside(room: usize, other: Option<DriveConfig>) -> (Machine, Arc<Slow>, Arc<DeviceCell<Ide>>) {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let store = MemoryStore::new(pattern(DISK_SECTORS), false);
    let backend = Arc::new(Slow { store, waiting: Mutex::default(), room, sleepy: AtomicBool::new(false) });
    let geometry = Geometry::guess(DISK_SECTORS as u64, &[]).0;
    let disk = DriveConfig::Disk { backend: backend.clone(), geometry, labels: Labels::default() };
    let disc = DriveConfig::Cd { medium: Some(backend.clone()), labels: Labels::default() };
    let irqs = [rig.irqs().line(14), rig.irqs().line(15)];
    let ide = Ide::new(&wiring, rig.ram().clone(), irqs, [Some(disk), other, Some(disc), None]);
    let tray = ide.medium(2).expect("there is a CD drive");
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

/// READ DMA of sector 3 into the page at 0x2_0000, under way.
fn read_page(m: &mut Machine) {
    m.table(0, &[(0x2_0000, 512)]);
    m.command(BASE, 0, 1, 3, cmd::READ_DMA);
    m.out(BM, 9);
}

#[test]
fn a_software_reset_lasts_until_the_old_read_is_over() {
    let (mut m, disk, slot) = slow(8);
    read_page(&mut m);
    m.out(ALT, 4);
    m.out(ALT, 0);
    assert_eq!(m.inb(ALT), BSY | 0x10, "the page may still be written");
    m.command(BASE, 0, 1, 5, cmd::READ);
    assert_eq!(disk.waiting(), 1, "a busy drive takes no command");
    assert!(!slot.lock().quiesce() && !slot.lock().drained());
    disk.answer();
    assert_eq!([m.inb(ALT), m.inb(0x1f1)], [READY, 1]);
    assert!(slot.lock().quiesce() && slot.lock().drained());
    m.rig.poke(0x2_0000, &[0xaa; 512]);
    assert!(!m.rig.irq(14));
    m.command(BASE, 0, 1, 5, cmd::READ);
    disk.answer();
    assert_eq!(m.data(BASE, 512), pattern(6)[5 * 512..]);
    assert_eq!(m.rig.peek(0x2_0000, 512), [0xaa; 512]);
}

/// A driver that looks at the drive that it had selected is told of the other one's.
#[test]
fn a_software_reset_lasts_so_long_whichever_drive_was_selected() {
    let cd = || DriveConfig::Cd { medium: None, labels: Labels::default() };
    for other in [None, Some(cd())] {
        let (mut m, disk, slot) = slow_beside(8, other);
        read_page(&mut m);
        m.out(BASE + 6, 0x10);
        assert_eq!(m.inb(ALT) & BSY, 0, "the other one has nothing to do");
        m.out(ALT, 4);
        assert_eq!([m.inb(ALT), m.inb(BASE + 6) & 0x10], [BSY | 0x10, 0]);
        m.out(ALT, 0);
        assert_eq!(m.inb(ALT), BSY | 0x10, "the page may still be written");
        disk.answer();
        assert_eq!([m.inb(ALT), m.inb(BASE + 6) & 0x10], [READY, 0]);
        assert!(slot.lock().drained());
    }
}

#[test]
fn what_was_not_begun_never_is() {
    let (mut m, disk, _) = slow(8);
    disk.sleepy.store(true, Ordering::SeqCst);
    m.table(0, &[(0x2_0000, 512)]);
    m.rig.poke(0x2_0000, &[0xaa; 512]);
    m.command(BASE, 0, 1, 3, cmd::WRITE_DMA);
    m.out(BM, 1);
    assert_eq!(disk.waiting(), 1);
    m.out(ALT, 4);
    m.out(ALT, 0);
    assert_eq!([m.inb(ALT), m.inb(0x1f1)], [READY, 1], "at once");
    assert_eq!(disk.waiting(), 0);
    assert_eq!(disk.store.contents(), pattern(DISK_SECTORS));
}

#[test]
fn diagnostics_and_a_reset_of_the_machine_wait_for_old_writes_too() {
    let (mut m, disk, slot) = slow(8);
    m.table(0, &[(0x2_0000, 512)]);
    m.command(BASE, 0, 1, 3, cmd::WRITE_DMA);
    m.out(BM, 1);
    m.rig.reset();
    assert!(!slot.lock().drained(), "the vCPUs stand still until the write is over");
    assert_eq!(m.inb(ALT) & BSY, BSY);
    m.out(ALT, 4);
    m.out(ALT, 0);
    m.command(BASE, 0, 0, 0, cmd::DIAGNOSTIC);
    assert_eq!(m.inb(ALT) & BSY, BSY);
    disk.answer();
    assert!(slot.lock().drained());
    assert_eq!([m.inb(ALT), m.inb(0x1f1)], [READY, 1]);
    m.command(BASE, 0, 0, 0, cmd::DIAGNOSTIC);
    assert!(m.rig.irq(14));
    assert_eq!([m.inb(ALT), m.inb(0x1f1)], [READY, 1]);
}

#[test]
fn a_stopped_engine_has_stopped_when_the_vcpu_goes_on() {
    for off_by_config in [false, true] {
        let (mut m, disk, _) = slow(8);
        read_page(&mut m);
        // Only the answer lets the vCPU go on, so it comes from elsewhere.
        let answering = std::thread::spawn({
            let disk = disk.clone();
            move || disk.answer()
        });
        if off_by_config {
            m.rig.config_write(1, 1, pci_reg::COMMAND, Size::B2, 1);
        } else {
            m.out(BM, 8);
        }
        assert_eq!(disk.waiting(), 0, "it waited");
        answering.join().unwrap();
        assert_eq!(m.inb(BM + 2) & 5, 4, "not active, interrupt");
        assert!(m.rig.irq(14));
        assert_eq!(m.inb(STATUS), READY);
        assert_eq!(m.rig.peek(0x2_0000, 512), pattern(4)[3 * 512..]);
    }
}

#[test]
fn a_new_command_is_not_sent_past_an_old_one() {
    let (mut m, disk, _) = slow(8);
    m.command(BASE, 0, 1, 3, cmd::READ);
    m.rig.save_load();
    assert_eq!(disk.waiting(), 1, "the loaded command waits for the one of before");
    disk.answer();
    assert_eq!((disk.waiting(), m.inb(ALT) & BSY), (1, BSY));
    disk.answer();
    assert_eq!(m.data(BASE, 512), pattern(4)[3 * 512..]);
}

#[test]
fn a_reset_that_waits_is_saved_so() {
    for reset in [Reset::Soft, Reset::Hard, Reset::Device] {
        let (mut m, disk, slot) = slow(8);
        let base = match reset {
            Reset::Device => 0x170,
            Reset::Soft | Reset::Hard => BASE,
        };
        match reset {
            Reset::Soft | Reset::Hard => {
                m.command(base, 0, 1, 3, cmd::READ);
            }
            Reset::Device => {
                m.command(base, 0, 0, 0xfe_0000, cmd::PACKET);
                for word in [0x28u16, 0, 0, 0, 1, 0] {
                    m.rig.outw(base, word);
                }
            }
        }
        assert_eq!(disk.waiting(), 1);
        match reset {
            Reset::Soft => {
                m.out(base + 0x206, 4);
                m.rig.save_load();
                m.out(base + 0x206, 0);
            }
            Reset::Hard => m.rig.reset(),
            Reset::Device => m.out(base + 7, cmd::DEVICE_RESET),
        }
        m.rig.save_load();
        assert_eq!(m.inb(base + 0x206) & BSY, BSY);
        let waits = m.rig.bus().save().unwrap().remove(0).1;
        disk.answer();
        let (ready, diagnosed) = match reset {
            Reset::Soft => (READY, 1),
            Reset::Hard => (READY, 0),
            Reset::Device => (0, 1),
        };
        assert_eq!([m.inb(base + 0x206), m.inb(base + 1)], [ready, diagnosed]);
        // Another process has nothing to wait for.
        m.rig.reset();
        slot.lock().load(&waits).unwrap();
        assert_eq!(m.inb(base + 0x206), ready);
    }
}

/// Resets that wait.
enum Reset {
    Soft,
    Hard,
    Device,
}

#[test]
fn a_full_backend_ends_the_command_with_an_error() {
    let (mut m, disk, _) = slow(0);
    m.command(BASE, 0, 1, 0, cmd::READ);
    assert_eq!([m.inb(STATUS) & 0x89, m.inb(0x1f1)], [1, 4]);
    assert_eq!(disk.waiting(), 0);
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
struct Closing(MemoryStore, Arc<Mutex<Option<Arc<DeviceCell<Ide>>>>>);

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
