//! Files read into and written from guest memory with no copy between.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

/// Slices that one system call takes (Linux' UIO_MAXIOV).
const MOST: usize = 1024;

fn vectors<B: BitmapSlice>(slices: &[VolatileSlice<'_, B>]) -> Vec<libc::iovec> {
    let one = |slice: &VolatileSlice<'_, B>| libc::iovec {
        iov_base: slice.ptr_guard_mut().as_ptr().cast(),
        iov_len: slice.len(),
    };
    slices.iter().take(MOST).map(one).collect()
}

fn position(at: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn moved(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// One `preadv` of the file's bytes from `at` on into the slices, and marks what came as written. The bytes that
/// came: fewer than there is room for, or none, at the file's end.
pub fn read_file<B: BitmapSlice>(file: &File, slices: &[VolatileSlice<'_, B>], at: u64) -> io::Result<usize> {
    let (vectors, at) = (vectors(slices), position(at)?);
    // SAFETY: each vector is the range of a VolatileSlice, which is writable memory for the slice's lifetime, and
    // the slices outlive this call. Nothing in this process holds references into such memory, so the
    // kernel may write it while others look at it. There are at most UIO_MAXIOV vectors, so their count fits.
    let came =
        moved(unsafe { libc::preadv(file.as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int, at) })?;
    let mut left = came;
    for slice in slices {
        let now = slice.len().min(left);
        slice.bitmap().mark_dirty(0, now);
        left -= now;
        if left == 0 {
            break;
        }
    }
    Ok(came)
}

/// One `pwritev` of the slices to the file from `at` on. The bytes that went.
pub fn write_file<B: BitmapSlice>(
    file: &File,
    slices: &[VolatileSlice<'_, B>],
    at: u64,
) -> io::Result<usize> {
    let (vectors, at) = (vectors(slices), position(at)?);
    // SAFETY: as above; the kernel only reads the memory, whatever others write there meanwhile.
    moved(unsafe { libc::pwritev(file.as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int, at) })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use vm_memory::{GuestAddress, GuestMemoryBackend};

    use super::super::{DirtyLog, PAGE, new_ram, read, write};
    use super::*;

    #[test]
    fn a_file_moves_through_scattered_memory_and_marks_what_came() {
        let path = std::env::temp_dir().join(format!("vectored-{}", std::process::id()));
        let open = |path| File::options().read(true).write(true).create(true).truncate(true).open(path);
        let mut file = open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let ram = new_ram(16 * PAGE, 0).unwrap();
        assert!(write(&ram, PAGE, b"first") && write(&ram, 9 * PAGE - 2, b"second"));
        let slice = |at, len| ram.get_slice(GuestAddress(at), len).unwrap();
        let slices = [slice(PAGE, 5), slice(9 * PAGE - 2, 6)];
        assert_eq!(write_file(&file, &slices, 3).unwrap(), 11);
        let mut whole = Vec::new();
        file.read_to_end(&mut whole).unwrap();
        assert_eq!(whole, b"\0\0\0firstsecond");

        let track = ram.find_region(GuestAddress(0)).unwrap().track();
        assert_eq!(track.fetch_dirty(DirtyLog::Migration).len(), 3);
        let slices = [slice(3 * PAGE, 6), slice(5 * PAGE, 100)];
        assert_eq!(read_file(&file, &slices, 6).unwrap(), 8);
        let mut came = [0; 6];
        assert!(read(&ram, 3 * PAGE, &mut came) && came == *b"stseco");
        assert!(read(&ram, 5 * PAGE, &mut came) && came == *b"nd\0\0\0\0");
        assert_eq!(track.fetch_dirty(DirtyLog::Migration), [3, 5]);
        assert_eq!(read_file(&file, &slices, 14).unwrap(), 0);
        assert!(read_file(&file, &slices, u64::MAX).is_err());
    }
}
