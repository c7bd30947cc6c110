//! The IDE controller with requests truly in flight: its disks and CD are served by a pool of threads of the host,
//! and meanwhile it is reset, saved, loaded into another life, and dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backends::image::Pool;
use devices::storage::ide::{DriveConfig, Geometry, Ide, Labels};
use devices_core::block::{BlockError, BlockInfo, BlockOp, BlockStore, MemoryStore, Payload, Tray};
use devices_core::rig::Rig;
use devices_core::{Device, DeviceCell, Size};

use super::devices::STORAGE;
use super::outcome;
use crate::script::{self, Between};

/// Bytes of the disk and of the CD.
pub(super) const DISK: usize = 128 << 10;
/// Guest memory that scripts let the controller reach, beside its tables.
pub(super) const PLACE: u64 = 0x1_0000;
pub(super) const REACH: usize = 0x2_0000;
/// A request that takes longer is lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A store that is now and then slow, as a host is.
pub(super) struct Lazy {
    store: MemoryStore,
    /// Draws that say how slow.
    seed: AtomicU64,
}

impl Lazy {
    pub(super) fn new(read_only: bool, seed: u64) -> Arc<Lazy> {
        let store = MemoryStore::new(vec![0x5a; DISK], read_only);
        Arc::new(Lazy { store, seed: AtomicU64::new(seed) })
    }

    /// What is on it.
    pub(super) fn contents(&self) -> Vec<u8> {
        self.store.contents()
    }
}

/// Lets other threads go first for a while.
pub(super) fn dawdle(turns: u64) {
    (0..turns).for_each(|_| std::thread::yield_now());
}

impl BlockStore for Lazy {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }
    fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError> {
        let draw = self.seed.fetch_add(0x9e37_79b9, Ordering::Relaxed).wrapping_mul(0x2545_f491) >> 7;
        if draw & 1 == 0 {
            dawdle(draw / 4 % 60);
        }
        if draw & 0xf0 == 0xf0 {
            return Err(BlockError::Io);
        }
        self.store.run(op, offset, payload)
    }
}

/// A controller and its media.
struct Life {
    slot: Arc<DeviceCell<Ide>>,
    tray: Tray,
    disk: Arc<Lazy>,
    cd: Arc<Lazy>,
}

fn attach(rig: &mut Rig, disk: Arc<Lazy>, cd: Arc<Lazy>) -> Life {
    let wiring = rig.wiring();
    let drives = [
        Some(DriveConfig::Disk {
            backend: Pool::new(disk.clone()),
            geometry: Geometry::of_size((DISK / 512) as u64),
            labels: Labels::default(),
        }),
        None,
        Some(DriveConfig::Cd { medium: Some(Pool::new(cd.clone())), labels: Labels::default() }),
        None,
    ];
    let irqs = [rig.irqs().line(14), rig.irqs().line(15)];
    let ide = Ide::new(&wiring, rig.ram().clone(), irqs, drives);
    let tray = ide.medium(2).expect("there is a CD drive");
    let slot = rig.attach_pci(ide, &wiring, 1, 1);
    enable(rig);
    Life { slot, tray, disk, cd }
}

/// As the firmware leaves it: the bus master has its ports and may use memory.
fn enable(rig: &mut Rig) {
    rig.config_write(1, 1, 0x20, Size::B4, 0xc001);
    rig.config_write(1, 1, 4, Size::B2, 5);
}

pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

impl Life {
    /// Nothing is under way any more: not a byte moves.
    fn still(&self, rig: &Rig, turns: u64) {
        let memory = vec![0xaa; REACH];
        rig.poke(PLACE, &memory);
        let contents = self.disk.store.contents();
        dawdle(turns);
        assert!(rig.peek(PLACE, REACH) == memory, "an old read came late");
        assert!(self.disk.store.contents() == contents, "an old write came late");
    }

    fn quiesce(&self) {
        until("a request is never answered", || self.slot.lock().quiesce());
    }

