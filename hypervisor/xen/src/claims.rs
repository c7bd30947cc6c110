//! Which accesses reach us: what the devices claim and where ROMs are, told to Xen as differences.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use hypervisor::Claims;
use hypervisor::claims::join;
use ioreq::Sbdf;

use crate::abi::dm::{MapIoRange, RANGE_MEMORY, RANGE_PCI, RANGE_PORT, UnmapIoRange};
use crate::domain::Domain;
use crate::error::CallError;

type Ranges = Vec<RangeInclusive<u64>>;

/// The claims of one ioreq server.
pub struct Claimed {
    domain: Arc<Domain>,
    server: u16,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// What the devices want.
    devices: Claims,
    /// Where ROMs are.
    roms: Ranges,
    /// What Xen has been told, by kind.
    ports: Ranges,
    memory: Ranges,
    functions: Vec<Sbdf>,
}

/// What of joined, ascending `from` is not in joined, ascending `without`.
fn subtract(from: &[RangeInclusive<u64>], without: &[RangeInclusive<u64>]) -> Ranges {
    let mut left = Vec::new();
    for range in from {
        let (mut start, end) = (*range.start(), *range.end());
        let mut covered = false;
        for hole in without.iter().filter(|hole| hole.end() >= range.start() && *hole.start() <= end) {
            if *hole.start() > start {
                left.push(start..=hole.start() - 1);
            }
            match hole.end().checked_add(1) {
                Some(next) if next <= end => start = next,
                _ => {
                    covered = true;
                    break;
                }
            }
        }
        if !covered {
            left.push(start..=end);
        }
    }
    left
}

