//! A ring of descriptors, in guest memory, and its registers: base, length in bytes, head, tail.

use devices_core::dma::Dma;

use super::registers::Registers;
use super::spec::{DESCRIPTOR, reg};

/// Descriptors that are fetched at once.
const BATCH: usize = 16;

/// A ring, by the offset of its first register, the low half of its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring(pub u32);

impl Ring {
    /// The receive ring of a queue.
    pub const fn rx(queue: usize) -> Ring {
        Ring(reg::RDBAL + 0x100 * queue as u32)
    }
    /// The transmit ring of a queue.
    pub const fn tx(queue: usize) -> Ring {
        Ring(reg::TDBAL + 0x100 * queue as u32)
    }
    /// Offset of its head.
    pub const fn head_at(self) -> u32 {
        self.0 + 0x10
    }
    /// Offset of its tail.
    pub const fn tail_at(self) -> u32 {
        self.0 + 0x18
    }
    /// The next that the card uses.
    pub fn head(self, registers: &Registers) -> u32 {
        registers.get(self.head_at())
    }
    /// The first that is the guest's.
    pub fn tail(self, registers: &Registers) -> u32 {
        registers.get(self.tail_at())
    }
    /// How many there are.
    pub fn count(self, registers: &Registers) -> u32 {
        registers.get(self.0 + 8) / DESCRIPTOR as u32
    }
    /// How many are the card's.
    pub fn free(self, registers: &Registers) -> u32 {
        let (head, tail) = (self.head(registers), self.tail(registers));
        if head <= tail { tail - head } else { (self.count(registers) + tail).saturating_sub(head) }
    }
    /// Where a descriptor is.
    pub fn address(self, registers: &Registers, number: u32) -> u64 {
        let base = u64::from(registers.get(self.0 + 4)) << 32 | u64::from(registers.get(self.0));
        base.wrapping_add(u64::from(number) * DESCRIPTOR)
    }
    /// The card has used so many, of which there is at least one.
    pub fn advance(self, registers: &mut Registers, by: u32) {
        let next = self.head(registers).saturating_add(by);
        registers.set(self.head_at(), if next >= self.count(registers) { 0 } else { next });
    }
}

/// Descriptors that were fetched in one go.
pub struct Batch {
    bytes: [u8; BATCH * DESCRIPTOR as usize],
    first: u32,
    count: u32,
}

impl Batch {
    /// None yet.
    pub fn new() -> Batch {
        Batch { bytes: [0; BATCH * DESCRIPTOR as usize], first: 0, count: 0 }
    }

    /// The ring's next, if there is one; zeros, if it lies outside of memory.
    pub fn next(&mut self, ring: Ring, registers: &Registers, dma: &Dma) -> Option<[u8; 16]> {
        let (head, tail) = (ring.head(registers), ring.tail(registers));
        if head == tail {
            return None;
        }
        if head < self.first || head - self.first >= self.count {
            let end = if head < tail { tail } else { ring.count(registers) };
            self.first = head;
            self.count = (end - head).min(BATCH as u32);
            let bytes = &mut self.bytes[..self.count as usize * DESCRIPTOR as usize];
            if dma.read(ring.address(registers, head), bytes).is_err() {
                bytes.fill(0);
            }
        }
        Some(self.bytes.as_chunks::<16>().0[(head - self.first) as usize])
    }
}
