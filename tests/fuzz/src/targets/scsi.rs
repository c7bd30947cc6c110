//! Virtio's SCSI host with commands truly in flight: its disk and CD are served by threads of the host, and meanwhile it is
//! reset, saved, loaded, its units come and go, and it is dropped.

use std::sync::Arc;

use backends::image::Pool;
use devices::storage::geometry::Geometry;
use devices::storage::scsi::{Address, Labels, Medium, ScsiHost, UnitOptions};
use devices::virtio::pci::{Handles, Options as PciOptions, USUAL_FEATURES, VirtioPci};
use devices::virtio::scsi::{Options, Scsi, model};
use devices::virtio::spec::feature;
use devices_core::block::Tray;
use devices_core::rig::Rig;
use devices_core::{Device, DeviceCell, Size};

use super::devices::{memory, ports};
use super::flight::{DISK, Lazy, PATIENCE, PLACE, REACH, dawdle, until};
use super::outcome;
use super::virtio::{poke, start, write};
use crate::script::{self, Between, Window};

/// Slot, ports and memory of the host.
const SLOT: u8 = 1;
const PORTS: u32 = 0xc000;
const MEMORY: u32 = 0xe010_0000;

const WINDOWS: [Window; 5] = [
    memory(MEMORY as u64, 0x40),
    memory(MEMORY as u64 + 0x3000, 12),
    memory(MEMORY as u64 + 0x2000, 36),
    memory(MEMORY as u64 + 0x1000, 4),
    ports(PORTS as u64, 0x38),
];

/// A host and the media of its units.
struct Life {
    slot: Arc<DeviceCell<VirtioPci<Scsi>>>,
    tray: Tray,
    disk: Arc<Lazy>,
    cd: Arc<Lazy>,
}

fn unit(disk: &Arc<Lazy>) -> UnitOptions {
    let medium = Medium::Disk {
        backend: Pool::new(disk.clone()),
        geometry: Geometry::of_size((DISK / 512) as u64),
        block: 512,
        physical_block: None,
        discard_granularity: 4096,
        rotation_rate: 0,
        removable: false,
        fua: true,
    };
    UnitOptions::new(medium, Labels::default())
}

/// As the firmware leaves it.
fn enable(rig: &mut Rig) {
    rig.config_write(SLOT, 0, 0x10, Size::B4, PORTS);
    rig.config_write(SLOT, 0, 0x20, Size::B4, MEMORY);
    rig.config_write(SLOT, 0, 4, Size::B2, 7);
}

fn attach(rig: &mut Rig, disk: Arc<Lazy>, cd: Arc<Lazy>) -> Life {
    let wiring = rig.wiring();
    let options = Options {
        queues: 1,
        queue_size: 256,
        max_sectors: 0xffff,
        cmd_per_lun: 128,
        hotplug: true,
        param_change: true,
        model: &model::MODEL,
    };
    let features = USUAL_FEATURES | feature::RING_PACKED;
    let pci = PciOptions { legacy: true, modern: true, vectors: 4, features };
    let (ram, msi) = (rig.ram().clone(), rig.recorder());
    let handles = Handles { name: "scsi", ram, inta: rig.irqs().line(11), msi };
    let slot =
        rig.attach_pci(VirtioPci::new(Scsi::new(options, wiring.waker()), pci, handles), &wiring, SLOT, 0);
    slot.plug(Some(0), Some(0), unit(&disk)).expect("the place is free");
    let medium = Medium::Cd(Some(Pool::new(cd.clone())));
    let cd_drive = UnitOptions::new(medium, Labels::default());
    let (_, tray) = slot.plug(Some(1), Some(0), cd_drive).expect("the place is free");
    enable(rig);
    Life { slot, tray: tray.expect("it has a tray"), disk, cd }
}

impl Life {
    /// Nothing is under way any more: not a byte moves.
    fn still(&self, rig: &Rig, turns: u64) {
        let memory = vec![0xaa; REACH];
        rig.poke(PLACE, &memory);
        let contents = self.disk.contents();
        dawdle(turns);
        assert!(rig.peek(PLACE, REACH) == memory, "an old read came late");
        assert!(self.disk.contents() == contents, "an old write came late");
    }

    fn between(&mut self, rig: &mut Rig, between: Between) {
        match between {
            Between::Reset => {
                rig.reset();
                until("a reset does not end", || self.slot.lock().drained());
                self.still(rig, 30);
                enable(rig);
            }
            Between::Save => {
                let saved = rig.bus().save().expect("it saves at any instant").remove(0).1;
                rig.reset();
                rig.bus().load("scsi", &saved).expect("it is there").expect("it loads what it saved");
                rig.bus().remap_all();
            }
            Between::Host(0) => {
                // The driver resets it, where it can be reached, and is answered when nothing moves.
                enable(rig);
                rig.mmio_write(u64::from(MEMORY) + 0x14, Size::B1, 0);
                self.still(rig, 30);
            }
            Between::Host(1) => {
                if let Ok((at, _)) = self.slot.plug(Some(0), Some(1), unit(&self.disk)) {
                    dawdle(20);
                    self.unplug(at);
                }
            }
            Between::Host(2) => drop(self.tray.eject(true)),
            Between::Host(3) => drop(self.tray.insert(Pool::new(self.cd.clone()), false)),
            Between::Host(4) => {
                until("a command is never answered", || self.slot.lock().quiesce());
                self.slot.lock().resume();
            }
            Between::Host(5) => {
                // The disk goes with what is in flight, and another comes in its place.
                let at = Address { target: 0, lun: 0 };
                self.unplug(at);
                self.slot.plug(Some(0), Some(0), unit(&self.disk)).expect("the place is free");
            }
            Between::Host(number) => dawdle(u64::from(number) * 4),
        }
    }

