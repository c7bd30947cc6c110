//! The device itself, its regions, and answers that come later.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hypervisor::inspect::Node;

use crate::model::Model;
use crate::pci::{PciConfig, Placement};
use crate::state::{Saved, StateError};

/// Address space of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// I/O ports.
    Pio,
    /// Guest-physical memory.
    Mmio,
}

/// A window that a device answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// For people: `data`, `lfb`.
    pub name: &'static str,
    /// Ports or memory.
    pub space: Space,
    /// Length in bytes.
    pub len: u64,
    /// Widest access the device takes, in bytes: 1, 2, 4 or 8. The bus cuts wider ones, low bytes first.
    pub widest: u8,
    /// Where the PC has it, if that is fixed. The bus maps it there when the device is attached.
    pub home: Option<u64>,
}

impl Region {
    /// Ports at a fixed place, answered a byte at a time.
    pub const fn pio(name: &'static str, home: u16, len: u64) -> Region {
        Region { name, space: Space::Pio, len, widest: 1, home: Some(home as u64) }
    }
    /// Memory at a fixed place, accesses up to 4 bytes.
    pub const fn mmio(name: &'static str, home: u64, len: u64) -> Region {
        Region { name, space: Space::Mmio, len, widest: 4, home: Some(home) }
    }
    /// A region with no place of its own: a BAR, or one that a register moves.
    pub const fn floating(name: &'static str, space: Space, len: u64) -> Region {
        Region { name, space, len, widest: 4, home: None }
    }
    /// The same with another widest access.
    pub const fn widest(mut self, bytes: u8) -> Region {
        self.widest = bytes;
        self
    }
}

/// Where in a device an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Index into [`Device::regions`].
    pub region: usize,
    /// Byte offset of the first byte in it. The whole access lies inside.
    pub offset: u64,
}

/// Answer of a device to one access.
#[derive(Debug)]
pub enum Io {
    /// Done; for a read the data is filled in.
    Done,
    /// Done, and [`placements`](Device::placements) may have changed by it: a register moved a window.
    Moved,
    /// Nothing is there: a read gives all ones, a write is dropped.
    Unclaimed,
    /// The answer comes later, through the [`Ticket`]; the vCPU waits, the device does not.
    Defer(Deferred),
}

/// How often a vCPU that waits looks whether the machine ends.
const LOOK: Duration = Duration::from_millis(100);

/// The device's half of a late answer. Dropped unanswered, it answers all ones: a lost request cannot
/// hang a vCPU.
#[derive(Debug)]
pub struct Ticket(mpsc::SyncSender<u64>);

/// The bus's half of a late answer.
#[derive(Debug)]
pub struct Deferred(mpsc::Receiver<u64>);

/// A late answer: keep the [`Ticket`], return the [`Deferred`].
pub fn deferred() -> (Ticket, Deferred) {
    let (send, receive) = mpsc::sync_channel(1);
    (Ticket(send), Deferred(receive))
}

impl Ticket {
    /// Completes the access; `value` is ignored for writes.
    pub fn complete(self, value: u64) {
        // The receiver is gone only when the machine is being taken down.
        let _ = self.0.try_send(value);
    }
}

impl Deferred {
    /// Blocks until the ticket is completed or dropped, or until there is nothing to wait for any more.
    pub(crate) fn wait(self, over: &AtomicBool) -> u64 {
        loop {
            match self.0.recv_timeout(LOOK) {
                Ok(value) => return value,
                Err(RecvTimeoutError::Timeout) if !over.load(Ordering::Acquire) => {}
                Err(_) => return u64::MAX,
            }
        }
    }
}

/// Why a device is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The timer of this number fired. May come once after the timer was cancelled or armed anew: look
    /// at the clock, not at the fact.
    Timer(u32),
    /// The backend of this number has news.
    Backend(u32),
}

/// A device. See each call for who calls it and when.
pub trait Device: Send {
    /// Path component and key of its saved state, unique in the machine: `ide0`, `serial1`.
    fn name(&self) -> &str;

