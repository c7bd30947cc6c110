//! The ring of buffered writes that Xen shares (Xen `public/hvm/ioreq.h`, `struct buffered_iopage`).

use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromBytes;

use crate::page::kind;
use crate::{Request, Size, Target};

/// Slots of the ring.
pub const SLOTS: u32 = 511;

/// Tries to move the read pointer before a ring is given up for this turn: Xen changes the pointers only
/// a few times a microsecond, so more is a hostile page.
const TRIES: usize = 1000;

/// Who else moves the read pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// `HVM_IOREQSRV_BUFIOREQ_ATOMIC`: Xen brings both pointers down together, so ours moves by an atomic
    /// step.
    Atomic,
    /// `HVM_IOREQSRV_BUFIOREQ_LEGACY`: only we write the read pointer; both run freely.
    Legacy,
}

/// The ring, as it lies in its page.
#[derive(Debug, FromBytes)]
#[repr(C, align(4096))]
pub struct Ring {
    /// Read pointer in the low half, write pointer in the high half.
    pointers: AtomicU64,
    slots: [AtomicU64; SLOTS as usize],
}

const _: () = assert!(size_of::<Ring>() == 4096);

impl Default for Ring {
    fn default() -> Ring {
        Ring { pointers: AtomicU64::new(0), slots: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

/// How a turn of [`Ring::drain`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is left.
    Empty,
    /// There may be more: come back after others had their turn.
    More,
    /// The pointers are impossible; the ring was put back to empty.
    Broken,
}

impl Ring {
    /// Whether nothing waits. What was carried out is gone only when its effect is there.
    pub fn is_empty(&self) -> bool {
        let (read, write) = split(self.pointers.load(Ordering::Acquire));
        read == write
    }

    /// Carries out what is in the ring, oldest first, at most one ring's worth. Requests are writes of one
    /// item, without a vCPU (0 is given). Slots that make no sense are passed over.
    pub fn drain(&self, discipline: Discipline, mut carry_out: impl FnMut(&Request)) -> Drained {
        let mut left = SLOTS;
        while left > 0 {
            let (read, write) = split(self.pointers.load(Ordering::Acquire));
            let waiting = write.wrapping_sub(read);
            if waiting == 0 {
                return Drained::Empty;
            }
            if waiting > SLOTS {
                self.advance(discipline, read, waiting);
                return Drained::Broken;
            }
            let low = self.slot(read);
            let wide = Size::of(low) == Size::B8;
            if wide && waiting < 2 {
                // Xen writes both halves before it moves its pointer.
                self.advance(discipline, read, waiting);
                return Drained::Broken;
            }
            let high = if wide { self.slot(read.wrapping_add(1)) } else { 0 };
            if let Some(request) = decode(low, high) {
                carry_out(&request);
            }
            let used = if wide { 2 } else { 1 };
            if !self.advance(discipline, read, used) {
                return Drained::More;
            }
            left = left.saturating_sub(used);
        }
        Drained::More
    }

    fn slot(&self, pointer: u32) -> u64 {
        self.slots[(pointer % SLOTS) as usize].load(Ordering::Acquire)
    }

    /// Moves the read pointer on by `used`. False if the page changed under us too often.
    fn advance(&self, discipline: Discipline, read: u32, used: u32) -> bool {
        for _ in 0..TRIES {
            let seen = self.pointers.load(Ordering::Acquire);
            let (now, write) = split(seen);
            let from = if discipline == Discipline::Atomic { now } else { read };
            let next = u64::from(from.wrapping_add(used)) | u64::from(write) << 32;
            if self.pointers.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
        false
    }
}

impl Size {
    fn of(slot: u64) -> Size {
        match (slot >> 10) & 3 {
            0 => Size::B1,
            1 => Size::B2,
            2 => Size::B4,
            _ => Size::B8,
        }
    }
}

fn split(pointers: u64) -> (u32, u32) {
    (pointers as u32, (pointers >> 32) as u32)
}

/// A slot: byte 0 the type, bit 9 the direction, bits 10-11 log2 of the size, bits 12-31 the address, then
/// 32 bits of data.
fn decode(low: u64, high: u64) -> Option<Request> {
    let is_read = low & (1 << 9) != 0;
    if is_read {
        return None;
    }
    let address = (low >> 12) & 0xf_ffff;
    let target = match low as u8 {
        kind::PIO => Target::Pio(address.try_into().ok()?),
        kind::COPY => Target::Mmio(address),
        kind::TIME_OFFSET => Target::TimeOffset,
        _ => return None,
    };
    let value = low >> 32 | (high >> 32) << 32;
    Some(Request::write(0, target, Size::of(low), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Data;
    use proptest::prelude::*;

    impl Ring {
        /// What Xen does to insert a write. False: full.
        fn insert(&self, address: u64, log2: u64, value: u64) -> bool {
            let (read, write) = split(self.pointers.load(Ordering::Acquire));
            let needs = if log2 == 3 { 2 } else { 1 };
            if write.wrapping_sub(read) > SLOTS - needs {
                return false;
            }
            let head = u64::from(kind::COPY) | log2 << 10 | address << 12;
            for half in 0..needs {
                let slot = write.wrapping_add(half) % SLOTS;
                let data = if half == 0 { value << 32 } else { value & !0xffff_ffff };
                self.slots[slot as usize].store(head & 0xffff_ffff | data, Ordering::Release);
            }
            self.pointers.fetch_add(u64::from(needs) << 32, Ordering::AcqRel);
            true
        }

        /// What Xen does now and then: both pointers down by a ring's length.
        fn canonicalise(&self) {
            let (read, write) = split(self.pointers.load(Ordering::Acquire));
            if read >= SLOTS {
                let both = u64::from(read - SLOTS) | u64::from(write - SLOTS) << 32;
                self.pointers.store(both, Ordering::Release);
            }
        }
    }

    fn drain(ring: &Ring) -> (Vec<(u64, u64)>, Drained) {
        let mut seen = Vec::new();
        let end = ring.drain(Discipline::Atomic, |request| {
            if let (Target::Mmio(at), Data::Value(value)) = (request.target, request.data) {
                seen.push((at, value));
            }
        });
        (seen, end)
    }

    #[test]
    fn eight_byte_writes_take_two_slots() {
        let ring = Ring::default();
        assert!(ring.insert(0xa_0000, 3, 0x1122_3344_5566_7788));
        assert!(ring.insert(0xa_0008, 0, 0xff));
        assert!(!ring.is_empty());
        let expected = vec![(0xa_0000, 0x1122_3344_5566_7788), (0xa_0008, 0xff)];
        assert_eq!(drain(&ring), (expected, Drained::Empty));
        assert!(ring.is_empty());
    }

    #[test]
    fn impossible_pointers_are_noticed() {
        let ring = Ring::default();
        ring.pointers.store(600 << 32, Ordering::Relaxed);
        assert_eq!(drain(&ring), (vec![], Drained::Broken));
        assert_eq!(drain(&ring), (vec![], Drained::Empty));
        ring.slots[(600 % SLOTS) as usize].store(3 << 10 | 1, Ordering::Relaxed);
        ring.pointers.fetch_add(1 << 32, Ordering::Relaxed);
        assert_eq!(drain(&ring).1, Drained::Broken, "half of an eight-byte write");
    }

    proptest! {
        /// Whatever is inserted comes out in order, through any number of turns and canonicalisations.
        #[test]
        fn nothing_is_lost(writes in proptest::collection::vec((0..0x10_0000u64, 0..4u64, any::<u64>()), 0..1500), turns in any::<u64>()) {
            let ring = Ring::default();
            let (mut put, mut got) = (Vec::new(), Vec::new());
            for (i, (at, log2, value)) in writes.into_iter().enumerate() {
                while !ring.insert(at, log2, value) {
                    got.extend(drain(&ring).0);
                }
                let mask = Size::new(1 << log2).unwrap().mask();
                put.push((at, value & mask));
                if turns >> (i % 64) & 1 == 1 {
                    got.extend(drain(&ring).0);
                    ring.canonicalise();
                }
            }
            got.extend(drain(&ring).0);
            got.extend(drain(&ring).0);
            prop_assert_eq!(put, got);
        }

        /// A hostile page never makes us loop for ever, whatever it holds.
        #[test]
        fn a_hostile_ring_ends(pointers in any::<u64>(), fill in any::<u64>(), legacy in any::<bool>()) {
            let ring = Ring::default();
            ring.pointers.store(pointers, Ordering::Relaxed);
            for (i, slot) in ring.slots.iter().enumerate() {
                slot.store(fill.rotate_left(i as u32), Ordering::Relaxed);
            }
            let mut seen = 0;
            let discipline = if legacy { Discipline::Legacy } else { Discipline::Atomic };
            for _ in 0..3 {
                ring.drain(discipline, |_| seen += 1);
            }
            prop_assert!(seen <= 3 * SLOTS);
        }
    }

    /// The same with a writer that races.
    #[test]
    fn a_racing_page_does_no_harm() {
        let ring = Ring::default();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for i in 0..300_000u64 {
                    ring.pointers.store(i.wrapping_mul(0x9e37_79b9_7f4a_7c15), Ordering::Relaxed);
                }
            });
            while !writer.is_finished() {
                let mut seen = 0;
                ring.drain(Discipline::Atomic, |_| seen += 1);
                assert!(seen <= SLOTS);
            }
        });
    }
}
