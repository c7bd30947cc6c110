//! One stretch of guest RAM, whose bytes may belong to another domain.

use std::sync::Arc;

use vm_memory::bitmap::BS;
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryRegion,
    GuestMemoryRegionBytes, GuestUsize, MemoryRegionAddress, MmapRegion, VolatileSlice,
};

use super::{GuestRam, PageTrack, RamBlock};

type Result<T> = std::result::Result<T, GuestMemoryError>;

/// Brings pages of another domain into a block's host addresses, which are reserved for the block's whole
/// life: a page that was taken away reads as zeros and keeps nothing, but never faults.
pub trait Foreign: Send + Sync {
    /// Makes the bytes present and keeps them so until [`unpin`](Foreign::unpin). False when a page of them
    /// is a hole; then nothing is kept.
    fn pin(&self, offset: u64, len: u64) -> bool;
    /// The reverse of one successful [`pin`](Foreign::pin) of the same bytes.
    fn unpin(&self, offset: u64, len: u64);
}

/// Hears of what [`read`] and [`write()`] move, for a recording or its replay. Called on the mover's thread.
pub trait Tap: Send + Sync {
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
    tap: Option<Arc<dyn Tap>>,
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
        Region { block, foreign: None, tap: None }
    }

    /// RAM of another domain: `foreign` fills the block's host addresses.
    pub fn foreign(block: RamBlock, foreign: Arc<dyn Foreign>) -> Region {
        Region { block, foreign: Some(foreign), tap: None }
    }

    /// The same bytes with a tap. It is the tap of the lowest region that hears of all of a guest's RAM.
    pub fn tapped(self, tap: Arc<dyn Tap>) -> Region {
        Region { tap: Some(tap), ..self }
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

    /// Runs `access` with the bytes present.
    fn with<T>(&self, at: MemoryRegionAddress, len: usize, access: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(foreign) = &self.foreign else { return access() };
        if !foreign.pin(at.0, len as u64) {
            return Err(GuestMemoryError::InvalidGuestAddress(self.start_addr().unchecked_add(at.0)));
        }
        let result = access();
        foreign.unpin(at.0, len as u64);
        result
    }
}

impl GuestMemoryRegion for Region {
    type B = PageTrack;

    fn len(&self) -> GuestUsize {
        self.block.len()
    }
    fn start_addr(&self) -> GuestAddress {
        self.block.start_addr()
    }
    fn bitmap(&self) -> BS<'_, PageTrack> {
        self.block.bitmap()
    }
    /// The pages are present when it returns; only [`pin`] keeps them.
    fn get_host_address(&self, at: MemoryRegionAddress) -> Result<*mut u8> {
        self.with(at, 1, || self.block.get_host_address(at))
    }
    /// The pages are present when it returns; only [`pin`] keeps them.
    fn get_slice(
        &self,
        at: MemoryRegionAddress,
        count: usize,
    ) -> Result<VolatileSlice<'_, BS<'_, PageTrack>>> {
        self.with(at, count, || self.block.get_slice(at, count))
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

/// Fills `data` from `gpa`, with the pages pinned meanwhile. False when they are not all RAM; then part of it may
/// have been filled.
pub fn read(ram: &GuestRam, gpa: u64, data: &mut [u8]) -> bool {
    let pinned = pin(ram, gpa, data.len() as u64);
    let done = pinned.is_some() && ram.read_slice(data, GuestAddress(gpa)).is_ok();
    match tap(ram) {
        None => done,
        Some(tap) => tap.read(gpa, data, done),
    }
}

/// Writes `data` to `gpa`, likewise.
pub fn write(ram: &GuestRam, gpa: u64, data: &[u8]) -> bool {
    let pinned = pin(ram, gpa, data.len() as u64);
    let done = pinned.is_some() && ram.write_slice(data, GuestAddress(gpa)).is_ok();
    match tap(ram) {
        None => done,
        Some(tap) => tap.write(gpa, data, done),
    }
}

fn tap(ram: &GuestRam) -> Option<&dyn Tap> {
    ram.iter().next()?.tap.as_deref()
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
            if !foreign.pin(offset, now) {
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

    use super::super::{PAGE, new_block, ram_of};
    use super::*;

    /// A domain whose second page is ballooned out.
    #[derive(Default)]
    struct Ballooned {
        pins: Mutex<Vec<(u64, u64)>>,
    }

    impl Foreign for Ballooned {
        fn pin(&self, offset: u64, len: u64) -> bool {
            let hole = offset < 2 * PAGE && offset + len > PAGE;
            if !hole {
                self.pins.lock().unwrap().push((offset, len));
            }
            !hole
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
}
