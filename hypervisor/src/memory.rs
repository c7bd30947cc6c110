//! Guest memory: host blocks, what each page of the guest-physical space is, and who wrote to it.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use vm_memory::bitmap::{Bitmap, NewBitmap, RefSlice, WithBitmapSlice};
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::Error;

/// Bytes of a page, the unit of tracking and mapping.
pub const PAGE: u64 = 4096;

/// A block of host memory that the guest sees somewhere: RAM, video memory, a ROM.
pub type RamBlock = Arc<GuestRegionMmap<PageTrack>>;

/// All of the guest's RAM at its guest-physical addresses. Clones are handles.
/// Holes, ROMs and video memory are not in it: DMA there is an error.
pub type GuestRam = GuestMemoryMmap<PageTrack>;

/// What happened to each page of a block: three dirty logs with separate readers, and whether a CPU keeps
/// decoded code of it. Every write through vm-memory lands here; the software CPU calls [`PageTrack::touch`].
#[derive(Default)]
pub struct PageTrack {
    flags: Box<[AtomicU8]>,
    generation: Box<[AtomicU32]>,
    taken: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for PageTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageTrack").field("pages", &self.pages()).finish_non_exhaustive()
    }
}

/// Reader of a dirty log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DirtyLog {
    /// Save and migration.
    Migration = 1,
    /// The display's refresh.
    Display = 2,
}

impl PageTrack {
    const CODE: u8 = 0x80;
    const DIRTY: u8 = DirtyLog::Migration as u8 | DirtyLog::Display as u8;

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.flags.len()
    }

    /// Marks one page written. Out of range is ignored.
    pub fn touch(&self, page: usize) {
        let Some(flags) = self.flags.get(page) else { return };
        let seen = flags.load(Ordering::Acquire);
        if seen & Self::DIRTY != Self::DIRTY {
            flags.fetch_or(Self::DIRTY, Ordering::Release);
        }
        if seen & Self::CODE != 0 {
            self.generation[page].fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Marks every page of a byte range written.
    pub fn touch_range(&self, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        let first = offset / PAGE as usize;
        let last = offset.saturating_add(len - 1) / PAGE as usize;
        for page in first..=last.min(self.pages().saturating_sub(1)) {
            self.touch(page);
        }
    }

    /// Says that a CPU holds decoded code of this page; true if it did not before. From now on each
    /// write changes [`generation`](PageTrack::generation).
    pub fn mark_code(&self, page: usize) -> bool {
        self.flags.get(page).is_some_and(|f| f.fetch_or(Self::CODE, Ordering::AcqRel) & Self::CODE == 0)
    }

    /// Whether a CPU holds decoded code of this page.
    pub fn is_code(&self, page: usize) -> bool {
        self.flags.get(page).is_some_and(|f| f.load(Ordering::Acquire) & Self::CODE != 0)
    }

    /// Whether all dirty logs have this page already, so that a further write need not be told.
    pub fn is_dirty_in_all(&self, page: usize) -> bool {
        self.flags.get(page).is_some_and(|f| f.load(Ordering::Acquire) & Self::DIRTY == Self::DIRTY)
    }

    /// The counter that each write to a page that holds code changes. None out of range.
    pub fn generation(&self, page: usize) -> Option<&AtomicU32> {
        self.generation.get(page)
    }

    /// Whether the page was written since this log's reader last took it; takes it.
    pub fn take_dirty(&self, log: DirtyLog, page: usize) -> bool {
        let taken = self
            .flags
            .get(page)
            .is_some_and(|f| f.fetch_and(!(log as u8), Ordering::AcqRel) & log as u8 != 0);
        if taken && let Some(tell) = self.taken.get() {
            tell();
        }
        taken
    }

    /// Whom to tell, once, that a log was taken: a CPU that writes to pages known to be dirty without a word
    /// must look again. Called for each page that was taken, from the reader's thread; must be quick.
    pub fn on_take(&self, tell: impl Fn() + Send + Sync + 'static) {
        // A second one is not wanted: one hypervisor owns the block.
        let _ = self.taken.set(Box::new(tell));
    }
}

impl<'a> WithBitmapSlice<'a> for PageTrack {
    type S = RefSlice<'a, PageTrack>;
}

impl Bitmap for PageTrack {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.touch_range(offset, len);
    }
    fn dirty_at(&self, offset: usize) -> bool {
        let flags = self.flags.get(offset / PAGE as usize);
        flags.is_some_and(|f| f.load(Ordering::Acquire) & DirtyLog::Migration as u8 != 0)
    }
    fn slice_at(&self, offset: usize) -> RefSlice<'_, PageTrack> {
        RefSlice::new(self, offset)
    }
}

impl NewBitmap for PageTrack {
    fn with_len(len: usize) -> PageTrack {
        let pages = len.div_ceil(PAGE as usize);
        PageTrack {
            flags: (0..pages).map(|_| AtomicU8::new(0)).collect(),
            generation: (0..pages).map(|_| AtomicU32::new(0)).collect(),
            taken: OnceLock::new(),
        }
    }
}

