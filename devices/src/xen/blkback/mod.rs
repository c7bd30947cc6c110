//! The back end of a PV disk (`qdisk`), for a guest with PV drivers.
//!
//! After Xen's public `io/blkif.h`, `io/ring.h` and `io/xenbus.h`; xenstore's keys as QEMU's `xen-block`
//! writes them. More than QEMU offers: segments in pages of their own (1 MiB a request), grants that stand,
//! several rings. Frontends may be of either word size; one that does not say is taken for ours, 64 bits.
//!
//! A pure core: what it needs of Xen comes through [`GrantOps`] and [`Store`], its work goes to a
//! [`BlockBackend`]. Its owner calls [`Blkback::changed`] when a watch fires and [`Blkback::work`] when an
//! event channel rings or the [`CompletionQueue`] has answers; both return soon, whatever the frontend
//! wrote. Each request is copied once and what it points to is copied as well, so that nothing changes
//! between a check and a use; requests in flight own their data, so that the frontend may go away under
//! them; a frontend that comes back waits until the last of them is done.
//!
//! Left out: write barriers, secure discard and sectors larger than 512 bytes, which are not offered.

mod bus;
mod engine;
mod pages;
mod request;
mod ring;
mod spec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::Node;
use devices_core::block::{BlockBackend, BlockInfo, CompletionQueue};
use thiserror::Error;
use vm_memory::VolatileSlice;

use bus::{Bus, State};
use engine::Engine;

/// Why grants or an event channel could not be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct GrantError(pub String);

/// Why xenstore could not be read or written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Pages of the frontend that stay mapped as long as this lives. The frontend may change them at any time.
pub trait Mapping: Send {
    /// The bytes, whole pages, one after another in the order of their grants.
    fn slice(&self) -> VolatileSlice<'_>;
}

/// Our side of a copy.
pub enum Local<'a> {
    /// Bytes come from the granted page.
    Into(&'a mut [u8]),
    /// Bytes go to the granted page.
    From(&'a [u8]),
}

/// One copy between our memory and a page that the frontend grants.
pub struct GrantCopy<'a> {
    /// Our bytes, at most a page.
    pub local: Local<'a>,
    /// The grant.
    pub reference: u32,
    /// First byte in the granted page; the last one lies in it too.
    pub offset: u16,
}

/// The bell of a ring. Unbound when it is dropped.
pub trait Channel: Send {
    /// Rings it. Never blocks.
    fn notify(&self);
}

/// What Xen does for the back end of one frontend.
pub trait GrantOps: Send {
    /// Maps granted pages.
    fn map(&self, references: &[u32], writable: bool) -> Result<Box<dyn Mapping>, GrantError>;
    /// Copies, at most 256 at a time. An error says that some were not made.
    fn copy(&self, copies: &mut [GrantCopy<'_>]) -> Result<(), GrantError>;
    /// Binds the frontend's event channel of that port. When it rings, [`Blkback::work`] is to be called.
    fn bind(&self, port: u32) -> Result<Box<dyn Channel>, GrantError>;
}

/// Xenstore. Paths are absolute.
pub trait Store: Send {
    /// A node's value; None if there is no such node.
    fn find(&self, path: &str) -> Result<Option<String>, StoreError>;
    /// Writes a node, which is made if need be.
    fn write(&self, path: &str, value: &str) -> Result<(), StoreError>;
    /// Has [`Blkback::changed`] called when that node changes.
    fn watch(&self, path: &str) -> Result<(), StoreError>;
    /// The opposite.
    fn unwatch(&self, path: &str) -> Result<(), StoreError>;
}

/// Why a medium cannot be had.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct MediumError(pub String);

/// What is in the disk. It is opened when the frontend connects: until then an emulated disk may have it.
pub trait Medium: Send {
    /// What it is, open or not.
    fn info(&self) -> BlockInfo;
    /// Opens it. Called at each connection.
    fn open(&self) -> Result<Arc<dyn BlockBackend>, MediumError>;
}

/// A medium that is open.
impl Medium for Arc<dyn BlockBackend> {
    fn info(&self) -> BlockInfo {
        (**self).info()
    }
    fn open(&self) -> Result<Arc<dyn BlockBackend>, MediumError> {
        Ok(self.clone())
    }
}

/// What a disk is to the frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our node: `/local/domain/0/backend/qdisk/DOMID/DEVICE`.
    pub backend: String,
    /// The frontend's: `/local/domain/DOMID/device/vbd/DEVICE`.
    pub frontend: String,
    /// The frontend's domain.
    pub domid: u16,
    /// The disk's number (768 is hda, 51712 is xvda).
    pub device: u32,
    /// A CD.
    pub cdrom: bool,
    /// The medium can be taken out.
    pub removable: bool,
    /// Writes are refused, also where the medium takes them.
    pub read_only: bool,
    /// Discards are offered if the medium takes them.
    pub discard: bool,
    /// Most rings that the frontend may use, 1 to 16.
    pub queues: u32,
    /// Grants that stand are offered.
    pub persistent: bool,
}

/// Whether there is anything left to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Call again when something happens.
    Waits,
    /// Call [`Blkback::work`] again soon: there is more to do.
    Busy,
    /// The disk was taken away: drop this. What is left of its nodes is the toolstack's.
    Gone,
}

/// The back end of one disk.
pub struct Blkback {
    bus: Bus,
    engine: Engine,
    host: Box<dyn GrantOps>,
}

impl Blkback {
    /// Offers the disk to the frontend: writes our nodes, up to state InitWait. Answers of the medium come
    /// to `done`, which is nobody else's.
    pub fn new(
        config: Config,
        medium: Box<dyn Medium>,
        done: CompletionQueue,
        host: Box<dyn GrantOps>,
        store: Box<dyn Store>,
    ) -> Result<Blkback, StoreError> {
        let mut engine = Engine::new(medium, config.read_only, done);
        let bus = Bus::offer(config, engine.info(), store)?;
        Ok(Blkback { bus, engine, host })
    }

    /// A watched node may have changed.
    pub fn changed(&mut self) -> Life {
        self.bus.look(&mut self.engine);
        self.settle(false)
    }

    /// Takes requests and gives answers.
    pub fn work(&mut self) -> Life {
        let more = self.engine.work(&*self.host);
        self.settle(more)
    }

    fn settle(&mut self, more: bool) -> Life {
        let before = self.bus.state();
        match self.bus.settle(&mut self.engine, &*self.host) {
            State::Gone => Life::Gone,
            // Requests may have been there before the event channel was.
            State::Connected if before != State::Connected => Life::Busy,
            _ if more => Life::Busy,
            _ => Life::Waits,
        }
    }

    /// The medium has another size now: tells the frontend.
    pub fn resized(&mut self) -> Result<(), StoreError> {
        self.bus.write_size(self.engine.info())
    }

    /// Takes no more requests, for a save, or takes them again: then call [`work`](Blkback::work). What the
    /// frontend has put meanwhile stays in its ring.
    pub fn pause(&mut self, paused: bool) {
        self.engine.pause(paused);
    }

    /// What a person may want to know.
    pub fn inspect(&self, node: &mut Node) {
        self.bus.inspect(node);
        self.engine.inspect(node);
    }

    /// Whether no request is being worked on.
    pub fn idle(&self) -> bool {
        self.engine.idle()
    }
}
