//! A disk's host side, as its controller sees it.
//!
//! A controller hands a [`BlockRequest`] to its [`BlockBackend`] and goes on; the answer comes later into
//! its [`CompletionQueue`], which wakes it. A request owns all that it needs: its ranges of guest memory,
//! or its buffer. A controller that was reset meanwhile knows late answers by their token and drops them.
//!
//! Where runs must repeat exactly the medium is wrapped in [`Inline`]: work is done within
//! [`submit`](BlockBackend::submit), the answer comes a fixed guest time later.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use hypervisor::{GuestRam, Timer, memory};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::device::Wake;
use crate::wiring::{Waker, Wiring};

/// Bytes of a sector: offsets and lengths of requests are multiples of it.
pub const SECTOR: u64 = 512;

/// What a medium is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Bytes, a multiple of [`SECTOR`].
    pub size: u64,
    /// Writes are refused.
    pub read_only: bool,
    /// Bytes that the host writes at once, at least [`SECTOR`], a power of two.
    pub physical_block: u32,
    /// Whether [`BlockOp::Discard`] gives space back.
    pub discard: bool,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BlockError {
    /// The host could not read or write it.
    #[error("input/output error")]
    Io,
    /// It reaches beyond the end.
    #[error("beyond the end of the medium")]
    OutOfRange,
    /// The medium takes no writes.
    #[error("the medium is read-only")]
    ReadOnly,
    /// The host's file system is full.
    #[error("no space left on the host")]
    NoSpace,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOp {
    /// Medium to payload.
    Read,
    /// Payload to medium.
    Write,
    /// What was written before is safe against a power failure when this is done.
    Flush,
    /// The contents of so many bytes do not matter any more. They read as zeros or as before.
    Discard(u64),
}

/// A range of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Guest-physical address.
    pub gpa: u64,
    /// Bytes.
    pub len: u32,
}

/// Where the data is.
#[derive(Clone)]
pub enum Payload {
    /// Nowhere: flush, discard.
    None,
    /// Guest memory. The controller has checked that the segments are RAM and that it is bus master.
    Guest(GuestRam, Vec<Segment>),
    /// The request's own; it comes back with the completion.
    Buffer(Vec<u8>),
}

impl Payload {
    /// Bytes.
    pub fn len(&self) -> u64 {
        match self {
            Payload::None => 0,
            Payload::Guest(_, segments) => segments.iter().map(|s| u64::from(s.len)).sum(),
            Payload::Buffer(buffer) => buffer.len() as u64,
        }
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the payload, piece by piece and in order, `data`. What is too much is left out.
    pub fn fill(&mut self, data: &[u8]) -> Result<(), BlockError> {
        match self {
            Payload::None => Ok(()),
            Payload::Guest(ram, segments) => {
                each(segments, data.len(), |gpa, range| memory::write(ram, gpa, &data[range]))
            }
            Payload::Buffer(buffer) => {
                let len = buffer.len().min(data.len());
                buffer[..len].copy_from_slice(&data[..len]);
                Ok(())
            }
        }
    }

    /// Takes the payload's bytes, as many as `data` has room for.
    pub fn copy_to(&self, data: &mut [u8]) -> Result<(), BlockError> {
        match self {
            Payload::None => Ok(()),
            Payload::Guest(ram, segments) => {
                each(segments, data.len(), |gpa, range| memory::read(ram, gpa, &mut data[range]))
            }
            Payload::Buffer(buffer) => {
                let len = buffer.len().min(data.len());
                data[..len].copy_from_slice(&buffer[..len]);
                Ok(())
            }
        }
    }
}

fn each(
    segments: &[Segment],
    len: usize,
    mut copy: impl FnMut(u64, std::ops::Range<usize>) -> bool,
) -> Result<(), BlockError> {
    let mut done = 0;
    for segment in segments {
        let now = (segment.len as usize).min(len - done);
        if !copy(segment.gpa, done..done + now) {
            return Err(BlockError::Io);
        }
        done += now;
    }
    Ok(())
}

/// One request.
pub struct BlockRequest {
    /// The controller's own, comes back with the completion.
    pub token: u64,
    /// What to do.
    pub op: BlockOp,
    /// First byte on the medium, a multiple of [`SECTOR`].
    pub offset: u64,
    /// The data, its length a multiple of [`SECTOR`].
    pub payload: Payload,
    /// Where the answer goes.
    pub done: CompletionQueue,
}

/// The answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub struct Completion {
    /// The request's.
    pub token: u64,
    /// Whether all of it was done.
    pub result: Result<(), BlockError>,
    /// The buffer of a [`Payload::Buffer`], empty otherwise.
    pub buffer: Vec<u8>,
}

