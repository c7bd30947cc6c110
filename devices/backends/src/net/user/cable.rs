//! The cable between the card and the stack: a bounded queue each way whose buffers are used again.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use devices_core::net::MAX_FRAME;
use rustix::event::{EventfdFlags, eventfd};

/// Frames that wait, each way.
const FRAMES: usize = 256;
/// Their bytes.
const BYTES: usize = 1 << 20;
/// A buffer that grew beyond this is not kept.
const KEPT: usize = 4096;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Lane {
    frames: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    bytes: usize,
}

impl Lane {
    fn full(&self) -> bool {
        self.frames.len() >= FRAMES || self.bytes >= BYTES
    }
    fn keep(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT && self.spare.len() < FRAMES {
            self.spare.push(buffer);
        }
    }
}

/// From the card.
#[derive(Default)]
struct Outward {
    lane: Lane,
    /// A frame was refused: the card wants to be woken.
    refused: bool,
    /// The stack waits and must be kicked.
    asleep: bool,
}

/// To the card.
#[derive(Default)]
struct Inward {
    lane: Lane,
    /// There are frames after there were none: the card must be woken.
    news: bool,
    /// The stack has more than fits and wants to be kicked.
    thirsty: bool,
}

pub(super) struct Cable {
    outward: Mutex<Outward>,
    inward: Mutex<Inward>,
    /// What the stack waits on.
    pub(super) kick: OwnedFd,
}

impl Cable {
    pub(super) fn new() -> io::Result<Cable> {
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Cable { outward: Mutex::default(), inward: Mutex::default(), kick })
    }

    /// Ends the stack's waiting.
    pub(super) fn kick(&self) {
        // It fails only when the counter is at its end: then it is kicked already.
        let _ = rustix::io::write(&self.kick, &1u64.to_ne_bytes());
    }

    // The card's side.

    pub(super) fn send(&self, frame: &[u8]) -> bool {
        if frame.is_empty() || frame.len() > MAX_FRAME {
            return true;
        }
        let mut outward = lock(&self.outward);
        if outward.lane.full() {
            outward.refused = true;
            return false;
        }
        let mut buffer = outward.lane.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        outward.lane.bytes += frame.len();
        outward.lane.frames.push_back(buffer);
        let asleep = std::mem::take(&mut outward.asleep);
        drop(outward);
        if asleep {
            self.kick();
        }
        true
    }

    pub(super) fn receive(&self, frame: &mut Vec<u8>) -> bool {
        let mut inward = lock(&self.inward);
        let Some(next) = inward.lane.frames.pop_front() else { return false };
        inward.lane.bytes -= next.len();
        let old = std::mem::replace(frame, next);
        inward.lane.keep(old);
        let drained = inward.lane.frames.len() <= FRAMES / 2 && inward.lane.bytes <= BYTES / 2;
        let kick = inward.thirsty && drained;
        if kick {
            inward.thirsty = false;
        }
        drop(inward);
        if kick {
            self.kick();
        }
        true
    }

    // The stack's side.

    /// Takes all frames of the card's for `batch`, which is empty. True: one was refused meanwhile, so the card is to be
    /// woken.
    pub(super) fn take(&self, batch: &mut VecDeque<Vec<u8>>) -> bool {
        let mut outward = lock(&self.outward);
        std::mem::swap(&mut outward.lane.frames, batch);
        outward.lane.bytes = 0;
        outward.asleep = false;
        std::mem::take(&mut outward.refused)
    }

    /// Gives the buffers back.
    pub(super) fn done(&self, batch: &mut VecDeque<Vec<u8>>) {
        let mut outward = lock(&self.outward);
        for buffer in batch.drain(..) {
            outward.lane.keep(buffer);
        }
    }

    /// The stack is about to wait. False: there are frames.
    pub(super) fn sleep(&self) -> bool {
        let mut outward = lock(&self.outward);
        outward.asleep = outward.lane.frames.is_empty();
        outward.asleep
    }

    /// Whether there is room for a frame to the card. If not, the stack is kicked when there is.
    pub(super) fn room(&self) -> bool {
        let mut inward = lock(&self.inward);
        let full = inward.lane.full();
        // One that found no room still waits when another finds some.
        inward.thirsty |= full;
        !full
    }

    /// A frame of that length for the card, which `fill` writes. Dropped when there is no room at all: answers go
    /// beyond what [`Cable::room`] allows, up to twice.
    pub(super) fn push<R>(&self, len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut buffer = lock(&self.inward).lane.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.resize(len, 0);
        let result = fill(&mut buffer);
        let mut inward = lock(&self.inward);
        if inward.lane.frames.len() >= 2 * FRAMES || inward.lane.bytes >= 2 * BYTES {
            inward.lane.keep(buffer);
            return result;
        }
        inward.news |= inward.lane.frames.is_empty();
        inward.lane.bytes += len;
        inward.lane.frames.push_back(buffer);
        result
    }

    /// Whether the card must be woken.
    pub(super) fn news(&self) -> bool {
        std::mem::take(&mut lock(&self.inward).news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_found_no_room_is_told_of_it_though_another_found_some() {
        let cable = Cable::new().unwrap();
        for _ in 0..FRAMES {
            assert!(cable.room());
            cable.push(60, |frame| frame.fill(1));
        }
        assert!(!cable.room());
        let mut frame = Vec::new();
        assert!(cable.receive(&mut frame) && cable.room());
        let mut count = [0; 8];
        assert!(rustix::io::read(&cable.kick, &mut count).is_err(), "told too early");
        while cable.receive(&mut frame) {}
        rustix::io::read(&cable.kick, &mut count).unwrap();
        // Once.
        assert_eq!(u64::from_ne_bytes(count), 1);
    }
}
