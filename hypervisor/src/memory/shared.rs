//! RAM that other processes can map: a memfd, which has no name and lives while somebody has it open or mapped.
//!
//! A vhost-user back end gets the file and a table of what lies where in it. The file's size is sealed, so that no
//! process can take pages from under another's mapping, which would end it by SIGBUS. What may still happen to a page
//! is that somebody punches a hole there: it reads as zeros then.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;

use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap, MmapRegion,
};

use super::{GuestRam, PAGE, PageTrack, RamBlock, Region, ram_of};
use crate::Error;

/// A stretch of guest RAM in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedRegion {
    /// Guest-physical address of its first byte.
    pub gpa: u64,
    /// Bytes.
    pub len: u64,
    /// Where in the file its first byte is.
    pub offset: u64,
}

/// What another process needs to map all of a guest's RAM.
#[derive(Clone, Debug)]
pub struct SharedRam {
    /// The file. Whoever has it may read and write all of the guest's RAM, whatever a device's bus master bit says.
    pub file: Arc<File>,
    /// What is where, by ascending guest-physical addresses.
    pub regions: Vec<SharedRegion>,
}

/// How another process maps this RAM; None when it does not lie in one file.
///
/// Nobody sees that process's writes: neither the dirty logs nor a CPU that keeps decoded code of a page. Whoever hands
/// the file out asks for a log of the writes (vhost has one) and marks them in [`Region::track`].
pub fn shared(ram: &GuestRam) -> Option<SharedRam> {
    let file = ram.iter().next()?.file_offset()?.arc().clone();
    let regions = ram.iter().map(|region| {
        let place = region.file_offset().filter(|place| Arc::ptr_eq(place.arc(), &file))?;
        Some(SharedRegion { gpa: region.start_addr().0, len: region.len(), offset: place.start() })
    });
    Some(SharedRam { regions: regions.collect::<Option<_>>()?, file })
}

/// The guest's RAM as [`new_ram`](super::new_ram) has it, in one sealed file: first what is below 4 GiB, then the rest.
pub fn new_shared_ram(below: u64, above: u64) -> Result<GuestRam, Error> {
    let no_memory = |source| Error::NoMemory { len: below.saturating_add(above), source };
    // What is mapped begins at a page of the file.
    let from = below.checked_next_multiple_of(PAGE).ok_or_else(|| no_memory(too_large()))?;
    let len = from.checked_add(above).ok_or_else(|| no_memory(too_large()))?;
    let file = Arc::new(sealed(len).map_err(no_memory)?);
    let mut regions = vec![Region::host(block(&file, 0, 0, below)?)];
    if above > 0 {
        regions.push(Region::host(block(&file, from, 1 << 32, above)?));
    }
    ram_of(regions)
}

/// A part of the file as a block, mapped.
fn block(file: &Arc<File>, offset: u64, start: u64, len: u64) -> Result<RamBlock, Error> {
    let no_memory = |what: String| Error::NoMemory { len, source: io::Error::other(what) };
    let size = usize::try_from(len).map_err(|error| no_memory(error.to_string()))?;
    let place = FileOffset::from_arc(file.clone(), offset);
    let region = MmapRegion::<PageTrack>::from_file(place, size);
    let region = region.map_err(|error| no_memory(error.to_string()))?;
    let region = GuestRegionMmap::new(region, GuestAddress(start));
    region.map(Arc::new).ok_or(Error::Range { start, len, why: "wraps around" })
}

fn too_large() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

