//! What each page of the guest-physical space is.

use std::sync::RwLock;

use hypervisor::memory::{PAGE, PageTrack};
use hypervisor::{Backing, Error, Mapping, RamBlock};

/// One physical page as the CPU sees it. Made by [`Physical::page`] alone, whose blocks the pointers point into: they
/// stay good for the life of that [`Physical`], which forgets no block.
#[derive(Clone, Copy, Debug)]
pub struct PageInfo {
    read: *const u8,
    write: *mut u8,
    /// Track and page number of the block that is read.
    read_track: (*const PageTrack, usize),
    /// Track and page number of the block that is written.
    write_track: (*const PageTrack, usize),
}

impl PageInfo {
    /// Nothing but MMIO.
    pub const MMIO: PageInfo = PageInfo {
        read: std::ptr::null(),
        write: std::ptr::null_mut(),
        read_track: (std::ptr::null(), 0),
        write_track: (std::ptr::null(), 0),
    };
    /// Host address of the page for reads; null for MMIO.
    #[inline(always)]
    pub(crate) fn read(&self) -> *const u8 {
        self.read
    }
    /// Host address of the page for writes; null for MMIO.
    #[inline(always)]
    pub(crate) fn write(&self) -> *mut u8 {
        self.write
    }
    /// The track of reads. `_maker` is who made this: a vCPU knows one [`Physical`], that of its machine.
    pub(crate) fn code_track<'a>(&self, _maker: &'a Physical) -> Option<(&'a PageTrack, usize)> {
        // SAFETY: null, or of a block in `blocks` of its maker, which lives for 'a and never drops one.
        unsafe { self.read_track.0.as_ref() }.map(|t| (t, self.read_track.1))
    }
    /// The track of writes, likewise.
    pub(crate) fn dirty_track<'a>(&self, _maker: &'a Physical) -> Option<(&'a PageTrack, usize)> {
        // SAFETY: as that of reads.
        unsafe { self.write_track.0.as_ref() }.map(|t| (t, self.write_track.1))
    }
}

struct Range {
    start: u64,
    end: u64,
    read: Option<Backing>,
    write: Option<Backing>,
}

/// The map. Shared by all vCPUs, which keep what they look up until they are told of a change.
#[derive(Default)]
pub struct Physical {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Sorted, not overlapping.
    ranges: Vec<Range>,
    /// Every block that was ever mapped: pointers into them may still be in use somewhere.
    blocks: Vec<RamBlock>,
}

fn advance(backing: &Option<Backing>, by: u64) -> Option<Backing> {
    backing.as_ref().map(|b| Backing { block: b.block.clone(), offset: b.offset + by })
}

impl Physical {
    /// Changes a range.
    pub fn map(&self, mapping: &Mapping) -> Result<(), Error> {
        mapping.check()?;
        let mut inner = self.inner.write().unwrap_or_else(|p| p.into_inner());
        let (start, end) = (mapping.gpa, mapping.gpa + mapping.len);
        let old = std::mem::take(&mut inner.ranges);
        let mut ranges = Vec::with_capacity(old.len() + 2);
        for r in old {
            if r.end <= start || r.start >= end {
                ranges.push(r);
                continue;
            }
            if r.start < start {
                ranges.push(Range {
                    start: r.start,
                    end: start,
                    read: r.read.clone(),
                    write: r.write.clone(),
                });
            }
            if r.end > end {
                let by = end - r.start;
                let (read, write) = (advance(&r.read, by), advance(&r.write, by));
                ranges.push(Range { start: end, end: r.end, read, write });
            }
        }
        if mapping.read.is_some() || mapping.write.is_some() {
            ranges.push(Range { start, end, read: mapping.read.clone(), write: mapping.write.clone() });
        }
        ranges.sort_by_key(|r| r.start);
        inner.ranges = ranges;
        for backing in [&mapping.read, &mapping.write].into_iter().flatten() {
            if !inner.blocks.iter().any(|b| std::sync::Arc::ptr_eq(b, &backing.block)) {
                inner.blocks.push(backing.block.clone());
            }
        }
        Ok(())
    }

    /// What is at a page.
    pub fn page(&self, gpa: u64) -> PageInfo {
        let gpa = gpa & !(PAGE - 1);
        let inner = self.inner.read().unwrap_or_else(|p| p.into_inner());
        let at = inner.ranges.partition_point(|r| r.end <= gpa);
        let Some(range) = inner.ranges.get(at).filter(|r| r.start <= gpa) else { return PageInfo::MMIO };
        let mut info = PageInfo::MMIO;
        let place = |b: &Backing| {
            let offset = b.offset + (gpa - range.start);
            let host = b.block.as_ptr().wrapping_add(offset as usize);
            (host, (vm_memory_bitmap(&b.block), (offset / PAGE) as usize))
        };
        if let Some(b) = &range.read {
            let (host, track) = place(b);
            (info.read, info.read_track) = (host, track);
        }
        if let Some(b) = &range.write {
            let (host, track) = place(b);
            (info.write, info.write_track) = (host, track);
        }
        info
    }
}

fn vm_memory_bitmap(block: &RamBlock) -> *const PageTrack {
    let region: &vm_memory::MmapRegion<PageTrack> = block;
    region.bitmap()
}