impl Claimed {
    /// Nothing claimed.
    pub fn new(domain: Arc<Domain>, server: u16) -> Claimed {
        Claimed { domain, server, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The devices claim this from now on. Does as much as it can; the first failure is the result.
    pub fn claim(&self, claims: &Claims) -> Result<(), CallError> {
        let mut inner = self.inner();
        inner.devices.clone_from(claims);
        self.update(&mut inner)
    }

    /// ROMs are here from now on.
    pub fn set_roms(&self, roms: Ranges) -> Result<(), CallError> {
        let mut inner = self.inner();
        inner.roms = roms;
        self.update(&mut inner)
    }

    /// Addresses that reach us.
    pub fn memory(&self) -> Vec<RangeInclusive<u64>> {
        self.inner().memory.clone()
    }

    /// Number of ranges of ports, of memory, and of functions.
    pub fn counts(&self) -> [usize; 3] {
        let inner = self.inner();
        [inner.ports.len(), inner.memory.len(), inner.functions.len()]
    }

    fn update(&self, inner: &mut Inner) -> Result<(), CallError> {
        let ports = join(inner.devices.ports.clone());
        let memory = join(inner.devices.memory.iter().chain(&inner.roms).cloned().collect());
        let functions = inner.devices.functions.clone();
        let results = [
            self.ranges(RANGE_PORT, &mut inner.ports, &ports),
            self.ranges(RANGE_MEMORY, &mut inner.memory, &memory),
            self.functions(&mut inner.functions, &functions),
        ];
        results.into_iter().collect()
    }

    /// Claims and releases what differs, byte by byte: what stays is never out of reach for a moment.
    fn ranges(&self, kind: u32, held: &mut Ranges, wanted: &Ranges) -> Result<(), CallError> {
        let mut first = Ok(());
        for range in subtract(held, wanted) {
            match self.unmap(kind, &range) {
                Ok(()) => *held = subtract(held, std::slice::from_ref(&range)),
                failed => first = first.and(failed),
            }
        }
        for range in subtract(wanted, held) {
            match self.map(kind, &range) {
                Ok(()) => *held = join(held.drain(..).chain([range]).collect()),
                failed => first = first.and(failed),
            }
        }
        first
    }

    fn functions(&self, held: &mut Vec<Sbdf>, wanted: &[Sbdf]) -> Result<(), CallError> {
        let mut first = Ok(());
        let one = |sbdf: Sbdf| u64::from(sbdf.0)..=u64::from(sbdf.0);
        held.retain(|sbdf| {
            if wanted.contains(sbdf) {
                return true;
            }
            let released = self.unmap(RANGE_PCI, &one(*sbdf));
            let keep = released.is_err();
            first = std::mem::replace(&mut first, Ok(())).and(released);
            keep
        });
        for sbdf in wanted {
            if held.contains(sbdf) {
                continue;
            }
            match self.map(RANGE_PCI, &one(*sbdf)) {
                Ok(()) => held.push(*sbdf),
                failed => first = first.and(failed),
            }
        }
        first
    }

    fn map(&self, kind: u32, range: &RangeInclusive<u64>) -> Result<(), CallError> {
        let op = MapIoRange { id: self.server, pad: 0, kind, start: *range.start(), end: *range.end() };
        self.domain.op(op).map(|_| ())
    }

    fn unmap(&self, kind: u32, range: &RangeInclusive<u64>) -> Result<(), CallError> {
        let op = UnmapIoRange { id: self.server, pad: 0, kind, start: *range.start(), end: *range.end() };
        match self.domain.op(op) {
            // Then it is as we want it.
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{DOMID, FakeXen, SERVER};
    use proptest::prelude::*;

    fn claimed() -> (Arc<FakeXen>, Claimed) {
        let fake = FakeXen::new(0);
        let claimed = Claimed::new(Arc::new(Domain::new(fake.clone(), DOMID)), SERVER);
        (fake, claimed)
    }

    #[test]
    fn what_stays_is_not_let_go_for_a_moment() {
        let (fake, claimed) = claimed();
        let mut claims = Claims {
            ports: vec![0x60..=0x60, 0xcf8..=0xcff],
            memory: vec![0xa_0000..=0xb_ffff, 0xf200_0000..=0xf200_0fff],
            functions: vec![Sbdf::bus0(0, 0), Sbdf::bus0(1, 1)],
        };
        claimed.claim(&claims).unwrap();
        assert!(fake.claims(RANGE_PORT, 0xcf8..=0xcff) && fake.claims(RANGE_PCI, 9..=9));
        fake.forget();
        // A neighbour comes, then the first of the two goes.
        claims.memory[1] = 0xf200_0000..=0xf200_1fff;
        claimed.claim(&claims).unwrap();
        claims.memory[1] = 0xf200_1000..=0xf200_1fff;
        claims.functions.remove(0);
        claimed.claim(&claims).unwrap();
        let (mapped, unmapped) = (fake.ops::<MapIoRange>(), fake.ops::<UnmapIoRange>());
        let added: Vec<_> = mapped.iter().map(|op| (op.kind, op.start, op.end)).collect();
        let removed: Vec<_> = unmapped.iter().map(|op| (op.kind, op.start, op.end)).collect();
        assert_eq!(added, [(RANGE_MEMORY, 0xf200_1000, 0xf200_1fff)]);
        assert_eq!(removed, [(RANGE_MEMORY, 0xf200_0000, 0xf200_0fff), (RANGE_PCI, 0, 0)]);
        // A ROM beside it is one range with it, and alone when the device goes.
        claimed.set_roms(vec![0xf200_2000..=0xf200_2fff]).unwrap();
        claims.memory.truncate(1);
        claimed.claim(&claims).unwrap();
        assert!(fake.claims(RANGE_MEMORY, 0xf200_2000..=0xf200_2fff));
        assert!(!fake.claims(RANGE_MEMORY, 0xf200_1fff..=0xf200_1fff));
    }

    #[test]
    fn what_failed_is_tried_again() {
        let (fake, claimed) = claimed();
        let claims = Claims { ports: vec![0x60..=0x64], ..Claims::default() };
        fake.state().fail.insert(3, libc::ENOSPC);
        let failed = claimed.claim(&claims).unwrap_err().to_string();
        assert!(failed.starts_with("map_io_range_to_ioreq_server of domain 5 "), "{failed}");
        assert!(failed.contains("start: 60") && failed.contains("os error 28"), "{failed}");
        fake.state().fail.clear();
        claimed.claim(&claims).unwrap();
        assert!(fake.claims(RANGE_PORT, 0x60..=0x64));
        claimed.claim(&Claims::default()).unwrap();
        assert_eq!(claimed.counts(), [0, 0, 0]);
        assert!(fake.state().ranges.is_empty());
    }

    fn some_ranges() -> impl Strategy<Value = Ranges> {
        proptest::collection::vec((0..300u64, 0..40u64), 0..12)
            .prop_map(|ranges| join(ranges.into_iter().map(|(at, len)| at..=at + len).collect()))
    }

    proptest! {
        #[test]
        fn xen_has_what_is_wanted_after_any_sequence(steps in proptest::collection::vec((some_ranges(), some_ranges()), 1..8)) {
            let (fake, claimed) = claimed();
            for (memory, roms) in steps {
                claimed.set_roms(roms.clone()).unwrap();
                claimed.claim(&Claims { memory: memory.clone(), ports: roms.clone(), ..Claims::default() }).unwrap();
                let all = join(memory.into_iter().chain(roms.clone()).collect());
                for at in 0..350 {
                    let wanted = all.iter().any(|range| range.contains(&at));
                    prop_assert_eq!(fake.claims(RANGE_MEMORY, at..=at), wanted);
                    prop_assert_eq!(fake.claims(RANGE_PORT, at..=at), roms.iter().any(|range| range.contains(&at)));
                }
            }
        }

        #[test]
        fn subtracting_is_exact(a in some_ranges(), b in some_ranges()) {
            let left = subtract(&a, &b);
            let has = |ranges: &Ranges, at| ranges.iter().any(|range: &RangeInclusive<u64>| range.contains(&at));
            for at in 0..350 {
                prop_assert_eq!(has(&left, at), has(&a, at) && !has(&b, at));
            }
        }
    }

    #[test]
    fn the_whole_space_can_be_subtracted() {
        assert!(subtract(&[0..=u64::MAX], &[0..=u64::MAX]).is_empty());
        assert_eq!(subtract(&[0..=u64::MAX], &[1..=u64::MAX]), [0..=0]);
    }
}
