//! The PV disks (`qdisk`) of a Xen domain: what the toolstack offers in xenstore is served here.
//!
//! One thread waits for xenstore's watches, for the frontends' event channels and for the images' answers,
//! and hands each to the disk that it concerns ([`Blkback`], which knows the protocol). Work on images is
//! done by the images' own threads. An image that an emulated drive has open too is shared with it: two views
//! of one qcow2 file would destroy it.

mod host;
mod offer;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backends::image::{Image, ImageOptions};
use devices::xen::blkback::{Blkback, Life};
use devices_core::block::{
    BlockBackend, BlockError, BlockInfo, BlockOp, BlockStore, CompletionQueue, Payload, SECTOR,
};
use devices_core::{Node, Waker};
use hypervisor_xen::gntdev::GrantTable;
use hypervisor_xen::kernel::Events;
use hypervisor_xen::xenstore::{Event, XenStore};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use thiserror::Error;

use host::{Frontend, Nodes, Ports};
use offer::Offer;

/// How long a pause waits for requests in flight; what is not done then is the image's trouble.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most events of one kind in a turn: nobody keeps the thread to himself.
const TURN: usize = 64;
/// The watch on the disks as a whole.
const ALL: &str = "disks";

/// An image that the machine has open, by its path.
pub(crate) type Shared = Box<dyn Fn(&Path) -> Option<Arc<dyn BlockBackend>> + Send>;

/// Why PV disks cannot be served.
#[derive(Debug, Error)]
#[error("PV disks: {0}")]
pub(crate) struct QdiskError(String);

impl QdiskError {
    fn new(error: impl ToString) -> QdiskError {
        QdiskError(error.to_string())
    }
}

/// What the thread is asked to do.
enum Command {
    /// Take no more requests; answered when nothing is in flight.
    Pause(Sender<()>),
    /// Take them again.
    Resume,
    /// Tell about the disks.
    Inspect(Sender<Node>),
    /// End.
    Quit,
}

/// The thread that serves a domain's PV disks. It ends, and lets its disks finish, when this is dropped.
pub(crate) struct Qdisk {
    commands: Sender<Command>,
    bell: Arc<Doorbell>,
    thread: Option<JoinHandle<()>>,
}

impl Qdisk {
    /// Serves the PV disks of a domain, those that are there and those that come.
    pub(crate) fn start(domid: u16, shared: Shared) -> Result<Qdisk, QdiskError> {
        let (commands, receive) = channel();
        let bell = Arc::new(Doorbell::new().map_err(QdiskError::new)?);
        let service = Service::new(domid, shared, bell.clone())?;
        let run = move || service.run(&receive);
        let thread = std::thread::Builder::new().name("qdisk".into()).spawn(run).map_err(QdiskError::new)?;
        Ok(Qdisk { commands, bell, thread: Some(thread) })
    }

    fn command(&self, command: Command) {
        // It fails when the thread has ended, which it has said then.
        let _ = self.commands.send(command);
        self.bell.ring();
    }

    /// Takes no more requests and waits until those in flight are done.
    pub(crate) fn pause(&self) {
        let (done, wait) = channel();
        self.command(Command::Pause(done));
        if let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = wait.recv_timeout(PATIENCE) {
            tracing::warn!("PV disks: requests are still in flight after {} s", PATIENCE.as_secs());
        }
    }

    /// Takes requests again.
    pub(crate) fn resume(&self) {
        self.command(Command::Resume);
    }

    /// For people.
    pub(crate) fn inspect(&self, node: &mut Node) {
        let (send, receive) = channel();
        self.command(Command::Inspect(send));
        if let Ok(disks) = receive.recv_timeout(PATIENCE) {
            *node = disks;
        }
    }
}

impl Drop for Qdisk {
    fn drop(&mut self) {
        self.command(Command::Quit);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("PV disks: the thread ended by a fault of ours");
        }
    }
}

/// Wakes the thread from any other.
struct Doorbell {
    fd: OwnedFd,
    rung: AtomicBool,
    /// Disks whose images have answered.
    answered: Mutex<BTreeSet<u32>>,
}