impl Completion {
    /// The answer to a request with that result.
    pub fn new(token: u64, payload: Payload, result: Result<(), BlockError>) -> Completion {
        let buffer = if let Payload::Buffer(buffer) = payload { buffer } else { Vec::new() };
        Completion { token, result, buffer }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where answers wait for their controller. Clones are handles. As long as requests in flight are
/// bounded, so is this.
#[derive(Clone)]
pub struct CompletionQueue {
    done: Arc<Mutex<VecDeque<Completion>>>,
    waker: Waker,
    number: u32,
}

impl CompletionQueue {
    /// A queue that wakes its controller with [`Wake::Backend`]`(number)`.
    pub fn new(waker: Waker, number: u32) -> CompletionQueue {
        CompletionQueue { done: Arc::default(), waker, number }
    }

    /// The next answer, for the controller.
    pub fn pop(&self) -> Option<Completion> {
        lock(&self.done).pop_front()
    }

    /// Adds an answer and wakes the controller. Never to be called within
    /// [`submit`](BlockBackend::submit): the controller's lock is held there.
    pub fn deliver(&self, completion: Completion) {
        lock(&self.done).push_back(completion);
        self.waker.wake(Wake::Backend(self.number));
    }
}

/// The host side of one disk.
pub trait BlockBackend: Send + Sync {
    /// What the medium is. The same as long as it is in the drive.
    fn info(&self) -> BlockInfo;
    /// Takes a request. Never blocks and never answers from within. Gives it back when too many are in
    /// flight. Requests in flight may be done in any order.
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest>;
    /// Whether no request is being worked on, so that nothing changes on the medium by itself.
    fn idle(&self) -> bool;
}

/// A medium that does its work at once, on the caller's thread.
pub trait BlockStore: Send + Sync {
    /// What it is.
    fn info(&self) -> BlockInfo;
    /// Does one piece of work. Reaching beyond the end is an error.
    fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError>;
}

/// Checks a request against a medium.
pub fn check(info: &BlockInfo, op: BlockOp, offset: u64, payload: &Payload) -> Result<(), BlockError> {
    let len = match op {
        BlockOp::Flush => return Ok(()),
        BlockOp::Discard(len) => len,
        BlockOp::Read | BlockOp::Write => payload.len(),
    };
    if info.read_only && op != BlockOp::Read {
        return Err(BlockError::ReadOnly);
    }
    match offset.checked_add(len) {
        Some(end) if end <= info.size => Ok(()),
        _ => Err(BlockError::OutOfRange),
    }
}

/// Guest time between an [`Inline`] request and its answer, in nanoseconds.
pub const INLINE_LATENCY: u64 = 100_000;

/// Most requests that [`Inline`] has waiting.
const INLINE_DEPTH: usize = 256;

/// Turns a store into a backend whose answers come at exact guest times.
pub struct Inline {
    store: Arc<dyn BlockStore>,
    wiring: Wiring,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    answers: VecDeque<(u64, CompletionQueue, Completion)>,
    timer: Option<Timer>,
}

impl Inline {
    /// Answers come [`INLINE_LATENCY`] later by the clock of `wiring`, which is not the controller's own.
    pub fn new(store: Arc<dyn BlockStore>, wiring: Wiring) -> Inline {
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let of = Arc::downgrade(&waiting);
        let clock = wiring.clone();
        let timer = wiring.callback(move || {
            if let Some(waiting) = of.upgrade() {
                deliver_due(&waiting, clock.now());
            }
        });
        lock(&waiting).timer = Some(timer);
        Inline { store, wiring, waiting }
    }
}

fn deliver_due(waiting: &Mutex<Waiting>, now: u64) {
    loop {
        let mut queue = lock(waiting);
        let next = queue.answers.front().map(|answer| answer.0);
        match next {
            Some(at) if at <= now => {}
            Some(at) => {
                if let Some(timer) = &mut queue.timer {
                    timer.arm(at);
                }
                return;
            }
            None => return,
        }
        let Some((_, to, completion)) = queue.answers.pop_front() else { return };
        drop(queue);
        to.deliver(completion);
    }
}

impl BlockBackend for Inline {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }

    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let mut waiting = lock(&self.waiting);
        if waiting.answers.len() >= INLINE_DEPTH {
            return Err(request);
        }
        let BlockRequest { token, op, offset, mut payload, done } = request;
        let result = check(&self.store.info(), op, offset, &payload)
            .and_then(|()| self.store.run(op, offset, &mut payload));
        let at = self.wiring.now().saturating_add(INLINE_LATENCY);
        waiting.answers.push_back((at, done, Completion::new(token, payload, result)));
        let first = waiting.answers.front().map_or(at, |answer| answer.0);
        if let Some(timer) = &mut waiting.timer {
            timer.arm(first);
        }
        Ok(())
    }

