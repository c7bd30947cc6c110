//! Guest memory as a bus master takes hold of it: slices, which a queue or a back end reads and writes as it likes.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use vm_memory::guest_memory::GuestMemorySliceIterator;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryRegion, MemoryRegionAddress,
    Permissions, VolatileSlice,
};

use super::region::{DmaObserver, SliceTrack, observer};
use super::{GuestRam, Region};

/// Most bytes of one slice that is heard: it is a copy, so that a guest's word would make the process grow.
const MOST_HEARD: usize = 16 << 20;

/// The RAM from `gpa` on, a region at a time. Each slice [keeps](SliceTrack) its pages. What is not RAM is an error,
/// after which there is nothing more.
///
/// Where a [`DmaObserver`] hears of the RAM a slice is a copy, so that what was read is what the observer has heard of, though the
/// guest may change it meanwhile; what is written goes on to the guest, and to the observer, as it is marked written. Such a
/// slice for writing alone has zeros in it, and one of more than 16 MiB is refused.
pub fn slices(ram: &GuestRam, gpa: GuestAddress, len: usize, access: Permissions) -> Slices<'_> {
    Slices { ram, gpa: gpa.0, left: len, access }
}

/// See [`slices`].
#[derive(Debug)]
pub struct Slices<'a> {
    ram: &'a GuestRam,
    gpa: u64,
    left: usize,
    access: Permissions,
}

type Slice<'a> = VolatileSlice<'a, SliceTrack<'a>>;

impl<'a> Slices<'a> {
    fn take(&mut self) -> Result<Slice<'a>, GuestMemoryError> {
        let at = GuestAddress(self.gpa);
        let end = self.gpa.checked_add(self.left as u64).ok_or(GuestMemoryError::GuestAddressOverflow)?;
        let (region, offset) =
            self.ram.to_region_addr(at).ok_or(GuestMemoryError::InvalidGuestAddress(at))?;
        let len = usize::try_from(region.len() - offset.0).map_or(self.left, |rest| rest.min(self.left));
        let slice = match observer(self.ram) {
            None => region.get_slice(offset, len)?,
            Some(observer) => heard(region, offset, len, self.access, observer)?,
        };
        self.left -= len;
        self.gpa = end - self.left as u64;
        Ok(slice)
    }
}

impl<'a> Iterator for Slices<'a> {
    type Item = Result<Slice<'a>, GuestMemoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let found = self.take();
        if found.is_err() {
            self.left = 0;
        }
        Some(found)
    }
}

impl std::iter::FusedIterator for Slices<'_> {}

impl<'a> GuestMemorySliceIterator<'a, SliceTrack<'a>> for Slices<'a> {}

/// Bytes in the place of guest memory, of which an observer hears.
pub(super) struct Copied<'a> {
    words: Box<[AtomicU64]>,
    /// The guest's own, pinned.
    pages: Slice<'a>,
    gpa: u64,
    observer: &'a dyn DmaObserver,
}

impl<'a> Copied<'a> {
    /// `bytes` are those of `pages`; fewer, and the rest are zeros.
    fn new(pages: Slice<'a>, gpa: u64, observer: &'a dyn DmaObserver, bytes: &[u8]) -> Copied<'a> {
        let lead = Copied::lead(gpa);
        let byte = |at: usize| at.checked_sub(lead).and_then(|at| bytes.get(at)).copied().unwrap_or(0);
        let word = |at: usize| AtomicU64::new(u64::from_ne_bytes(std::array::from_fn(|n| byte(at * 8 + n))));
        Copied { words: (0..(lead + pages.len()).div_ceil(8)).map(word).collect(), pages, gpa, observer }
    }

    /// Bytes of the first word before the copy's first: what the guest aligns, to be read or written at once, is
    /// aligned here too.
    fn lead(gpa: u64) -> usize {
        (gpa % 8) as usize
    }

    fn first(&self) -> *mut u8 {
        self.words.as_ptr().cast::<u8>().cast_mut().wrapping_add(Copied::lead(self.gpa))
    }

    /// These bytes of the copy were written: so are the guest's, and the observer hears.
    pub(super) fn written(&self, offset: usize, len: usize) {
        let len = len.min(self.pages.len().saturating_sub(offset));
        // SAFETY: there are words for all of the guest's bytes, behind the lead. They are atomic, so that they may be
        // written by whoever shares them, and the borrow keeps them.
        let copy = unsafe { VolatileSlice::new(self.first(), self.pages.len()) };
        let mut bytes = vec![0; len];
        let moved = copy.read_slice(&mut bytes, offset).is_ok();
        // A store that was ordered before or after others is so for the guest, which sees this one.
        fence(Ordering::SeqCst);
        let moved = moved && self.pages.write_slice(&bytes, offset).is_ok();
        fence(Ordering::SeqCst);
        self.observer.write(self.gpa + offset as u64, &bytes, moved);
    }
}

/// A slice of which an observer hears, and has the last word on whether there is RAM.
fn heard<'a>(
    region: &'a Region,
    at: MemoryRegionAddress,
    len: usize,
    access: Permissions,
    observer: &'a dyn DmaObserver,
) -> Result<Slice<'a>, GuestMemoryError> {
    if len > MOST_HEARD {
        return Err(GuestMemoryError::IOError(std::io::ErrorKind::OutOfMemory.into()));
    }
    let gpa = region.start_addr().0 + at.0;
    let found = region.get_slice(at, len);
    let (mut done, mut bytes) = (found.is_ok(), Vec::new());
    if access.allow(Permissions::Read) {
        bytes.resize(len, 0);
        done = found.as_ref().is_ok_and(|pages| pages.read_slice(&mut bytes, 0).is_ok());
        done = observer.read(gpa, &mut bytes, done);
    }
    if access.has_write() {
        done = observer.write(gpa, &[], done);
    }
    let pages = found?;
    if !done {
        return Err(GuestMemoryError::InvalidGuestAddress(GuestAddress(gpa)));
    }
    let copied = Rc::new(Copied::new(pages, gpa, observer, &bytes));
    let track = SliceTrack::copied(region.track(), at.0 as usize, copied.clone());
    // SAFETY: there are words for `len` bytes behind the lead, atomic ones, so that they may be written by whoever
    // shares them; all accesses are those of slices, volatile or atomic. The slice's bitmap has the copy, as does that
    // of each part and clone of the slice: none outlives it.
    Ok(unsafe { VolatileSlice::with_bitmap(copied.first(), len, track, None) })
}
