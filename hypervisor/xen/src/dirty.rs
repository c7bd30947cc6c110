//! What we wrote to guest memory while the guest is migrated: Xen does not see writes through our own
//! mappings and has to be told (`XEN_DMOP_modified_memory`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use zerocopy::IntoBytes;

use crate::abi::dm::{Extent, ModifiedMemory};
use crate::domain::Domain;

/// Most extents that wait to be told. A page, the most that fits a call, holds 256.
const BATCH: usize = 64;

/// The log. While it is on, writes are gathered and told in batches: a migration needs them by the time
/// the guest stands and we do, so whoever pauses the machine flushes.
pub struct DirtyReport {
    domain: Arc<Domain>,
    on: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    extents: Vec<Extent>,
    /// The machine stands: every write is told at once.
    at_once: bool,
}

impl DirtyReport {
    /// Off.
    pub fn new(domain: Arc<Domain>) -> DirtyReport {
        DirtyReport { domain, on: AtomicBool::new(false), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether writes are told.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Begins or ends telling.
    pub fn set(&self, on: bool) {
        self.flush();
        self.on.store(on, Ordering::Release);
    }

    /// Whether each write is told at once; what waits is told now.
    pub fn set_at_once(&self, at_once: bool) {
        self.inner().at_once = at_once;
        self.flush();
    }

    /// `pages` pages from `gfn` on were written.
    pub fn written(&self, gfn: u64, pages: u64) {
        if !self.is_on() || pages == 0 {
            return;
        }
        let mut inner = self.inner();
        let mut left = pages;
        while left > 0 {
            let now = left.min(u64::from(u32::MAX));
            inner.add(gfn + (pages - left), now as u32);
            left -= now;
            if inner.at_once || inner.extents.len() >= BATCH {
                self.tell(&mut inner);
            }
        }
    }

    /// Tells what waits.
    pub fn flush(&self) {
        self.tell(&mut self.inner());
    }

    fn tell(&self, inner: &mut Inner) {
        if inner.extents.is_empty() {
            return;
        }
        let mut extents = std::mem::take(&mut inner.extents);
        let op = ModifiedMemory { extents: extents.len() as u32, opaque: 0 };
        if let Err(error) = self.domain.op_with(op, extents.as_mut_slice().as_mut_bytes()) {
            self.domain.complain(&error);
        }
    }
}

impl Inner {
    fn add(&mut self, first_pfn: u64, pages: u32) {
        if let Some(last) = self.extents.last_mut() {
            let end = last.first_pfn + u64::from(last.pages);
            let new_end = first_pfn + u64::from(pages);
            if first_pfn >= last.first_pfn && new_end <= end {
                return;
            }
            if first_pfn == end && last.pages.checked_add(pages).is_some() {
                last.pages += pages;
                return;
            }
        }
        self.extents.push(Extent { pages, pad: 0, first_pfn });
    }
}