    fn idle(&self) -> bool {
        true
    }
}

/// A disk in memory, for tests.
pub struct MemoryStore {
    bytes: RwLock<Vec<u8>>,
    read_only: bool,
    broken: AtomicBool,
}

impl MemoryStore {
    /// With these contents, whole sectors.
    pub fn new(bytes: Vec<u8>, read_only: bool) -> MemoryStore {
        MemoryStore { bytes: RwLock::new(bytes), read_only, broken: AtomicBool::new(false) }
    }
    /// Makes all work fail, or succeed again.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }
    /// A copy of the contents.
    pub fn contents(&self) -> Vec<u8> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl BlockStore for MemoryStore {
    fn info(&self) -> BlockInfo {
        let size = self.bytes.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        BlockInfo { size, read_only: self.read_only, physical_block: 512, discard: true }
    }

    fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(BlockError::Io);
        }
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let len = if let BlockOp::Discard(len) = op { len } else { payload.len() };
        let range = offset as usize..offset.saturating_add(len) as usize;
        match op {
            BlockOp::Flush => Ok(()),
            BlockOp::Read => payload.fill(bytes.get(range).ok_or(BlockError::OutOfRange)?),
            BlockOp::Write => payload.copy_to(bytes.get_mut(range).ok_or(BlockError::OutOfRange)?),
            BlockOp::Discard(_) => {
                bytes.get_mut(range).ok_or(BlockError::OutOfRange)?.fill(0);
                Ok(())
            }
        }
    }
}

/// What the monitor wants of a removable medium's drive.
pub enum MediumChange {
    /// Put this in, in the place of what is there.
    Insert(Arc<dyn BlockBackend>),
    /// Take out what is there.
    Remove,
    /// Put this in, where the tray is, and leave the tray as it is.
    Place(Arc<dyn BlockBackend>),
    /// Take out what is there, likewise.
    Lift,
    /// Open the tray.
    Open,
    /// Close the tray.
    Close,
    /// Somebody pressed the eject button of a locked drive.
    Button,
}

/// The guest has locked the tray.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the guest has locked the tray; it has been asked to let go")]
pub struct Locked;

