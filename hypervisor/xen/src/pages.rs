//! Mappings of host memory that end with their owner.

use std::io;
use std::ptr::NonNull;

/// Whole pages that are mapped while this lives.
#[derive(Debug)]
pub struct Pages {
    addr: NonNull<u8>,
    len: usize,
}

// SAFETY: the value only owns the range of addresses; whoever reads or writes there sees to races.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps `len` bytes (whole pages) of a file, readable and, if asked for, writable, shared.
    pub fn of_file(fd: libc::c_int, len: usize, offset: u64, writable: bool) -> io::Result<Pages> {
        let prot = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        Pages::map(len, prot, libc::MAP_SHARED, fd, offset)
    }

    /// Maps fresh zeroed memory that stays in place: for arguments of hypercalls.
    pub fn locked(len: usize) -> io::Result<Pages> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_LOCKED | libc::MAP_POPULATE;
        let pages = Pages::map(len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)?;
        // SAFETY: the range is a mapping of our own; the advice changes only what a child process gets.
        let done = unsafe { libc::madvise(pages.addr.as_ptr().cast(), len, libc::MADV_DONTFORK) };
        if done == 0 { Ok(pages) } else { Err(io::Error::last_os_error()) }
    }

    fn map(len: usize, prot: i32, flags: i32, fd: libc::c_int, offset: u64) -> io::Result<Pages> {
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let addr = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, offset) };
        if addr == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let addr = NonNull::new(addr.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Pages { addr, len })
    }

    /// First byte.
    pub fn addr(&self) -> NonNull<u8> {
        self.addr
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map` and nothing refers to it any more: every reference that is
        // handed out borrows from this value or from its owner.
        unsafe { libc::munmap(self.addr.as_ptr().cast(), self.len) };
    }
}

/// Makes an ioctl, again if a signal came first. The call's own result, which is not below zero.
///
/// # Safety
/// `arg` must be what `request` of this file takes, valid for as long as the call lasts.
pub(crate) unsafe fn ioctl<T>(fd: libc::c_int, request: u64, arg: *mut T) -> io::Result<i32> {
    loop {
        // SAFETY: the caller's promise.
        let result = unsafe { libc::ioctl(fd, request as _, arg) };
        if result >= 0 {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
