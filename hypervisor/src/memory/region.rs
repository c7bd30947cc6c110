//! One stretch of guest RAM, whose bytes may belong to another domain.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use vm_memory::bitmap::{BS, Bitmap, BitmapSlice, RefSlice, WithBitmapSlice};
use vm_memory::{
    Address, Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryRegion,
    GuestMemoryRegionBytes, GuestUsize, MemoryRegionAddress, MmapRegion, VolatileSlice,
};

use super::shared::{is_hole, punch};
use super::slices::Copied;
use super::{GuestRam, PageTrack, RamBlock};

type Result<T> = std::result::Result<T, GuestMemoryError>;

/// Brings pages of another domain into a block's host addresses, which are reserved for the block's whole
/// life. Only bytes that are pinned may be touched: a hole, and pages that are just being mapped, fault.
pub trait Foreign: Send + Sync {
    /// Makes the bytes present and keeps them so until [`unpin`](Foreign::unpin). False when a page of them
    /// is a hole; then nothing is kept. `patient`: it may wait a little for other pins to end, where pages have changed
    /// since those.
    fn pin(&self, offset: u64, len: u64, patient: bool) -> bool;
    /// One more pin of bytes that the caller has pinned: it neither waits nor fails.
    fn pin_again(&self, offset: u64, len: u64);
    /// The reverse of one successful [`pin`](Foreign::pin) of the same bytes.
    fn unpin(&self, offset: u64, len: u64);
}

/// Hears of what [`read`], [`write()`] and [slices](super::slices) move, for a recording or its replay. Called on the mover's thread.
pub trait DmaObserver: Send + Sync {
    /// A read of `data` that was `done`, or not. Says whether it counts as done, and may replace the bytes.
    fn read(&self, gpa: u64, data: &mut [u8], done: bool) -> bool;
    /// A write, likewise.
    fn write(&self, gpa: u64, data: &[u8], done: bool) -> bool;
}

/// A stretch of guest RAM. Clones are handles.
#[derive(Clone)]
pub struct Region {
    block: RamBlock,
    foreign: Option<Arc<dyn Foreign>>,
    observer: Option<Arc<dyn DmaObserver>>,
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region")
            .field("block", &self.block)
            .field("foreign", &self.foreign.is_some())
            .finish()
    }
}

impl Region {
    /// RAM that is this process's own.
    pub fn host(block: RamBlock) -> Region {
        Region { block, foreign: None, observer: None }
    }

    /// RAM of another domain: `foreign` fills the block's host addresses.
    pub fn foreign(block: RamBlock, foreign: Arc<dyn Foreign>) -> Region {
        Region { block, foreign: Some(foreign), observer: None }
    }

    /// The same bytes with an observer. It is the observer of the lowest region that hears of all of a guest's RAM.
    pub fn observed_by(self, observer: Arc<dyn DmaObserver>) -> Region {
        Region { observer: Some(observer), ..self }
    }

    /// The host addresses.
    pub fn block(&self) -> &RamBlock {
        &self.block
    }

    /// What is known of its pages.
    pub fn track(&self) -> &PageTrack {
        let region: &MmapRegion<PageTrack> = &self.block;
        region.bitmap()
    }

    /// Whether these bytes are all zeros because nobody has written there yet. False where that is not known. To read
    /// them would give the guest the host's memory for them: a file's pages come when they are read.
    pub fn is_untouched(&self, offset: u64, len: u64) -> bool {
        self.file_offset().is_some_and(|place| is_hole(place, offset, len))
    }

    /// Pins bytes, if they are another domain's.
    fn hold(&self, at: MemoryRegionAddress, len: usize) -> Result<Option<Hold<'_>>> {
        let Some(foreign) = self.foreign.as_deref() else { return Ok(None) };
        let (offset, len) = (at.0, len as u64);
        if !foreign.pin(offset, len, patient()) {
            return Err(GuestMemoryError::InvalidGuestAddress(self.start_addr().unchecked_add(at.0)));
        }
        Ok(Some(Hold::of(foreign, offset, len)))
    }
}

thread_local! {
    /// The pins of this thread's slices.
    static HOLDS: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread may wait for pins to end: not when some are its own, which it would wait for in vain. A guest
/// that changes its memory again and again would make a queue's chain of buffers last as many waits.
fn patient() -> bool {
    HOLDS.get() == 0
}

/// One pin, of a slice that stays in its thread. Each clone is one too.
struct Hold<'a> {
    foreign: &'a dyn Foreign,
    offset: u64,
    len: u64,
    _of_this_thread: PhantomData<*const ()>,
}

