//! Memory of ours that a back end maps: its rings, and what else only it and we see.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use vm_memory::bitmap::BS;
use vm_memory::{AtomicAccess, Bytes, FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

/// Memory of a fixed size: nobody who has it can make it smaller, which would fault us.
pub(crate) struct Memory(MmapRegion<()>);

impl Memory {
    /// So many bytes, all zeros.
    pub(crate) fn new(len: usize) -> io::Result<Memory> {
        let file = memfd_create("vhost-user", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, len as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let file = FileOffset::new(File::from(file), 0);
        MmapRegion::from_file(file, len).map(Memory).map_err(io::Error::other)
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.size()
    }

    /// The file, to be handed over.
    pub(crate) fn file(&self) -> io::Result<BorrowedFd<'_>> {
        let file = self.0.file_offset().ok_or(io::ErrorKind::NotFound)?;
        Ok(file.file().as_fd())
    }

    /// All places are this crate's own, and lie within: an error is a fault of ours, which comes to nothing.
    fn slice(&self, at: usize, len: usize) -> Option<VolatileSlice<'_, BS<'_, ()>>> {
        self.0.get_slice(at, len).ok()
    }

    pub(crate) fn write(&self, at: usize, data: &[u8]) {
        let done = self.slice(at, data.len()).map(|slice| slice.write_slice(data, 0).is_ok());
        debug_assert_eq!(done, Some(true));
    }

    pub(crate) fn read(&self, at: usize, data: &mut [u8]) {
        let done = self.slice(at, data.len()).map(|slice| slice.read_slice(data, 0).is_ok());
        debug_assert_eq!(done, Some(true));
    }

    pub(crate) fn store<T: AtomicAccess>(&self, at: usize, value: T, order: Ordering) {
        let done = self.slice(at, size_of::<T>()).map(|slice| slice.store(value, 0, order).is_ok());
        debug_assert_eq!(done, Some(true));
    }

    pub(crate) fn load<T: AtomicAccess + Default>(&self, at: usize, order: Ordering) -> T {
        let value = self.slice(at, size_of::<T>()).and_then(|slice| slice.load(0, order).ok());
        debug_assert!(value.is_some());
        value.unwrap_or_default()
    }
}
