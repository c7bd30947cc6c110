//! Video memory: pages of the guest's own, so that it draws at full speed, which follow their BAR.
//!
//! Before a BAR shows it, video memory is parked right above the guest's RAM, where no memory map tells of
//! it. When its BAR is switched off it stays where it was, since firmware does that more than once and puts
//! the BAR back; it is parked again when something else wants the place. A save carries its pages like all
//! others, so a restored domain has it where it was.

use std::ops::RangeInclusive;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypervisor::memory::{self, DirtyLog, PAGE};
use hypervisor::{Error, PageTrack, RamBlock, SavedPart};
use serde::{Deserialize, Serialize};
use vm_memory::MmapRegion;

use crate::abi::dm::{CACHE_DELETE, CACHE_WRITE_BACK, PinMemoryCacheattr, RelocateMemory, TrackDirtyVram};
use crate::dirty::DirtyReport;
use crate::domain::Domain;
use crate::error::CallError;

/// Most pages that one look at the dirty log covers: its bitmap is at most a page.
const TRACKED: u64 = 8 * PAGE;
/// Path of the saved part.
const PATH: &str = "xen/ram";

/// Where blocks of guest memory beyond its RAM are, as a save tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placements {
    blocks: Vec<Placement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Placement {
    name: String,
    gfn: u64,
    pages: u64,
}

impl Placements {
    /// What the parts of a save tell. Needed before the machine is built: its video memory is in the domain
    /// already.
    pub fn of(parts: &[SavedPart]) -> Result<Placements, Error> {
        let bad = |what: String| Error::State(what);
        let part = parts.iter().find(|part| part.path == PATH).ok_or_else(|| bad(format!("no {PATH}")))?;
        if part.version != 1 {
            return Err(bad(format!("{PATH} has version {}", part.version)));
        }
        let placements: Placements =
            rmp_serde::from_slice(&part.body).map_err(|error| bad(format!("{PATH}: {error}")))?;
        let sound = |block: &Placement| block.gfn.checked_add(block.pages).is_some_and(|end| end <= 1 << 40);
        match placements.blocks.iter().all(sound) {
            true => Ok(placements),
            false => Err(bad(format!("{PATH}: a block beyond all memory"))),
        }
    }
}

/// One block.
struct Block {
    name: String,
    block: RamBlock,
    pages: u64,
    parking: u64,
    /// Where it is now.
    gfn: Arc<AtomicU64>,
    /// A BAR shows it there.
    shown: bool,
    /// Xen was told how it is cached here.
    cached: bool,
}

impl Block {
    /// Whether it lies in that range of addresses.
    fn overlaps(&self, range: &RangeInclusive<u64>) -> bool {
        let first = self.gfn.load(Ordering::Acquire);
        range.start() / PAGE < first + self.pages && first <= range.end() / PAGE
    }
}

/// The blocks of a domain.
pub struct Video {
    domain: Arc<Domain>,
    dirty: Arc<DirtyReport>,
    inner: Arc<Mutex<Inner>>,
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Inner {
    blocks: Vec<Block>,
    /// First page that is free to park at.
    free: u64,
    /// Pages from there on that the domain has been given already.
    reserved: u64,
    /// Where blocks of a restored domain are.
    restored: Option<Placements>,
}

impl Video {
    /// No blocks yet; they are parked from page `free` on.
    pub fn new(domain: Arc<Domain>, dirty: Arc<DirtyReport>, free: u64) -> Video {
        let inner = Inner { blocks: Vec::new(), free, reserved: 0, restored: None };
        Video { domain, dirty, inner: Arc::new(Mutex::new(inner)) }
    }

    /// The domain was restored, and has its blocks there. Before the first is added.
    pub fn restored(&self, placements: Placements) {
        self.inner().restored = Some(placements);
    }

    /// Gives the domain the pages of blocks of so many bytes that will be added, while that can be done.
    pub fn reserve(&self, len: u64) -> Result<(), CallError> {
        let mut inner = self.inner();
        let (first, pages) = (inner.free.saturating_add(inner.reserved), len.div_ceil(PAGE));
        self.populate("video memory", first, pages)?;
        inner.reserved += pages;
        Ok(())
    }

