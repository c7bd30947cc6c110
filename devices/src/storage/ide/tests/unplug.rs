//! Disks that the guest has taken away.

use std::sync::Mutex;

use devices_core::block::{BlockInfo, BlockOp, BlockRequest, BlockStore, Completion};
use devices_core::{Device, DeviceCell};

use super::*;
use crate::storage::ide::spec::cmd;

const BASE: u16 = 0x1f0;
const SECOND: u16 = 0x170;

/// A disk that answers when it is told to, and says what it was asked.
struct Manual {
    store: MemoryStore,
    waiting: Mutex<Vec<BlockRequest>>,
}

impl BlockBackend for Manual {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        self.waiting.lock().unwrap().push(request);
        Ok(())
    }
    fn idle(&self) -> bool {
        self.waiting.lock().unwrap().is_empty()
    }
}

impl Manual {
    fn new() -> Arc<Manual> {
        Arc::new(Manual { store: MemoryStore::new(pattern(64), false), waiting: Mutex::default() })
    }
    fn answer(&self) -> BlockOp {
        let BlockRequest { token, op, offset, mut payload, done } = self.waiting.lock().unwrap().remove(0);
        let result = self.store.run(op, offset, &mut payload);
        done.deliver(Completion::new(token, payload, result));
        op
    }
}

/// Disks as primary master and secondary slave, a CD drive as secondary master.
fn machine(rig: &mut Rig) -> (Arc<DeviceCell<Ide>>, [Arc<Manual>; 2]) {
    let wiring = rig.wiring();
    let disks = [Manual::new(), Manual::new()];
    let disk = |which: usize| DriveConfig::Disk {
        backend: disks[which].clone(),
        geometry: Geometry::of_size(64),
        labels: Labels::default(),
    };
    let cd = DriveConfig::Cd { medium: Some(Machine::medium(rig, CD_FRAMES)), labels: Labels::default() };
    let drives = [Some(disk(0)), None, Some(cd), Some(disk(1))];
    let irqs = [rig.irqs().line(14), rig.irqs().line(15)];
    let ide = Ide::new(&wiring, rig.ram().clone(), irqs, drives);
    (rig.attach_pci(ide, &wiring, 1, 1), disks)
}

/// Which of the four drives identify themselves: disks, CD drives.
fn found(rig: &mut Rig) -> [char; 4] {
    [(BASE, 0xa0), (BASE, 0xb0), (SECOND, 0xa0), (SECOND, 0xb0)].map(|(base, select)| {
        rig.outb(base + 6, select);
        rig.outb(base + 2, 0);
        rig.outb(base + 7, cmd::IDENTIFY);
        match (rig.inb(base + 7), rig.inb(base + 5)) {
            (0, _) => '-',
            (status, _) if status & DRQ != 0 => 'd',
            (_, 0xeb) => 'c',
            _ => '-',
        }
    })
}

#[test]
fn nobody_is_there_any_more_but_the_cd_drive() {
    devices_core::rig::scenario(|rig| {
        let (slot, disks) = machine(rig);
        assert_eq!(found(rig), ['d', '-', 'c', 'd']);
        let media = slot.lock().unplug_disks(false);
        assert_eq!(media.len(), 2);
        assert_eq!(found(rig), ['-', '-', 'c', '-']);
        rig.outb(BASE + 6, 0xa0);
        assert_eq!(rig.inb(BASE + 7), 0);
        rig.outb(BASE + 7, cmd::READ);
        rig.reset();
        assert_eq!(found(rig), ['-', '-', 'c', '-'], "a reset brings nothing back");
        assert!(slot.lock().unplug_disks(false).is_empty());
        assert!(disks.iter().all(|disk| disk.idle()), "nothing was asked of them");
    });
}

#[test]
fn the_primary_master_can_stay() {
    devices_core::rig::scenario(|rig| {
        let (slot, _) = machine(rig);
        assert_eq!(slot.lock().unplug_disks(true).len(), 1);
        assert_eq!(found(rig), ['d', '-', 'c', '-']);
        rig.outb(0x3f6, 4);
        rig.outb(0x3f6, 0);
        rig.outb(BASE + 7, cmd::IDENTIFY);
        assert!(rig.irq(14));
        assert_eq!(slot.lock().unplug_disks(false).len(), 1);
        assert!(!rig.irq(14));
        assert_eq!(found(rig), ['-', '-', 'c', '-']);
    });
}

#[test]
fn a_medium_settles_once_all_is_written_and_flushed() {
    let mut rig = Rig::new();
    let (slot, [disk, _]) = machine(&mut rig);
    for (port, value) in (BASE + 2..).zip([1, 5, 0, 0, 0xe0, cmd::WRITE]) {
        rig.outb(port, value);
    }
    (0..256).for_each(|_| rig.outw(BASE, 0x4242));
    let mut media = slot.lock().unplug_disks(false);
    assert!(!media[0].settled(), "a write is in flight");
    assert_eq!(disk.answer(), BlockOp::Write);
    assert!(!rig.irq(14), "the answer is nobody's");
    assert!(!media[0].settled() && !media[0].settled(), "it is flushed, once");
    assert_eq!(disk.waiting.lock().unwrap().len(), 1);
    assert_eq!(disk.answer(), BlockOp::Flush);
    assert!(media[0].settled() && media[0].settled());
    assert_eq!(disk.store.contents()[5 * 512..6 * 512], [0x42; 512]);
    drop(media);
    assert_eq!(Arc::strong_count(&disk), 1, "nobody keeps the image open");
}

#[test]
fn the_engine_does_not_wait_for_a_disk_that_left() {
    let mut rig = Rig::new();
    let (slot, [disk, _]) = machine(&mut rig);
    rig.config_write(1, 1, pci_reg::BAR0 + 16, Size::B4, BM.into());
    rig.config_write(1, 1, pci_reg::COMMAND, Size::B2, 5);
    rig.poke(TABLE, &(0x2_0000u64 | 0x8000_0200 << 32).to_le_bytes());
    rig.outl(BM + 4, TABLE as u32);
    for (port, value) in (BASE + 2..).zip([1, 5, 0, 0, 0xe0, cmd::READ_DMA]) {
        rig.outb(port, value);
    }
    rig.outb(BM, 9);
    assert_eq!(rig.inb(BM + 2) & 1, 1);
    let media = slot.lock().unplug_disks(false);
    assert_eq!(rig.inb(BM + 2) & 1, 0);
    disk.answer();
    assert!(!rig.irq(14) && slot.lock().quiesce());
    drop(media);
}

#[test]
fn a_machine_built_anew_from_its_configuration_forgets_the_disks_at_a_load() {
    let mut rig = Rig::new();
    let (slot, _) = machine(&mut rig);
    let before = rig.bus().save().unwrap().remove(0).1;
    slot.lock().unplug_disks(false);
    let after = rig.bus().save().unwrap().remove(0).1;
    let mut other = Rig::new();
    let (_, disks) = machine(&mut other);
    other.bus().load("ide", &after).unwrap().unwrap();
    assert!(other.bus().save().unwrap().remove(0).1 == after);
    assert_eq!(found(&mut other), ['-', '-', 'c', '-']);
    assert!(disks.iter().all(|disk| Arc::strong_count(disk) == 1));
    assert!(rig.bus().load("ide", &before).unwrap().is_err(), "it does not come back");
}
