//! The thread that serves a domain's PV disks.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use backends::image::{Image, ImageError, ImageOptions, Images, Pool};
use devices::xen::blkback::{Blkback, Life, Medium};
use devices_core::block::{BlockBackend, CompletionQueue};
use devices_core::{Node, Waker};
use hypervisor_xen::gntdev::GrantTable;
use hypervisor_xen::kernel::Events;
use hypervisor_xen::xenstore::{Event, XenStore};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::host::{Frontend, Nodes, Ports};
use super::medium::{self, Empty, Late};
use super::notify::Doorbell;
use super::opener_client::Opener;
use super::vbd_config::{self, Offer};
use super::{Command, LAST_PATIENCE, QdiskError, Shared};

/// Most events of one kind in a turn: nobody keeps the thread to himself.
const TURN: usize = 64;
/// The watch on the disks as a whole.
const ALL: &str = "disks";

/// Where images come from.
pub(super) enum Source {
    /// They are opened by name here, and those that the machine has open are shared.
    Machine(Shared),
    /// The machine is another process, and so is who opens them.
    Opener(Arc<Opener>),
}

/// The disks of a domain, and all that they need of Xen.
pub(super) struct Service {
    store: XenStore,
    /// The folder of the domain's disks.
    root: String,
    domid: u16,
    ports: Arc<Ports>,
    grants: GrantTable,
    source: Source,
    images: Images,
    bell: Arc<Doorbell>,
    disks: BTreeMap<u32, Blkback>,
    /// Disks with work to do.
    busy: BTreeSet<u32>,
    paused: bool,
    /// Who waits until nothing is in flight.
    waiting: Vec<Sender<()>>,
}

impl Service {
    /// Opens event channels and grants, and nothing more later but images, if the source is the machine. Images that
    /// it has open are among `images`.
    pub(super) fn new(
        domid: u16,
        store: XenStore,
        source: Source,
        images: Images,
    ) -> Result<Service, QdiskError> {
        let root = super::backend(&store, domid)?;
        store.watch(&root, ALL).map_err(QdiskError::new)?;
        let ports = Ports::open().map_err(QdiskError::new)?;
        if matches!(source, Source::Opener(_)) {
            ports.events.restrict(domid).map_err(QdiskError::new)?;
        }
        Ok(Service {
            store,
            root,
            domid,
            ports: Arc::new(ports),
            grants: GrantTable::open().map_err(QdiskError::new)?,
            source,
            images,
            bell: Arc::new(Doorbell::new().map_err(QdiskError::new)?),
            disks: BTreeMap::new(),
            busy: BTreeSet::new(),
            paused: false,
            waiting: Vec::new(),
        })
    }

    /// Wakes the thread that runs it.
    pub(super) fn bell(&self) -> Arc<Doorbell> {
        self.bell.clone()
    }

    /// Serves until it is told to end.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            self.bell.hear();
            while let Ok(command) = commands.try_recv() {
                match command {
                    Command::Quit => return self.end(),
                    Command::Pause(paused) => self.pause(paused),
                    Command::Settle(done) => self.waiting.push(done),
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
                // One that was refused or has ended: who removes it waits until it says so again.
                Ok(None) if self.is_closing(device) => self.close(device),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!("PV disk {device}: {error}");
                    // Nobody waits for it, and it is not tried again.
                    self.close(device);
                }
            }
        }
    }

    fn state(&self, device: u32) -> String {
        format!("{}/{device}/state", self.root)
    }

    /// Whether the toolstack asks for the end of a disk (`XenbusStateClosing`).
    fn is_closing(&self, device: u32) -> bool {
        matches!(self.store.find(&self.state(device)), Ok(Some(state)) if state == "5")
    }

    /// `XenbusStateClosed`.
    fn close(&self, device: u32) {
        if let Err(error) = self.store.write(&self.state(device), "6") {
            tracing::warn!("PV disk {device}: {error}");
        }
    }

    /// Serves a disk that waits to be served.
    fn attach(&self, device: u32) -> Result<Option<Blkback>, QdiskError> {
        let nodes = || Nodes { store: self.store.clone(), token: device.to_string() };
        let backend = format!("{}/{device}", self.root);
        let offered = vbd_config::read(&nodes(), &backend, self.domid, device).map_err(QdiskError::new)?;
        let Some(offer) = offered else { return Ok(None) };
        let medium = self.medium(&offer).map_err(QdiskError::new)?;
        let bell = self.bell.clone();
        let waker = Waker::calling(move |_| {
            bell.answered().insert(device);
            bell.ring();
        });
        let frontend =
            Frontend { domid: self.domid, device, ports: self.ports.clone(), grants: self.grants.clone() };
        let done = CompletionQueue::new(waker, 0);
        let disk = Blkback::new(offer.config, medium, done, Box::new(frontend), Box::new(nodes()));
        let mut disk = disk.map_err(QdiskError::new)?;
        disk.pause(self.paused);
        Ok(Some(disk))
    }

    fn medium(&self, offer: &Offer) -> Result<Box<dyn Medium>, ImageError> {
        let Some((path, format)) = &offer.image else {
            let empty: Arc<dyn BlockBackend> = Pool::new(Arc::new(Empty));
            return Ok(Box::new(empty));
        };
        let options = ImageOptions { read_only: offer.config.read_only, ..ImageOptions::new(path, *format) };
        let opened = match &self.source {
            Source::Machine(shared) => match shared(path) {
                Some(shared) => return Ok(Box::new(shared)),
                None => Image::open(&options),
            },
            Source::Opener(opener) => medium::open(opener, offer.config.device, &options),
        };
        match (opened, &self.source) {
            (Ok(image), _) => {
                let image: Arc<dyn BlockBackend> = self.images.serve(image);
                Ok(Box::new(image))
            }
            // The machine may have it until the guest has its drive unplugged.
            (Err(ImageError::Locked(_)), Source::Opener(opener)) => {
                let (opener, images) = (opener.clone(), self.images.clone());
                Ok(Box::new(Late::new(options, offer.config.device, opener, images)?))
            }
            (Err(error), _) => Err(error),
        }
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
        let end = Instant::now() + LAST_PATIENCE;
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