    fn populate(&self, name: &str, first: u64, pages: u64) -> Result<(), CallError> {
        let populated = self.domain.kernel().populate(self.domain.id(), first, pages);
        let what = format!(" ({pages} pages at {first:#x} for {name})");
        populated.map_err(|error| self.domain.failed("XENMEM_populate_physmap", what, error))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Makes a block: gives the domain pages for it, unless it was restored with them, and maps them.
    pub fn add(&self, name: &str, len: u64) -> Result<RamBlock, Error> {
        let mut inner = self.inner();
        if len == 0 || !len.is_multiple_of(PAGE) {
            return Err(Error::Range { start: 0, len, why: "not whole pages" });
        }
        let (pages, parking) = (len / PAGE, inner.free);
        let block = memory::new_block(0, len)?;
        let gfn = match &inner.restored {
            Some(restored) => restored_at(restored, name, pages)?,
            None => {
                let more = pages.saturating_sub(inner.reserved);
                if more > 0 {
                    self.populate(name, parking.saturating_add(inner.reserved), more)?;
                }
                parking
            }
        };
        self.map_pages(&block, gfn, pages)?;
        inner.free = parking.saturating_add(pages);
        inner.reserved = inner.reserved.saturating_sub(pages);
        let gfn = Arc::new(AtomicU64::new(gfn));
        let (dirty, at) = (self.dirty.clone(), gfn.clone());
        track(&block).on_write(move |pages| {
            let count = (pages.end() - pages.start()) as u64 + 1;
            dirty.written(at.load(Ordering::Acquire) + *pages.start() as u64, count);
        });
        // Xen keeps such a log of one range, which is the first block's.
        if inner.blocks.is_empty() {
            let (domain, weak) = (self.domain.clone(), Arc::downgrade(&self.inner));
            track(&block).on_fetch(move |track, log| {
                let Some(inner) = weak.upgrade().filter(|_| log == DirtyLog::Display) else { return };
                // Held, so that the block does not move meanwhile.
                let inner = lock(&inner);
                if let Some(block) = inner.blocks.first() {
                    mark_drawn(&domain, block.gfn.load(Ordering::Acquire), track);
                }
            });
        }
        let name = name.to_owned();
        inner.blocks.push(Block {
            name,
            block: block.clone(),
            pages,
            parking,
            gfn,
            shown: false,
            cached: false,
        });
        Ok(block)
    }

    fn map_pages(&self, block: &RamBlock, gfn: u64, pages: u64) -> Result<(), CallError> {
        let call = "IOCTL_PRIVCMD_MMAPBATCH_V2";
        let what = format!(" ({pages} pages from {gfn:#x})");
        let gfns: Vec<u64> = (gfn..gfn + pages).collect();
        let mut errors = vec![0; gfns.len()];
        let addr = NonNull::new(block.as_ptr()).ok_or(std::io::ErrorKind::OutOfMemory);
        let mapped = addr.map_err(std::io::Error::from).and_then(|addr| {
            // SAFETY: the block was made just now, is as long as the pages, and nobody else has it yet.
            unsafe { self.domain.kernel().map_foreign(self.domain.id(), addr, &gfns, &mut errors) }
        });
        mapped.map_err(|error| self.domain.failed(call, what.clone(), error))?;
        match errors.iter().find(|error| **error != 0) {
            Some(error) => {
                let error = std::io::Error::from_raw_os_error(error.wrapping_neg());
                Err(self.domain.failed(call, what, error))
            }
            None => Ok(()),
        }
    }

    /// Shows a whole block at page `gfn`. None: it is none of these blocks.
    pub fn show(&self, block: &RamBlock, gfn: u64) -> Option<Result<(), CallError>> {
        let mut inner = self.inner();
        let at = inner.blocks.iter_mut().find(|other| Arc::ptr_eq(&other.block, block))?;
        at.shown = true;
        Some(self.shift(at, gfn).map(|()| self.cache(at)))
    }

    /// The block that is shown at page `gfn` is not any more. Whether there is one; it is still there.
    pub fn hide(&self, gfn: u64) -> bool {
        let mut inner = self.inner();
        let here = |block: &&mut Block| block.gfn.load(Ordering::Acquire) == gfn && block.shown;
        inner.blocks.iter_mut().find(here).map(|block| block.shown = false).is_some()
    }

    /// Something else is at these addresses: blocks that are there and are not shown are parked.
    pub fn make_room(&self, ranges: &[RangeInclusive<u64>]) -> Result<(), CallError> {
        let mut inner = self.inner();
        let in_the_way =
            |block: &&mut Block| !block.shown && ranges.iter().any(|range| block.overlaps(range));
        inner.blocks.iter_mut().filter(in_the_way).try_for_each(|block| self.shift(block, block.parking))
    }

    /// Moves a block, which is cached as the guest's MTRRs say then.
    fn shift(&self, block: &mut Block, to: u64) -> Result<(), CallError> {
        let from = block.gfn.load(Ordering::Acquire);
        if to == from {
            return Ok(());
        }
        if block.cached {
            let attribute = cache(from, block.pages, CACHE_DELETE);
            if let Err(error) = self.domain.op(attribute) {
                self.domain.complain(&error);
            }
            block.cached = false;
        }
        self.domain.op(RelocateMemory { pages: block.pages as u32, pad: 0, from, to })?;
        block.gfn.store(to, Ordering::Release);
        Ok(())
    }

    /// Has a block cached: the guest's MTRRs make its window uncached.
    fn cache(&self, block: &mut Block) {
        if !block.cached {
            let attribute = cache(block.gfn.load(Ordering::Acquire), block.pages, CACHE_WRITE_BACK);
            match self.domain.op(attribute) {
                Ok(_) => block.cached = true,
                Err(error) => self.domain.complain(&error),
            }
        }
    }

    /// Where the blocks are: (name, first page, pages).
    pub fn blocks(&self) -> Vec<(String, u64, u64)> {
        let inner = self.inner();
        let blocks = inner.blocks.iter();
        blocks.map(|block| (block.name.clone(), block.gfn.load(Ordering::Acquire), block.pages)).collect()
    }

    /// The part of a save.
    pub fn save(&self) -> Result<SavedPart, Error> {
        let blocks = self.blocks().into_iter();
        let blocks = blocks.map(|(name, gfn, pages)| Placement { name, gfn, pages }).collect();
        let body = rmp_serde::to_vec_named(&Placements { blocks });
        let body = body.map_err(|error| Error::State(format!("{PATH}: {error}")))?;
        Ok(SavedPart { path: PATH.into(), version: 1, body })
    }

    /// Checks that a save is of the blocks that are here; the domain was restored with them in place.
    pub fn check(&self, parts: &[SavedPart]) -> Result<(), Error> {
        let saved = Placements::of(parts)?;
        let here = self.blocks();
        let same =
            |block: &Placement| here.iter().any(|(name, _, n)| *name == block.name && *n == block.pages);
        if saved.blocks.len() != here.len() || !saved.blocks.iter().all(same) {
            return Err(Error::State(format!("{PATH}: other blocks were saved than are here")));
        }
        Ok(())
    }
}

fn track(block: &RamBlock) -> &PageTrack {
    let region: &MmapRegion<PageTrack> = block;
    region.bitmap()
}

/// Marks the pages from `first_pfn` on that the guest wrote to since last asked, by Xen's log of them; all that lies
/// beyond that, and all if there is no such log.
fn mark_drawn(domain: &Domain, first_pfn: u64, track: &PageTrack) {
    let pages = (track.pages() as u64).min(TRACKED);
    let mut bitmap = vec![0; pages.div_ceil(8) as usize];
    let op = TrackDirtyVram { pages: pages as u32, pad: 0, first_pfn };
    let known = match domain.op_with(op, &mut bitmap) {
        Ok(_) => pages as usize,
        // There is no log yet, or none at all.
        Err(error) => {
            if error.errno() != Some(libc::ENODATA) {
                domain.complain(&error);
            }
            0
        }
    };
    for page in 0..track.pages() {
        let word = bitmap.get(page / 8).copied().unwrap_or(0);
        if page >= known || word & 1 << (page % 8) != 0 {
            track.touch(page);
        }
    }
}

fn cache(first: u64, pages: u64, kind: u32) -> PinMemoryCacheattr {
    PinMemoryCacheattr { start: first, end: first + (pages - 1), kind, pad: 0 }
}

fn restored_at(restored: &Placements, name: &str, pages: u64) -> Result<u64, Error> {
    let block = restored.blocks.iter().find(|block| block.name == name);
    let block = block.ok_or_else(|| Error::State(format!("{PATH}: no block {name}")))?;
    if block.pages != pages {
        let why = format!("{PATH}: {name} has {} pages, {pages} here", block.pages);
        return Err(Error::State(why));
    }
    Ok(block.gfn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{DOMID, FakeXen, extents};
    use vm_memory::{Bytes, MemoryRegionAddress};

    const PARKING: u64 = 1 << 20;
    const BAR: u64 = 0xf_0000;

    fn video(fake: &Arc<FakeXen>, restored: Option<Placements>) -> (Video, Arc<DirtyReport>) {
        let domain = Arc::new(Domain::new(fake.clone(), DOMID));
        let dirty = Arc::new(DirtyReport::new(domain.clone()));
        let video = Video::new(domain, dirty.clone(), PARKING);
        if let Some(restored) = restored {
            video.restored(restored);
        }
        (video, dirty)
    }

    #[test]
    fn pages_that_were_reserved_are_not_asked_for_again() {
        let fake = FakeXen::new(16);
        let (video, _) = video(&fake, None);
        video.reserve(3 * PAGE).unwrap();
        fake.state().restricted = Some(DOMID);
        video.add("vram", 3 * PAGE).unwrap();
        assert_eq!(video.blocks(), [("vram".to_owned(), PARKING, 3)]);
        video.add("more", PAGE).unwrap_err();
    }

    #[test]
    fn it_is_parked_follows_its_bar_and_is_restored_where_it_was() {
        let fake = FakeXen::new(16);
        let (there, _) = video(&fake, None);
        let block = there.add("vram", 64 * PAGE).unwrap();
        block.write_slice(b"picture", MemoryRegionAddress(0x3000)).unwrap();
        assert_eq!(fake.peek((PARKING + 3) * PAGE, 7), b"picture");
        there.show(&block, BAR).unwrap().unwrap();
        assert_eq!(fake.peek((BAR + 3) * PAGE, 7), b"picture");
        let moves = fake.ops::<RelocateMemory>();
        assert_eq!(moves, [RelocateMemory { pages: 64, pad: 0, from: PARKING, to: BAR }]);
        let expected = PinMemoryCacheattr { start: BAR, end: BAR + 63, kind: 6, pad: 0 };
        assert_eq!(fake.ops::<PinMemoryCacheattr>(), [expected]);
        there.show(&block, BAR).unwrap().unwrap();
        assert_eq!(fake.ops::<RelocateMemory>().len(), 1, "it is there already");
        // Both see each other's writes after the move.
        fake.poke(BAR * PAGE, b"guest");
        let mut bytes = [0; 5];
        block.read_slice(&mut bytes, MemoryRegionAddress(0)).unwrap();
        assert_eq!(&bytes, b"guest");

        let parts = [there.save().unwrap()];
        assert!(there.check(&parts).is_ok());
        let pages = fake.state().p2m.len();
        let (here, _) = video(&fake, Some(Placements::of(&parts).unwrap()));
        let block = here.add("vram", 64 * PAGE).unwrap();
        assert_eq!(fake.state().p2m.len(), pages, "nothing is populated");
        block.read_slice(&mut bytes, MemoryRegionAddress(0)).unwrap();
        assert_eq!(&bytes, b"guest");
        fake.forget();
        here.show(&block, BAR).unwrap().unwrap();
        assert!(fake.ops::<RelocateMemory>().is_empty());
        assert_eq!(fake.ops::<PinMemoryCacheattr>().len(), 1);
        let other = memory::new_block(0, PAGE).unwrap();
        assert!(here.show(&other, BAR).is_none());
    }

    #[test]
    fn it_stays_while_its_bar_is_off_unless_the_place_is_wanted() {
        let fake = FakeXen::new(16);
        let (video, _) = video(&fake, None);
        let block = video.add("vram", 64 * PAGE).unwrap();
        let range = |first: u64, pages: u64| first * PAGE..=(first + pages) * PAGE - 1;
        let place = || fake.ops::<RelocateMemory>().iter().map(|moved| moved.to).collect::<Vec<_>>();
        video.show(&block, BAR).unwrap().unwrap();
        // Something else there would not be seen, and the block must stay: the guest's own doing.
        video.make_room(&[range(BAR, 1)]).unwrap();
        for _ in 0..3 {
            assert!(!video.hide(BAR + 1));
            assert!(video.hide(BAR));
            video.show(&block, BAR).unwrap().unwrap();
        }
        assert_eq!(place(), [BAR]);
        assert_eq!(fake.ops::<PinMemoryCacheattr>().len(), 1);
        video.show(&block, BAR + 64).unwrap().unwrap();
        assert_eq!(place(), [BAR, BAR + 64]);
        assert!(video.hide(BAR + 64));
        video.make_room(&[range(BAR, 64), range(BAR + 128, 1)]).unwrap();
        assert_eq!(place(), [BAR, BAR + 64], "beside it");
        fake.poke((BAR + 64) * PAGE, b"guest");
        video.make_room(&[range(BAR + 127, 9)]).unwrap();
        assert_eq!(place(), [BAR, BAR + 64, PARKING]);
        assert_eq!(fake.peek(PARKING * PAGE, 5), b"guest");
        let kinds: Vec<_> = fake.ops::<PinMemoryCacheattr>().iter().map(|op| op.kind).collect();
        let (on, off) = (CACHE_WRITE_BACK, CACHE_DELETE);
        assert_eq!(kinds, [on, off, on, off]);
        assert!(!video.hide(BAR + 64));
    }

    #[test]
    fn a_save_of_something_else_is_refused() {
        let fake = FakeXen::new(16);
        let (there, _) = video(&fake, None);
        there.add("vram", 64 * PAGE).unwrap();
        let part = there.save().unwrap();
        let placements = Placements::of(std::slice::from_ref(&part)).unwrap();
        let refused = |name: &str, len| {
            let (here, _) = video(&fake, Some(placements.clone()));
            here.add(name, len).unwrap_err().to_string()
        };
        assert!(refused("vram", 32 * PAGE).contains("64 pages, 32 here"));
        assert!(refused("other", 64 * PAGE).contains("no block other"));
        assert!(Placements::of(&[]).is_err());
        assert!(Placements::of(&[SavedPart { version: 2, ..part.clone() }]).is_err());
        assert!(Placements::of(&[SavedPart { body: part.body[1..].to_vec(), ..part.clone() }]).is_err());
        let (here, _) = video(&fake, None);
        assert!(here.check(&[part]).is_err());
        // A domain that was not restored with these pages.
        let far = Placements { blocks: vec![Placement { name: "vram".into(), gfn: 7 << 20, pages: 64 }] };
        let (here, _) = video(&fake, Some(far));
        let error = here.add("vram", 64 * PAGE).unwrap_err();
        assert!(matches!(error, Error::Host { .. }), "{error}");
    }

    #[test]
    fn the_guests_drawing_and_ours_are_logged() {
        let fake = FakeXen::new(16);
        let (video, dirty) = video(&fake, None);
        let block = video.add("vram", 64 * PAGE).unwrap();
        let fetch = || track(&block).fetch_dirty(DirtyLog::Display);
        assert_eq!(fetch().len(), 64, "no log yet: all may have changed");
        fake.state().vram_dirty = Some(vec![3, 63]);
        assert_eq!(fetch(), [3, 63]);
        assert!(fetch().is_empty());
        let asked = fake.ops::<TrackDirtyVram>().len();
        track(&block).fetch_dirty(DirtyLog::Migration);
        assert_eq!(fake.ops::<TrackDirtyVram>().len(), asked, "Xen's own log, and not the display's");
        dirty.set(true);
        video.show(&block, BAR).unwrap().unwrap();
        block.write_slice(&[1], MemoryRegionAddress(2 * PAGE)).unwrap();
        dirty.flush();
        assert_eq!(extents(&fake), [(BAR + 2, 1)]);
        assert_eq!(fetch(), [2]);
    }
}