impl<'a> Hold<'a> {
    /// The bytes are pinned; this one unpins them.
    fn of(foreign: &'a dyn Foreign, offset: u64, len: u64) -> Hold<'a> {
        HOLDS.set(HOLDS.get() + 1);
        Hold { foreign, offset, len, _of_this_thread: PhantomData }
    }
}

impl Clone for Hold<'_> {
    fn clone(&self) -> Self {
        self.foreign.pin_again(self.offset, self.len);
        Hold::of(self.foreign, self.offset, self.len)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        HOLDS.set(HOLDS.get() - 1);
        self.foreign.unpin(self.offset, self.len);
    }
}

/// What a slice of a [`Region`] carries with it, as does every part and copy of the slice: who is told of its
/// writes, the pin that keeps its pages, and the copy that it is of where somebody hears of it.
#[derive(Clone)]
pub struct SliceTrack<'a> {
    track: RefSlice<'a, PageTrack>,
    hold: Option<Hold<'a>>,
    /// The copy, and where in it the slice begins.
    copied: Option<(Rc<Copied<'a>>, usize)>,
}

impl<'a> SliceTrack<'a> {
    /// That of a copy of a region's bytes from `at` on.
    pub(super) fn copied(track: &'a PageTrack, at: usize, copied: Rc<Copied<'a>>) -> SliceTrack<'a> {
        SliceTrack { track: track.slice_at(at), hold: None, copied: Some((copied, 0)) }
    }
}

impl std::fmt::Debug for SliceTrack<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SliceTrack").field("foreign", &self.hold.is_some()).finish_non_exhaustive()
    }
}

impl WithBitmapSlice<'_> for SliceTrack<'_> {
    type S = Self;
}

impl BitmapSlice for SliceTrack<'_> {}

impl Bitmap for SliceTrack<'_> {
    fn mark_dirty(&self, offset: usize, len: usize) {
        match &self.copied {
            None => self.track.mark_dirty(offset, len),
            Some((copied, at)) => copied.written(at.saturating_add(offset), len),
        }
    }
    fn dirty_at(&self, offset: usize) -> bool {
        self.track.dirty_at(offset)
    }
    fn slice_at(&self, offset: usize) -> Self {
        let copied = self.copied.as_ref().map(|(copied, at)| (copied.clone(), at.saturating_add(offset)));
        SliceTrack { track: self.track.slice_at(offset), hold: self.hold.clone(), copied }
    }
}

impl<'a> WithBitmapSlice<'a> for Region {
    type S = SliceTrack<'a>;
}

/// What is known of the region's pages.
impl Bitmap for Region {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.track().mark_dirty(offset, len);
    }
    fn dirty_at(&self, offset: usize) -> bool {
        self.track().dirty_at(offset)
    }
    fn slice_at(&self, offset: usize) -> SliceTrack<'_> {
        SliceTrack { track: self.track().slice_at(offset), hold: None, copied: None }
    }
}

impl GuestMemoryRegion for Region {
    type B = Region;

    fn len(&self) -> GuestUsize {
        self.block.len()
    }
    fn start_addr(&self) -> GuestAddress {
        self.block.start_addr()
    }
    fn bitmap(&self) -> SliceTrack<'_> {
        self.slice_at(0)
    }
    fn file_offset(&self) -> Option<&FileOffset> {
        self.block.file_offset()
    }
    /// Whoever follows the pointer has the bytes [pinned](pin): another domain's may be away otherwise.
    fn get_host_address(&self, at: MemoryRegionAddress) -> Result<*mut u8> {
        self.hold(at, 1)?;
        self.block.get_host_address(at)
    }
    /// The slice keeps its pages in place while it lives.
    fn get_slice(&self, at: MemoryRegionAddress, count: usize) -> Result<VolatileSlice<'_, BS<'_, Region>>> {
        let hold = self.hold(at, count)?;
        let found = self.block.get_slice(at, count)?;
        let track = SliceTrack { track: *found.bitmap(), hold, copied: None };
        let (addr, len) = (found.ptr_guard_mut().as_ptr(), found.len());
        // SAFETY: the addresses are those of a slice of the block, which the region keeps for the borrow. Pages
        // of another domain are behind them for as long as the pin, which the slice's bitmap has: no part of a
        // slice is without one. Everybody else who has the pages is told to use volatile accesses likewise.
        Ok(unsafe { VolatileSlice::with_bitmap(addr, len, track, None) })
    }
}

