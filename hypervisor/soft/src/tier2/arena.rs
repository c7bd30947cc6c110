//! Memory for translated code: written through one mapping, executed through another, so that no page is ever both.
//!
//! Both are of one memfd, made before the process confines itself. Where the host refuses it (a policy against
//! executable memory), there is no arena and tier 1 runs alone.

use std::io;

use crate::cpu::Cpu;

/// Bytes of an arena, thunks and slots among them.
pub const SIZE: usize = 16 << 20;

/// A pair of mappings of the same bytes.
pub struct Arena {
    write: *mut u8,
    run: *const u8,
    /// Bytes written since the pages of `write` were given back.
    written: usize,
}

/// Bytes after which the pages of the mapping that is written through are given back: they count a second time there.
const KEPT: usize = 256 << 10;

// SAFETY: the mappings belong to this value alone, and are memory that every thread of the process may use.
unsafe impl Send for Arena {}

fn map(fd: libc::c_int, prot: libc::c_int) -> io::Result<*mut u8> {
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that is there.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, prot, libc::MAP_SHARED, fd, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
}

fn unmap(at: *mut u8) {
    // SAFETY: a mapping of `map`, which nobody uses any more.
    unsafe { libc::munmap(at.cast(), SIZE) };
}

/// A memfd that may be executed.
fn memfd() -> io::Result<libc::c_int> {
    hypervisor::memory::within_file_limit(SIZE as u64)?;
    for flags in [libc::MFD_CLOEXEC | libc::MFD_EXEC, libc::MFD_CLOEXEC] {
        // SAFETY: the name is a string that ends with a zero; the call keeps nothing of it.
        let fd = unsafe { libc::memfd_create(c"translated-code".as_ptr(), flags) };
        if fd >= 0 {
            return Ok(fd);
        }
        let error = io::Error::last_os_error();
        // Linux before 6.3 does not know the first flag.
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}

impl Arena {
    /// An empty one. Pages are the host's only once they are written.
    pub fn new() -> io::Result<Arena> {
        let fd = memfd()?;
        // SAFETY: a call with numbers alone, on a descriptor of our own.
        let sized = unsafe { libc::ftruncate(fd, SIZE as libc::off_t) };
        let made = if sized == 0 { Arena::mapped(fd) } else { Err(io::Error::last_os_error()) };
        // SAFETY: our own descriptor, used no more; the mappings keep the file.
        unsafe { libc::close(fd) };
        made
    }

    fn mapped(fd: libc::c_int) -> io::Result<Arena> {
        let write = map(fd, libc::PROT_READ | libc::PROT_WRITE)?;
        match map(fd, libc::PROT_READ | libc::PROT_EXEC) {
            Ok(run) => Ok(Arena { write, run, written: 0 }),
            Err(error) => {
                unmap(write);
                Err(error)
            }
        }
    }

    /// Address that the first byte has for the processor.
    pub fn base(&self) -> u64 {
        self.run as u64
    }

    /// Puts bytes at an offset.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at <= SIZE && bytes.len() <= SIZE - at, "code lies in its arena");
        // SAFETY: within the mapping; no reference to it is ever made.
        unsafe { self.write.add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.written += bytes.len();
        if self.written > KEPT {
            self.written = 0;
            // SAFETY: our own mapping, of a file: what was written stays in the file.
            unsafe { libc::madvise(self.write.cast(), SIZE, libc::MADV_DONTNEED) };
        }
    }

    /// Reads bytes at an offset.
    pub fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        assert!(at <= SIZE && N <= SIZE - at, "code lies in its arena");
        let mut bytes = [0; N];
        // SAFETY: within the mapping.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(self.write.add(at), N) };
        bytes
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        unmap(self.write);
        unmap(self.run.cast_mut());
    }
}

/// Runs translated code until it leaves; gives the code of why.
///
/// # Safety
/// `thunk` is the address of the entry thunk of `cpu`'s arena, and `entry` that of a translation in it which holds for
/// the processor's mode and for the code where its RIP is.
pub unsafe fn enter(thunk: u64, cpu: *mut Cpu, entry: u64) -> u64 {
    // SAFETY: the thunk has this signature and keeps the calling convention.
    let thunk: extern "C" fn(*mut Cpu, u64) -> u64 = unsafe { std::mem::transmute(thunk) };
    thunk(cpu, entry)
}
