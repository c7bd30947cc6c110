//! `vhost-user`: another process that serves a virtio device, such as qemu-storage-daemon or virtiofsd.
//!
//! QEMU hands such a process the guest's own virtqueues. Here it gets queues of ours (`ring`), whose descriptors name
//! the guest's RAM: what it has not carried out is known without asking it, so that one that was killed is followed by
//! another with nothing lost, and whatever it writes is marked before the guest hears of it. That is what
//! `INFLIGHT_SHMFD` and `LOG_SHMFD` are for in the protocol, which are not needed then; nor are memory slots
//! (`CONFIGURE_MEM_SLOTS`): the guest's RAM is two regions, and never changes.
//!
//! The back end may read and write all of the guest's RAM. It is trusted with that, and with nothing else: whatever it
//! says is checked, each answer has a deadline, and at the first thing that no back end may do it is disconnected. It
//! shares the eventfds too, and could make the thread that serves it wait at one; only that thread.
//!
//! The crate `vhost` has a front end, which waits for answers without end: hence ours (`channel`), which networks
//! share.

pub(crate) mod channel;
mod connection;
mod link;
pub(crate) mod memory;
mod ring;
mod serve;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use devices_core::Waker;
use devices_core::block::Segment;
use devices_core::vhost_user::{Needs, Stop, Submitted, Used, VhostUser};
use hypervisor::memory::SharedRam;
use rustix::event::{EventfdFlags, eventfd};
use thiserror::Error;

use crate::socket::Unlink;
use connection::{Connection, Greeting};
pub use link::{Dial, Direct, Place, dial};
use memory::Memory;
use ring::{Layout, Ring};

/// How long an answer may take where nobody says.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long the thread may take to end.
const CLOSING: Duration = Duration::from_millis(400);
/// Most writes of the configuration that wait.
const WRITES: usize = 32;

/// Why a device has no back end.
#[derive(Debug, Error)]
pub enum VhostUserError {
    /// Nobody is there.
    #[error("no back end at {at}: {source}")]
    Nobody {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody is, who is no back end of such a device.
    #[error("the back end at {at} is of no use: {source}")]
    Useless {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// An eventfd, memory, a thread.
    #[error("no {what}: {source}")]
    System {
        /// What there is none of.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Where the back end is, and what it gets.
pub struct Options {
    /// Where.
    pub place: Place,
    /// The same for people.
    pub at: String,
    /// What the device needs.
    pub needs: Needs,
    /// The guest's RAM, all of which it may read and write.
    pub ram: SharedRam,
    /// How long it may take to answer.
    pub patience: Duration,
}

/// What the thread and the device both see.
struct Shared {
    inner: Mutex<Inner>,
    needs: Needs,
    at: String,
    ram: SharedRam,
    memory: Arc<Memory>,
    layout: Layout,
    /// We have requests for it, by queue.
    kicks: Vec<OwnedFd>,
    /// It has used some.
    call: OwnedFd,
    /// It cannot go on with a ring.
    error: OwnedFd,
    /// The thread is to look at what has changed.
    control: OwnedFd,
    stopping: AtomicBool,
    patience: Duration,
    waker: Waker,
    number: u32,
}

struct Inner {
    rings: Vec<Ring>,
    /// Features of the back end.
    features: u64,
    config: Vec<u8>,
    config_changed: bool,
    /// Writes of the configuration that it has not been told of.
    writes: Vec<(usize, Vec<u8>)>,
    /// Features that the driver has accepted; none: it is to stand.
    wanted: Option<u64>,
    /// The driver has reset the device since it last began.
    reset: bool,
    /// Somebody is there.
    connected: bool,
    /// The rings are the back end's.
    up: bool,
    /// They are to be so no more, whatever comes then.
    halting: bool,
    /// The rings are those of the present incarnation.
    open: bool,
    incarnation: u64,
    /// What it did that none may.
    fault: Option<String>,
    /// Its state is to be had.
    saving: bool,
    saved: Option<Result<Vec<u8>, String>>,
    /// It is to go on from that state.
    restored: Option<Vec<u8>>,
}

/// The front end: it ends when it is dropped.
pub struct FrontEnd {
    shared: Arc<Shared>,
    ended: Mutex<mpsc::Receiver<()>>,
    /// Removed by whoever drops this: the thread has no calls for it.
    _unlink: Option<Unlink>,
}

/// Tells by an eventfd. One whose count is full tells already.
fn signal(event: &OwnedFd) {
    let _ = rustix::io::write(event, &1u64.to_ne_bytes());
}

/// Takes what an eventfd tells.
fn clear(event: &OwnedFd) {
    let _ = rustix::io::read(event, &mut [0u8; 8]);
}

impl FrontEnd {
    /// Connects to a back end and begins to serve the device behind `waker`, which is woken with `number`. Waits for the
    /// back end's first answers.
    pub fn connect(options: Options, waker: Waker, number: u32) -> Result<FrontEnd, VhostUserError> {
        let Options { place, at, needs, ram, patience } = options;
        let none = |what| move |source: io::Error| VhostUserError::System { what, source };
        let (peer, source, unlink) = link::first(place, patience)
            .map_err(|source| VhostUserError::Nobody { at: at.clone(), source })?;
        let Greeting { connection, features, config } =
            Connection::greet(peer, &serve::Patient, &needs, patience)
                .map_err(|source| VhostUserError::Useless { at: at.clone(), source })?;
        let layout = Layout::new(needs.queue_size);
        let queues = usize::from(needs.queues);
        let memory = Arc::new(Memory::new(layout.len() * queues).map_err(none("shared memory"))?);
        let rings = (0..queues).map(|number| Ring::new(memory.clone(), number * layout.len(), layout));
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from);
        let event = || event().map_err(none("eventfd"));
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                rings: rings.collect(),
                features,
                config,
                config_changed: false,
                writes: Vec::new(),
                wanted: None,
                reset: false,
                connected: true,
                up: false,
                halting: false,
                open: false,
                incarnation: 0,
                fault: None,
                saving: false,
                saved: None,
                restored: None,
            }),
            needs,
            at,
            ram,
            memory,
            layout,
            kicks: (0..queues).map(|_| event()).collect::<Result<_, _>>()?,
            call: event()?,
            error: event()?,
            control: event()?,
            stopping: AtomicBool::new(false),
            patience,
            waker,
            number,
        });
        let (ending, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name("vhost-user".into()).spawn({
            let shared = shared.clone();
            move || {
                serve::serve(&shared, source, connection);
                drop(ending);
            }
        });
        thread.map_err(none("thread"))?;
        Ok(FrontEnd { shared, ended: Mutex::new(ended), _unlink: unlink })
    }
}

