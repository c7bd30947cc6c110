//! The driver's half of a queue, for tests: it makes requests available and takes them back. How it finds the device is in
//! `pci`; how those of Windows do it, in `windows`.

pub mod pci;
pub mod windows;

use hypervisor::GuestRam;
use vm_memory::{Bytes, GuestAddress};

use super::queue::Place;
use super::spec::{descriptor, event, feature};

/// A buffer of a request.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub gpa: u64,
    pub len: u32,
    pub write: bool,
}

/// A request that is with the device.
struct Pending {
    id: u64,
    first: u64,
    /// The first descriptor's number; packed: the buffer's id.
    number: u16,
    descriptors: Vec<u16>,
}

/// A queue of a driver's.
pub struct DriverQueue {
    ram: GuestRam,
    place: Place,
    features: u64,
    free: Vec<u16>,
    pending: Vec<Pending>,
    /// Requests that the device has not taken.
    waiting: usize,
    /// Where the next request goes and the next used one is: split, counters; packed, place and wrap counter.
    next: (u16, bool),
    last_used: (u16, bool),
    /// A table of descriptors for each request.
    tables: u64,
}

impl DriverQueue {
    /// A queue of `size` at `base`, with its areas and tables behind one another in 64 KiB.
    pub fn new(ram: GuestRam, base: u64, size: u16, features: u64) -> DriverQueue {
        let place = Place { size, descriptors: base, driver: base + 0x1000, device: base + 0x2000 };
        DriverQueue::at(ram, place, base + 0x4000, features)
    }

    /// A queue whose areas are there; its tables take 512 bytes for each element.
    pub fn at(ram: GuestRam, place: Place, tables: u64, features: u64) -> DriverQueue {
        let Place { size, .. } = place;
        let free = (0..size).rev().collect();
        DriverQueue {
            ram,
            place,
            features,
            free,
            pending: Vec::new(),
            waiting: 0,
            next: (0, true),
            last_used: (0, true),
            tables,
        }
    }

    pub fn place(&self) -> Place {
        self.place
    }

    fn packed(&self) -> bool {
        self.features & feature::RING_PACKED != 0
    }