    /// What it is an instance of; none for what is no device to anybody but us.
    fn model(&self) -> Option<&'static Model> {
        None
    }

    /// The windows it answers; the same list all its life.
    fn regions(&self) -> &[Region];

    /// A guest read of `data.len()` bytes (1, 2, 4 or 8, at most the region's widest). The bus filled
    /// `data` with ones.
    fn read(&mut self, at: At, data: &mut [u8]) -> Io;

    /// A guest write.
    fn write(&mut self, at: At, data: &[u8]) -> Io;

    /// `rep ins`: fills `out` with items of `size` bytes read one after the other at the same place and
    /// returns the bytes done. Zero sends the bus item by item through [`read`](Device::read).
    fn read_run(&mut self, _at: At, _size: usize, _out: &mut [u8]) -> usize {
        0
    }

    /// `rep outs`, likewise.
    fn write_run(&mut self, _at: At, _size: usize, _data: &[u8]) -> usize {
        0
    }

    /// A timer fired or a backend finished. From any thread, with the device's lock held.
    fn wake(&mut self, _why: Wake) {}

    /// Power-on state, as after a hard reset of the platform. The vCPUs stand still, until the device is
    /// [`drained`](Device::drained). Interrupt lines are lowered and timers cancelled by the device itself.
    fn reset(&mut self);

    /// After a reset: whether no byte moves any more, to memory or to a medium, for what was begun before
    /// it. The vCPUs stand still until every device says so.
    fn drained(&self) -> bool {
        true
    }

    /// Before a save, repeatedly, with the vCPUs paused: starts nothing new and says whether nothing is
    /// in flight.
    fn quiesce(&mut self) -> bool {
        true
    }

    /// After a save or a load, before the vCPUs go on.
    fn resume(&mut self) {}

    /// Its configuration space, for a PCI function.
    fn pci(&mut self) -> Option<&mut PciConfig> {
        None
    }

    /// A configuration read; `data` is filled with ones. Override only for registers with side effects.
    fn config_read(&mut self, reg: u16, data: &mut [u8]) {
        if let Some(config) = self.pci() {
            config.read(reg, data);
        }
    }

    /// A configuration write; true if [`placements`](Device::placements) may have changed.
    fn config_write(&mut self, reg: u16, data: &[u8]) -> bool {
        self.pci().is_some_and(|config| config.write(reg, data))
    }

    /// After a configuration write, with the same lock held: late answers that the write waits for, because
    /// what it ended has not ended yet.
    fn config_written(&mut self) -> Vec<Deferred> {
        Vec::new()
    }

    /// Where the floating windows are now, only those that are decoded.
    fn placements(&mut self) -> Vec<Placement> {
        self.pci().map_or_else(Vec::new, |config| config.placements())
    }

    /// Its whole state. At any instant between two calls.
    fn save(&mut self) -> Result<Saved, StateError>;

    /// Takes over a saved state. The device was reset before. Raises its interrupt lines to the saved
    /// level and arms its timers; nothing is pulsed. On an error the machine is thrown away.
    fn load(&mut self, saved: &Saved) -> Result<(), StateError>;

    /// Registers and whatever helps a person.
    fn inspect(&self, node: &mut Node);
}

/// A device with its lock. The machine keeps typed slots, the bus untyped ones.
pub struct DeviceCell<D: ?Sized> {
    /// Accesses of the guest that it was locked for; changed under its lock alone.
    accesses: AtomicU64,
    device: Mutex<D>,
}

impl<D> DeviceCell<D> {
    /// Puts a device behind its lock.
    pub fn new(device: D) -> DeviceCell<D> {
        DeviceCell { accesses: AtomicU64::new(0), device: Mutex::new(device) }
    }
}

impl<D: ?Sized> DeviceCell<D> {
    /// The device. A device that panicked is used on: its panic has been reported, and its guest is the
    /// only one hurt.
    pub fn lock(&self) -> MutexGuard<'_, D> {
        self.device.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The device, for an access of the guest, which is counted.
    pub(crate) fn serve(&self) -> MutexGuard<'_, D> {
        let device = self.lock();
        // Nobody else writes meanwhile: no locked instruction is needed.
        self.accesses.store(self.accesses.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        device
    }

    /// How many accesses of the guest it has answered.
    pub fn accesses(&self) -> u64 {
        self.accesses.load(Ordering::Relaxed)
    }
}
