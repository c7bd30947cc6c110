//! The virtqueues (virtio 1.2, 2.7), seen from the driver's side, whose device is not trusted.
//!
//! What is in flight is known here and never read back: from the device come only an index, numbers of descriptors and
//! lengths, each read once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use devices_core::net::{MAX_FRAME, Offload};

use super::super::vnet::complete;
use super::memory::{AVAILABLE, BUFFER, BUFFERS, SIZE, USED, buffer, queue};
use super::messages::broken;
use crate::vhost_user::memory::Memory;

/// The queue of frames for the guest.
pub(super) const RECEIVE: usize = 0;
/// The queue of the guest's frames.
pub(super) const TRANSMIT: usize = 1;
/// Bytes before each frame: `struct virtio_net_hdr_v1`.
pub(super) const HEAD: usize = 12;

/// Flags of a descriptor: another follows; the device writes.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// Flag of either ring: no need to tell.
const QUIET: u16 = 1;

/// A split virtqueue.
struct Ring {
    memory: Arc<Memory>,
    base: usize,
    /// Index of the next entry to be made available.
    available: u16,
    /// Index of the next used entry to be looked at.
    used: u16,
    /// Chains that are the device's now, by their first descriptors: how many each has.
    chains: Box<[u16; SIZE]>,
    outstanding: u16,
}

/// A chain that came back.
struct Used {
    head: u16,
    len: usize,
}

impl Ring {
    fn new(memory: Arc<Memory>, number: usize) -> Ring {
        let base = queue(number);
        memory.write(base, &[0; BUFFERS]);
        Ring { memory, base, available: 0, used: 0, chains: Box::new([0; SIZE]), outstanding: 0 }
    }

    fn describe(&self, descriptor: u16, len: usize, flags: u16, next: u16) {
        let at = super::memory::ADDRESS + buffer(self.base, descriptor) as u64;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&at.to_le_bytes());
        bytes[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.memory.write(self.base + 16 * usize::from(descriptor), &bytes);
    }

    /// Gives a chain to the device, which sees it when it is [exposed](Ring::expose).
    fn give(&mut self, head: u16, descriptors: u16) {
        let place = usize::from(self.available) % SIZE;
        let at = self.base + AVAILABLE + 4 + 2 * place;
        self.memory.store(at, head.to_le(), Ordering::Relaxed);
        self.available = self.available.wrapping_add(1);
        self.chains[usize::from(head)] = descriptors;
        self.outstanding += 1;
    }

    /// Shows the device what it was given. True: it wants to be told.
    fn expose(&self) -> bool {
        self.memory.store(self.base + AVAILABLE + 2, self.available.to_le(), Ordering::Release);
        // It looks at the index after it has said that it wants to be told.
        fence(Ordering::SeqCst);
        let flags: u16 = self.memory.load(self.base + USED, Ordering::Relaxed);
        u16::from_le(flags) & QUIET == 0
    }

