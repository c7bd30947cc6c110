//! Guest memory: pages of another domain, mapped when they are first used.
//!
//! A region of RAM is one reserved range of host addresses, filled with anonymous pages that nobody has
//! touched. It is divided into buckets; the first pin of a page maps its bucket, in place. When the guest
//! gives pages away Xen asks us to let go of all of them ([`ForeignRam::invalidate`]): idle buckets go back
//! to anonymous pages at once, pinned ones at their last unpin. So no address of the region is ever another
//! mapping's. Pages that the domain does not have ("holes") make a pin fail, and are tried again at the next
//! one.
//!
//! Only what is pinned may be touched: a hole in a mapped bucket, and a bucket while it is being mapped, have
//! nothing behind them. Every slice of a region has a pin of its own, so safe code cannot touch anything else.

use std::collections::HashMap;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hypervisor::memory::{Foreign, PAGE};
use hypervisor::{Error, PageTrack, RamBlock};
use vm_memory::{GuestMemoryRegion, MmapRegion};

use crate::dirty::DirtyReport;
use crate::domain::Domain;

/// Log2 of the pages of the smallest bucket: 1 MiB. Mapping costs by the page, and so do first uses.
const SMALLEST: u32 = 8;
/// Most buckets of a region: each is a mapping, of which a process may have 65530.
const MOST_BUCKETS: u64 = 16384;
/// How long a pin waits for the pins of an invalidated bucket to go, before it uses the old pages.
const DRAIN: Duration = Duration::from_millis(20);

/// The bucket is mapped whole.
const FULL: u32 = 1 << 31;
/// The bucket is mapped, but for holes.
const PART: u32 = 1 << 30;
/// The bucket must go when its pins do.
const STALE: u32 = 1 << 29;
/// Number of pins.
const PINS: u32 = STALE - 1;

/// One region of the guest's RAM.
pub struct ForeignRam {
    domain: Arc<Domain>,
    /// Keeps the range reserved.
    _block: RamBlock,
    addr: NonNull<u8>,
    first_gfn: u64,
    pages: u64,
    shift: u32,
    /// Flags and pins. Flags change under the lock of `holes` only; pins of full buckets come and go without.
    buckets: Box<[AtomicU32]>,
    /// The holes of partly mapped buckets, a bit a page.
    holes: Mutex<HashMap<usize, Vec<u64>>>,
    drained: Condvar,
    mapped: AtomicUsize,
    waited: AtomicUsize,
}

// SAFETY: `addr` is the start of `block`, which is Send and Sync; the mappings behind it change under a lock.
unsafe impl Send for ForeignRam {}
// SAFETY: as above.
unsafe impl Sync for ForeignRam {}

type Holes<'a> = MutexGuard<'a, HashMap<usize, Vec<u64>>>;

impl ForeignRam {
    /// The RAM that a block stands for: guest pages from the block's start on. The block is nobody else's
    /// memory. `dirty` hears of writes.
    pub fn new(domain: Arc<Domain>, dirty: Arc<DirtyReport>, block: RamBlock) -> Result<ForeignRam, Error> {
        let (start, len) = (block.start_addr().0, block.len());
        let bad = |why| Error::Range { start, len, why };
        if len == 0 || !len.is_multiple_of(PAGE) || !start.is_multiple_of(PAGE) {
            return Err(bad("not whole pages"));
        }
        let addr = NonNull::new(block.as_ptr()).ok_or_else(|| bad("no addresses"))?;
        let pages = len / PAGE;
        let mut shift = SMALLEST;
        while pages.div_ceil(1 << shift) > MOST_BUCKETS {
            shift += 1;
        }
        let first_gfn = start / PAGE;
        let region: &MmapRegion<PageTrack> = &block;
        region.bitmap().on_write(move |pages| {
            let count = (pages.end() - pages.start()) as u64 + 1;
            dirty.written(first_gfn + *pages.start() as u64, count);
        });
        let buckets = (0..pages.div_ceil(1 << shift)).map(|_| AtomicU32::new(0)).collect();
        Ok(ForeignRam {
            domain,
            _block: block,
            addr,
            first_gfn,
            pages,
            shift,
            buckets,
            holes: Mutex::default(),
            drained: Condvar::new(),
            mapped: AtomicUsize::new(0),
            waited: AtomicUsize::new(0),
        })
    }

    /// Number of buckets that are mapped now.
    pub fn mapped(&self) -> usize {
        self.mapped.load(Ordering::Relaxed)
    }

    /// How often a pin has waited for others to end.
    pub fn waited(&self) -> usize {
        self.waited.load(Ordering::Relaxed)
    }

