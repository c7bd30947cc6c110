//! Who runs the guest: the interface between a device model and whatever executes the vCPUs.
//!
//! Three implementations exist or will exist: `hypervisor-soft` (our own CPU in this process),
//! Xen and KVM. A device never sees this crate's [`Hypervisor`]; it gets the handles
//! ([`Clock`], [`Timer`], interrupt lines, guest memory) through its constructor.

pub mod claims;
pub mod clock;
pub mod debug;
pub mod doorbell;
pub mod inspect;
pub mod irqfd;
pub mod memory;
pub mod no_cpu;
pub mod tap;
pub mod thread_role;
pub mod timer;

use std::sync::Arc;
use std::time::Duration;

use ioreq::Request;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use claims::Claims;
pub use clock::{Clock, HostClock, ManualClock};
pub use doorbell::{Doorbell, DoorbellAddress, Doorbells};
pub use irqfd::IrqFd;
pub use memory::{Backing, GuestRam, Mapping, PageTrack, RamBlock};
pub use no_cpu::NoCpu;
pub use timer::{Keeper, Timer, TimerQueue, Waker};
pub use vmm_sys_util::eventfd::EventFd;

/// Why a hypervisor refused.
#[derive(Debug, Error)]
pub enum Error {
    /// A range is not page aligned, is empty, wraps, or lies outside its block.
    #[error("bad range {start:#x}+{len:#x}: {why}")]
    Range {
        /// First byte.
        start: u64,
        /// Length in bytes.
        len: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The host has no memory for it.
    #[error("cannot reserve {len} bytes of guest memory")]
    NoMemory {
        /// Length in bytes.
        len: u64,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
    /// Anything that the configuration asked for and this hypervisor cannot do.
    #[error("{0}")]
    Unsupported(String),
    /// A saved vCPU cannot be loaded.
    #[error("saved CPU state: {0}")]
    State(String),
    /// A host call failed.
    #[error("{what}: {source}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
}

/// Which of the PC's parts the hypervisor emulates itself. The machine is assembled from this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// The 8259 pair and ELCR.
    pub pic: bool,
    /// The IOAPIC.
    pub ioapic: bool,
    /// The 8254 and port 0x61.
    pub pit: bool,
    /// CMOS registers 0x00-0x0d.
    pub rtc: bool,
    /// The HPET.
    pub hpet: bool,
    /// PM1a event block and PM timer.
    pub pm_timer: bool,
    /// The guest comes with its firmware and memory map; the shadowing registers are plain storage.
    pub firmware: bool,
    /// The guest's ACPI tables are hvmloader's (libacpi), which know nothing of what only ours describe.
    pub acpi_tables: bool,
    /// PV drivers in the guest find a hypervisor to talk to: hypercalls, event channels, xenstore.
    pub pvhvm: bool,
    /// Video memory is guest memory, and saved by who saves that.
    pub saves_vram: bool,
    /// The vCPUs are stopped by somebody else (Xen's toolstack), and go on while the device model stands still.
    pub stopped_by_others: bool,
    /// Its vCPUs never run: what only they would read, such as a ROM, may be missing.
    pub still: bool,
    /// What its vCPUs answer to CPUID leaf 1: EAX below, EDX above. For a description of the machine; 0: not known.
    pub processor_id: u64,
}

/// A pin that the device model drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// INTR of the bootstrap processor, the output of the master 8259 (also LINT0 of every local APIC).
    Intr,
    /// NMI of every processor (LINT1).
    Nmi,
    /// A20M# released: true lets address bit 20 through.
    A20,
    /// An ISA interrupt of a hypervisor that has its own 8259 pair and IOAPIC.
    Isa(u8),
    /// A PCI INTx pin of a hypervisor that has its own interrupt router.
    Intx {
        /// Device on bus 0.
        device: u8,
        /// 0 is INTA.
        pin: u8,
    },
}

/// Where interrupt levels go. Levels are idempotent; calls may come from any thread and never block.
pub trait IrqTarget: Send + Sync {
    /// Drives `pin` to `level`.
    fn set(&self, pin: Pin, level: bool);
    /// PCI link `link` (0 is PIRQA) leads to ISA interrupt `irq`, or nowhere. Heard only by a hypervisor that has the
    /// interrupt controllers and so the router.
    fn route(&self, _link: u8, _irq: Option<u8>) {}
}

/// Where message-signalled interrupts go. Calls may come from any thread and never block.
pub trait MsiTarget: Send + Sync {
    /// Delivers one message (Intel SDM volume 3, "Message Signalled Interrupts": address 0xfee.....).
    fn signal(&self, address: u64, data: u32);
}

/// Answers the requests of one vCPU. One object a vCPU; called from its thread alone.
pub trait Dispatch: Send {
    /// Carries out one request and returns the value read (zero for writes and string requests).
    /// Unclaimed reads are all ones. Returns only when the access is complete.
    fn request(&mut self, request: &Request) -> u64;
    /// The same for who stands in between: a write may still be under way when it returns, until
    /// [`settle`](Dispatch::settle) does.
    fn begin(&mut self, request: &Request) -> u64 {
        self.request(request)
    }
    /// Waits until the last request is complete.
    fn settle(&mut self) {}
    /// An interrupt acknowledge cycle of the processor: the 8259 pair's vector.
    /// Only asked of a device model that emulates the 8259 itself.
    fn acknowledge(&mut self) -> u8;
    /// A local APIC ended a level-triggered interrupt: broadcast of `vector` to the IOAPICs.
    fn end_of_interrupt(&mut self, vector: u8);
}

