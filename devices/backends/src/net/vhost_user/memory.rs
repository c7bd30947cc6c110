//! The memory that a back end maps: the rings and the buffers of both queues.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use vm_memory::bitmap::BS;
use vm_memory::{AtomicAccess, Bytes, FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

/// Descriptors of a ring, each with a buffer.
pub(super) const SIZE: usize = 256;
/// Bytes of a buffer: a frame of Ethernet's and its header, with some to spare. A longer frame takes several.
pub(super) const BUFFER: usize = 2048;

/// Where the parts of a queue are, from its start on (virtio 1.2, 2.7).
pub(super) const AVAILABLE: usize = 16 * SIZE;
pub(super) const USED: usize = AVAILABLE + 4096;
const BUFFERS: usize = USED + 4096;
const QUEUE: usize = BUFFERS + SIZE * BUFFER;
/// All of it.
pub(super) const LEN: usize = 2 * QUEUE;

/// The address of its first byte, as the back end is told: no address of ours, which are not its business.
pub(super) const ADDRESS: u64 = 1 << 32;

/// Memory of a fixed size: nobody who has it can make it smaller, which would fault us.
pub(super) struct Memory(MmapRegion<()>);

/// Where a queue of that number begins.
pub(super) fn queue(number: usize) -> usize {
    number * QUEUE
}

/// Where a buffer of a queue begins.
pub(super) fn buffer(queue: usize, descriptor: u16) -> usize {
    queue + BUFFERS + usize::from(descriptor) * BUFFER
}

impl Memory {
    pub(super) fn new() -> io::Result<Memory> {
        let file = memfd_create("vhost-user", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, LEN as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let file = FileOffset::new(File::from(file), 0);
        MmapRegion::from_file(file, LEN).map(Memory).map_err(io::Error::other)
    }

    /// The file, to be handed over.
    pub(super) fn file(&self) -> io::Result<BorrowedFd<'_>> {
        let file = self.0.file_offset().ok_or(io::ErrorKind::NotFound)?;
        Ok(file.file().as_fd())
    }

    /// All places are this module's and `ring`'s own, and lie within: an error is a fault of ours, which comes to
    /// nothing.
    fn slice(&self, at: usize, len: usize) -> Option<VolatileSlice<'_, BS<'_, ()>>> {
        self.0.get_slice(at, len).ok()
    }

    pub(super) fn write(&self, at: usize, data: &[u8]) {
        let done = self.slice(at, data.len()).map(|slice| slice.write_slice(data, 0).is_ok());
        debug_assert_eq!(done, Some(true));
    }

    pub(super) fn read(&self, at: usize, data: &mut [u8]) {
        let done = self.slice(at, data.len()).map(|slice| slice.read_slice(data, 0).is_ok());
        debug_assert_eq!(done, Some(true));
    }

    pub(super) fn store<T: AtomicAccess>(&self, at: usize, value: T, order: Ordering) {
        let done = self.slice(at, size_of::<T>()).map(|slice| slice.store(value, 0, order).is_ok());
        debug_assert_eq!(done, Some(true));
    }

    pub(super) fn load<T: AtomicAccess + Default>(&self, at: usize, order: Ordering) -> T {
        let value = self.slice(at, size_of::<T>()).and_then(|slice| slice.load(0, order).ok());
        debug_assert!(value.is_some());
        value.unwrap_or_default()
    }

    /// Zeroes a queue's rings.
    pub(super) fn clear(&self, queue: usize) {
        self.write(queue, &[0; BUFFERS]);
    }
}
