//! `hubport`: hubs, which repeat each frame to every other port.
//!
//! A port that has no room loses the frame, as on a wire that several share; the others do not wait for it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};

use devices_core::Waker;
use devices_core::net::{NetBackend, Offload};
use hypervisor::thread_role;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::options::{Options, Style};
use super::queues::{CLOSING, Queues, kick, lock, ring};
use super::{NetError, Netdev, Observer};

/// Frames of one port before the next has its turn.
const TURN: usize = 64;
/// Most ports of a hub.
const PORTS: usize = 64;

/// A port of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubportSpec {
    /// Which hub. It is made by its first port.
    pub hub: u32,
    /// The back end that is on this port, rather than a card.
    pub netdev: Option<String>,
}

impl HubportSpec {
    pub(super) fn parse(options: &[(String, String)]) -> Result<HubportSpec, String> {
        let mut options = Options::new(options, Style::Words);
        let what = "an int64 value";
        let hub = options.number("hubid", what)?.ok_or("Parameter 'hubid' is missing")?;
        let hub = u32::try_from(hub).map_err(|_| format!("Parameter 'hubid' expects {what}"))?;
        let netdev = options.take("netdev").map(str::to_owned);
        options.end()?;
        Ok(HubportSpec { hub, netdev })
    }
}

/// The hubs of a machine, by their numbers.
#[derive(Default)]
pub struct Hubs(Mutex<BTreeMap<u32, Weak<Hub>>>);

impl Hubs {
    fn hub(&self, number: u32) -> Result<Arc<Hub>, NetError> {
        let mut hubs = lock(&self.0);
        hubs.retain(|_, hub| hub.strong_count() > 0);
        if let Some(hub) = hubs.get(&number).and_then(Weak::upgrade) {
            return Ok(hub);
        }
        let hub = Arc::new(Hub::start()?);
        hubs.insert(number, Arc::downgrade(&hub));
        Ok(hub)
    }
}

/// What is on a port.
#[derive(Clone)]
enum End {
    Card(Arc<Queues>),
    Netdev(Arc<dyn Netdev>),
}

#[derive(Default)]
struct Ports {
    ports: Mutex<Vec<(u64, End)>>,
    /// Counts changes, and numbers the ports.
    changes: AtomicU64,
    stopping: AtomicBool,
}