    fn unplug(&self, at: Address) {
        self.slot.unplug(at);
        until("a unit does not leave", || self.slot.has_left(at));
    }
}

/// The first byte: how slow the host is; the rest: a script (see `script`), with what happens in between.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((&first, script)) = bytes.split_first() else { return 0 };
    // All pools of a process share one, which earlier inputs have used up.
    Pool::set_patience(PATIENCE);
    let mut rig = Rig::new();
    let (disk, cd) = (Lazy::new(false, first.into()), Lazy::new(true, u64::from(first) << 8));
    let mut life = attach(&mut rig, disk, cd);
    let mut kinds = 0u64;
    script::play(&mut rig, &WINDOWS, script, &mut |rig, between| {
        kinds |= match between {
            Between::Save => 1,
            Between::Reset => 2,
            Between::Host(number) => 4 << number,
        };
        life.between(rig, between);
    });
    // Threads race: what is the same each time is little.
    let raised = rig.take_edges().iter().any(|(_, level)| *level);
    // Death: what was begun ends, and then nothing comes any more.
    let Life { slot, tray, disk, .. } = life;
    let ram = rig.ram().clone();
    drop((slot, tray, rig));
    // A thread that is telling the host of an answer has it still, while others work for it.
    until("the media are not closed", || Arc::strong_count(&disk) == 1);
    let contents = disk.contents();
    dawdle(20);
    assert!(disk.contents() == contents, "a write after the end");
    drop(ram);
    outcome((kinds, raised), "")
}

/// Puts a chain of three buffers into the queue with that base: where, how long, and whether the device writes there.
fn chain(base: u64, buffers: [(u64, u64, bool); 3]) -> Vec<u8> {
    let mut script = Vec::new();
    for (number, (at, len, write)) in (0..).zip(buffers) {
        let next = if number < 2 { 1 } else { 0 };
        let flags = next | u64::from(write) << 1;
        script.extend(poke(base + number * 16, PLACE + at));
        script.extend(poke(base + number * 16 + 8, len | flags << 32 | (number + 1) << 48));
    }
    // Again and again the same one.
    for (at, word) in [(0, 4 << 16), (8, 0)] {
        script.extend(poke(base + 0x1000 + at, word));
    }
    script
}

/// The driver's start, a command of each kind, with something of the host's in the middle of it.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    let commands: [(u8, [u8; 10], bool); 7] = [
        (0, [0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0], false),
        (0, [0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0], true),
        (0, [0x2a, 8, 0, 0, 0, 9, 0, 0, 1, 0], true),
        (0, [0x41, 0, 0, 0, 0, 9, 0, 0, 200, 0], true),
        (0, [0x2f, 2, 0, 0, 0, 9, 0, 0, 1, 0], true),
        (0, [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], false),
        (1, [0xbe, 0, 0, 0, 0, 2, 0, 0, 0, 0], false),
    ];
    for (target, cdb, out) in commands {
        for event in [0, 1, 2, 4, 5, 14] {
            let mut script = vec![event * 17];
            script.extend(start(0, 3, 2, 1));
            // Unit, id, attributes, command.
            let mut head = vec![1, target, 0x40, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            head.extend(cdb);
            head.resize(56, 0);
            for (number, word) in (0..).zip(head.chunks_exact(8)) {
                let word = word.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
                script.extend(poke(0xd000 + number * 8, word));
            }
            let (request, response, data) = ((0xd000, 51, false), (0xd400, 108, true), (0xd800, 512, !out));
            let buffers = if out { [request, data, response] } else { [request, response, data] };
            script.extend(chain(0x6000, buffers));
            // A reset of the unit.
            for (at, word) in [(0, 5 << 32), (8, 0x40_0001 | u64::from(target) << 8), (16, 0)] {
                script.extend(poke(0xdc00 + at, word));
            }
            script.extend(chain(0, [(0xdc00, 24, false), (0xde00, 1, true), (0xde08, 1, true)]));
            for _ in 0..3 {
                script.extend(write(1, 8, 1, 2));
                script.push(event << 4 | 15);
                script.extend(write(1, 0, 1, 0));
                script.extend([14, 6, 0, 0x14, 0]);
            }
            seeds.push(script);
        }
    }
    seeds
}
