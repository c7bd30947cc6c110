//! What moves frames one at a time: tap interfaces and datagram sockets.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use devices_core::net::{MAX_FRAME, Offload, Offloads};
use hypervisor::thread_role;
use rustix::event::PollFlags;
use rustix::io::Errno;

use super::queues::Served;

/// Frames that are moved in one direction before the other has its turn.
const TURN: usize = 64;
/// How long an end that fails is left alone.
const REST: Duration = Duration::from_millis(250);
/// How often it is told.
const TELL: Duration = Duration::from_secs(60);
/// Room for a frame, what is before it, and a byte more, which tells that one was longer.
const BUFFER: usize = MAX_FRAME + 64;

/// An end that takes and gives a frame a call.
pub(super) trait Wire: Send {
    /// What it is called in the log.
    fn name(&self) -> String;
    /// Ready to be read when there is a frame.
    fn file(&self) -> &OwnedFd;
    /// How long to wait before writing again after it had no room; none: the file tells.
    fn again(&self) -> Option<Duration> {
        None
    }
    /// Whether what is left to be done to a frame is before each that is written.
    fn has_head(&self) -> bool {
        false
    }
    /// What may be left to the card from now on.
    fn allow(&mut self, _allowed: Offloads) {}
    /// Whether it is in use. One of several may not be: then it takes and gives nothing.
    fn is_used(&self) -> bool {
        true
    }
    /// It is to be in use, or not.
    fn use_it(&mut self, _used: bool) {}
    /// Writes a frame with its head.
    fn write(&mut self, packet: &[u8]) -> Result<(), Errno>;
    /// Reads a frame and says where it is, and what is left to be done to it; none: it was not for the guest.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(Range<usize>, Offload)>, Errno>;
}

/// Moves frames until the back end ends.
pub(super) fn exchange(served: &Served, mut wire: impl Wire) {
    let mut exchange = Exchange {
        served,
        packet: Vec::new(),
        buffer: vec![0; BUFFER],
        told: Told::default(),
        allowed: Offloads::NONE,
    };
    while !served.queues.stopping() {
        thread_role::at(thread_role::Role::Frames);
        exchange.turn(&mut wire);
    }
}

struct Exchange<'a> {
    served: &'a Served,
    /// A frame of the guest's that is not written yet.
    packet: Vec<u8>,
    buffer: Vec<u8>,
    told: Told,
    allowed: Offloads,
}

/// When a failure was told last.
#[derive(Default)]
pub(super) struct Told(Option<Instant>);

impl Told {
    /// Whether it is time to tell of one.
    pub(super) fn again(&mut self) -> bool {
        let again = self.0.is_none_or(|told| told.elapsed() >= TELL);
        if again {
            self.0 = Some(Instant::now());
        }
        again
    }
}

/// How one direction went.
#[derive(PartialEq, Eq)]
enum Went {
    /// There was nothing more, or there may be.
    On,
    /// There is no room for more.
    Stuck,
    /// It failed.
    Failed,
}

impl Exchange<'_> {
    fn turn(&mut self, wire: &mut impl Wire) {
        let queues = &self.served.queues;
        let used = queues.used();
        if used && !wire.is_used() {
            wire.use_it(true);
        }
        let allowed = queues.allowed();
        if std::mem::replace(&mut self.allowed, allowed) != allowed {
            wire.allow(allowed);
        }
        let written = if wire.is_used() { self.write_all(wire) } else { Went::Stuck };
        queues.relieve();
        if !used {
            // What the guest has sent before has gone.
            if wire.is_used() {
                wire.use_it(false);
            }
            queues.drop_incoming();
            queues.wait(None, false, None);
            return;
        }
        let read = self.read_all(wire);
        queues.deliver();
        if written == Went::Failed || read == Went::Failed {
            // An interface that is down, or gone, is ready all the time. Frames of the guest's are lost meanwhile, as
            // on a cable that is cut.
            queues.wait(None, true, Some(REST));
            return;
        }
        let mut ready = PollFlags::empty();
        ready.set(PollFlags::IN, read != Went::Stuck);
        let again = wire.again().filter(|_| written == Went::Stuck);
        ready.set(PollFlags::OUT, written == Went::Stuck && again.is_none());
        let ready = queues.wait(Some((wire.file(), ready)), written != Went::Stuck, again);
        if ready.intersects(PollFlags::ERR | PollFlags::HUP) && !ready.contains(PollFlags::IN) {
            // Nothing to be read, and yet it wants attention.
            queues.wait(None, true, Some(REST));
        }
    }

    fn write_all(&mut self, wire: &mut impl Wire) -> Went {
        let (head, queues) = (if wire.has_head() { Offload::LEN } else { 0 }, &self.served.queues);
        let mut went = Went::On;
        for _ in 0..TURN {
            if self.packet.is_empty() {
                let taken = queues.take(&mut self.packet, 0, |to, _| to.resize(head, 0));
                let Some(left) = taken else { break };
                self.packet[..head].copy_from_slice(&left.bytes()[..head]);
            }
            match wire.write(&self.packet) {
                Err(Errno::AGAIN) => return Went::Stuck,
                Err(Errno::INTR) => continue,
                Ok(()) => {}
                Err(error) => {
                    went = Went::Failed;
                    self.tell(wire, error);
                }
            }
            self.packet.clear();
        }
        went
    }

    fn read_all(&mut self, wire: &mut impl Wire) -> Went {
        for _ in 0..TURN {
            if !self.served.queues.room() {
                return Went::Stuck;
            }
            match wire.read(&mut self.buffer) {
                Ok(Some((frame, left))) => self.served.queues.push_with(&self.buffer[frame], left),
                Ok(None) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    self.tell(wire, error);
                    return Went::Failed;
                }
            }
        }
        Went::On
    }

    fn tell(&mut self, wire: &impl Wire, error: Errno) {
        if self.told.again() {
            tracing::warn!("network: {} fails: {}", wire.name(), std::io::Error::from(error));
        }
    }
}