impl GuestMemoryRegionBytes for Region {}

/// Guest pages that a request in flight uses: they stay while it lives.
#[derive(Default)]
pub struct Pinned(Vec<(Arc<dyn Foreign>, u64, u64)>);

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.iter().for_each(|(foreign, offset, len)| foreign.unpin(*offset, *len));
    }
}

/// Fills `data` from `gpa`. False when it is not all RAM; then nothing has been filled.
pub fn read(ram: &GuestRam, gpa: u64, data: &mut [u8]) -> bool {
    let done = copy(ram, gpa, data.len(), |slice, range| {
        data.get_mut(range).is_some_and(|data| slice.read_slice(data, 0).is_ok())
    });
    match observer(ram) {
        None => done,
        Some(observer) => observer.read(gpa, data, done),
    }
}

/// Writes `data` to `gpa`, likewise.
pub fn write(ram: &GuestRam, gpa: u64, data: &[u8]) -> bool {
    let done = copy(ram, gpa, data.len(), |slice, range| {
        data.get(range).is_some_and(|data| slice.write_slice(data, 0).is_ok())
    });
    match observer(ram) {
        None => done,
        Some(observer) => observer.write(gpa, data, done),
    }
}

/// Gives the host back whole pages of RAM that the guest says it does not use: they read as zeros from now on. False:
/// they stay, since they are not all RAM that this process can give back, or a recording has to know what is in them.
pub fn discard(ram: &GuestRam, gpa: u64, len: u64) -> bool {
    if observer(ram).is_some() {
        return false;
    }
    let Some((region, at)) = ram.to_region_addr(GuestAddress(gpa)) else { return false };
    let fits = at.0.checked_add(len).is_some_and(|end| end <= region.len());
    if region.foreign.is_some() || !fits || !punch(&region.block, at.0, len) {
        return false;
    }
    region.track().touch_range(at.0 as usize, len as usize);
    true
}

/// Moves what is at `gpa`, a region at a time; `each` gets where in the data it is. The pages are pinned once
/// and for all of it: a second pin, after an invalidation, would wait for the first.
fn copy(
    ram: &GuestRam,
    gpa: u64,
    len: usize,
    mut each: impl FnMut(VolatileSlice<'_, BS<'_, PageTrack>>, Range<usize>) -> bool,
) -> bool {
    let Some(_pinned) = pin(ram, gpa, len as u64) else { return false };
    let mut done = 0;
    while done < len {
        let at = GuestAddress(gpa + done as u64);
        let Some((region, offset)) = ram.to_region_addr(at) else { return false };
        let now = ((region.len() - offset.0) as usize).min(len - done);
        let Ok(slice) = region.block.get_slice(offset, now) else { return false };
        if !each(slice, done..done + now) {
            return false;
        }
        done += now;
    }
    true
}

/// Who hears of this RAM.
pub(super) fn observer(ram: &GuestRam) -> Option<&dyn DmaObserver> {
    ram.iter().next()?.observer.as_deref()
}

