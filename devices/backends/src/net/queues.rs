//! What lies between a card and the thread that serves its back end: a queue in each direction.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use devices_core::net::{MAX_FRAME, NetBackend, Offload, Offloads};
use devices_core::{Wake, Waker};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::ring::Ring;
use super::{NetError, Netdev};
use crate::socket::Unlink;

/// How long a back end's thread may take to end.
pub(super) const CLOSING: Duration = Duration::from_millis(400);

/// Frames for the guest.
#[derive(Default)]
struct Incoming {
    ring: Ring,
    /// There was nothing, now there is, and the card does not know yet.
    news: bool,
    /// The thread has no room and wants to know when there is some.
    waiting: bool,
}

/// Frames of the guest's.
#[derive(Default)]
struct Outgoing {
    ring: Ring,
    /// Somebody takes them. If not they are dropped, as by a cable that leads nowhere.
    open: bool,
    /// A frame was refused, and the card wants to know when there is room.
    refused: bool,
    /// The thread sleeps until there is a frame.
    asleep: bool,
}

/// Both queues, and what wakes either end.
pub(super) struct Queues {
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
    /// What may be left to the card now, in [bits](Offloads::bits).
    allowed: AtomicU8,
    /// The card uses it. One of several it may not.
    used: AtomicBool,
    /// Readable when the thread is to look at the queues.
    kick: Arc<OwnedFd>,
    stopping: AtomicBool,
    waker: Waker,
    number: u32,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An eventfd that wakes a thread.
pub(super) fn kick() -> Result<Arc<OwnedFd>, NetError> {
    let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    kick.map(Arc::new).map_err(|e| NetError::System { what: "eventfd", source: e.into() })
}

/// Has a thread look at its queues. An eventfd whose count is full is readable already.
pub(super) fn ring(kick: &OwnedFd) {
    let _ = rustix::io::write(kick, &1u64.to_ne_bytes());
}

impl Queues {
    /// Queues of the card behind `waker`, which is woken with `number`.
    pub(super) fn new(waker: Waker, number: u32) -> Result<Arc<Queues>, NetError> {
        Ok(Queues::sharing(kick()?, waker, number))
    }

    /// The same, where the thread serves others too, by one eventfd.
    pub(super) fn sharing(kick: Arc<OwnedFd>, waker: Waker, number: u32) -> Arc<Queues> {
        Arc::new(Queues {
            incoming: Mutex::default(),
            outgoing: Mutex::default(),
            allowed: AtomicU8::new(0),
            used: AtomicBool::new(true),
            kick,
            stopping: AtomicBool::new(false),
            waker,
            number,
        })
    }

    /// The card is gone, or its back end is.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Has the thread look at the queues.
    pub(super) fn kick(&self) {
        ring(&self.kick);
    }

    /// What that makes readable, for a thread that waits for more than [`Queues::wait`] does.
    pub(super) fn kicked(&self) -> &OwnedFd {
        &self.kick
    }

    /// Such a thread has woken up.
    pub(super) fn clear_kick(&self) {
        // Nothing to read is as good.
        let _ = rustix::io::read(&*self.kick, &mut [0u8; 8]);
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.kick();
    }

    pub(super) fn send(&self, frame: &[u8], left: Offload) -> bool {
        if frame.is_empty() || frame.len() > MAX_FRAME {
            return true;
        }
        let mut outgoing = lock(&self.outgoing);
        if !outgoing.open {
            return true;
        }
        let taken = outgoing.ring.push(frame, left);
        outgoing.refused |= !taken;
        let kick = std::mem::take(&mut outgoing.asleep);
        drop(outgoing);
        if kick {
            self.kick();
        }
        taken
    }

    pub(super) fn receive(&self, frame: &mut Vec<u8>) -> Option<Offload> {
        frame.clear();
        let mut incoming = lock(&self.incoming);
        let some = incoming.ring.pop(frame);
        let kick = incoming.waiting && incoming.ring.has_ease();
        incoming.waiting &= !kick;
        drop(incoming);
        if kick {
            self.kick();
        }
        some
    }

    /// What may be left to the card from now on. The thread is told: the host may have to be.
    pub(super) fn allow(&self, allowed: Offloads) {
        if self.allowed.swap(allowed.bits(), Ordering::AcqRel) != allowed.bits() {
            self.kick();
        }
    }

    /// The card uses it from now on, or no longer.
    pub(super) fn set_used(&self, used: bool) {
        if self.used.swap(used, Ordering::AcqRel) != used {
            self.kick();
        }
    }

    // What follows is called by the thread, with the card's lock free.

    /// Whether the card uses it.
    pub(super) fn used(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }

    /// Drops what waits for the guest: the card does not use it.
    pub(super) fn drop_incoming(&self) {
        lock(&self.incoming).ring.clear();
    }

    /// What may be left to the card now.
    pub(super) fn allowed(&self) -> Offloads {
        Offloads::of_bits(self.allowed.load(Ordering::Acquire))
    }

