//! The file beneath an image: what both formats stand on.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use hypervisor::memory;
use rustix::fs::{AtFlags, FallocateFlags, StatxFlags};
use vm_memory::VolatileSlice;

/// Bytes of guest memory. They stay in place while the slice lives.
pub(super) type Guest<'a> = VolatileSlice<'a, vm_memory::bitmap::BS<'a, memory::Region>>;

/// A file or block device. All calls may run at the same time; two writes of the same bytes then land in any
/// order.
pub(super) trait HostFile: Send + Sync {
    /// Fills `data`. What lies beyond the end is zeros.
    fn read(&self, data: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes all of `data`.
    fn write(&self, data: &[u8], at: u64) -> io::Result<()>;
    /// What was written before is safe against a power failure when this is done.
    fn sync(&self) -> io::Result<()>;
    /// Bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether a write beyond the end makes it longer.
    fn grows(&self) -> bool;
    /// Gives space back: the bytes then read as zeros, or as before where the host cannot do it.
    fn punch(&self, at: u64, len: u64) -> io::Result<()>;

    /// Fills guest memory, likewise.
    fn read_guest(&self, slices: &[Guest<'_>], at: u64) -> io::Result<()> {
        let mut data = vec![0; length(slices)];
        self.read(&mut data, at)?;
        let mut done = 0;
        for slice in slices {
            slice.copy_from(&data[done..done + slice.len()]);
            done += slice.len();
        }
        Ok(())
    }

    /// Writes from guest memory.
    fn write_guest(&self, slices: &[Guest<'_>], at: u64) -> io::Result<()> {
        self.write(&gathered(slices), at)
    }
}

fn length(slices: &[Guest<'_>]) -> usize {
    slices.iter().map(VolatileSlice::len).sum()
}

fn gathered(slices: &[Guest<'_>]) -> Vec<u8> {
    let mut data = vec![0; length(slices)];
    let mut done = 0;
    for slice in slices {
        done += slice.copy_to(&mut data[done..done + slice.len()]);
    }
    data
}

/// The slices without their first `skip` bytes.
fn rest<'a>(slices: &[Guest<'a>], skip: usize) -> io::Result<Vec<Guest<'a>>> {
    cut(slices, skip, length(slices) - skip)
}

/// `len` bytes of the slices from `skip` on.
pub(super) fn cut<'a>(slices: &[Guest<'a>], skip: usize, len: usize) -> io::Result<Vec<Guest<'a>>> {
    let (mut skip, mut left) = (skip, len);
    let mut found = Vec::new();
    for slice in slices {
        if left == 0 {
            break;
        }
        if skip >= slice.len() {
            skip -= slice.len();
            continue;
        }
        let now = (slice.len() - skip).min(left);
        found.push(slice.subslice(skip, now).map_err(io::Error::other)?);
        (skip, left) = (0, left - now);
    }
    Ok(found)
}

/// What O_DIRECT asks of a transfer (statx(2), `stx_dio_mem_align`, `stx_dio_offset_align`).
#[derive(Clone, Copy)]
struct Alignment {
    memory: usize,
    offset: u64,
}

/// What every device takes, where the kernel does not say.
const SAFE: Alignment = Alignment { memory: 4096, offset: 4096 };

/// A file or block device of the host.
pub(super) struct DiskFile {
    file: File,
    grows: bool,
    syncs: bool,
    direct: Option<Alignment>,
    /// With O_DIRECT: a piece that is not aligned is written with its surroundings, alone.
    alone: RwLock<()>,
    lost: Lost,
}

/// Whether the host's page cache may have lost what was written: a kernel that could not write a page tells of it once,
/// and has forgotten the page (fsync(2)). The next sync has nothing to do and succeeds, so that only who remembers does
/// not take the guest's data for safe.
#[derive(Default)]
struct Lost(AtomicBool);

impl Lost {
    /// Runs one sync, which fails for ever once one has failed. The error is no lack of space even if it began as one:
    /// trying again when there is some would lose what the guest flushed.
    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) {
            return Err(io::Error::other("the host has lost what was written before"));
        }
        let Err(error) = sync() else { return Ok(()) };
        if error.kind() == io::ErrorKind::Interrupted {
            return Err(error);
        }
        self.0.store(true, Ordering::Release);
        Err(io::Error::other(error))
    }
}

impl DiskFile {
    /// An open file; `direct`: with O_DIRECT. Without `syncs` nothing waits for the host's disk, for what can be
    /// made anew.
    pub(super) fn new(file: File, direct: bool, syncs: bool) -> io::Result<DiskFile> {
        let grows = !file.metadata()?.file_type().is_block_device();
        let direct = direct.then(|| alignment(&file));
        Ok(DiskFile { file, grows, syncs, direct, alone: RwLock::new(()), lost: Lost::default() })
    }

    fn aligned(&self, address: *const u8, len: usize, at: u64) -> bool {
        self.direct.is_none_or(|align| {
            (address as usize).is_multiple_of(align.memory)
                && at.is_multiple_of(align.offset)
                && (len as u64).is_multiple_of(align.offset)
        })
    }