/// Where a page's bytes are.
#[derive(Clone, Debug)]
pub struct Backing {
    /// The block.
    pub block: RamBlock,
    /// Byte offset of the mapping's first byte in it, page aligned.
    pub offset: u64,
}

/// What a guest-physical range is. Reads (and instruction fetches) and writes are separate, because the
/// i440FX's PAM registers make them so; a side with no backing is MMIO.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// First byte, page aligned.
    pub gpa: u64,
    /// Length in bytes, a multiple of the page.
    pub len: u64,
    /// Where reads go.
    pub read: Option<Backing>,
    /// Where writes go.
    pub write: Option<Backing>,
}

impl Mapping {
    /// Ordinary memory: reads and writes go to the same place.
    pub fn ram(gpa: u64, len: u64, block: &RamBlock, offset: u64) -> Mapping {
        let backing = Backing { block: block.clone(), offset };
        Mapping { gpa, len, read: Some(backing.clone()), write: Some(backing) }
    }
    /// A ROM: writes are MMIO (and dropped there when nobody claims them).
    pub fn rom(gpa: u64, len: u64, block: &RamBlock, offset: u64) -> Mapping {
        Mapping { gpa, len, read: Some(Backing { block: block.clone(), offset }), write: None }
    }
    /// MMIO both ways.
    pub fn none(gpa: u64, len: u64) -> Mapping {
        Mapping { gpa, len, read: None, write: None }
    }
    /// Checks alignment, overflow and that the backing holds the range.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |why| Err(Error::Range { start: self.gpa, len: self.len, why });
        if self.len == 0 || !self.gpa.is_multiple_of(PAGE) || !self.len.is_multiple_of(PAGE) {
            return bad("not whole pages");
        }
        if self.gpa.checked_add(self.len).is_none() {
            return bad("wraps around");
        }
        for backing in [&self.read, &self.write].into_iter().flatten() {
            let end = backing.offset.checked_add(self.len);
            if !backing.offset.is_multiple_of(PAGE) || end.is_none_or(|end| end > backing.block.size() as u64)
            {
                return bad("outside its block");
            }
        }
        Ok(())
    }
}

/// Reserves a zero-filled block of `len` bytes; the host gives pages as they are touched.
pub fn new_block(start: u64, len: u64) -> Result<RamBlock, Error> {
    let no_memory = |what: String| Error::NoMemory { len, source: std::io::Error::other(what) };
    let size = usize::try_from(len).map_err(|e| no_memory(e.to_string()))?;
    let region = MmapRegion::<PageTrack>::new(size).map_err(|e| no_memory(e.to_string()))?;
    let region = GuestRegionMmap::new(region, GuestAddress(start));
    region.map(Arc::new).ok_or(Error::Range { start, len, why: "wraps around" })
}

/// The guest's RAM as the PC has it: `below` bytes from 0 and `above` bytes from 4 GiB (none if zero).
pub fn new_ram(below: u64, above: u64) -> Result<GuestRam, Error> {
    let mut regions = vec![new_block(0, below)?];
    if above > 0 {
        regions.push(new_block(1 << 32, above)?);
    }
    let bad = |_| Error::Range { start: 0, len: below, why: "RAM below and above 4 GiB overlap" };
    GuestMemoryMmap::from_arc_regions(regions).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Bytes, GuestMemoryBackend, GuestMemoryRegion};

    #[test]
    fn writes_are_logged_for_each_reader_and_move_the_code_generation() {
        let ram = new_ram(16 * PAGE, 4 * PAGE).unwrap();
        ram.write_obj(7u32, GuestAddress(2 * PAGE - 2)).unwrap();
        let low = ram.find_region(GuestAddress(0)).unwrap();
        let track = (**low).bitmap();
        assert!(track.take_dirty(DirtyLog::Display, 1));
        assert!(!track.take_dirty(DirtyLog::Display, 1));
        assert!(track.take_dirty(DirtyLog::Migration, 1));
        assert!(track.take_dirty(DirtyLog::Migration, 2));
        assert!(!track.take_dirty(DirtyLog::Migration, 3));

        assert!(track.mark_code(5));
        assert!(!track.mark_code(5));
        let before = track.generation(5).unwrap().load(Ordering::Relaxed);
        ram.write_obj(1u8, GuestAddress(5 * PAGE)).unwrap();
        assert_ne!(before, track.generation(5).unwrap().load(Ordering::Relaxed));
        assert_eq!(ram.find_region(GuestAddress(1 << 32)).unwrap().len(), 4 * PAGE);
    }

    #[test]
    fn a_mapping_must_lie_in_its_block() {
        let block = new_block(0, 4 * PAGE).unwrap();
        assert!(Mapping::ram(0xa_0000, 4 * PAGE, &block, 0).check().is_ok());
        assert!(Mapping::ram(0xa_0000, 4 * PAGE, &block, PAGE).check().is_err());
        assert!(Mapping::rom(0xa_0000, PAGE, &block, 1).check().is_err());
        assert!(Mapping::none(1, PAGE).check().is_err());
        assert!(Mapping::none(u64::MAX - PAGE + 1, PAGE).check().is_err());
    }
}