impl Drop for FrontEnd {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.nudge();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It may be waiting for the device, whose lock the caller may hold: then it ends by itself.
        let _ = ended.recv_timeout(CLOSING);
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread look.
    fn nudge(&self) {
        signal(&self.control);
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl VhostUser for FrontEnd {
    fn features(&self) -> u64 {
        self.shared.inner().features & self.shared.needs.features
    }

    fn start(&self, features: u64) {
        let mut inner = self.shared.inner();
        if inner.wanted.is_none() {
            inner.wanted = Some(features & self.shared.needs.features);
            inner.saved = None;
            drop(inner);
            self.shared.nudge();
        }
    }

    fn incarnation(&self) -> u64 {
        self.shared.inner().incarnation
    }

    fn is_connected(&self) -> bool {
        self.shared.inner().connected
    }

    fn submit(&self, incarnation: u64, queue: u16, readable: &[Segment], writable: &[Segment]) -> Submitted {
        let mut inner = self.shared.inner();
        if inner.wanted.is_none() || !inner.open || inner.incarnation != incarnation {
            return Submitted::Full;
        }
        match inner.rings.get_mut(usize::from(queue)) {
            Some(ring) => ring.submit(readable, writable),
            None => Submitted::TooLong,
        }
    }

    fn kick(&self, queue: u16) {
        let inner = self.shared.inner();
        let ring = inner.rings.get(usize::from(queue)).filter(|_| inner.up);
        let wanted = ring.is_some_and(Ring::wants_kick);
        drop(inner);
        if let Some(kick) = self.shared.kicks.get(usize::from(queue)).filter(|_| wanted) {
            signal(kick);
        }
    }

    fn used(&self) -> Option<Used> {
        let mut inner = self.shared.inner();
        if !inner.open || inner.fault.is_some() {
            return None;
        }
        for (queue, ring) in (0..).zip(&mut inner.rings) {
            match ring.used() {
                Ok(Some((token, written))) => return Some(Used { queue, token, written }),
                Ok(None) => {}
                Err(error) => {
                    inner.fault = Some(error.to_string());
                    drop(inner);
                    self.shared.nudge();
                    return None;
                }
            }
        }
        None
    }

    fn stop(&self, why: Stop) {
        let mut inner = self.shared.inner();
        inner.wanted = None;
        inner.halting = inner.up;
        match why {
            Stop::Reset => {
                // What it has used meanwhile is nobody's any more.
                (inner.open, inner.reset, inner.saving) = (false, true, false);
                inner.restored = None;
            }
            Stop::Pause => {}
            Stop::Save => {
                let has_begun = inner.incarnation > 0 && !inner.reset;
                inner.saving = has_begun && self.shared.needs.stateful && inner.saved.is_none();
                if inner.saving && !inner.connected {
                    inner.saving = false;
                    inner.saved = Some(Err("its back end has gone".into()));
                }
            }
        }
        drop(inner);
        self.shared.nudge();
    }

    fn is_stopped(&self) -> bool {
        let inner = self.shared.inner();
        !inner.up && !inner.saving
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let inner = self.shared.inner();
        for (to, from) in data.iter_mut().zip(inner.config.iter().skip(offset)) {
            *to = *from;
        }
    }

    fn write_config(&self, offset: usize, data: &[u8]) {
        let mut inner = self.shared.inner();
        let inside = offset.saturating_add(data.len()) <= inner.config.len();
        if !inside || inner.writes.len() >= WRITES {
            return;
        }
        for (to, from) in inner.config.iter_mut().skip(offset).zip(data) {
            *to = *from;
        }
        inner.writes.push((offset, data.to_vec()));
        drop(inner);
        self.shared.nudge();
    }

    fn take_config_change(&self) -> bool {
        std::mem::take(&mut self.shared.inner().config_changed)
    }

    fn saved(&self) -> Result<Option<Vec<u8>>, String> {
        self.shared.inner().saved.clone().transpose()
    }

    fn restore(&self, state: Vec<u8>) {
        self.shared.inner().restored = Some(state);
    }

    fn describe(&self) -> String {
        let inner = self.shared.inner();
        let what = match (inner.connected, inner.up) {
            (false, _) => "gone",
            (true, false) => "stands",
            (true, true) => "serves",
        };
        format!("{}, {what}", self.shared.at)
    }
}