    /// Whether a frame of any length fits for the guest. If not, [`Queues::wait`] ends when one does.
    pub(super) fn room(&self) -> bool {
        let mut incoming = lock(&self.incoming);
        let room = incoming.ring.fits(MAX_FRAME);
        incoming.waiting |= !room;
        room
    }

    /// Puts a frame in the guest's queue; one that no wire would carry, or for which there is no room, is dropped.
    /// The card learns of it by [`Queues::deliver`].
    pub(super) fn push(&self, frame: &[u8]) {
        self.put(frame, Offload::default(), Ring::push);
    }

    /// The same with something left to the card.
    pub(super) fn push_with(&self, frame: &[u8], left: Offload) {
        self.put(frame, left, Ring::push);
    }

    /// The same beyond what [`Queues::room`] allows, up to twice: answers to the guest, which come one by one.
    pub(super) fn push_beyond(&self, frame: &[u8]) {
        self.push_beyond_with(frame, Offload::default());
    }

    /// The same with something left to the card.
    pub(super) fn push_beyond_with(&self, frame: &[u8], left: Offload) {
        self.put(frame, left, Ring::push_beyond);
    }

    fn put(&self, frame: &[u8], left: Offload, push: fn(&mut Ring, &[u8], Offload) -> bool) {
        if frame.is_empty() || frame.len() > MAX_FRAME {
            return;
        }
        let mut incoming = lock(&self.incoming);
        incoming.news |= incoming.ring.is_empty();
        push(&mut incoming.ring, frame, left);
    }

    /// Wakes the card if frames came after it had none.
    pub(super) fn deliver(&self) {
        if std::mem::take(&mut lock(&self.incoming).news) {
            self.waker.wake(Wake::Backend(self.number));
        }
    }

    /// Appends the guest's next frame to `to`, behind what `head` makes of its length. None: there is none, or it would
    /// make `to` longer than `limit`.
    pub(super) fn take(
        &self,
        to: &mut Vec<u8>,
        limit: usize,
        head: impl FnOnce(&mut Vec<u8>, usize),
    ) -> Option<Offload> {
        let mut outgoing = lock(&self.outgoing);
        let len = outgoing.ring.first()?;
        if !to.is_empty() && to.len() + len > limit {
            return None;
        }
        head(to, len);
        outgoing.ring.pop(to)
    }

    /// Wakes the card if it was refused and there is room again.
    pub(super) fn relieve(&self) {
        let mut outgoing = lock(&self.outgoing);
        let wake = outgoing.refused && outgoing.ring.has_ease();
        outgoing.refused &= !wake;
        drop(outgoing);
        if wake {
            self.waker.wake(Wake::Backend(self.number));
        }
    }

    /// From now on somebody takes the guest's frames, or nobody does: then those that wait are dropped.
    pub(super) fn set_open(&self, open: bool) {
        let mut outgoing = lock(&self.outgoing);
        outgoing.open = open;
        if !open {
            outgoing.ring.clear();
        }
        drop(outgoing);
        self.relieve();
    }

    /// Before the thread sleeps: it is to be woken by the guest's next frame. False: there is one.
    pub(super) fn drowse(&self) -> bool {
        let mut outgoing = lock(&self.outgoing);
        outgoing.asleep = outgoing.ring.is_empty();
        outgoing.asleep
    }

    /// After it has slept.
    pub(super) fn rouse(&self) {
        lock(&self.outgoing).asleep = false;
    }

    /// Waits until `fd` is ready for what is asked of it, a frame of the guest's is there and `wanted`,
    /// [room](Queues::room) that was missing is there, the back end ends, or the time is up. Gives what `fd` is ready
    /// for. One that is asked for nothing is not looked at: the kernel would tell of a peer that has gone, without end.
    pub(super) fn wait(
        &self,
        fd: Option<(&OwnedFd, PollFlags)>,
        wanted: bool,
        time: Option<Duration>,
    ) -> PollFlags {
        self.wait_for_two([fd, None], wanted, time)[0]
    }

    /// The same with two files.
    pub(super) fn wait_for_two(
        &self,
        files: [Option<(&OwnedFd, PollFlags)>; 2],
        wanted: bool,
        time: Option<Duration>,
    ) -> [PollFlags; 2] {
        let now = wanted && !self.drowse();
        let time = if now { Some(Duration::ZERO) } else { time };
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let kick = PollFd::new(&*self.kick, PollFlags::IN);
        let asked = files.map(|file| file.filter(|(_, what)| !what.is_empty()));
        let other = |file: Option<_>| file.map_or(kick.clone(), |(fd, what)| PollFd::new(fd, what));
        let mut fds = [kick.clone(), other(asked[0]), other(asked[1])];
        // A signal, or a host short of memory: look again.
        let ready = poll(&mut fds, time.as_ref()).is_ok();
        self.rouse();
        if ready && !fds[0].revents().is_empty() {
            self.clear_kick();
        }
        [0, 1].map(|file| match asked[file] {
            Some(_) if ready => fds[file + 1].revents(),
            _ => PollFlags::empty(),
        })
    }