/// Hand on the tray of a removable medium's drive. Clones are handles: one is the drive's, the others are
/// the monitor's.
#[derive(Clone)]
pub struct Medium {
    changes: Arc<Mutex<VecDeque<MediumChange>>>,
    removed: Arc<Mutex<Vec<Arc<dyn BlockBackend>>>>,
    locked: Arc<AtomicBool>,
    open: Arc<AtomicBool>,
    waker: Waker,
    number: u32,
}

/// Most changes that wait for the drive; the oldest goes.
const CHANGES: usize = 8;

impl Medium {
    /// A tray whose drive is woken with [`Wake::Backend`]`(number)`.
    pub fn new(waker: Waker, number: u32) -> Medium {
        let (locked, open) = Default::default();
        Medium { changes: Arc::default(), removed: Arc::default(), locked, open, waker, number }
    }

    /// Inserts a medium, taking out what is there. A locked tray opens only by `force`.
    pub fn insert(&self, backend: Arc<dyn BlockBackend>, force: bool) -> Result<(), Locked> {
        self.change(MediumChange::Insert(backend), force)
    }

    /// Takes the medium out, likewise.
    pub fn eject(&self, force: bool) -> Result<(), Locked> {
        self.change(MediumChange::Remove, force)
    }

    /// Opens the tray with the medium in it, likewise.
    pub fn open_tray(&self, force: bool) -> Result<(), Locked> {
        self.change(MediumChange::Open, force)
    }

    /// Closes the tray.
    pub fn close_tray(&self) {
        // A closed tray is no matter of the lock.
        let _ = self.change(MediumChange::Close, true);
    }

    /// Puts a medium in, or takes it out, and leaves the tray alone: for one that is open.
    pub fn place(&self, backend: Option<Arc<dyn BlockBackend>>) {
        // An open tray holds nothing back.
        let _ = self.change(backend.map_or(MediumChange::Lift, MediumChange::Place), true);
    }

    fn change(&self, change: MediumChange, force: bool) -> Result<(), Locked> {
        let refused = self.locked.load(Ordering::Acquire) && !force;
        {
            let mut changes = lock(&self.changes);
            if changes.len() >= CHANGES {
                changes.pop_front();
            }
            changes.push_back(if refused { MediumChange::Button } else { change });
        }
        self.waker.wake(Wake::Backend(self.number));
        // Closing a medium waits for its threads, which may be waiting for the drive.
        let removed = std::mem::take(&mut *lock(&self.removed));
        drop(removed);
        if refused { Err(Locked) } else { Ok(()) }
    }

    /// What the drive has taken out. It is closed when the drive's lock is not held any more.
    pub fn hand_out(&self, medium: Arc<dyn BlockBackend>) {
        lock(&self.removed).push(medium);
    }

    /// The next change, for the drive.
    pub fn take(&self) -> Option<MediumChange> {
        lock(&self.changes).pop_front()
    }

    /// Whether the guest keeps the tray shut, from the drive.
    pub fn set_locked(&self, locked: bool) {
        self.locked.store(locked, Ordering::Release);
    }

