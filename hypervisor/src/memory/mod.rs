//! Guest memory: host blocks, what each page of the guest-physical space is, and who wrote to it.

mod region;
mod shared;
mod slices;
mod track;
mod vectored;

use std::sync::Arc;

use vm_memory::{GuestAddress, GuestRegionCollection, GuestRegionMmap, MmapRegion};

use crate::Error;
pub use region::{DmaObserver, Foreign, Pinned, Region, SliceTrack, discard, pin, read, write};
pub use shared::{SharedRam, SharedRegion, new_shared_ram, shared, within_file_limit};
pub use slices::{Slices, slices};
pub use track::{DirtyLog, PageTrack};
pub use vectored::{read_file, write_file};

/// Bytes of a page, the unit of tracking and mapping.
pub const PAGE: u64 = 4096;

/// A block of host memory that the guest sees somewhere: RAM, video memory, a ROM.
pub type RamBlock = Arc<GuestRegionMmap<PageTrack>>;

/// All of the guest's RAM at its guest-physical addresses. Clones are handles.
/// Holes, ROMs and video memory are not in it: DMA there is an error.
pub type GuestRam = GuestRegionCollection<Region>;

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
    let mut regions = vec![Region::host(new_block(0, below)?)];
    if above > 0 {
        regions.push(Region::host(new_block(1 << 32, above)?));
    }
    ram_of(regions)
}

/// RAM of these regions, which must be in ascending order and apart.
pub fn ram_of(regions: Vec<Region>) -> Result<GuestRam, Error> {
    let bad = |_| Error::Range { start: 0, len: 0, why: "regions of RAM overlap or are out of order" };
    GuestRam::from_regions(regions).map_err(bad)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use vm_memory::{Bytes, GuestMemoryBackend, GuestMemoryRegion};

    #[test]
    fn writes_are_logged_for_each_reader_and_move_the_code_generation() {
        let ram = new_ram(16 * PAGE, 4 * PAGE).unwrap();
        ram.write_obj(7u32, GuestAddress(2 * PAGE - 2)).unwrap();
        let low = ram.find_region(GuestAddress(0)).unwrap();
        let track = low.track();
        let told = Arc::new(AtomicUsize::new(0));
        let count = told.clone();
        track.on_take(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        track.on_fetch(|track, log| {
            if log == DirtyLog::Migration {
                track.touch(9);
            }
        });
        assert_eq!(track.fetch_dirty(DirtyLog::Display), [1, 2]);
        assert!(track.fetch_dirty(DirtyLog::Display).is_empty());
        assert_eq!(told.load(Ordering::Relaxed), 1, "once a fetch, and not if there was nothing");
        assert_eq!(track.fetch_dirty(DirtyLog::Migration), [1, 2, 9], "9 was written elsewhere");

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
