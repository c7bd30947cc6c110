//! `/dev/xen/gntdev`: pages that a domain grants (Linux `drivers/xen/gntdev.c`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use thiserror::Error;
use vm_memory::VolatileSlice;
use zerocopy::IntoBytes;

use crate::abi::{
    COPY_DEST_GRANT, COPY_SOURCE_GRANT, GrantCopy, GrantCopySegment, GrantRef, MapGrantRef, PAGE,
    UnmapGrantRef, UnmapNotify, gntdev,
};
use crate::error::{CallError, Named};
use crate::pages::{Pages, ioctl};
use crate::privcmd::open_device;

/// Most pages of one mapping.
pub const MAX_MAPPED: usize = 1024;
/// Most copies of one call: the kernel takes more, but not in one go.
pub const MAX_COPIES: usize = 1024;

/// Granted pages. Clones are handles to the same file.
#[derive(Clone)]
pub struct GrantTable {
    file: Arc<File>,
}

/// What a grant copy did not do: Xen's `GNTST_*`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("grant copy: status {0}")]
pub struct GrantStatus(pub i16);

/// Our side of a copy.
pub enum Local<'a> {
    /// Bytes come from the granted page.
    Into(&'a mut [u8]),
    /// Bytes go to the granted page.
    From(&'a [u8]),
}

/// One copy between our memory and a granted page.
pub struct Copy<'a> {
    /// Our bytes.
    pub local: Local<'a>,
    /// Who grants.
    pub domid: u16,
    /// The reference.
    pub reference: u32,
    /// First byte in the granted page.
    pub offset: u16,
}

impl Copy<'_> {
    /// The kernel's form. Our bytes must outlive its use. None when they do not lie in one page.
    fn segment(&mut self) -> Option<GrantCopySegment> {
        let (address, len, into) = match &mut self.local {
            Local::Into(bytes) => (bytes.as_mut_ptr() as u64, bytes.len(), true),
            Local::From(bytes) => (bytes.as_ptr() as u64, bytes.len(), false),
        };
        if usize::from(self.offset) + len > PAGE {
            return None;
        }
        let grant = u64::from(self.reference) | u64::from(self.offset) << 32 | u64::from(self.domid) << 48;
        let (source, dest, flags) = match into {
            true => (grant, address, COPY_SOURCE_GRANT),
            false => (address, grant, COPY_DEST_GRANT),
        };
        Some(GrantCopySegment { source, dest, len: len as u16, flags, status: 0 })
    }
}

impl GrantTable {
    /// Opens the device.
    pub fn open() -> Result<GrantTable, CallError> {
        let file = open_device("/dev/xen/gntdev", 0).named("open")?;
        Ok(GrantTable { file: Arc::new(file) })
    }

    /// Maps granted pages one after another.
    pub fn map(&self, grants: &[GrantRef], writable: bool) -> Result<GrantMapping, CallError> {
        let call = "IOCTL_GNTDEV_MAP_GRANT_REF";
        let mut argument = map_argument(grants).named(call)?;
        // SAFETY: the header is followed by as many references as it says.
        unsafe { ioctl(self.file.as_raw_fd(), gntdev::MAP_GRANT_REF, argument.as_mut_ptr()) }.named(call)?;
        let index = argument[1];
        let unmap = Unmap { file: self.file.clone(), index, count: grants.len() as u32 };
        let pages = Pages::of_file(self.file.as_raw_fd(), grants.len() * PAGE, index, writable);
        Ok(GrantMapping { pages: pages.named("mmap of granted pages")?, unmap })
    }

