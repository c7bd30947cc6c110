//! What the device and the thread share: packets on their way, bounded in both directions.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use devices_core::vsock::MAX_PAYLOAD;
use devices_core::{Wake, Waker};
use rustix::event::{EventfdFlags, eventfd};

/// Most packets that wait, each way.
pub(super) const PACKETS: usize = 64;
/// Most bytes of the guest's that wait; there is always room for one more packet below it.
const BYTES: usize = 4 * MAX_PAYLOAD;

/// Packets of one life of the driver's.
#[derive(Default)]
struct Queues {
    /// Which life: a reset begins a new one.
    life: u64,
    from_guest: VecDeque<Vec<u8>>,
    bytes: usize,
    to_guest: VecDeque<Vec<u8>>,
    /// The device was told that there is no room.
    starved: bool,
    /// It was told that there is no packet.
    hungry: bool,
    /// The thread waits for room.
    waiting: bool,
    stopping: bool,
}

pub(super) struct Shared {
    queues: Mutex<Queues>,
    /// Readable when the thread has something to do.
    kick: OwnedFd,
    waker: Waker,
    number: u32,
}

/// What the device has sent.
pub(super) struct Batch {
    pub(super) life: u64,
    pub(super) packets: VecDeque<Vec<u8>>,
}

impl Shared {
    pub(super) fn new(waker: Waker, number: u32) -> io::Result<Shared> {
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let queues = Mutex::new(Queues { hungry: true, ..Queues::default() });
        Ok(Shared { queues, kick, waker, number })
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kick(&self) {
        // An eventfd that is full is readable all the same.
        let _ = rustix::io::write(&self.kick, &1u64.to_ne_bytes());
    }

    pub(super) fn kicked(&self) -> &OwnedFd {
        &self.kick
    }

    pub(super) fn stopping(&self) -> bool {
        self.queues().stopping
    }

    pub(super) fn stop(&self) {
        self.queues().stopping = true;
        self.kick();
    }

    /// The device's.
    pub(super) fn send(&self, packet: &[u8]) -> bool {
        let mut queues = self.queues();
        if queues.from_guest.len() >= PACKETS || queues.bytes >= BYTES {
            queues.starved = true;
            return false;
        }
        let first = queues.from_guest.is_empty();
        queues.bytes += packet.len();
        queues.from_guest.push_back(packet.to_vec());
        drop(queues);
        if first {
            self.kick();
        }
        true
    }

    /// The device's.
    pub(super) fn receive(&self, packet: &mut Vec<u8>) -> bool {
        let mut queues = self.queues();
        let Some(next) = queues.to_guest.pop_front() else {
            queues.hungry = true;
            return false;
        };
        let kick = queues.waiting && queues.to_guest.len() <= PACKETS / 2;
        queues.waiting &= !kick;
        drop(queues);
        *packet = next;
        if kick {
            self.kick();
        }
        true
    }

    /// The device's: nothing of before is heard of again.
    pub(super) fn reset(&self) {
        let mut queues = self.queues();
        *queues =
            Queues { life: queues.life + 1, hungry: true, stopping: queues.stopping, ..Queues::default() };
        drop(queues);
        self.kick();
    }

    /// The thread's: so many packets at most, which have no room there any more.
    pub(super) fn take(&self, most: usize) -> Batch {
        let mut queues = self.queues();
        let most = most.min(queues.from_guest.len());
        let packets: VecDeque<_> = queues.from_guest.drain(..most).collect();
        queues.bytes -= packets.iter().map(Vec::len).sum::<usize>();
        let wake = most > 0 && std::mem::take(&mut queues.starved);
        let life = queues.life;
        drop(queues);
        if wake {
            self.wake();
        }
        Batch { life, packets }
    }

    /// The thread's: whether there are packets of the guest's.
    pub(super) fn has_packets(&self) -> bool {
        !self.queues().from_guest.is_empty()
    }

    /// The thread's: how many packets there is room for.
    pub(super) fn room(&self) -> usize {
        PACKETS.saturating_sub(self.queues().to_guest.len())
    }

    /// The thread's: packets for the guest, if it is still in that life. True: there is room again for those that `wait`.
    pub(super) fn give(&self, life: u64, packets: Vec<Vec<u8>>, wait: bool) -> bool {
        let mut queues = self.queues();
        if queues.life != life {
            // It is to look at that first.
            return true;
        }
        let wake = !packets.is_empty() && std::mem::take(&mut queues.hungry);
        queues.to_guest.extend(packets);
        let room = queues.to_guest.len() <= PACKETS / 2;
        queues.waiting = wait && !room;
        drop(queues);
        if wake {
            self.wake();
        }
        wait && room
    }

    fn wake(&self) {
        self.waker.wake(Wake::Backend(self.number));
    }
}
