//! `/dev/xen/privcmd`: device model operations, foreign pages, hypercalls (Linux `drivers/xen/privcmd.c`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::NonNull;

use zerocopy::{FromBytes, IntoBytes};

use crate::abi::dm::DmOp;
use crate::abi::{
    DmOpBuffer, DmOpCall, HVMOP_GET_PARAM, HVMOP_SET_PARAM, HvmParam, Hypercall, MapBatch, MapResource,
    MemoryReservation, PAGE, POPULATE_PHYSMAP, Param, RESOURCE_IOREQ_SERVER, hypercall, privcmd,
};
use crate::evtchn::EventChannels;
use crate::kernel::{Events, Kernel};
use crate::pages::{Pages, ioctl};

/// Pages that are populated with one hypercall: as many frame numbers as fit a page.
const POPULATE_BATCH: u64 = (PAGE / 8) as u64;
/// Tries for pages that Xen's pager has put out.
const PAGED_TRIES: usize = 100;

/// The kernel's interfaces.
pub struct Linux {
    privcmd: File,
    /// Pages of it never move; older kernels do not have it.
    buffers: Option<File>,
}

/// Opens a device for reading and writing.
pub(crate) fn open_device(path: &str, flags: i32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_CLOEXEC | flags);
    options.open(path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

impl Linux {
    /// Opens privcmd. The error names the file.
    pub fn open() -> io::Result<Linux> {
        let old = Path::new("/proc/xen/privcmd");
        let privcmd = match open_device("/dev/xen/privcmd", 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && old.exists() => {
                open_device("/proc/xen/privcmd", 0)
            }
            result => result,
        }?;
        Ok(Linux { privcmd, buffers: open_device("/dev/xen/hypercall", 0).ok() })
    }

    fn fd(&self) -> libc::c_int {
        self.privcmd.as_raw_fd()
    }

    /// Memory for `pages` pages of arguments, which stays in place during a hypercall.
    fn buffer(&self, pages: usize) -> io::Result<Pages> {
        match &self.buffers {
            Some(file) => Pages::of_file(file.as_raw_fd(), pages * PAGE, 0, true),
            None => Pages::locked(pages * PAGE),
        }
    }

    /// # Safety
    /// What the arguments point to is as the hypercall takes it, and the caller's own while it lasts.
    unsafe fn hypercall(&self, op: u64, arg: [u64; 5]) -> io::Result<i32> {
        let mut call = Hypercall { op, arg };
        // SAFETY: the structure is the request's; for its arguments the caller has spoken.
        unsafe { ioctl(self.fd(), privcmd::HYPERCALL, &mut call) }
    }

    /// One `memory_op` or `hvm_op` on a structure, which is given back as Xen left it.
    ///
    /// # Safety
    /// The command takes that structure, and what this points to is as [`hypercall`](Linux::hypercall) says.
    unsafe fn call_with<T: IntoBytes + FromBytes + zerocopy::Immutable>(
        &self,
        op: u64,
        command: u64,
        value: T,
    ) -> io::Result<(i32, T)> {
        const { assert!(size_of::<T>() <= PAGE) };
        let buffer = self.buffer(1)?;
        let bytes = value.as_bytes();
        // SAFETY: the buffer is a page of our own that nobody else knows, and the structure fits it.
        unsafe { buffer.addr().as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        // SAFETY: the buffer has the structure that the command takes, as the caller says.
        let result = unsafe { self.hypercall(op, [command, buffer.addr().as_ptr() as u64, 0, 0, 0]) }?;
        // SAFETY: as above; Xen is done with it.
        let back = unsafe { std::slice::from_raw_parts(buffer.addr().as_ptr(), size_of::<T>()) };
        let value = T::read_from_bytes(back).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok((result, value))
    }

    /// # Safety
    /// `addr` is the caller's own, in a mapping of this file, and nobody touches as many pages from it on as
    /// there are frames.
    unsafe fn batch(
        &self,
        domid: u16,
        addr: NonNull<u8>,
        gfns: &[u64],
        errors: &mut [i32],
    ) -> io::Result<()> {
        if gfns.len() != errors.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let num = u32::try_from(gfns.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut batch = MapBatch {
            num,
            domid,
            addr: addr.as_ptr() as u64,
            gfns: gfns.as_ptr(),
            errors: errors.as_mut_ptr(),
        };
        // SAFETY: the arrays are as long as `num` says. The addresses are as the caller says, and the kernel
        // puts pages only where this file's mapping has none.
        match unsafe { ioctl(self.fd(), privcmd::MMAPBATCH_V2, &mut batch) } {
            // Some pages were put out by Xen's pager: their errors say so.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

impl Kernel for Linux {
    fn dm_op(&self, domid: u16, op: &mut DmOp, extra: Option<&mut [u8]>) -> io::Result<()> {
        let first = DmOpBuffer { data: (&raw mut *op).cast(), size: size_of::<DmOp>() };
        let num = 1 + u16::from(extra.is_some());
        let second = extra.map_or(DmOpBuffer { data: std::ptr::null_mut(), size: 0 }, |bytes| DmOpBuffer {
            data: bytes.as_mut_ptr().cast(),
            size: bytes.len(),
        });
        let buffers = [first, second];
        let mut call = DmOpCall { domid, num, buffers: buffers.as_ptr() };
        // SAFETY: both buffers are borrowed for writing for as long as the call lasts, with their lengths.
        unsafe { ioctl(self.fd(), privcmd::DM_OP, &mut call) }.map(|_| ())
    }

    fn map_ioreq_server(&self, domid: u16, server: u16) -> io::Result<Pages> {
        let pages = Pages::of_file(self.fd(), 2 * PAGE, 0, true)?;
        let mut resource = MapResource {
            domid,
            kind: RESOURCE_IOREQ_SERVER,
            id: server.into(),
            first: 0,
            frames: 2,
            addr: pages.addr().as_ptr() as u64,
        };
        // SAFETY: the two pages at `addr` are an empty mapping of this file that we own.
        unsafe { ioctl(self.fd(), privcmd::MMAP_RESOURCE, &mut resource) }?;
        Ok(pages)
    }

    unsafe fn map_foreign(
        &self,
        domid: u16,
        addr: NonNull<u8>,
        gfns: &[u64],
        errors: &mut [i32],
    ) -> io::Result<()> {
        let len = gfns.len().checked_mul(PAGE).ok_or(io::ErrorKind::InvalidInput)?;
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
        // SAFETY: the caller owns these pages and nobody touches them now.
        let mapped = unsafe { libc::mmap(addr.as_ptr().cast(), len, prot, flags, self.fd(), 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is a mapping of this file since a moment ago; the rest is as the caller says.
        unsafe { self.batch(domid, addr, gfns, errors) }?;
        let mut tries = PAGED_TRIES;
        while tries > 0 && errors.contains(&-libc::ENOENT) {
            std::thread::sleep(std::time::Duration::from_micros(100));
            tries -= 1;
            for (page, error) in errors.iter_mut().enumerate().filter(|(_, error)| **error == -libc::ENOENT) {
                // SAFETY: the page lies in the range, for which the caller's word holds.
                unsafe {
                    let at = addr.add(page * PAGE);
                    self.batch(domid, at, &gfns[page..=page], std::slice::from_mut(error))?;
                }
            }
        }
        Ok(())
    }

    unsafe fn fill_foreign(
        &self,
        domid: u16,
        addr: NonNull<u8>,
        gfns: &[u64],
        errors: &mut [i32],
    ) -> io::Result<()> {
        // SAFETY: the pages are part of what `map_foreign` has mapped; the rest is as the caller says.
        unsafe { self.batch(domid, addr, gfns, errors) }
    }

    fn populate(&self, domid: u16, first_gfn: u64, pages: u64) -> io::Result<()> {
        let frames = self.buffer(1)?;
        let mut done = 0;
        while done < pages {
            let count = (pages - done).min(POPULATE_BATCH);
            for n in 0..count {
                // SAFETY: `count` frame numbers fit the page, which is ours alone.
                unsafe { frames.addr().cast::<u64>().add(n as usize).write(first_gfn + done + n) };
            }
            let extents = frames.addr().as_ptr() as u64;
            let reservation = MemoryReservation { extents, count, domid, ..Default::default() };
            // SAFETY: the command takes a reservation; its frame numbers are in a page of ours, so many.
            let (got, _) = unsafe { self.call_with(hypercall::MEMORY_OP, POPULATE_PHYSMAP, reservation) }?;
            done += got as u64;
            if got as u64 != count {
                let why = format!("Xen gave {done} pages of {pages}: the domain may have no more");
                return Err(io::Error::new(io::ErrorKind::OutOfMemory, why));
            }
        }
        Ok(())
    }

    fn get_param(&self, domid: u16, param: Param) -> io::Result<u64> {
        let value = HvmParam { domid, index: param as u32, ..Default::default() };
        // SAFETY: the command takes that structure, which points to nothing.
        let (_, value) = unsafe { self.call_with(hypercall::HVM_OP, HVMOP_GET_PARAM, value) }?;
        Ok(value.value)
    }

    fn set_param(&self, domid: u16, param: Param, value: u64) -> io::Result<()> {
        let value = HvmParam { domid, index: param as u32, value, ..Default::default() };
        // SAFETY: as above.
        unsafe { self.call_with(hypercall::HVM_OP, HVMOP_SET_PARAM, value) }.map(|_| ())
    }

    fn events(&self) -> io::Result<Box<dyn Events>> {
        Ok(Box::new(EventChannels::open()?))
    }

    fn restrict(&self, domid: u16) -> io::Result<()> {
        let mut domid = domid;
        // SAFETY: the request takes a domain's number.
        unsafe { ioctl(self.fd(), privcmd::RESTRICT, &mut domid) }.map(|_| ())
    }
}