    /// Copies; the results are in order. The whole fails only when nothing was done.
    pub fn copy(&self, copies: &mut [Copy<'_>]) -> Result<Vec<Result<(), GrantStatus>>, CallError> {
        let call = "IOCTL_GNTDEV_GRANT_COPY";
        let segments: Option<Vec<_>> = copies.iter_mut().map(Copy::segment).collect();
        let segments = segments.filter(|segments| segments.len() <= MAX_COPIES);
        let bad = || io::Error::new(io::ErrorKind::InvalidInput, "beyond a page, or too many");
        let mut segments = segments.ok_or_else(bad).named(call)?;
        let mut argument = GrantCopy { count: segments.len() as u32, segments: segments.as_mut_ptr() };
        // SAFETY: the segments are as many as is said; their own sides are slices that are borrowed, for
        // writing where bytes come in, until this returns.
        unsafe { ioctl(self.file.as_raw_fd(), gntdev::GRANT_COPY, &mut argument) }.named(call)?;
        let status = |segment: &GrantCopySegment| match segment.status {
            0 => Ok(()),
            status => Err(GrantStatus(status)),
        };
        Ok(segments.iter().map(status).collect())
    }
}

/// The argument of a mapping: a header and the references, as `u64`s for their alignment.
fn map_argument(grants: &[GrantRef]) -> io::Result<Vec<u64>> {
    if grants.is_empty() || grants.len() > MAX_MAPPED {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no pages, or too many"));
    }
    let header = MapGrantRef { count: grants.len() as u32, ..MapGrantRef::default() };
    let mut argument = vec![0u64; 2 + grants.len()];
    let bytes = argument.as_mut_bytes();
    let (head, tail) = bytes.split_at_mut(size_of::<MapGrantRef>());
    head.copy_from_slice(header.as_bytes());
    tail.copy_from_slice(grants.as_bytes());
    Ok(argument)
}

/// Gives the pages back after they are unmapped.
struct Unmap {
    file: Arc<File>,
    index: u64,
    count: u32,
}

impl Drop for Unmap {
    fn drop(&mut self) {
        let mut argument = UnmapGrantRef { index: self.index, count: self.count, pad: 0 };
        // SAFETY: the request's structure; the pages are not mapped any more.
        let done = unsafe { ioctl(self.file.as_raw_fd(), gntdev::UNMAP_GRANT_REF, &mut argument) };
        if let Err(error) = done {
            tracing::warn!("IOCTL_GNTDEV_UNMAP_GRANT_REF: {error}");
        }
    }
}

/// Mapped pages of another domain, which may change them at any time.
pub struct GrantMapping {
    // In this order: the pages go before the grant.
    pages: Pages,
    unmap: Unmap,
}

impl GrantMapping {
    /// The bytes.
    pub fn slice(&self) -> VolatileSlice<'_> {
        // SAFETY: the mapping lives as long as the borrow, and is accessed as volatile memory only.
        unsafe { VolatileSlice::new(self.pages.addr().as_ptr(), self.pages.len()) }
    }

    /// When the mapping goes, however that comes about: clears the byte at `clear` and raises an event on the
    /// local port `notify`.
    pub fn at_unmap(&self, clear: Option<u64>, notify: Option<u32>) -> Result<(), CallError> {
        let mut argument = UnmapNotify {
            index: self.unmap.index + clear.unwrap_or(0),
            action: u32::from(clear.is_some()) | u32::from(notify.is_some()) << 1,
            port: notify.unwrap_or(0),
        };
        let fd = self.unmap.file.as_raw_fd();
        // SAFETY: the request's structure.
        unsafe { ioctl(fd, gntdev::SET_UNMAP_NOTIFY, &mut argument) }
            .named("IOCTL_GNTDEV_SET_UNMAP_NOTIFY")
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_names_its_sides_and_stays_in_a_page() {
        let mut bytes = [0; 512];
        let address = bytes.as_ptr() as u64;
        let mut copy = Copy { local: Local::Into(&mut bytes), domid: 5, reference: 0x1234, offset: 0xe00 };
        let segment = copy.segment().unwrap();
        assert_eq!(segment.source, 5 << 48 | 0xe00 << 32 | 0x1234);
        assert_eq!((segment.dest, segment.len, segment.flags), (address, 512, COPY_SOURCE_GRANT));
        let mut copy = Copy { local: Local::From(&bytes), domid: 5, reference: 1, offset: 0 };
        let segment = copy.segment().unwrap();
        assert_eq!((segment.source, segment.dest, segment.flags), (address, 5 << 48 | 1, COPY_DEST_GRANT));
        copy.offset = 0xe01;
        assert!(copy.segment().is_none());
    }

    #[test]
    fn a_mapping_is_asked_for_with_its_references() {
        let grants = [GrantRef { domid: 7, reference: 8 }, GrantRef { domid: 7, reference: 9 }];
        assert_eq!(map_argument(&grants).unwrap(), [2, 0, 8 << 32 | 7, 9 << 32 | 7]);
        assert!(map_argument(&[]).is_err());
        assert!(map_argument(&[grants[0]; MAX_MAPPED + 1]).is_err());
    }
}