/// A hub and its thread, which ends with the last port.
struct Hub {
    ports: Arc<Ports>,
    kick: Arc<OwnedFd>,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Hub {
    fn start() -> Result<Hub, NetError> {
        let (ports, kick) = (Arc::new(Ports::default()), kick()?);
        let (ending, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name("net hub".into()).spawn({
            let (ports, kick) = (ports.clone(), kick.clone());
            move || {
                serve(&ports, &kick);
                drop(ending);
            }
        });
        thread.map_err(|source| NetError::System { what: "thread", source })?;
        Ok(Hub { ports, kick, ended: Mutex::new(ended) })
    }

    fn plug(self: Arc<Hub>, end: End) -> Result<Arc<Port>, NetError> {
        let mut ports = lock(&self.ports.ports);
        if ports.len() >= PORTS {
            let source = std::io::ErrorKind::QuotaExceeded.into();
            return Err(NetError::System { what: "free port of the hub", source });
        }
        let number = self.ports.changes.fetch_add(1, Ordering::AcqRel);
        ports.push((number, end.clone()));
        drop(ports);
        ring(&self.kick);
        Ok(Arc::new(Port { hub: self, number, end }))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.ports.stopping.store(true, Ordering::Release);
        ring(&self.kick);
        // It may be waiting for a card, whose lock the caller may hold: then it ends by itself.
        let _ = lock(&self.ended).recv_timeout(CLOSING);
    }
}

/// A port in use.
struct Port {
    hub: Arc<Hub>,
    number: u64,
    end: End,
}

impl Drop for Port {
    fn drop(&mut self) {
        lock(&self.hub.ports.ports).retain(|(number, _)| *number != self.number);
        self.hub.ports.changes.fetch_add(1, Ordering::AcqRel);
        if let End::Card(queues) = &self.end {
            queues.stop();
        }
        ring(&self.hub.kick);
    }
}

impl NetBackend for Port {
    fn send(&self, frame: &[u8]) -> bool {
        match &self.end {
            End::Card(queues) => queues.send(frame, Offload::default()),
            End::Netdev(_) => true,
        }
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        match &self.end {
            End::Card(queues) => queues.receive(frame).is_some(),
            End::Netdev(_) => false,
        }
    }
}

impl Netdev for Port {
    fn info(&self) -> String {
        "index=0,type=hubport,".into()
    }
}

impl End {
    fn take(&self, frame: &mut Vec<u8>) -> bool {
        match self {
            End::Card(queues) => {
                frame.clear();
                queues.take(frame, 0, |_, _| ()).is_some()
            }
            End::Netdev(netdev) => netdev.receive(frame),
        }
    }

    fn give(&self, frame: &[u8]) {
        match self {
            End::Card(queues) if queues.room() => queues.push(frame),
            End::Card(_) => {}
            // One that refuses is on a wire with others.
            End::Netdev(netdev) => drop(netdev.send(frame)),
        }
    }
}

fn serve(all: &Ports, kick: &OwnedFd) {
    let (mut ports, mut seen, mut frame) = (Vec::new(), None, Vec::new());
    while !all.stopping.load(Ordering::Acquire) {
        thread_role::at(thread_role::Role::Frames);
        let now = all.changes.load(Ordering::Acquire);
        if seen.replace(now) != Some(now) {
            ports.clone_from(&lock(&all.ports));
        }
        let mut more = repeat(&ports, &mut frame);
        for (_, end) in &ports {
            if let End::Card(queues) = end {
                queues.relieve();
                queues.deliver();
            }
        }
        for (_, end) in &ports {
            more |= matches!(end, End::Card(queues) if !queues.drowse());
        }
        let now = Timespec::default();
        let ready = poll(&mut [PollFd::new(kick, PollFlags::IN)], more.then_some(&now));
        for (_, end) in &ports {
            if let End::Card(queues) = end {
                queues.rouse();
            }
        }
        if matches!(ready, Ok(1..)) {
            let _ = rustix::io::read(kick, &mut [0u8; 8]);
        }
    }
}

/// Gives each port's frames to the others. True: there may be more.
fn repeat(ports: &[(u64, End)], frame: &mut Vec<u8>) -> bool {
    let mut more = false;
    for (number, from) in ports {
        let mut turns = 0;
        while turns < TURN && from.take(frame) {
            turns += 1;
            for (_, to) in ports.iter().filter(|(other, _)| other != number) {
                to.give(frame);
            }
        }
        more |= turns == TURN;
    }
    more
}

/// A port and the back end on it. Both are to be kept.
pub struct Attached {
    /// The port.
    pub port: Arc<dyn Netdev>,
    /// What is on it.
    pub other: Arc<dyn Netdev>,
}

/// A hub that has a port to be used.
pub(super) struct Prepared(Arc<Hub>);

pub(super) fn prepare(spec: &HubportSpec, hubs: &Hubs) -> Result<Prepared, NetError> {
    hubs.hub(spec.hub).map(Prepared)
}

impl Prepared {
    /// Puts a card on the port.
    pub(super) fn start(self, waker: Waker, number: u32) -> Result<Arc<dyn Netdev>, NetError> {
        let queues = Queues::sharing(self.0.kick.clone(), waker, number);
        queues.set_open(true);
        Ok(self.0.plug(End::Card(queues))?)
    }

    /// Puts another back end on the port.
    pub(super) fn attach(self, other: super::Prepared, observer: Observer) -> Result<Attached, NetError> {
        let kick = self.0.kick.clone();
        let other = other.start(Waker::calling(move |_| ring(&kick)), 0, observer)?;
        Ok(Attached { port: self.0.plug(End::Netdev(other.clone()))?, other })
    }
}
