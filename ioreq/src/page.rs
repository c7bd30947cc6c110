//! The synchronous request slots that Xen shares (Xen `public/hvm/ioreq.h`, `struct ioreq`).
//!
//! A slot is read once, into an owned [`Request`], and only its data and state are ever written. Whatever
//! the other side does to the page meanwhile cannot change a request (XSA-197).

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use thiserror::Error;
use zerocopy::FromBytes;

use crate::{Data, Dir, Request, Sbdf, Size, Target};

/// Slots of a page: one a vCPU (`HVM_MAX_VCPUS`).
pub const SLOTS: usize = 128;

/// Bit of [`Slot::control`]: `data` is the address of a buffer.
const DATA_IS_POINTER: u8 = 0x10;
/// Bit of [`Slot::control`]: a read.
const READ: u8 = 0x20;
/// Bit of [`Slot::control`]: addresses go down.
const DESCENDING: u8 = 0x40;
/// The state's bits of [`Slot::control`].
const STATE: u8 = 0x0f;

/// Most items of one request: Xen cuts longer strings.
pub const MOST_ITEMS: u32 = 4096;

/// State of a slot. Xen makes the first step and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Nothing is asked.
    None = 0,
    /// A request waits.
    Ready = 1,
    /// It is being carried out.
    InProcess = 2,
    /// The answer is there.
    ResponseReady = 3,
}

/// Types of a request.
pub(crate) mod kind {
    pub const PIO: u8 = 0;
    pub const COPY: u8 = 1;
    pub const PCI_CONFIG: u8 = 2;
    pub const TIME_OFFSET: u8 = 7;
    pub const INVALIDATE: u8 = 8;
}

/// One slot, as it lies in the page: 32 bytes.
#[derive(Debug, Default, FromBytes)]
#[repr(C)]
pub struct Slot {
    addr: AtomicU64,
    data: AtomicU64,
    count: AtomicU32,
    size: AtomicU32,
    port: AtomicU32,
    pad: AtomicU16,
    control: AtomicU8,
    kind: AtomicU8,
}

/// The page: a slot for each vCPU.
#[derive(Debug, FromBytes)]
#[repr(C, align(4096))]
pub struct Page {
    /// By vCPU number.
    pub slots: [Slot; SLOTS],
}

impl Default for Page {
    fn default() -> Page {
        Page { slots: std::array::from_fn(|_| Slot::default()) }
    }
}

const _: () = assert!(size_of::<Slot>() == 32 && size_of::<Page>() == 4096);

/// A request that nobody can carry out. The slot must be completed all the same: a vCPU waits.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// A type that no released Xen sends.
    #[error("unknown request type {0}")]
    Kind(u8),
    /// An item is 1, 2, 4 or 8 bytes, of ports and configuration at most 4.
    #[error("request of type {0} with items of {1} bytes")]
    Size(u8, u32),
    /// More items than a request has.
    #[error("request of {0} items")]
    Count(u32),
    /// A port or register beyond its space (XSA-199).
    #[error("request of type {0} at {1:#x}")]
    Address(u8, u64),
}

/// A taken request: carry it out, then give it to [`Slot::complete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What is asked, or why that makes no sense.
    pub request: Result<Request, Malformed>,
}

impl Slot {
    /// The event channel of the slot's vCPU, Xen's end of it. Valid once the server is enabled.
    pub fn port(&self) -> u32 {
        self.port.load(Ordering::Relaxed)
    }

    /// Takes the request that waits, if one does. None on a spurious wake-up.
    pub fn take(&self, vcpu: u32) -> Option<Taken> {
        let control = self.control.load(Ordering::Acquire);
        if control & STATE != State::Ready as u8 {
            return None;
        }
        let raw = Raw {
            addr: self.addr.load(Ordering::Relaxed),
            data: self.data.load(Ordering::Relaxed),
            count: self.count.load(Ordering::Relaxed),
            size: self.size.load(Ordering::Relaxed),
            kind: self.kind.load(Ordering::Relaxed),
            control,
        };
        self.control.store((control & !STATE) | State::InProcess as u8, Ordering::Release);
        Some(Taken { request: raw.decode(vcpu) })
    }