/// What a running guest did that its owner must hear of. Sent from vCPU threads; the receiver only notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Shutdown cycle: a third fault while delivering a double fault. The vCPU has stopped.
    TripleFault {
        /// Which vCPU.
        vcpu: u32,
    },
}

/// Who does not come to stand still: `vCPU 1`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{} did not finish an access to a device, and so did not stop", .0.join(", "))]
pub struct Laggards(pub Vec<String>);

/// One saved part of a hypervisor's own state, e.g. a vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPart {
    /// Path, e.g. `cpu/0`.
    pub path: String,
    /// Version of the body's meaning.
    pub version: u16,
    /// Self-describing body.
    pub body: Vec<u8>,
}

/// What a device model needs from whoever runs the guest.
///
/// Life: built, memory mapped, [`run`](Hypervisor::run) called from a thread of its own (the vCPUs start
/// paused and begin with the first [`resume`](Hypervisor::resume)), any number of pauses and resumes,
/// [`stop`](Hypervisor::stop).
pub trait Hypervisor: Send + Sync {
    /// What it emulates itself.
    fn capabilities(&self) -> Capabilities;
    /// Number of vCPUs.
    fn vcpus(&self) -> u32;
    /// The guest's RAM, for DMA and loaders.
    fn memory(&self) -> GuestRam;
    /// Interrupt pins.
    fn irq(&self) -> Arc<dyn IrqTarget>;
    /// Message-signalled interrupts.
    fn msi(&self) -> Arc<dyn MsiTarget>;
    /// Guest time.
    fn clock(&self) -> Arc<dyn Clock>;
    /// The timers that fire by guest time.
    fn timers(&self) -> TimerQueue;
    /// Makes host memory outside the guest's RAM: video memory, a ROM. Zero-filled.
    fn add_ram(&self, name: &str, len: u64) -> Result<RamBlock, Error>;
    /// Changes what a page-aligned guest-physical range is. Takes effect before any vCPU's next
    /// instruction boundary. Safe to call from a device's handler.
    fn map(&self, mapping: Mapping) -> Result<(), Error>;
    /// Tells what the devices answer from now on; what is not claimed need not be delivered. Called again with
    /// everything whenever something moves, never from two threads at once.
    fn claim(&self, claims: &Claims) -> Result<(), Error>;
    /// Writes of the guest to `address` signal `fd`, which does not block, from now on until the answer is dropped. They
    /// reach no device, which has claimed them all the same. Where this is refused the device gets the writes, and
    /// signals itself.
    fn doorbell(&self, _address: DoorbellAddress, _fd: EventFd) -> Result<Doorbell, Error> {
        Err(Error::Unsupported("writes to devices go to devices alone".into()))
    }
    /// Each signal of `fd`, which does not block, is the interrupt `message`, if there is one, until the answer is
    /// dropped.
    fn irqfd(&self, fd: EventFd, message: Option<irqfd::Message>) -> Result<IrqFd, Error> {
        IrqFd::new(fd, self.msi(), message)
    }
    /// Runs every vCPU until [`stop`](Hypervisor::stop). Blocks. `dispatch` makes each vCPU's dispatcher.
    fn run(
        &self,
        dispatch: &mut dyn FnMut(u32) -> Box<dyn Dispatch>,
        events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<(), Error>;
    /// Asks all vCPUs to stop at their next instruction boundary and does not wait. Safe from a handler:
    /// the instruction that caused the access is the last that its vCPU runs.
    fn suspend(&self);
    /// [`suspend`](Hypervisor::suspend), then waits until every vCPU stands still. Guest time stands too.
    /// Not to be called from a vCPU's thread.
    fn pause(&self);
    /// The same in bounded time: an error names who does not stand still yet, since he waits for a host that does not
    /// answer. He does as soon as it has, unless the guest is [resumed](Hypervisor::resume) before. May be called
    /// again.
    fn pause_within(&self, _patience: Duration) -> Result<(), Laggards> {
        self.pause();
        Ok(())
    }
    /// Lets the vCPUs and guest time go on.
    fn resume(&self);
    /// Puts every vCPU into its power-on state. Only while paused.
    fn reset(&self);
    /// Makes [`run`](Hypervisor::run) return. May be called at any time, from any thread.
    fn stop(&self);
    /// From now on, or no longer, tells whoever saves the guest's RAM of every page that the device model writes,
    /// before the guest can see that it is done.
    fn log_dirty(&self, _on: bool) -> Result<(), Error> {
        Err(Error::Unsupported("nobody else saves this guest's RAM".into()))
    }
    /// Makes guest memory 0xc0000-0xfffff read only, or writable again, for the PV drivers of a
    /// [`pvhvm`](Capabilities::pvhvm) guest.
    fn lock_roms(&self, _locked: bool) -> Result<(), Error> {
        Err(Error::Unsupported("there are no PV drivers here".into()))
    }
    /// The guest wakes from suspend to RAM (ACPI S3).
    fn wake_up(&self) -> Result<(), Error> {
        Err(Error::Unsupported("this guest cannot wake from suspend to RAM yet".into()))
    }
    /// Every vCPU and its local APIC. Only while paused.
    fn save(&self) -> Result<Vec<SavedPart>, Error>;
    /// The reverse. Only while paused; nothing is changed when it fails.
    fn load(&self, parts: &[SavedPart]) -> Result<(), Error>;
    /// A look into the paused guest, where the processors are not somebody else's.
    fn debug(&self) -> Option<&dyn debug::Debug> {
        None
    }
    /// A tree that a person can read, while the guest runs.
    fn inspect(&self, node: &mut inspect::Node);
}