    fn slices_aligned(&self, slices: &[Guest<'_>], at: u64) -> bool {
        self.direct.is_none()
            || slices.iter().all(|slice| self.aligned(slice.ptr_guard().as_ptr(), slice.len(), at))
    }

    /// Runs `work` on an aligned copy of the file's bytes around a piece.
    fn around(
        &self,
        align: Alignment,
        at: u64,
        len: usize,
        work: impl FnOnce(&mut [u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        let start = at / align.offset * align.offset;
        let skip = (at - start) as usize;
        let whole = (skip + len).next_multiple_of(align.offset as usize);
        let mut room = vec![0; whole + align.memory];
        let first = room.as_ptr().align_offset(align.memory);
        let copy = room.get_mut(first..first + whole).ok_or(io::ErrorKind::OutOfMemory)?;
        self.fill(copy, start)?;
        if work(&mut copy[skip..skip + len])? {
            let end = self.len()?.max(at + len as u64);
            self.file.write_all_at(copy, start)?;
            if self.grows && end < start + whole as u64 {
                self.file.set_len(end)?;
            }
        }
        Ok(())
    }

    fn fill(&self, data: &mut [u8], at: u64) -> io::Result<()> {
        let mut done = 0;
        while done < data.len() {
            match self.file.read_at(&mut data[done..], at + done as u64) {
                Ok(more) if self.ended(more) => {
                    data[done + more..].fill(0);
                    break;
                }
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a read that brought so many bytes met the end. With O_DIRECT there is no going on at an odd offset.
    fn ended(&self, came: usize) -> bool {
        came == 0 || self.direct.is_some_and(|align| !(came as u64).is_multiple_of(align.offset))
    }
}

fn alignment(file: &File) -> Alignment {
    let asked = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN);
    let said = asked.ok().filter(|s| s.stx_dio_mem_align > 0 && s.stx_dio_offset_align > 0);
    let said = said
        .map(|s| Alignment { memory: s.stx_dio_mem_align as usize, offset: s.stx_dio_offset_align.into() });
    let usable = |a: &Alignment| a.memory.is_power_of_two() && a.offset.is_power_of_two();
    said.filter(|a| usable(a) && a.memory <= 65536 && a.offset <= 65536).unwrap_or(SAFE)
}

impl HostFile for DiskFile {
    fn read(&self, data: &mut [u8], at: u64) -> io::Result<()> {
        match self.direct {
            Some(align) if !self.aligned(data.as_ptr(), data.len(), at) => {
                self.around(align, at, data.len(), |copy| {
                    data.copy_from_slice(copy);
                    Ok(false)
                })
            }
            _ => self.fill(data, at),
        }
    }

    fn write(&self, data: &[u8], at: u64) -> io::Result<()> {
        match self.direct {
            Some(align) if !self.aligned(data.as_ptr(), data.len(), at) => {
                let _alone = self.alone.write().unwrap_or_else(PoisonError::into_inner);
                self.around(align, at, data.len(), |copy| {
                    copy.copy_from_slice(data);
                    Ok(true)
                })
            }
            Some(_) => {
                let _others = self.alone.read().unwrap_or_else(PoisonError::into_inner);
                self.file.write_all_at(data, at)
            }
            None => self.file.write_all_at(data, at),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match self.direct {
            _ if !self.syncs => Ok(()),
            // No page is in between: what the disk was given it has, and another flush is as good as the first.
            Some(_) => self.file.sync_data(),
            None => self.lost.sync(|| self.file.sync_data()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        if self.grows { Ok(self.file.metadata()?.len()) } else { (&self.file).seek(SeekFrom::End(0)) }
    }

    fn grows(&self) -> bool {
        self.grows
    }

    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, how, at, len) {
            // Not every file system, and not every device, gives space back.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_guest(&self, slices: &[Guest<'_>], at: u64) -> io::Result<()> {
        if !self.slices_aligned(slices, at) {
            let mut data = vec![0; length(slices)];
            self.read(&mut data, at)?;
            let mut done = 0;
            for slice in slices {
                slice.copy_from(&data[done..done + slice.len()]);
                done += slice.len();
            }
            return Ok(());
        }
        let total = length(slices);
        let mut done = 0;
        while done < total {
            let left = rest(slices, done)?;
            match memory::read_file(&self.file, &left, at + done as u64) {
                Ok(more) if self.ended(more) => {
                    let zeros = [0; 4096];
                    for slice in rest(slices, done + more)? {
                        (0..slice.len()).step_by(zeros.len()).for_each(|at| {
                            // The offset lies inside the slice.
                            let _ = slice.offset(at).map(|piece| piece.copy_from(&zeros));
                        });
                    }
                    break;
                }
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_guest(&self, slices: &[Guest<'_>], at: u64) -> io::Result<()> {
        if !self.slices_aligned(slices, at) {
            return self.write(&gathered(slices), at);
        }
        let _others = self.direct.map(|_| self.alone.read().unwrap_or_else(PoisonError::into_inner));
        let total = length(slices);
        let mut done = 0;
        while done < total {
            match memory::write_file(&self.file, &rest(slices, done)?, at + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_failed_once_fails_for_ever() {
        let lost = Lost::default();
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        assert_eq!(lost.sync(interrupted).unwrap_err().kind(), io::ErrorKind::Interrupted);
        lost.sync(|| Ok(())).expect("nothing is lost yet");
        let full = || Err(io::ErrorKind::StorageFull.into());
        let error = lost.sync(full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other, "no space that is made would help");
        // The kernel tells of a page that it could not write once; it would say that all is well now.
        assert!(lost.sync(|| Ok(())).is_err());
    }
}