    fn put<const N: usize>(&self, at: u64, bytes: [u8; N]) {
        self.ram.write_slice(&bytes, GuestAddress(at)).unwrap();
    }
    fn get<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.ram.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }

    fn descriptor(
        &self,
        at: u64,
        Buffer { gpa, len, write }: Buffer,
        flags: u16,
        (third, fourth): (u16, u16),
    ) {
        let flags = flags | if write { descriptor::WRITE } else { 0 };
        self.put(at, gpa.to_le_bytes());
        self.put(at + 8, len.to_le_bytes());
        if self.packed() {
            self.put(at + 12, third.to_le_bytes());
            self.put(at + 14, flags.to_le_bytes());
        } else {
            self.put(at + 12, flags.to_le_bytes());
            self.put(at + 14, fourth.to_le_bytes());
        }
    }

    /// Makes a request available. False: there is no room.
    pub fn offer(&mut self, buffers: &[Buffer], indirect: bool, id: u64) -> bool {
        let slots = if indirect { 1 } else { buffers.len() };
        if self.free.len() < slots {
            return false;
        }
        let descriptors: Vec<u16> = (0..slots).map(|_| self.free.pop().unwrap()).collect();
        let number = descriptors[0];
        let table = self.tables + u64::from(number) * 512;
        if indirect {
            for (n, buffer) in buffers.iter().enumerate() {
                let more = n + 1 < buffers.len() && !self.packed();
                let flags = if more { descriptor::NEXT } else { 0 };
                self.descriptor(table + n as u64 * 16, *buffer, flags, (0, n as u16 + 1));
            }
            let whole = Buffer { gpa: table, len: buffers.len() as u32 * 16, write: false };
            self.chain(&[whole], &descriptors, descriptor::INDIRECT);
        } else {
            self.chain(buffers, &descriptors, 0);
        }
        self.pending.push(Pending { id, first: buffers[0].gpa, number, descriptors });
        self.waiting += 1;
        true
    }

    /// Writes descriptors into the ring and makes the chain available.
    fn chain(&mut self, buffers: &[Buffer], descriptors: &[u16], kind: u16) {
        let number = descriptors[0];
        if self.packed() {
            let start = self.next;
            for (n, buffer) in buffers.iter().enumerate() {
                let more = if n + 1 < buffers.len() { descriptor::NEXT } else { 0 };
                let round = if self.next.1 { descriptor::AVAIL } else { descriptor::USED };
                let at = self.place.descriptors + u64::from(self.next.0) * 16;
                let flags = kind | more | round;
                // The first one last: with it the device has the whole chain.
                if n > 0 || buffers.len() == 1 {
                    self.descriptor(at, *buffer, flags, (number, 0));
                }
                self.next = advanced(self.next, 1, self.place.size);
            }
            if buffers.len() > 1 {
                let round = if start.1 { descriptor::AVAIL } else { descriptor::USED };
                let at = self.place.descriptors + u64::from(start.0) * 16;
                self.descriptor(at, buffers[0], kind | descriptor::NEXT | round, (number, 0));
            }
            return;
        }
        for (n, (buffer, own)) in buffers.iter().zip(descriptors).enumerate() {
            let next = descriptors.get(n + 1);
            let more = if next.is_some() { descriptor::NEXT } else { 0 };
            let at = self.place.descriptors + u64::from(*own) * 16;
            self.descriptor(at, *buffer, kind | more, (0, next.copied().unwrap_or(0)));
        }
        self.available(number);
    }

    fn available(&mut self, head: u16) {
        let entry = self.place.driver + 4 + u64::from(self.next.0 % self.place.size) * 2;
        self.put(entry, head.to_le_bytes());
        self.next.0 = self.next.0.wrapping_add(1);
        self.put(self.place.driver + 2, self.next.0.to_le_bytes());
    }

    /// A chain without an end.
    pub fn offer_endless(&mut self) {
        let one = Buffer { gpa: 0x3_0000, len: 1, write: false };
        if self.packed() {
            for at in 0..self.place.size {
                let at = self.place.descriptors + u64::from(at) * 16;
                self.descriptor(at, one, descriptor::NEXT | descriptor::AVAIL, (0, 0));
            }
        } else {
            self.descriptor(self.place.descriptors, one, descriptor::NEXT, (0, 1));
            self.descriptor(self.place.descriptors + 16, one, descriptor::NEXT, (0, 0));
            self.available(0);
        }
    }

    /// A table of that many bytes, whose first descriptor has these flags too.
    pub fn offer_table(&mut self, table: u64, len: u32, flags: u16) {
        let one = Buffer { gpa: 0x3_0000, len: 1, write: false };
        if flags != 0 {
            self.descriptor(table, one, flags, (0, 0));
        }
        let whole = Buffer { gpa: table, len, write: false };
        self.chain(&[whole], &[0], descriptor::INDIRECT);
    }

    /// Requests that the device has not taken.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The device has taken one.
    pub fn took(&mut self) {
        self.waiting -= 1;
    }

    /// Which request has its first buffer there, the first one first.
    pub fn id_of(&self, gpa: u64, _number: u64) -> u64 {
        let found = self.pending.iter().filter(|pending| pending.first == gpa);
        found.map(|pending| pending.id).min().unwrap()
    }

    /// The next request that the device has given back: its id, and how many bytes were written.
    pub fn used(&mut self) -> Option<(u64, u32)> {
        let (number, written) = if self.packed() { self.used_packed()? } else { self.used_split()? };
        let at = self.pending.iter().position(|pending| pending.number == number).expect("it was asked for");
        let Pending { id, descriptors, .. } = self.pending.remove(at);
        if self.packed() {
            self.last_used = advanced(self.last_used, descriptors.len() as u16, self.place.size);
        }
        self.free.extend(descriptors);
        Some((id, written))
    }

    fn used_split(&mut self) -> Option<(u16, u32)> {
        let index = u16::from_le_bytes(self.get(self.place.device + 2));
        if index == self.last_used.0 {
            return None;
        }
        let at = self.place.device + 4 + u64::from(self.last_used.0 % self.place.size) * 8;
        self.last_used.0 = self.last_used.0.wrapping_add(1);
        Some((u32::from_le_bytes(self.get(at)) as u16, u32::from_le_bytes(self.get(at + 4))))
    }

    fn used_packed(&self) -> Option<(u16, u32)> {
        let at = self.place.descriptors + u64::from(self.last_used.0) * 16;
        let flags = u16::from_le_bytes(self.get(at + 14));
        let round = |bit| (flags & bit != 0) == self.last_used.1;
        if !round(descriptor::AVAIL) || !round(descriptor::USED) {
            return None;
        }
        Some((u16::from_le_bytes(self.get(at + 12)), u32::from_le_bytes(self.get(at + 8))))
    }

    /// Whether the device is to interrupt for each request that it gives back.
    pub fn want_interrupts(&self, wanted: bool) {
        match (self.packed(), self.features & feature::EVENT_IDX != 0) {
            (true, _) => {
                let flags = if wanted { event::ENABLE } else { event::DISABLE };
                self.put(self.place.driver + 2, flags.to_le_bytes());
            }
            (false, false) => self.put(self.place.driver, u16::from(!wanted).to_le_bytes()),
            (false, true) if wanted => self.want_interrupt_after(1),
            (false, true) => self.want_interrupt_after(0x8000),
        }
    }

    /// The device is to interrupt when it has given back so many more requests of one buffer.
    pub fn want_interrupt_after(&self, more: u16) {
        let (at, wrap) = self.last_used;
        if self.packed() {
            let (at, wrap) = advanced((at, wrap), more - 1, self.place.size);
            self.put(self.place.driver, (at | u16::from(wrap) << 15).to_le_bytes());
            self.put(self.place.driver + 2, event::DESC.to_le_bytes());
        } else {
            let place = at.wrapping_add(more).wrapping_sub(1);
            self.put(self.place.driver + 4 + u64::from(self.place.size) * 2, place.to_le_bytes());
        }
    }

    /// Whether the device wants to hear of the next request.
    pub fn is_to_notify(&self) -> bool {
        let has_event = self.features & feature::EVENT_IDX != 0;
        if self.packed() {
            let (place, flags) = (
                u16::from_le_bytes(self.get(self.place.device)),
                u16::from_le_bytes(self.get(self.place.device + 2)),
            );
            let here = self.next.0 | u16::from(self.next.1) << 15;
            return flags == event::ENABLE || flags == event::DESC && place == here;
        }
        if has_event {
            let place = self.place.device + 4 + u64::from(self.place.size) * 8;
            return u16::from_le_bytes(self.get(place)) == self.next.0;
        }
        u16::from_le_bytes(self.get(self.place.device)) & 1 == 0
    }
}

fn advanced((at, wrap): (u16, bool), by: u16, size: u16) -> (u16, bool) {
    let at = at + by;
    if at >= size { (at - size, !wrap) } else { (at, wrap) }
}