impl Doorbell {
    fn new() -> io::Result<Doorbell> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Doorbell { fd, rung: AtomicBool::new(false), answered: Mutex::default() })
    }

    fn answered(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It fails only when it has been rung often enough.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// The thread is awake: what comes from now on rings again, what came before is to be looked at.
    fn hear(&self) {
        // In this order: a ring between the two is one that came before.
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// The drive has no medium.
struct Empty;

impl BlockStore for Empty {
    fn info(&self) -> BlockInfo {
        BlockInfo { size: 0, read_only: true, physical_block: SECTOR as u32, discard: false }
    }
    fn run(&self, _: BlockOp, _: u64, _: &mut Payload) -> Result<(), BlockError> {
        Err(BlockError::OutOfRange)
    }
}

struct Service {
    store: XenStore,
    /// The folder of the domain's disks.
    root: String,
    domid: u16,
    ports: Arc<Ports>,
    grants: GrantTable,
    shared: Shared,
    bell: Arc<Doorbell>,
    disks: BTreeMap<u32, Blkback>,
    /// Disks with work to do.
    busy: BTreeSet<u32>,
    paused: bool,
    /// Who waits until nothing is in flight.
    waiting: Vec<Sender<()>>,
}

impl Service {
    fn new(domid: u16, shared: Shared, bell: Arc<Doorbell>) -> Result<Service, QdiskError> {
        let store = XenStore::open().map_err(QdiskError::new)?;
        let own = store.find("domid").map_err(QdiskError::new)?;
        let own = own.and_then(|own| own.trim().parse().ok()).unwrap_or(0);
        let home = store.domain_path(own).map_err(QdiskError::new)?;
        let root = format!("{home}/backend/qdisk/{domid}");
        store.watch(&root, ALL).map_err(QdiskError::new)?;
        Ok(Service {
            store,
            root,
            domid,
            ports: Arc::new(Ports::open().map_err(QdiskError::new)?),
            grants: GrantTable::open().map_err(QdiskError::new)?,
            shared,
            bell,
            disks: BTreeMap::new(),
            busy: BTreeSet::new(),
            paused: false,
            waiting: Vec::new(),
        })
    }

    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            self.bell.hear();
            while let Ok(command) = commands.try_recv() {
                match command {
                    Command::Quit => return self.end(),
                    Command::Pause(done) => {
                        self.pause(true);
                        self.waiting.push(done);
                    }
                    Command::Resume => self.pause(false),
                    Command::Inspect(to) => {
                        // Who asked may have given up.
                        let _ = to.send(self.inspect());
                    }
                }
            }
            if let Err(error) = self.turn(None) {
                tracing::error!("PV disks are not served any more: {error}");
                return;
            }
        }
    }

    /// Does what there is to do, then waits for more, no longer than that.
    fn turn(&mut self, most: Option<Duration>) -> Result<(), QdiskError> {
        let mut more = true;
        for _ in 0..TURN {
            match self.store.next_event().map_err(QdiskError::new)? {
                Some(event) => self.event(event),
                None => {
                    more = false;
                    break;
                }
            }
        }
        self.events()?;
        self.busy.append(&mut self.bell.answered());
        for device in std::mem::take(&mut self.busy) {
            if let Some(disk) = self.disks.get_mut(&device) {
                let life = disk.work();
                self.after(device, life);
            }
        }
        if self.disks.values().all(Blkback::idle) {
            for waiting in self.waiting.drain(..) {
                // Who asked may have given up.
                let _ = waiting.send(());
            }
        }
        let busy = more || !self.busy.is_empty();
        self.wait(if busy { Some(Duration::ZERO) } else { most })
    }

    /// Sleeps until something happens.
    fn wait(&self, most: Option<Duration>) -> Result<(), QdiskError> {
        let sources = [self.store.as_fd(), self.ports.events.as_fd(), self.bell.fd.as_fd()];
        let mut polled = sources.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN));
        let most =
            most.map(|most| Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() });
        match poll(&mut polled, most.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(QdiskError::new(error)),
        }
    }

    /// Frontends that have rung.
    fn events(&mut self) -> Result<(), QdiskError> {
        let mut rung = [0; TURN];
        let count = self.ports.events.wait(&mut rung, false).map_err(QdiskError::new)?;
        let rung = rung.get(..count).unwrap_or_default();
        // Before the work: a ring that comes meanwhile must be heard.
        self.ports.events.unmask(rung).map_err(QdiskError::new)?;
        self.busy.extend(rung.iter().filter_map(|port| self.ports.device(*port)));
        Ok(())
    }

    /// xenstore has changed.
    fn event(&mut self, event: Event) {
        match event {
            Event::Lost => {
                self.changed(None);
                let known: Vec<u32> = self.disks.keys().copied().collect();
                for device in known {
                    self.look(device);
                }
            }
            Event::Changed { path, token } if token == ALL => {
                // The folder itself, or something of one disk.
                let below = path.strip_prefix(&self.root).unwrap_or_default();
                let device = below.split('/').nth(1).map(|name| name.parse().unwrap_or(u32::MAX));
                self.changed(device);
            }
            Event::Changed { token, .. } => {
                if let Ok(device) = token.parse() {
                    self.look(device);
                }
            }
        }
    }

    /// A disk that we serve, or its frontend, has changed.
    fn look(&mut self, device: u32) {
        if let Some(disk) = self.disks.get_mut(&device) {
            let life = disk.changed();
            self.after(device, life);
        }
    }

    fn after(&mut self, device: u32, life: Life) {
        match life {
            Life::Waits => {}
            Life::Busy => {
                self.busy.insert(device);
            }
            Life::Gone => {
                self.disks.remove(&device);
            }
        }
    }

    /// The toolstack's nodes have changed: those of that disk, or of any.
    fn changed(&mut self, device: Option<u32>) {
        let devices = match device {
            Some(device) => vec![device],
            // The folder is not there as long as there are no disks.
            None => {
                let names = self.store.directory(&self.root).unwrap_or_default();
                names.iter().filter_map(|name| name.parse().ok()).collect()
            }
        };
        for device in devices {
            if self.disks.contains_key(&device) {
                continue;
            }
            match self.attach(device) {
                Ok(Some(disk)) => {
                    self.disks.insert(device, disk);
                    self.look(device);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!("PV disk {device}: {error}");
                    // Closed: nobody waits for it, and it is not tried again.
                    let refused = self.store.write(&format!("{}/{device}/state", self.root), "6");
                    if let Err(error) = refused {
                        tracing::warn!("PV disk {device}: {error}");
                    }
                }
            }
        }
    }

    /// Serves a disk that waits to be served.
    fn attach(&self, device: u32) -> Result<Option<Blkback>, QdiskError> {
        let nodes = || Nodes { store: self.store.clone(), token: device.to_string() };
        let backend = format!("{}/{device}", self.root);
        let offered = offer::read(&nodes(), &backend, self.domid, device).map_err(QdiskError::new)?;
        let Some(offer) = offered else { return Ok(None) };
        let image = self.open(&offer).map_err(QdiskError::new)?;
        let bell = self.bell.clone();
        let waker = Waker::calling(move |_| {
            bell.answered().insert(device);
            bell.ring();
        });
        let frontend =
            Frontend { domid: self.domid, device, ports: self.ports.clone(), grants: self.grants.clone() };
        let done = CompletionQueue::new(waker, 0);
        let disk = Blkback::new(offer.config, image, done, Box::new(frontend), Box::new(nodes()));
        let mut disk = disk.map_err(QdiskError::new)?;
        disk.pause(self.paused);
        Ok(Some(disk))
    }

    fn open(&self, offer: &Offer) -> Result<Arc<dyn BlockBackend>, backends::image::ImageError> {
        let Some((path, format)) = &offer.image else {
            return Ok(backends::image::Pool::new(Arc::new(Empty)));
        };
        if let Some(shared) = (self.shared)(path) {
            return Ok(shared);
        }
        let read_only = offer.config.read_only;
        let image = Image::open(&ImageOptions { read_only, ..ImageOptions::new(path, *format) })?;
        Ok(image.serve())
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        for (device, disk) in &mut self.disks {
            disk.pause(paused);
            // What came meanwhile lies in the ring.
            self.busy.insert(*device);
        }
    }

    fn inspect(&self) -> Node {
        let mut node = Node::default();
        for (device, disk) in &self.disks {
            disk.inspect(node.child(&device.to_string()));
        }
        node
    }

    /// Lets what is in flight be written; nobody waits for the answers.
    fn end(mut self) {
        self.pause(true);
        let end = Instant::now() + PATIENCE;
        while !self.disks.values().all(Blkback::idle) {
            let left = end.saturating_duration_since(Instant::now());
            self.bell.hear();
            // An image that never answers does not keep the process.
            if left.is_zero() || self.turn(Some(left)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rings of several threads, each of which is heard: the last one too, however they fall together.
    #[test]
    fn no_ring_is_lost() {
        const RINGS: u32 = 20_000;
        let bell = Arc::new(Doorbell::new().unwrap());
        let ringers: Vec<_> = (0..2)
            .map(|ringer| {
                let bell = bell.clone();
                std::thread::spawn(move || {
                    for ring in 0..RINGS {
                        bell.answered().insert(ring * 2 + ringer);
                        bell.ring();
                    }
                })
            })
            .collect();
        let mut heard = 0;
        while heard < 2 * RINGS as usize {
            let mut polled = [PollFd::new(&bell.fd, PollFlags::IN)];
            let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
            assert_eq!(poll(&mut polled, Some(&patience)), Ok(1), "{heard} were heard");
            bell.hear();
            heard += std::mem::take(&mut *bell.answered()).len();
        }
        for ringer in ringers {
            ringer.join().unwrap();
        }
    }
}