    /// Says whether the device is to tell of what it has used.
    fn listen(&self, listen: bool) {
        let flags = if listen { 0 } else { QUIET };
        self.memory.store(self.base + AVAILABLE, flags.to_le(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// How many chains have come back and were not looked at.
    fn back(&self) -> io::Result<u16> {
        let index: u16 = self.memory.load(self.base + USED + 2, Ordering::Acquire);
        let back = u16::from_le(index).wrapping_sub(self.used);
        if back > self.outstanding {
            return Err(broken("it has used more buffers than it was given"));
        }
        Ok(back)
    }

    /// The used entry that many behind the next.
    fn entry(&self, ahead: u16) -> io::Result<Used> {
        let place = usize::from(self.used.wrapping_add(ahead)) % SIZE;
        let mut bytes = [0; 8];
        self.memory.read(self.base + USED + 4 + 8 * place, &mut bytes);
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let head = u16::try_from(word(0))
            .ok()
            .filter(|head| self.chains.get(usize::from(*head)).is_some_and(|n| *n > 0));
        let head = head.ok_or_else(|| broken("it has used a buffer that it was not given"))?;
        Ok(Used { head, len: word(4) as usize })
    }

    /// The chain is ours again. How many descriptors it had.
    fn take_back(&mut self, used: &Used) -> u16 {
        self.used = self.used.wrapping_add(1);
        self.outstanding -= 1;
        std::mem::take(&mut self.chains[usize::from(used.head)])
    }
}

/// Frames for the guest: each descriptor has its buffer, and is a chain of one.
pub(super) struct Receive {
    ring: Ring,
    /// A frame may lie in several buffers.
    merges: bool,
}

impl Receive {
    pub(super) fn new(memory: Arc<Memory>) -> Receive {
        Receive { ring: Ring::new(memory, RECEIVE), merges: false }
    }

    pub(super) fn merges(&mut self, merges: bool) {
        self.merges = merges;
    }

    /// Gives the device all buffers.
    pub(super) fn fill(&mut self) {
        for descriptor in 0..SIZE as u16 {
            self.ring.describe(descriptor, BUFFER, WRITE, 0);
            self.ring.give(descriptor, 1);
        }
        self.ring.expose();
    }

    pub(super) fn expose(&self) -> bool {
        self.ring.expose()
    }

    /// Takes the next frame out. False: there is none. One that no card can take becomes empty.
    pub(super) fn next(&mut self, frame: &mut Vec<u8>) -> io::Result<bool> {
        frame.clear();
        let back = self.ring.back()?;
        if back == 0 {
            return Ok(false);
        }
        let first = self.ring.entry(0)?;
        let mut head = [0; HEAD];
        self.ring.memory.read(buffer(self.ring.base, first.head), &mut head);
        let count = if self.merges { u16::from_le_bytes([head[10], head[11]]) } else { 1 };
        if count == 0 || usize::from(count) > SIZE {
            return Err(broken("it has put a frame into no buffers, or into more than there are"));
        }
        if count > back {
            // The others are on their way.
            return Ok(false);
        }
        for part in 0..count {
            let used = self.ring.entry(0)?;
            self.take_part(&used, if part == 0 { HEAD } else { 0 }, frame)?;
        }
        let left = head.first_chunk().is_some_and(|head| complete(Offload::of_bytes(*head), frame));
        if !left || frame.len() > MAX_FRAME {
            frame.clear();
        }
        Ok(true)
    }

    fn take_part(&mut self, used: &Used, skip: usize, frame: &mut Vec<u8>) -> io::Result<()> {
        if used.len < skip || used.len > BUFFER {
            return Err(broken("it has written more than a buffer holds, or less than a header"));
        }
        let (start, len) = (frame.len(), used.len - skip);
        // A frame in all the buffers is too long, and dropped.
        if start <= MAX_FRAME {
            frame.resize(start + len, 0);
            self.ring.memory.read(buffer(self.ring.base, used.head) + skip, &mut frame[start..]);
        }
        self.ring.take_back(used);
        self.ring.give(used.head, 1);
        Ok(())
    }
}

/// The guest's frames: a chain of as many descriptors as each needs.
pub(super) struct Transmit {
    ring: Ring,
    free: Vec<u16>,
    /// What follows each descriptor in its chain.
    next: Box<[u16; SIZE]>,
}

impl Transmit {
    pub(super) fn new(memory: Arc<Memory>) -> Transmit {
        let ring = Ring::new(memory, TRANSMIT);
        ring.listen(false);
        Transmit { ring, free: (0..SIZE as u16).rev().collect(), next: Box::new([0; SIZE]) }
    }

    pub(super) fn expose(&self) -> bool {
        self.ring.expose()
    }

    /// Takes back what was sent.
    pub(super) fn reclaim(&mut self) -> io::Result<()> {
        for _ in 0..self.ring.back()? {
            let used = self.ring.entry(0)?;
            let mut descriptor = used.head;
            for _ in 0..self.ring.take_back(&used) {
                self.free.push(descriptor);
                descriptor = self.next[usize::from(descriptor)];
            }
        }
        Ok(())
    }

    /// Says whether the device is to tell of what it has used. True: it has used some already.
    pub(super) fn wants_news(&self, wants: bool) -> io::Result<bool> {
        self.ring.listen(wants);
        Ok(wants && self.ring.back()? > 0)
    }

    /// Puts a frame with its header in. False: there is no room.
    pub(super) fn send(&mut self, packet: &[u8]) -> bool {
        let needs = packet.len().div_ceil(BUFFER);
        let Some(start) = self.free.len().checked_sub(needs) else { return false };
        let chain: Vec<u16> = self.free.drain(start..).collect();
        for (at, (part, descriptor)) in packet.chunks(BUFFER).zip(&chain).enumerate() {
            self.ring.memory.write(buffer(self.ring.base, *descriptor), part);
            let next = chain.get(at + 1).copied();
            let flags = if next.is_some() { NEXT } else { 0 };
            self.ring.describe(*descriptor, part.len(), flags, next.unwrap_or(0));
            self.next[usize::from(*descriptor)] = next.unwrap_or(0);
        }
        self.ring.give(chain[0], needs as u16);
        true
    }
}