    /// Both channels are reset as a driver does it.
    fn soft_reset(&self, rig: &mut Rig) {
        for control in [0x3f6, 0x376] {
            rig.outb(control, 4);
            rig.outb(control, 0);
        }
        until("a software reset does not end", || (rig.inb(0x3f6) | rig.inb(0x376)) & 0x80 == 0);
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
                // At any instant; what was in flight is sent anew, and not past itself.
                let saved = rig.bus().save().expect("it saves at any instant").remove(0).1;
                rig.reset();
                rig.bus().load("ide", &saved).expect("it is there").expect("it loads what it saved");
                rig.bus().remap_all();
            }
            Between::Host(0) => {
                self.soft_reset(rig);
                self.still(rig, 30);
            }
            Between::Host(1) => self.migrate(rig),
            Between::Host(2) => drop(self.tray.eject(true)),
            Between::Host(3) => drop(self.tray.insert(Pool::new(self.cd.clone()), false)),
            Between::Host(4) => {
                self.quiesce();
                self.slot.lock().resume();
            }
            Between::Host(number) => dawdle(u64::from(number) * 4),
        }
    }

    /// As a guest is saved and restored elsewhere: the old life ends when nothing moves any more.
    fn migrate(&mut self, rig: &mut Rig) {
        self.quiesce();
        let saved = rig.bus().save().expect("it saves").remove(0).1;
        let memory = rig.peek(0, 2 << 20);
        let (disk, cd) = (self.disk.clone(), self.cd.clone());
        let mut other = Rig::new();
        let life = attach(&mut other, disk, cd);
        other.poke(0, &memory);
        other.bus().load("ide", &saved).expect("it is there").expect("it loads what another saved");
        other.bus().remap_all();
        life.slot.lock().resume();
        *self = life;
        *rig = other;
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
    script::play(&mut rig, &STORAGE, script, &mut |rig, between| {
        kinds |= match between {
            Between::Save => 1,
            Between::Reset => 2,
            Between::Host(number) => 4 << number,
        };
        life.between(rig, between);
    });
    // Threads race: what is the same each time is little.
    let edges =
        rig.take_edges().iter().fold(0u64, |all, (pin, level)| all | 1 << (pin & 1) * 2 + u32::from(*level));
    if first & 1 == 0 {
        life.soft_reset(&mut rig);
        life.still(&rig, 30);
    }
    // Death: what was begun ends, and then nothing comes any more.
    let Life { slot, tray, disk, .. } = life;
    let ram = rig.ram().clone();
    drop((slot, tray, rig));
    let contents = disk.store.contents();
    dawdle(20);
    assert!(disk.store.contents() == contents, "a write after the end");
    drop(ram);
    outcome((kinds, edges), "")
}

pub fn seeds() -> Vec<Vec<u8>> {
    let write = |window: u8, offset: u8, value: u8| vec![0, window, offset, 0, value];
    let between = |number: u8| vec![number << 4 | 15];
    // A command of the disk: count, sector, drive, which; by DMA with a table of two pieces.
    let command = |count: u8, sector: u8, which: u8| {
        let fields = [(2, count), (3, sector), (4, 0), (5, 0), (6, 0xe0), (7, which)];
        fields.into_iter().flat_map(|(offset, value)| write(0, offset, value)).collect::<Vec<u8>>()
    };
    let table: Vec<u8> = [
        // 0x10000: 0x1000 bytes at 0x20000; 0x10008: the same at 0x21000, the last.
        vec![13, 0, 0, 0, 0, 2, 0, 0, 0x10, 0, 0],
        vec![13, 8, 0, 0, 0x10, 2, 0, 0, 0x10, 0, 0x80],
        vec![0, 5, 4, 2, 0, 0, 1, 0],
        vec![0, 5, 12, 2, 0, 0, 1, 0],
    ]
    .concat();
    // READ(10) of sectors of the CD, by PIO or by DMA.
    let packet = |dma: u8| {
        let mut script: Vec<u8> = [(1, dma), (4, 0), (5, 8), (6, 0xa0), (7, 0xa0)]
            .iter()
            .flat_map(|(o, v)| write(2, *o, *v))
            .collect();
        script.extend(between(14));
        for word in [[0x28, 0], [0, 0], [0, 3], [0, 0], [2, 0], [0, 0]] {
            script.extend([0, 2, 0, 1, word[0], word[1]]);
        }
        if dma != 0 {
            script.extend(write(5, 8, 9));
        }
        script
    };
    let mut seeds = Vec::new();
    for (which, direction) in [(0xc8, 9), (0xca, 1), (0x20, 0), (0x30, 0), (0xe7, 0), (0x25, 0), (0x35, 1)] {
        for event in [0, 1, 4, 9, 14, 15] {
            let mut script = vec![which ^ event];
            script.extend(&table);
            for sector in [1, 9] {
                script.extend(command(16, sector, which));
                script.extend(write(5, 0, direction));
                script.extend(between(event));
                if event == 14 {
                    script.push(14);
                }
                script.extend([6, 0, 7, 0, 6, 5, 2, 0]);
            }
            seeds.push(script);
        }
    }
    for dma in [0, 1] {
        for event in [0, 1, 2, 3, 15] {
            seeds.push([&[dma][..], &table, &packet(dma), &between(event), &packet(dma)].concat());
        }
    }
    // The engine is stopped, and bus mastering switched off, under a request.
    seeds.push(
        [&[7][..], &table, &command(16, 2, 0xc8), &write(5, 0, 9), &write(5, 0, 8), &between(0)].concat(),
    );
    seeds.push(
        [&[8][..], &table, &command(16, 2, 0xca), &write(5, 0, 1), &[10, 9, 4, 1, 1, 0], &between(0)]
            .concat(),
    );
    seeds
}