/// Keeps `len` bytes at `gpa` in place. None when they are not all RAM.
pub fn pin(ram: &GuestRam, gpa: u64, len: u64) -> Option<Pinned> {
    let mut pinned = Pinned::default();
    let end = gpa.checked_add(len)?;
    let mut at = gpa;
    while at < end {
        let region = ram.find_region(GuestAddress(at))?;
        let offset = at - region.start_addr().0;
        let now = (end - at).min(region.len() - offset);
        if let Some(foreign) = &region.foreign {
            if !foreign.pin(offset, now, patient()) {
                return None;
            }
            pinned.0.push((foreign.clone(), offset, now));
        }
        at += now;
    }
    Some(pinned)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use vm_memory::VolatileMemory;

    use super::super::{PAGE, new_block, ram_of};
    use super::*;

    /// A domain whose second page is ballooned out.
    #[derive(Default)]
    struct Ballooned {
        pins: Mutex<Vec<(u64, u64)>>,
        /// Whether the last pin was patient.
        patient: AtomicBool,
    }

    impl Foreign for Ballooned {
        fn pin(&self, offset: u64, len: u64, patient: bool) -> bool {
            self.patient.store(patient, Ordering::Relaxed);
            let hole = offset < 2 * PAGE && offset + len > PAGE;
            if !hole {
                self.pins.lock().unwrap().push((offset, len));
            }
            !hole
        }
        fn pin_again(&self, offset: u64, len: u64) {
            let mut pins = self.pins.lock().unwrap();
            assert!(pins.contains(&(offset, len)), "was not pinned");
            pins.push((offset, len));
        }
        fn unpin(&self, offset: u64, len: u64) {
            let mut pins = self.pins.lock().unwrap();
            let at = pins.iter().position(|pin| *pin == (offset, len)).expect("was pinned");
            pins.remove(at);
        }
    }

    #[test]
    fn every_access_to_foreign_pages_is_pinned_and_holes_are_errors() {
        let domain = Arc::new(Ballooned::default());
        let near = Region::foreign(new_block(0, 4 * PAGE).unwrap(), domain.clone());
        let far = Region::foreign(new_block(4 * PAGE, PAGE).unwrap(), domain.clone());
        let written = Arc::new(Mutex::new(Vec::new()));
        let log = written.clone();
        near.track().on_write(move |pages| log.lock().unwrap().push(pages));
        let ram = ram_of(vec![near, far]).unwrap();

        assert!(write(&ram, 8, &7u32.to_le_bytes()));
        assert_eq!(ram.read_obj::<u32>(GuestAddress(8)).unwrap(), 7);
        assert!(!write(&ram, PAGE - 32, &[1; 64]));
        assert!(!read(&ram, PAGE, &mut [0; 8]));
        assert!(ram.read_slice(&mut [0; 8], GuestAddress(PAGE)).is_err());
        assert!(write(&ram, 3 * PAGE - 1, &[1; 2]));
        assert_eq!(*written.lock().unwrap(), [0..=0, 2..=3]);
        assert!(domain.pins.lock().unwrap().is_empty());

        assert!(pin(&ram, PAGE, 8).is_none());
        assert!(pin(&ram, 4 * PAGE, 2 * PAGE).is_none(), "reaches beyond the RAM");
        assert!(domain.pins.lock().unwrap().is_empty(), "what failed halfway is given back");
        let pinned = pin(&ram, 3 * PAGE, 2 * PAGE).unwrap();
        assert_eq!(*domain.pins.lock().unwrap(), [(3 * PAGE, PAGE), (0, PAGE)]);
        drop(pinned);
        assert!(domain.pins.lock().unwrap().is_empty());
    }

    /// A pin that ended before its slice let the pages go while they were copied.
    #[test]
    fn a_slice_and_each_part_of_it_keep_their_pages() {
        let domain = Arc::new(Ballooned::default());
        let region = Region::foreign(new_block(0, 4 * PAGE).unwrap(), domain.clone());
        let pins = || domain.pins.lock().unwrap().len();
        let whole = region.get_slice(MemoryRegionAddress(2 * PAGE), 64).unwrap();
        assert_eq!(pins(), 1);
        let (head, tail) = (whole.subslice(0, 8).unwrap(), whole.offset(8).unwrap());
        drop(whole);
        assert_eq!(pins(), 2);
        head.get_ref::<u32>(4).unwrap().store(7);
        assert_eq!(head.get_ref::<u32>(4).unwrap().load(), 7);
        assert_eq!(region.track().fetch_dirty(super::super::DirtyLog::Migration), [2], "a write is told");
        drop(head);
        assert_eq!(pins(), 1);
        drop(tail);
        assert_eq!(pins(), 0);
        assert!(region.get_slice(MemoryRegionAddress(PAGE), 8).is_err());
        assert!(region.get_slice(MemoryRegionAddress(4 * PAGE - 8), 16).is_err());
        assert_eq!(pins(), 0, "a slice that there is not keeps nothing");
    }

    /// The slices of one chain of buffers would wait for each other.
    #[test]
    fn who_has_slices_waits_for_nobodys_pins() {
        let domain = Arc::new(Ballooned::default());
        let ram = ram_of(vec![Region::foreign(new_block(0, 4 * PAGE).unwrap(), domain.clone())]).unwrap();
        let patient = || domain.patient.load(Ordering::Relaxed);
        let slice = || ram.get_slice(GuestAddress(2 * PAGE), 64).unwrap();
        let first = slice();
        assert!(patient());
        let part = first.subslice(8, 8).unwrap();
        drop(first);
        let _second = slice();
        assert!(!patient());
        drop(_second);
        assert!(read(&ram, 3 * PAGE, &mut [0; 8]) && !patient());
        assert!(std::thread::scope(|scope| scope
            .spawn(|| read(&ram, 0, &mut [0]) && patient())
            .join()
            .unwrap()));
        drop(part);
        assert!(read(&ram, 3 * PAGE, &mut [0; 8]) && patient());
    }
}