    /// Answers the taken request. `value` is what was read; it is ignored but for single reads. The
    /// caller notifies the vCPU's event channel afterwards.
    pub fn complete(&self, taken: &Taken, value: u64) {
        let single_read = match &taken.request {
            Ok(request) => request.dir == Dir::Read && matches!(request.data, Data::Value(_)),
            Err(_) => self.control.load(Ordering::Relaxed) & (DATA_IS_POINTER | READ) == READ,
        };
        if single_read {
            self.data.store(value, Ordering::Relaxed);
        }
        let control = self.control.load(Ordering::Relaxed);
        self.control.store((control & !STATE) | State::ResponseReady as u8, Ordering::Release);
    }
}

/// One copy of a slot.
#[derive(Clone, Copy, Debug)]
struct Raw {
    addr: u64,
    data: u64,
    count: u32,
    size: u32,
    kind: u8,
    control: u8,
}

impl Raw {
    fn decode(self, vcpu: u32) -> Result<Request, Malformed> {
        let Raw { addr, data, count, size, kind, control } = self;
        let bad_size = Malformed::Size(kind, size);
        let target = match kind {
            kind::PIO => Target::Pio(addr.try_into().map_err(|_| Malformed::Address(kind, addr))?),
            kind::COPY => Target::Mmio(addr),
            kind::PCI_CONFIG => {
                let reg = u16::try_from(addr & 0xffff_ffff).ok().filter(|reg| *reg < 0x1000);
                let reg = reg.ok_or(Malformed::Address(kind, addr))?;
                Target::PciConfig { sbdf: Sbdf((addr >> 32) as u32), reg }
            }
            kind::TIME_OFFSET => Target::TimeOffset,
            kind::INVALIDATE => Target::Invalidate,
            _ => return Err(Malformed::Kind(kind)),
        };
        if kind == kind::INVALIDATE {
            return Ok(Request::write(vcpu, target, Size::B8, data));
        }
        let size = Size::new(size).ok_or(bad_size)?;
        if matches!(kind, kind::PIO | kind::PCI_CONFIG) && size == Size::B8 {
            return Err(bad_size);
        }
        if count > MOST_ITEMS {
            return Err(Malformed::Count(count));
        }
        let dir = if control & READ != 0 { Dir::Read } else { Dir::Write };
        let data = match (control & DATA_IS_POINTER != 0, dir) {
            (true, _) => Data::Guest(data),
            (false, Dir::Read) => Data::Value(0),
            (false, Dir::Write) => Data::Value(data & size.mask()),
        };
        let descending = control & DESCENDING != 0;
        // Without a buffer, Xen's count means nothing for ports.
        let single = matches!((kind, data), (kind::PIO | kind::PCI_CONFIG, Data::Value(_)));
        let count = if single { 1 } else { count.max(1) };
        Ok(Request { vcpu, target, dir, size, data, count, descending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Slot {
        /// What Xen does, and what a hostile guest might with its own page.
        fn put(&self, raw: &Raw) {
            self.addr.store(raw.addr, Ordering::Relaxed);
            self.data.store(raw.data, Ordering::Relaxed);
            self.count.store(raw.count, Ordering::Relaxed);
            self.size.store(raw.size, Ordering::Relaxed);
            self.kind.store(raw.kind, Ordering::Relaxed);
            self.control.store(raw.control, Ordering::Release);
        }
    }

    fn raw(kind: u8, addr: u64, size: u32, control: u8) -> Raw {
        Raw { addr, data: 0x1_2345_6789, count: 1, size, kind, control: control | State::Ready as u8 }
    }

    fn any_raw() -> impl Strategy<Value = Raw> {
        let addr = prop_oneof![any::<u64>(), 0..0x1_0000u64, Just(0x0000_0008_0000_0004)];
        let size = prop_oneof![Just(1), Just(2), Just(4), Just(8), any::<u32>()];
        let kind = prop_oneof![0..3u8, Just(7), Just(8), any::<u8>()];
        (addr, any::<u64>(), prop_oneof![0..8u32, any::<u32>()], size, kind, any::<u8>()).prop_map(
            |(addr, data, count, size, kind, control)| Raw { addr, data, count, size, kind, control },
        )
    }

    #[test]
    fn the_layout_is_xens() {
        let base = std::mem::offset_of!(Slot, addr);
        let offsets = [
            std::mem::offset_of!(Slot, data),
            std::mem::offset_of!(Slot, count),
            std::mem::offset_of!(Slot, size),
            std::mem::offset_of!(Slot, port),
            std::mem::offset_of!(Slot, control),
            std::mem::offset_of!(Slot, kind),
        ];
        assert_eq!((base, offsets), (0, [8, 16, 20, 24, 30, 31]));
    }

    #[test]
    fn a_request_is_taken_and_answered_once() {
        let slot = Slot::default();
        assert_eq!(slot.take(0), None);
        slot.port.store(77, Ordering::Relaxed);
        slot.put(&raw(kind::PIO, 0x1f7, 1, READ));
        let taken = slot.take(3).unwrap();
        assert_eq!(taken.request, Ok(Request::read(3, Target::Pio(0x1f7), Size::B1)));
        assert_eq!(slot.take(3), None, "it is in process");
        slot.complete(&taken, 0x50);
        assert_eq!(slot.data.load(Ordering::Relaxed), 0x50);
        assert_eq!(slot.control.load(Ordering::Relaxed) & STATE, State::ResponseReady as u8);
        assert_eq!(slot.port(), 77);
    }

    #[test]
    fn values_are_masked_and_malformed_requests_are_still_answered() {
        let slot = Slot::default();
        slot.put(&raw(kind::COPY, 0xfee0_0000, 4, 0));
        let taken = slot.take(0).unwrap();
        assert_eq!(taken.request.unwrap().data, Data::Value(0x2345_6789));
        for (bad, why) in [
            (raw(kind::PIO, 0x1_0000, 1, 0), Malformed::Address(0, 0x1_0000)),
            (raw(kind::PIO, 0x60, 8, 0), Malformed::Size(0, 8)),
            (raw(kind::COPY, 0, 3, 0), Malformed::Size(1, 3)),
            (raw(5, 0, 1, 0), Malformed::Kind(5)),
        ] {
            slot.put(&bad);
            let taken = slot.take(0).unwrap();
            assert_eq!(taken.request, Err(why));
            slot.complete(&taken, u64::MAX);
            assert_eq!(slot.control.load(Ordering::Relaxed) & STATE, State::ResponseReady as u8);
        }
    }

    proptest! {
        #[test]
        fn any_slot_is_taken_without_harm(it in any_raw()) {
            let slot = Slot::default();
            slot.put(&it);
            if let Some(taken) = slot.take(1) {
                if let Ok(request) = &taken.request {
                    prop_assert!(request.count >= 1 && request.count <= MOST_ITEMS);
                    if let Data::Value(value) = request.data {
                        prop_assert_eq!(value & !request.size.mask(), 0);
                    }
                }
                slot.complete(&taken, u64::MAX);
            }
        }

        #[test]
        fn a_slot_rewritten_under_us_never_changes_a_request(first in any_raw(), then in any_raw()) {
            let slot = Slot::default();
            slot.put(&Raw { control: (first.control & !STATE) | 1, ..first });
            let taken = slot.take(0).unwrap();
            let copy = taken;
            slot.put(&then);
            prop_assert_eq!(taken, copy);
            slot.complete(&taken, 0);
        }
    }

    /// The same with a real racing writer: whatever is taken is valid.
    #[test]
    fn a_racing_writer_does_no_harm() {
        let slot = Slot::default();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for i in 0..200_000u64 {
                    let it = raw(
                        (i % 9) as u8,
                        i.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                        (i % 9) as u32,
                        i as u8 & 0x70,
                    );
                    slot.put(&it);
                }
            });
            while !writer.is_finished() {
                if let Some(taken) = slot.take(0) {
                    if let Ok(request) = &taken.request {
                        assert!(request.count <= MOST_ITEMS);
                    }
                    slot.complete(&taken, 1);
                }
            }
        });
    }
}