    fn holes(&self) -> Holes<'_> {
        self.holes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Lets go of all pages; those in use at the end of their use.
    pub fn invalidate(&self) {
        let mut holes = self.holes();
        if self.mapped() == 0 {
            return;
        }
        let mut run: Range<usize> = 0..0;
        for index in 0..self.buckets.len() {
            let idle = self.buckets[index].load(Ordering::Acquire) & (FULL | PART) != 0
                && self.buckets[index].fetch_or(STALE, Ordering::AcqRel) & PINS == 0;
            if !idle {
                continue;
            }
            if run.end != index {
                self.clear(run, &mut holes);
                run = index..index;
            }
            run.end = index + 1;
        }
        self.clear(run, &mut holes);
    }

    /// Puts anonymous pages over stale buckets without pins. False, and nothing changed, if the host cannot.
    fn clear(&self, run: Range<usize>, holes: &mut Holes<'_>) -> bool {
        if run.is_empty() {
            return true;
        }
        let first = (run.start as u64) << self.shift;
        let end = ((run.end as u64) << self.shift).min(self.pages);
        let len = ((end - first) * PAGE) as usize;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range lies in our block's reservation, and no page of it is pinned: nobody uses it.
        let done = unsafe { libc::mmap(self.at(first).as_ptr().cast(), len, prot, flags, -1, 0) };
        if done == libc::MAP_FAILED {
            let error = std::io::Error::last_os_error();
            tracing::error!("mmap over guest pages that must go: {error}");
            return false;
        }
        for index in run {
            self.buckets[index].store(0, Ordering::Release);
            holes.remove(&index);
            self.mapped.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }

    /// The host address of a page of ours.
    fn at(&self, page: u64) -> NonNull<u8> {
        debug_assert!(page < self.pages);
        // SAFETY: the page lies in the block.
        unsafe { self.addr.add((page * PAGE) as usize) }
    }

    /// The pages of a bucket.
    fn range(&self, index: usize) -> Range<u64> {
        let first = (index as u64) << self.shift;
        first..(first + (1 << self.shift)).min(self.pages)
    }

    /// Maps a bucket that is not mapped; false if there is nothing to map, or it did not work.
    fn map(&self, index: usize, holes: &mut Holes<'_>) -> bool {
        let pages = self.range(index);
        let gfns: Vec<u64> = pages.clone().map(|page| self.first_gfn + page).collect();
        let mut errors = vec![0; gfns.len()];
        let id = self.domain.id();
        // SAFETY: the pages are our block's. The bucket is not mapped, so that none of them has a pin, and
        // without one nobody touches them; whoever wants a pin waits for the lock, which `holes` proves.
        let done = unsafe { self.domain.kernel().map_foreign(id, self.at(pages.start), &gfns, &mut errors) };
        self.mapped.fetch_add(1, Ordering::Relaxed);
        let all_failed = errors.iter().all(|error| *error != 0);
        if let Err(error) = done {
            let what = format!(" ({} pages from {:#x})", gfns.len(), gfns[0]);
            self.domain.complain(&self.domain.failed("IOCTL_PRIVCMD_MMAPBATCH_V2", what, error));
            self.clear(index..index + 1, holes);
            return false;
        }
        if all_failed {
            self.clear(index..index + 1, holes);
            return false;
        }
        let mut flag = FULL;
        if errors.iter().any(|error| *error != 0) {
            let mut bits = vec![0u64; errors.len().div_ceil(64)];
            for (page, _) in errors.iter().enumerate().filter(|(_, error)| **error != 0) {
                bits[page / 64] |= 1 << (page % 64);
            }
            holes.insert(index, bits);
            flag = PART;
        }
        self.buckets[index].store(flag, Ordering::Release);
        true
    }

    /// Tries the holes among pages of a bucket again; true if none is left among them.
    fn fill(&self, index: usize, pages: &Range<u64>, holes: &mut Holes<'_>) -> bool {
        let start = self.range(index).start;
        let Some(bits) = holes.get_mut(&index) else { return true };
        let is_hole = |bits: &[u64], page: u64| {
            let bit = (page - start) as usize;
            bits.get(bit / 64).is_some_and(|word| word & 1 << (bit % 64) != 0)
        };
        let mut page = pages.start;
        while page < pages.end {
            let end = (page..pages.end).find(|page| !is_hole(bits, *page)).unwrap_or(pages.end);
            if end == page {
                page += 1;
                continue;
            }
            let gfns: Vec<u64> = (page..end).map(|page| self.first_gfn + page).collect();
            let mut errors = vec![0; gfns.len()];
            let (id, addr) = (self.domain.id(), self.at(page));
            // SAFETY: the run lies in one bucket that was mapped at once, and all of it are holes, which no pin
            // has: those of the same bucket are of its other pages.
            let done = unsafe { self.domain.kernel().fill_foreign(id, addr, &gfns, &mut errors) };
            if done.is_err() {
                return false;
            }
            for (page, _) in (page..end).zip(&errors).filter(|(_, error)| **error == 0) {
                let bit = (page - start) as usize;
                bits[bit / 64] &= !(1 << (bit % 64));
            }
            if errors.iter().any(|error| *error != 0) {
                return false;
            }
            page = end;
        }
        if bits.iter().all(|word| *word == 0) {
            holes.remove(&index);
            self.buckets[index].fetch_or(FULL, Ordering::AcqRel);
            self.buckets[index].fetch_and(!PART, Ordering::AcqRel);
        }
        true
    }

    fn pin_bucket(&self, index: usize, pages: &Range<u64>, patient: bool) -> bool {
        let bucket = &self.buckets[index];
        let mut state = bucket.load(Ordering::Acquire);
        while state & (FULL | STALE) == FULL && state & PINS < PINS {
            match bucket.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        self.pin_slowly(index, pages, patient)
    }

    /// A pin of a bucket that is not mapped whole, or must go.
    fn pin_slowly(&self, index: usize, pages: &Range<u64>, patient: bool) -> bool {
        let bucket = &self.buckets[index];
        let mut holes = self.holes();
        let deadline = Instant::now() + if patient { DRAIN } else { Duration::ZERO };
        loop {
            let state = bucket.load(Ordering::Acquire);
            if state & PINS == PINS {
                return false;
            }
            if state & STALE != 0 && state & PINS == 0 {
                if !self.clear(index..index + 1, &mut holes) {
                    return false;
                }
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state & STALE != 0 && !left.is_zero() {
                // Pages may have changed since: better to wait than to use what they were.
                self.waited.fetch_add(1, Ordering::Relaxed);
                let waited = self.drained.wait_timeout(holes, left);
                holes = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
                continue;
            }
            if state & (FULL | PART) == 0 {
                if !self.map(index, &mut holes) {
                    return false;
                }
                continue;
            }
            if state & PART != 0 && !self.fill(index, pages, &mut holes) {
                return false;
            }
            // Under the lock no flag changes, so the bucket is still what it was found to be.
            bucket.fetch_add(1, Ordering::AcqRel);
            return true;
        }
    }

    fn unpin_bucket(&self, index: usize) {
        let state = self.buckets[index].fetch_sub(1, Ordering::AcqRel);
        debug_assert!(state & PINS != 0, "unpinned without a pin");
        if state & PINS != 1 || state & STALE == 0 {
            return;
        }
        let mut holes = self.holes();
        let state = self.buckets[index].load(Ordering::Acquire);
        if state & PINS == 0 && state & STALE != 0 {
            self.clear(index..index + 1, &mut holes);
        }
        self.drained.notify_all();
    }

    /// The pages of a range of bytes; None if it is not in the region.
    fn pages_of(&self, offset: u64, len: u64) -> Option<Range<u64>> {
        let end = offset.checked_add(len)?;
        (end <= self.pages * PAGE).then(|| match len {
            0 => 0..0,
            _ => offset / PAGE..end.div_ceil(PAGE),
        })
    }

    /// The buckets of pages, with the pages in each.
    fn split(&self, pages: Range<u64>) -> impl Iterator<Item = (usize, Range<u64>)> {
        let shift = self.shift;
        let mut at = pages.start;
        std::iter::from_fn(move || {
            (at < pages.end).then(|| {
                let index = at >> shift;
                let end = ((index + 1) << shift).min(pages.end);
                let part = at..end;
                at = end;
                (index as usize, part)
            })
        })
    }
}

impl Foreign for ForeignRam {
    fn pin(&self, offset: u64, len: u64, patient: bool) -> bool {
        let Some(pages) = self.pages_of(offset, len) else { return false };
        for (index, part) in self.split(pages.clone()) {
            if !self.pin_bucket(index, &part, patient) {
                self.split(pages.start..part.start).for_each(|(index, _)| self.unpin_bucket(index));
                return false;
            }
        }
        true
    }

    fn pin_again(&self, offset: u64, len: u64) {
        let pages = self.pages_of(offset, len).unwrap_or(0..0);
        for (index, _) in self.split(pages) {
            // Flags may change meanwhile, but a bucket with a pin stays what it is.
            let state = self.buckets[index].fetch_add(1, Ordering::AcqRel);
            assert!((1..PINS).contains(&(state & PINS)), "pinned again without a pin, or without an end");
        }
    }

    fn unpin(&self, offset: u64, len: u64) {
        let pages = self.pages_of(offset, len).unwrap_or(0..0);
        self.split(pages).for_each(|(index, _)| self.unpin_bucket(index));
    }
}

#[cfg(test)]
mod tests;
