//! A virtqueue of the back end's (virtio 1.2, 2.7), seen from the driver's side, whose device is not trusted.
//!
//! What is in flight is known here and never read back: from the back end come only an index, numbers of descriptors and
//! lengths, each read once. Descriptors name the guest's RAM; where a request has several, they lie in a table beside the
//! ring, if the back end knows such.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use devices_core::block::Segment;
use devices_core::vhost_user::Submitted;

use super::channel::broken;
use super::memory::Memory;

/// Where the memory of the rings is, as the back end is told: beyond all RAM.
pub(super) const ADDRESS: u64 = 1 << 56;

/// Bytes of a descriptor.
const DESCRIPTOR: usize = 16;
/// Descriptors of a table.
const TABLE: usize = 128;

/// Flags of a descriptor: another follows; the device writes; it is a table.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Flag of the used ring: no need to tell.
const QUIET: u16 = 1;

/// Where the parts of a queue are, from its start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    size: u16,
}

impl Layout {
    /// Of a queue of so many elements, a power of two.
    pub(super) fn new(size: u16) -> Layout {
        Layout { size }
    }
    pub(super) fn size(self) -> u16 {
        self.size
    }
    pub(super) fn available(self) -> usize {
        DESCRIPTOR * usize::from(self.size)
    }
    pub(super) fn used(self) -> usize {
        (self.available() + 6 + 2 * usize::from(self.size)).next_multiple_of(4096)
    }
    fn tables(self) -> usize {
        (self.used() + 6 + 8 * usize::from(self.size)).next_multiple_of(4096)
    }
    /// Bytes of all of it.
    pub(super) fn len(self) -> usize {
        self.tables() + usize::from(self.size) * TABLE * DESCRIPTOR
    }
}

/// The queue.
pub(super) struct Ring {
    memory: Arc<Memory>,
    base: usize,
    layout: Layout,
    tables: bool,
    /// Which descriptor comes after each: of a chain, or of those that are free.
    next: Vec<u16>,
    free: u16,
    free_count: u16,
    /// Chains that are the back end's now, by their first descriptors: how many each has, and for how many bytes there
    /// is room.
    chains: Vec<(u16, u64)>,
    /// Index of the next entry to be made available.
    available: u16,
    /// Index of the next used entry to be looked at.
    used: u16,
    outstanding: u16,
}

impl Ring {
    /// At that place of the memory, with nothing in it.
    pub(super) fn new(memory: Arc<Memory>, base: usize, layout: Layout) -> Ring {
        let mut ring = Ring {
            memory,
            base,
            layout,
            tables: false,
            next: Vec::new(),
            free: 0,
            free_count: 0,
            chains: Vec::new(),
            available: 0,
            used: 0,
            outstanding: 0,
        };
        ring.clear(false);
        ring
    }

    /// Nothing is in it any more. `tables`: the back end knows tables of descriptors.
    pub(super) fn clear(&mut self, tables: bool) {
        let size = self.layout.size;
        self.memory.write(self.base, &vec![0; self.layout.tables()]);
        self.tables = tables;
        self.next = (1..=size).collect();
        (self.free, self.free_count) = (0, size);
        self.chains = vec![(0, 0); usize::from(size)];
        (self.available, self.used, self.outstanding) = (0, 0, 0);
    }

