//! Doorbells: writes of the guest that only wake somebody, often in another process.
//!
//! A virtqueue's notify register, say. KVM's ioeventfd signals an eventfd for such a write without leaving the kernel.
//! Xen offers nothing like it to a device model, nor does `hypervisor-soft` need it: the thread that has the request
//! signals the eventfd, before the bus and so without a lock of a device. Each vCPU has its own list of them, which is
//! made anew when they have changed: a request shares no lock with another vCPU's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    /// Goes up when they change: looked at in each request.
    generation: AtomicU64,
    all: Mutex<Vec<Arc<Entry>>>,
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
        let mut all = self.all();
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
        self.generation.fetch_add(1, Ordering::Release);
        Ok(Doorbell { of: Arc::downgrade(self), entry })
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A vCPU's dispatcher with the doorbells before it.
    pub fn before(self: &Arc<Doorbells>, inner: Box<dyn Dispatch>) -> Box<dyn Dispatch> {
        Box::new(Ringing { bells: Bells::of(self.clone()), inner })
    }
}

/// A doorbell; dropped, writes that begin later reach the device again. Its eventfd is closed when each vCPU has made
/// another request.
#[derive(Debug)]
pub struct Doorbell {
    of: Weak<Doorbells>,
    entry: Arc<Entry>,
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        let Some(doorbells) = self.of.upgrade() else { return };
        let mut all = doorbells.all();
        all.retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        doorbells.generation.fetch_add(1, Ordering::Release);
    }
}

/// The doorbells as a vCPU knows them.
struct Bells {
    doorbells: Arc<Doorbells>,
    /// As of this generation.
    known: Vec<Arc<Entry>>,
    generation: u64,
}

impl Bells {
    fn of(doorbells: Arc<Doorbells>) -> Bells {
        Bells { doorbells, known: Vec::new(), generation: 0 }
    }

    /// Whether a request has rung; it is carried out then.
    fn ring(&mut self, request: &Request) -> bool {
        let generation = self.doorbells.generation.load(Ordering::Acquire);
        if self.generation != generation {
            self.look(generation);
        }
        let Some(entry) = self.known.iter().find(|entry| entry.address.fits(request)) else { return false };
        // The only error of one that does not block is that nobody has taken what is there.
        let _ = entry.signals.write(1);
        true
    }

    /// They have changed. A later change is seen by the next request, if it is not among these already.
    #[cold]
    fn look(&mut self, generation: u64) {
        self.known.clone_from(&self.doorbells.all());
        self.generation = generation;
    }
}

struct Ringing {
    bells: Bells,
    inner: Box<dyn Dispatch>,
}

impl Dispatch for Ringing {
    fn request(&mut self, request: &Request) -> u64 {
        if self.bells.ring(request) { 0 } else { self.inner.request(request) }
    }
    fn begin(&mut self, request: &Request) -> u64 {
        if self.bells.ring(request) { 0 } else { self.inner.begin(request) }
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
        let mut bells = Bells::of(doorbells.clone());
        let (at, fd) = (Target::Mmio(0xfe00_3000), eventfd());
        let address = DoorbellAddress { at, len: Some(2), value: Some(1) };
        let fits = write(at, Size::B2, 0xabcd_0001);
        assert!(!bells.ring(&fits), "nobody is there yet");
        let doorbell = doorbells.add(address, fd.try_clone().unwrap()).unwrap();
        for other in [
            write(at, Size::B2, 2),
            write(at, Size::B4, 1),
            write(Target::Mmio(0xfe00_3002), Size::B2, 1),
            write(Target::Pio(0x3000), Size::B2, 1),
            Request { dir: Dir::Read, ..fits },
            Request { count: 2, data: Data::Guest(0x1000), ..fits },
        ] {
            assert!(!bells.ring(&other), "{other:?}");
        }
        assert!(fd.read().is_err(), "nothing has rung");
        assert!(bells.ring(&fits) && bells.ring(&fits));
        assert_eq!(fd.read().unwrap(), 2);
        drop(doorbell);
        assert!(!bells.ring(&fits));
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
        let mut bells = Bells::of(doorbells);
        assert!(bells.ring(&write(at, Size::B1, 0)));
    }

    /// One that hangs in a change of them, or another vCPU that rings, is waited for by nobody.
    #[test]
    fn a_request_takes_no_lock() {
        let doorbells = Arc::new(Doorbells::default());
        let at = Target::Pio(0xc010);
        let mut vcpus = [Bells::of(doorbells.clone()), Bells::of(doorbells.clone())];
        let doorbell = doorbells.add(DoorbellAddress { at, len: None, value: None }, eventfd()).unwrap();
        let (rings, other) = (write(at, Size::B1, 0), write(Target::Pio(0xc012), Size::B1, 0));
        vcpus.iter_mut().for_each(|bells| assert!(bells.ring(&rings)));
        let held = doorbells.all();
        for bells in &mut vcpus {
            assert!(bells.ring(&rings) && !bells.ring(&other));
        }
        drop(held);
        drop(doorbell);
        vcpus.iter_mut().for_each(|bells| assert!(!bells.ring(&rings)));
    }

    #[test]
    fn changes_while_vcpus_ring_are_seen_by_what_comes_later() {
        let doorbells = Arc::new(Doorbells::default());
        let port = |at| DoorbellAddress { at: Target::Pio(at), len: None, value: None };
        let _stays = doorbells.add(port(0xc010), eventfd()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut bells = Bells::of(doorbells.clone());
                    for _ in 0..2000 {
                        assert!(bells.ring(&write(Target::Pio(0xc010), Size::B2, 1)));
                        bells.ring(&write(Target::Pio(0xc012), Size::B2, 1));
                    }
                });
            }
            let mut mine = Bells::of(doorbells.clone());
            for _ in 0..500 {
                let doorbell = doorbells.add(port(0xc012), eventfd()).unwrap();
                assert!(mine.ring(&write(Target::Pio(0xc012), Size::B2, 1)));
                drop(doorbell);
                assert!(!mine.ring(&write(Target::Pio(0xc012), Size::B2, 1)));
            }
        });
    }
}
