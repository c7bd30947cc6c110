//! A disk's host side, as its controller sees it.
//!
//! A controller hands a [`BlockRequest`] to its [`BlockBackend`] and goes on; the answer comes later into
//! its [`CompletionQueue`], which wakes it. A request owns all that it needs: its ranges of guest memory,
//! or its buffer. A controller submits through [`Requests`]: what it has begun and does not wait for any more
//! is taken back or fenced there.
//!
//! Where runs must repeat exactly the medium is wrapped in [`Inline`]: work is done within
//! [`submit`](BlockBackend::submit), the answer comes a fixed guest time later.

mod errors;
mod inline;
mod medium;
mod memory;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypervisor::GuestRam;
use hypervisor::memory as guest;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::device::Wake;
use crate::wiring::Waker;
pub use errors::{Again, ErrorAction, ErrorPolicy, OnError, Retry};
pub use inline::{INLINE_LATENCY, Inline};
pub use medium::{Locked, MediumChange, Tray};
pub use memory::MemoryStore;
pub use requests::{InFlight, Requests};

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
    /// It was taken back before it was begun.
    #[error("taken back")]
    Cancelled,
    /// The host has taken the medium away for good: the guest is told, whatever its drive does about errors.
    #[error("the medium is gone")]
    Gone,
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
                each(segments, data.len(), |gpa, range| guest::write(ram, gpa, &data[range]))
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
                each(segments, data.len(), |gpa, range| guest::read(ram, gpa, &mut data[range]))
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
#[derive(Debug, PartialEq)]
pub struct Completion {
    /// The request's.
    pub token: u64,
    /// Whether all of it was done.
    pub result: Result<(), BlockError>,
    /// The buffer of a [`Payload::Buffer`], empty otherwise, and as long as it can be sent again.
    pub buffer: Vec<u8>,
    /// The request, if it failed and [can be sent again](BlockRequest::completed).
    pub again: Option<Again>,
}

impl Completion {
    /// The answer to a request with that result.
    pub fn new(token: u64, payload: Payload, result: Result<(), BlockError>) -> Completion {
        let buffer = if let Payload::Buffer(buffer) = payload { buffer } else { Vec::new() };
        Completion { token, result, buffer, again: None }
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

    /// Whether it is the same one.
    pub fn is(&self, other: &CompletionQueue) -> bool {
        Arc::ptr_eq(&self.done, &other.done)
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

/// What is taken back of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// Only the answer of one that is done and waits for its instant.
    Answer,
    /// The request too, if it has not been begun.
    Request,
}

/// The host side of one disk.
pub trait BlockBackend: Send + Sync {
    /// What the medium is. The same as long as it is in the drive.
    fn info(&self) -> BlockInfo;
    /// Takes a request. Never blocks and never answers from within. Gives it back when too many are in
    /// flight. Requests in flight may be done in any order.
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest>;
    /// Takes back the request with that token whose answer goes to `done`, and gives its answer:
    /// [`BlockError::Cancelled`] for one that has not been begun and now never is. None: it runs, and its
    /// answer comes. Never blocks, and calls nobody.
    fn recall(&self, _done: &CompletionQueue, _token: u64, _what: Recall) -> Option<Completion> {
        None
    }
    /// Whether no request is being worked on, so that nothing changes on the medium by itself.
    fn idle(&self) -> bool;
}

/// A medium that does its work at once, on the caller's thread.
pub trait BlockStore: Send + Sync {
    /// What it is.
    fn info(&self) -> BlockInfo;
    /// Does one piece of work. Reaching beyond the end is an error.
    fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError>;
    /// Nobody waits any more for what is being done: what takes long may fail instead. From any thread.
    fn give_up(&self) {}
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
