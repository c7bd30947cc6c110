//! Doorbells: writes of the guest that only wake somebody, often in another process.
//!
//! A virtqueue's notify register, say. KVM's ioeventfd signals an eventfd for such a write without leaving the kernel.
//! Xen offers nothing like it to a device model, nor does `hypervisor-soft` need it: the thread that has the request
//! signals the eventfd, before the bus and so without a lock of a device.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use ioreq::{Data, Dir, Request, Target};
use vmm_sys_util::eventfd::EventFd;

use crate::{Dispatch, Error};

/// Most doorbells of a guest.
const MOST: usize = 4096;

/// Which writes ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorbellAddress {
    /// Port, or guest-physical address, of a write's first byte.
    pub at: Target,
    /// Bytes of a write; none: any number.
    pub len: Option<u8>,
    /// What is written; none: anything.
    pub value: Option<u64>,
}

impl DoorbellAddress {
    fn fits(&self, request: &Request) -> bool {
        let Data::Value(value) = request.data else { return false };
        request.dir == Dir::Write
            && request.count == 1
            && request.target == self.at
            && self.len.is_none_or(|len| usize::from(len) == request.size.bytes())
            && self.value.is_none_or(|wanted| wanted == value & request.size.mask())
    }
}

/// The doorbells of a guest.
#[derive(Debug, Default)]
pub struct Doorbells {
    /// There is one: looked at in each request.
    any: AtomicBool,
    all: RwLock<Vec<Arc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    address: DoorbellAddress,
    signals: EventFd,
}

impl Doorbells {
    /// Writes to `address` signal `fd` from now on, and reach no device. `fd` does not block (`EFD_NONBLOCK`): one that
    /// is signalled already is as good. A peer that shares it could make it block, and with it the vCPU that rings,
    /// but nothing else.
    ///
    /// # Errors
    /// The address has a doorbell that the same write would ring, is no port and no memory, or there are too many.
    pub fn add(self: &Arc<Doorbells>, address: DoorbellAddress, fd: EventFd) -> Result<Doorbell, Error> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let refused = |why: &str| Err(Error::Unsupported(format!("doorbell at {:?}: {why}", address.at)));
        let overlaps = |other: &DoorbellAddress| {
            let meet = |a: Option<u64>, b: Option<u64>| a.is_none() || b.is_none() || a == b;
            let len = |address: &DoorbellAddress| address.len.map(u64::from);
            other.at == address.at && meet(len(other), len(&address)) && meet(other.value, address.value)
        };
        if !matches!(address.at, Target::Pio(_) | Target::Mmio(_)) {
            return refused("neither a port nor memory");
        }
        if all.iter().any(|entry| overlaps(&entry.address)) {
            return refused("there is one already");
        }
        if all.len() >= MOST {
            return refused("there are too many");
        }
        let entry = Arc::new(Entry { address, signals: fd });
        all.push(entry.clone());
        self.any.store(true, Ordering::Release);
        Ok(Doorbell { of: Arc::downgrade(self), entry })
    }

    /// Whether a request has rung; it is carried out then.
    fn ring(&self, request: &Request) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = all.iter().find(|entry| entry.address.fits(request)) else { return false };
        // The only error of one that does not block is that nobody has taken what is there.
        let _ = entry.signals.write(1);
        true
    }

    /// A vCPU's dispatcher with the doorbells before it.
    pub fn before(self: &Arc<Doorbells>, inner: Box<dyn Dispatch>) -> Box<dyn Dispatch> {
        Box::new(Ringing { doorbells: self.clone(), inner })
    }
}

/// A doorbell; dropped, writes reach the device again.
#[derive(Debug)]
pub struct Doorbell {
    of: Weak<Doorbells>,
    entry: Arc<Entry>,
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        let Some(doorbells) = self.of.upgrade() else { return };
        let mut all = doorbells.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        doorbells.any.store(!all.is_empty(), Ordering::Release);
    }
}

struct Ringing {
    doorbells: Arc<Doorbells>,
    inner: Box<dyn Dispatch>,
}

impl Dispatch for Ringing {
    fn request(&mut self, request: &Request) -> u64 {
        if self.doorbells.ring(request) { 0 } else { self.inner.request(request) }
    }
    fn begin(&mut self, request: &Request) -> u64 {
        if self.doorbells.ring(request) { 0 } else { self.inner.begin(request) }
    }
    fn settle(&mut self) {
        self.inner.settle();
    }
    fn acknowledge(&mut self) -> u8 {
        self.inner.acknowledge()
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.inner.end_of_interrupt(vector);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ioreq::Size;
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    fn write(at: Target, size: Size, value: u64) -> Request {
        let (dir, data) = (Dir::Write, Data::Value(value));
        Request { vcpu: 0, target: at, dir, size, data, count: 1, descending: false }
    }

    fn eventfd() -> EventFd {
        EventFd::new(EFD_NONBLOCK).unwrap()
    }

    #[test]
    fn what_fits_rings_and_nothing_else() {
        let doorbells = Arc::new(Doorbells::default());
        let (at, fd) = (Target::Mmio(0xfe00_3000), eventfd());
        let address = DoorbellAddress { at, len: Some(2), value: Some(1) };
        let fits = write(at, Size::B2, 0xabcd_0001);
        assert!(!doorbells.ring(&fits), "nobody is there yet");
        let doorbell = doorbells.add(address, fd.try_clone().unwrap()).unwrap();
        for other in [
            write(at, Size::B2, 2),
            write(at, Size::B4, 1),
            write(Target::Mmio(0xfe00_3002), Size::B2, 1),
            write(Target::Pio(0x3000), Size::B2, 1),
            Request { dir: Dir::Read, ..fits },
            Request { count: 2, data: Data::Guest(0x1000), ..fits },
        ] {
            assert!(!doorbells.ring(&other), "{other:?}");
        }
        assert!(fd.read().is_err(), "nothing has rung");
        assert!(doorbells.ring(&fits) && doorbells.ring(&fits));
        assert_eq!(fd.read().unwrap(), 2);
        drop(doorbell);
        assert!(!doorbells.ring(&fits));
    }

    #[test]
    fn a_write_rings_one_doorbell() {
        let doorbells = Arc::new(Doorbells::default());
        let at = Target::Pio(0xc010);
        let address = |len, value| DoorbellAddress { at, len, value };
        let _one = doorbells.add(address(Some(2), Some(1)), eventfd()).unwrap();
        let _two = doorbells.add(address(Some(2), Some(2)), eventfd()).unwrap();
        let _four = doorbells.add(address(Some(4), None), eventfd()).unwrap();
        for again in
            [address(Some(2), Some(1)), address(Some(2), None), address(None, Some(1)), address(None, None)]
        {
            assert!(doorbells.add(again, eventfd()).is_err(), "{again:?}");
        }
        let nowhere = DoorbellAddress { at: Target::Invalidate, len: None, value: None };
        assert!(doorbells.add(nowhere, eventfd()).is_err());
    }

    /// Nobody takes what it says: the guest goes on all the same.
    #[test]
    fn a_counter_at_its_end_stops_nobody() {
        let doorbells = Arc::new(Doorbells::default());
        let (at, fd) = (Target::Pio(0xc010), eventfd());
        fd.write(u64::MAX - 1).unwrap();
        let _doorbell = doorbells.add(DoorbellAddress { at, len: None, value: None }, fd).unwrap();
        assert!(doorbells.ring(&write(at, Size::B1, 0)));
    }
}