    /// Where the tray is, from the drive.
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// Whether the guest keeps the tray shut.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Acquire)
    }

    /// Whether the tray is open.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Rig;

    fn request(
        token: u64,
        op: BlockOp,
        offset: u64,
        payload: Payload,
        done: &CompletionQueue,
    ) -> BlockRequest {
        BlockRequest { token, op, offset, payload, done: done.clone() }
    }

    fn store() -> Arc<MemoryStore> {
        Arc::new(MemoryStore::new((0..4096).map(|at| (at / 512) as u8).collect(), false))
    }

    #[test]
    fn inline_answers_come_in_order_each_at_its_own_instant() {
        let mut rig = Rig::new();
        let inline = Inline::new(store(), rig.wiring());
        let done = CompletionQueue::new(Waker::default(), 0);
        let buffer = || Payload::Buffer(vec![0; 512]);
        assert!(inline.submit(request(1, BlockOp::Read, 512, buffer(), &done)).is_ok());
        rig.advance(INLINE_LATENCY / 2);
        assert!(inline.submit(request(2, BlockOp::Read, 4096, buffer(), &done)).is_ok());
        assert_eq!(done.pop(), None, "never from within");
        rig.advance(INLINE_LATENCY / 2 - 1);
        assert_eq!(done.pop(), None);
        rig.advance(1);
        assert_eq!(done.pop(), Some(Completion { token: 1, result: Ok(()), buffer: vec![1; 512] }));
        assert_eq!(done.pop(), None);
        rig.advance(INLINE_LATENCY / 2);
        let late = done.pop().unwrap();
        assert_eq!((late.token, late.result), (2, Err(BlockError::OutOfRange)));
    }

    #[test]
    fn inline_has_so_many_waiting_and_no_more() {
        let mut rig = Rig::new();
        let inline = Inline::new(store(), rig.wiring());
        let done = CompletionQueue::new(Waker::default(), 0);
        let flush = |token| request(token, BlockOp::Flush, 0, Payload::None, &done);
        for token in 0..INLINE_DEPTH as u64 {
            assert!(inline.submit(flush(token)).is_ok());
        }
        assert!(inline.submit(flush(999)).is_err_and(|refused| refused.token == 999));
        rig.advance(INLINE_LATENCY);
        assert_eq!(std::iter::from_fn(|| done.pop()).count(), INLINE_DEPTH);
        assert!(inline.submit(flush(1000)).is_ok());
    }

    #[test]
    fn guest_memory_is_filled_and_read_piece_by_piece() {
        let rig = Rig::new();
        let segments = vec![Segment { gpa: 0x100, len: 3 }, Segment { gpa: 0x200, len: 509 }];
        let mut payload = Payload::Guest(rig.ram().clone(), segments);
        let store = store();
        store.run(BlockOp::Read, 1024, &mut payload).unwrap();
        assert_eq!([rig.peek(0x100, 4), rig.peek(0x200, 4)], [vec![2, 2, 2, 0], vec![2; 4]]);
        rig.poke(0x102, &[9]);
        store.run(BlockOp::Write, 0, &mut payload).unwrap();
        assert_eq!(store.contents()[..5], [2, 2, 9, 2, 2]);
        let mut hole = Payload::Guest(rig.ram().clone(), vec![Segment { gpa: 1 << 40, len: 512 }]);
        assert_eq!(store.run(BlockOp::Read, 0, &mut hole), Err(BlockError::Io));
    }

    #[test]
    fn a_medium_refuses_what_it_is_not_for() {
        let info = BlockInfo { size: 4096, read_only: true, physical_block: 512, discard: false };
        let check = |op, offset| check(&info, op, offset, &Payload::Buffer(vec![0; 512]));
        assert_eq!(check(BlockOp::Read, 3584), Ok(()));
        assert_eq!(check(BlockOp::Read, 3585), Err(BlockError::OutOfRange));
        assert_eq!(check(BlockOp::Read, u64::MAX), Err(BlockError::OutOfRange));
        assert_eq!(check(BlockOp::Write, 0), Err(BlockError::ReadOnly));
        assert_eq!(check(BlockOp::Discard(1), 0), Err(BlockError::ReadOnly));
        assert_eq!(check(BlockOp::Flush, 0), Ok(()));
    }

    #[test]
    fn a_locked_tray_tells_its_drive_that_somebody_knocked() {
        let rig = Rig::new();
        let tray = Medium::new(Waker::default(), 2);
        tray.set_locked(true);
        assert_eq!(tray.eject(false), Err(Locked));
        assert_eq!(tray.eject(true), Ok(()));
        let inline: Arc<dyn BlockBackend> = Arc::new(Inline::new(store(), rig.wiring()));
        for _ in 0..100 {
            assert_eq!(tray.insert(inline.clone(), false), Err(Locked));
        }
        assert_eq!(std::iter::from_fn(|| tray.take()).count(), CHANGES);
    }
}