    /// Waits so long, or until the back end ends.
    pub(super) fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.stopping() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.wait(None, false, Some(left));
        }
    }
}

/// What a thread and those who ask about its back end both see.
pub(super) struct Served {
    /// The queues.
    pub(super) queues: Arc<Queues>,
    kind: &'static str,
    state: Mutex<String>,
}

impl Served {
    /// Which kind of back end it is.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// Says what the other end is now.
    pub(super) fn set_state(&self, state: &str) {
        state.clone_into(&mut lock(&self.state));
    }
}

/// A back end that a thread serves. It ends when this is dropped.
pub(super) struct Threaded {
    served: Arc<Served>,
    offloads: Offloads,
    ended: Mutex<mpsc::Receiver<()>>,
    /// Removed by whoever drops this: the thread has no calls for it.
    _unlink: Option<Unlink>,
}

impl Threaded {
    /// Starts the thread. `kind` and `state` are what `info network` shows; `unlink` is the socket's file, which goes in
    /// the end.
    pub(super) fn start(
        queues: Arc<Queues>,
        kind: &'static str,
        state: &str,
        unlink: Option<Unlink>,
        serve: impl FnOnce(&Served) + Send + 'static,
    ) -> Result<Arc<dyn Netdev>, NetError> {
        Ok(Threaded::start_with(queues, kind, state, (unlink, Offloads::NONE), serve)?)
    }

    /// The same of one that can be left something.
    pub(super) fn start_with(
        queues: Arc<Queues>,
        kind: &'static str,
        state: &str,
        (unlink, offloads): (Option<Unlink>, Offloads),
        serve: impl FnOnce(&Served) + Send + 'static,
    ) -> Result<Arc<Threaded>, NetError> {
        let served = Arc::new(Served { queues, kind, state: Mutex::new(state.into()) });
        let (ending, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name("net".into()).spawn({
            let served = served.clone();
            move || {
                serve(&served);
                drop(ending);
            }
        });
        thread.map_err(|source| NetError::System { what: "thread", source })?;
        Ok(Arc::new(Threaded { served, offloads, ended: Mutex::new(ended), _unlink: unlink }))
    }

    /// What is between the thread and the card.
    pub(super) fn between(&self) -> &Queues {
        &self.served.queues
    }
}

impl NetBackend for Threaded {
    fn send(&self, frame: &[u8]) -> bool {
        self.served.queues.send(frame, Offload::default())
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        self.served.queues.receive(frame).is_some()
    }
    fn offloads(&self) -> Offloads {
        self.offloads
    }
    fn set_offloads(&self, allowed: Offloads) {
        self.served.queues.allow(allowed);
    }
    fn send_with(&self, frame: &[u8], left: Offload) -> bool {
        self.served.queues.send(frame, left)
    }
    fn receive_with(&self, frame: &mut Vec<u8>) -> Option<Offload> {
        self.served.queues.receive(frame)
    }
}

impl Netdev for Threaded {
    fn info(&self) -> String {
        format!("index=0,type={},{}", self.served.kind, lock(&self.served.state))
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        self.served.queues.stop();
        // It may be waiting for the card, whose lock the caller may hold: then it ends by itself.
        let _ = lock(&self.ended).recv_timeout(CLOSING);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::FRAMES;
    use super::*;

    #[test]
    fn one_that_found_no_room_is_told_of_it_though_another_found_some() {
        let queues = Queues::new(Waker::default(), 0).unwrap();
        for _ in 0..FRAMES {
            assert!(queues.room());
            queues.push(&[1; 60]);
        }
        assert!(!queues.room());
        let mut frame = Vec::new();
        assert!(queues.receive(&mut frame).is_some() && queues.room());
        let mut count = [0; 8];
        assert!(rustix::io::read(queues.kicked(), &mut count).is_err(), "told too early");
        while queues.receive(&mut frame).is_some() {}
        rustix::io::read(queues.kicked(), &mut count).unwrap();
        // Once.
        assert_eq!(u64::from_ne_bytes(count), 1);
    }

    #[test]
    fn answers_go_beyond_what_there_is_room_for_but_not_without_end() {
        let queues = Queues::new(Waker::default(), 0).unwrap();
        for _ in 0..3 * FRAMES {
            queues.push(&[1; 60]);
        }
        for _ in 0..3 * FRAMES {
            queues.push_beyond(&[2; 60]);
        }
        let mut frame = Vec::new();
        let firsts: Vec<u8> = std::iter::from_fn(|| queues.receive(&mut frame).map(|_| frame[0])).collect();
        assert_eq!(firsts, [[1; FRAMES], [2; FRAMES]].concat());
    }
}
