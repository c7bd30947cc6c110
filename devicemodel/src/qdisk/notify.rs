//! What wakes the thread that serves PV disks.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// Wakes the thread from any other.
pub(super) struct Doorbell {
    pub(super) fd: OwnedFd,
    rung: AtomicBool,
    /// Disks whose images have answered.
    answered: Mutex<BTreeSet<u32>>,
}

impl Doorbell {
    pub(super) fn new() -> io::Result<Doorbell> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Doorbell { fd, rung: AtomicBool::new(false), answered: Mutex::default() })
    }

    pub(super) fn answered(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It fails only when it has been rung often enough.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// The thread is awake: what comes from now on rings again, what came before is to be looked at.
    pub(super) fn hear(&self) {
        // In this order: a ring between the two is one that came before.
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        self.rung.swap(false, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

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