    fn write(&self, at: usize, segment: (u64, u32), flags: u16, next: u16) {
        let mut bytes = [0; DESCRIPTOR];
        bytes[..8].copy_from_slice(&segment.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&segment.1.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.memory.write(at, &bytes);
    }

    fn descriptor(&self, number: u16) -> usize {
        self.base + DESCRIPTOR * usize::from(number)
    }

    /// Gives the back end a request.
    pub(super) fn submit(&mut self, readable: &[Segment], writable: &[Segment]) -> Submitted {
        let count = readable.len() + writable.len();
        let in_table = self.tables && (2..=TABLE).contains(&count);
        let wanted = if in_table { 1 } else { count };
        if count == 0 || wanted > usize::from(self.layout.size) {
            return Submitted::TooLong;
        }
        if wanted > usize::from(self.free_count) {
            return Submitted::Full;
        }
        let head = self.free;
        let all = readable.iter().map(|s| (s, 0)).chain(writable.iter().map(|s| (s, WRITE)));
        if in_table {
            let table = self.layout.tables() + usize::from(head) * TABLE * DESCRIPTOR;
            for (number, (segment, write)) in all.enumerate() {
                let more = if number + 1 < count { NEXT } else { 0 };
                let at = self.base + table + DESCRIPTOR * number;
                self.write(at, (segment.gpa, segment.len), write | more, number as u16 + 1);
            }
            let place = (ADDRESS + (self.base + table) as u64, (count * DESCRIPTOR) as u32);
            self.write(self.descriptor(head), place, INDIRECT, 0);
            self.free = self.take(head);
        } else {
            for (number, (segment, write)) in all.enumerate() {
                let more = if number + 1 < count { NEXT } else { 0 };
                let (this, next) = (self.free, self.take(self.free));
                self.write(self.descriptor(this), (segment.gpa, segment.len), write | more, next);
                self.free = next;
            }
        }
        self.free_count -= wanted as u16;
        let room = writable.iter().map(|segment| u64::from(segment.len)).sum();
        self.give(head, wanted as u16, room);
        Submitted::Token(head)
    }

    /// Which descriptor comes after that one.
    fn take(&self, after: u16) -> u16 {
        self.next.get(usize::from(after)).copied().unwrap_or(0)
    }

    fn give(&mut self, head: u16, descriptors: u16, room: u64) {
        let place = usize::from(self.available % self.layout.size);
        let at = self.base + self.layout.available();
        self.memory.store(at + 4 + 2 * place, head.to_le(), Ordering::Relaxed);
        self.available = self.available.wrapping_add(1);
        self.memory.store(at + 2, self.available.to_le(), Ordering::Release);
        if let Some(chain) = self.chains.get_mut(usize::from(head)) {
            *chain = (descriptors, room);
        }
        self.outstanding += 1;
    }

    /// Whether the back end wants to be told of what it was given.
    pub(super) fn wants_kick(&self) -> bool {
        // It looks at the index after it has said that it wants to be told.
        fence(Ordering::SeqCst);
        let flags: u16 = self.memory.load(self.base + self.layout.used(), Ordering::Relaxed);
        u16::from_le(flags) & QUIET == 0
    }

    /// The next request that was carried out: its number, and how many bytes were written.
    pub(super) fn used(&mut self) -> io::Result<Option<(u16, u32)>> {
        let at = self.base + self.layout.used();
        let index: u16 = self.memory.load(at + 2, Ordering::Acquire);
        let back = u16::from_le(index).wrapping_sub(self.used);
        if back == 0 {
            return Ok(None);
        }
        if back > self.outstanding {
            return Err(broken("it has used more requests than it was given"));
        }
        let place = usize::from(self.used % self.layout.size);
        let mut bytes = [0; 8];
        self.memory.read(at + 4 + 8 * place, &mut bytes);
        let [a, b, c, d, e, f, g, h] = bytes;
        let (id, written) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let head = u16::try_from(id).ok();
        let chain = head.and_then(|head| self.chains.get_mut(usize::from(head)));
        let (Some(head), Some((count, room))) = (head, chain.map(std::mem::take).filter(|(n, _)| *n > 0))
        else {
            return Err(broken("it has used a request that it was not given"));
        };
        if u64::from(written) > room {
            return Err(broken(format!(
                "it says that it wrote {written} bytes where there is room for {room}"
            )));
        }
        self.used = self.used.wrapping_add(1);
        self.outstanding -= 1;
        let last = (1..count).fold(head, |at, _| self.take(at));
        if let Some(next) = self.next.get_mut(usize::from(last)) {
            *next = self.free;
        }
        self.free = head;
        self.free_count += count;
        Ok(Some((head, written)))
    }
}