/// Whether the process may make a file of so many bytes: a larger one is the end of it (SIGXFSZ), not an error.
pub fn within_file_limit(len: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`, which is ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } == 0 && len > limit.rlim_cur {
        return Err(io::Error::other("the size of files is limited to less (RLIMIT_FSIZE, `ulimit -f`)"));
    }
    Ok(())
}

/// A memfd of that size, for ever.
fn sealed(len: u64) -> io::Result<File> {
    within_file_limit(len)?;
    let file = memfd(libc::MFD_NOEXEC_SEAL).or_else(|error| match error.raw_os_error() {
        // Linux before 6.3 does not know the flag.
        Some(libc::EINVAL) => memfd(0),
        _ => Err(error),
    })?;
    file.set_len(len)?;
    // With the last, nobody who gets the file can add others, such as one that makes it read-only.
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: a call with numbers alone, on a file that is open.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(file),
    }
}

fn memfd(flags: libc::c_uint) -> io::Result<File> {
    let flags = flags | libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a string that ends with a zero; the call keeps nothing of it.
    let fd = unsafe { libc::memfd_create(c"guest-ram".as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Makes a hole of whole pages of a block that lies in a file, for everybody who has it mapped.
pub(super) fn punch(block: &RamBlock, offset: u64, len: u64) -> bool {
    let inside = offset.checked_add(len).is_some_and(|end| end <= block.size() as u64);
    let whole = offset.is_multiple_of(PAGE) && len.is_multiple_of(PAGE);
    if block.file_offset().is_none() || !inside || !whole || len == 0 {
        return false;
    }
    let at = block.as_ptr().wrapping_add(offset as usize);
    // SAFETY: the pages lie in the block's mapping, which lives as long as the block. All who have it use volatile
    // accesses, and bear that its bytes change at any time; that the pages are gone is that they are zeros.
    unsafe { libc::madvise(at.cast(), len as usize, libc::MADV_REMOVE) == 0 }
}

/// Whether all bytes of a file's part are zeros because nobody has ever written there.
pub(super) fn is_hole(place: &FileOffset, offset: u64, len: u64) -> bool {
    let Some(from) = place.start().checked_add(offset) else { return false };
    let Ok(at) = libc::off_t::try_from(from) else { return false };
    // SAFETY: a call with numbers alone, on a file that is open. The file's position, which it moves, is nobody's.
    let data = unsafe { libc::lseek(place.file().as_raw_fd(), at, libc::SEEK_DATA) };
    match u64::try_from(data) {
        Ok(data) => data >= from.saturating_add(len),
        Err(_) => io::Error::last_os_error().raw_os_error() == Some(libc::ENXIO),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use vm_memory::{Bytes, VolatileMemory};

    use super::super::{DirtyLog, discard, new_ram, read, write};
    use super::*;

    /// The same bytes at other addresses, as another process has them.
    fn second(shared: &SharedRam, at: usize) -> MmapRegion<()> {
        let SharedRegion { len, offset, .. } = shared.regions[at];
        MmapRegion::from_file(FileOffset::from_arc(shared.file.clone(), offset), len as usize).unwrap()
    }

    #[test]
    fn another_mapping_sees_the_guest_and_the_guest_sees_it() {
        // An odd size below, so that what is above does not begin where that ends.
        let ram = new_shared_ram(3 * PAGE + 512, 2 * PAGE).unwrap();
        let shared = shared(&ram).unwrap();
        let region = |gpa, len, offset| SharedRegion { gpa, len, offset };
        assert_eq!(shared.regions, [region(0, 3 * PAGE + 512, 0), region(1 << 32, 2 * PAGE, 4 * PAGE)]);
        let (low, high) = (second(&shared, 0), second(&shared, 1));
        let (low, high) = (low.as_volatile_slice(), high.as_volatile_slice());
        let mut came = [0; 5];
        assert!(write(&ram, 3 * PAGE + 507, b"guest"));
        low.read_slice(&mut came, 3 * PAGE as usize + 507).unwrap();
        assert_eq!(&came, b"guest");
        high.write_slice(b"other", PAGE as usize).unwrap();
        assert!(read(&ram, (1 << 32) + PAGE, &mut came));
        assert_eq!(&came, b"other");
        shared.file.read_exact_at(&mut came, 5 * PAGE).unwrap();
        assert_eq!(&came, b"other");
    }

    #[test]
    fn what_is_discarded_is_given_back_and_reads_as_zeros() {
        let ram = new_shared_ram(8 * PAGE, 4 * PAGE).unwrap();
        let high = 1 << 32;
        for gpa in [0, 3 * PAGE, 7 * PAGE, high, high + 3 * PAGE] {
            ram.write_obj(0x55u8, GuestAddress(gpa)).unwrap();
        }
        let low = ram.find_region(GuestAddress(0)).unwrap();
        low.track().fetch_dirty(DirtyLog::Migration);
        assert!(discard(&ram, 3 * PAGE, PAGE));
        assert!(discard(&ram, high + 2 * PAGE, 2 * PAGE));
        // Before anybody reads it, which gives it a page again.
        assert!(low.is_untouched(3 * PAGE, PAGE));
        let byte = |gpa: u64| ram.read_obj::<u8>(GuestAddress(gpa)).unwrap();
        assert_eq!([0, 3 * PAGE, 7 * PAGE].map(byte), [0x55, 0, 0x55]);
        assert_eq!([high, high + 3 * PAGE].map(byte), [0x55, 0]);
        assert_eq!(low.track().fetch_dirty(DirtyLog::Migration), [3], "it has changed");
        for (gpa, len) in
            [(6 * PAGE, 4 * PAGE), (1, PAGE), (PAGE, 1), (PAGE, 0), (20 * PAGE, PAGE), (PAGE, u64::MAX)]
        {
            assert!(!discard(&ram, gpa, len), "{gpa:#x} {len:#x}");
        }
        let private = new_ram(4 * PAGE, 0).unwrap();
        private.write_obj(0x55u8, GuestAddress(PAGE)).unwrap();
        assert!(!discard(&private, PAGE, PAGE));
        assert_eq!(private.read_obj::<u8>(GuestAddress(PAGE)).unwrap(), 0x55);
    }

    #[test]
    fn its_size_is_sealed_and_holes_can_be_punched() {
        let ram = new_shared_ram(4 * PAGE, 0).unwrap();
        let shared = shared(&ram).unwrap();
        assert!(shared.file.set_len(PAGE).is_err());
        assert!(shared.file.set_len(64 * PAGE).is_err());
        // SAFETY: a call with numbers alone.
        let add =
            |seal: libc::c_int| unsafe { libc::fcntl(shared.file.as_raw_fd(), libc::F_ADD_SEALS, seal) };
        assert_eq!(add(libc::F_SEAL_FUTURE_WRITE), -1, "nor is another seal put on it");
        assert!(write(&ram, PAGE, &[1; 16]));
        let how = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: likewise; nobody holds references into guest memory.
        assert_eq!(unsafe { libc::fallocate(shared.file.as_raw_fd(), how, PAGE as i64, PAGE as i64) }, 0);
        let mut came = [9; 16];
        assert!(read(&ram, PAGE, &mut came));
        assert_eq!(came, [0; 16]);
    }

    #[test]
    fn what_nobody_has_written_is_known_without_being_read() {
        let ram = new_shared_ram(16 * PAGE, 8 << 30).unwrap();
        let shared = shared(&ram).unwrap();
        let high = ram.find_region(GuestAddress(1 << 32)).unwrap();
        assert!(high.is_untouched(0, 8 << 30));
        assert!(write(&ram, (1 << 32) + 5 * PAGE, &[1]));
        assert!(high.is_untouched(0, 5 * PAGE) && high.is_untouched(600 << 20, 7 << 30));
        assert!(!high.is_untouched(0, 5 * PAGE + 1) && !high.is_untouched(5 * PAGE, PAGE));
        let low = ram.find_region(GuestAddress(0)).unwrap();
        assert!(low.is_untouched(0, 16 * PAGE), "whatever is behind it in the file");
        assert!(shared.file.metadata().unwrap().blocks() > 0);
        let private = new_ram(PAGE, 0).unwrap();
        assert!(!private.find_region(GuestAddress(0)).unwrap().is_untouched(0, PAGE), "not known");
        assert!(super::shared(&private).is_none());
    }
}
