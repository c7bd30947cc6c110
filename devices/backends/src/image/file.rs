//! Opening and locking an image's file.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use devices_core::block::SECTOR;
use imago::StorageOpenOptions;
use imago::file::File;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::{ImageError, size_of};

/// An open file, locked.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    /// For the data.
    pub(super) file: File,
    /// For flushes and for the header.
    pub(super) flush: std::fs::File,
    /// Both are past the page cache.
    direct: bool,
}

/// The right to use a file as a writer or reader, which can be lent to another process for a while.
pub(super) struct Claim {
    path: PathBuf,
    /// A handle on the same open file: the locks are that's.
    file: std::fs::File,
    writable: bool,
}

impl Claim {
    /// Others may use the file from now on.
    pub(super) fn lend(&self) -> Result<(), ImageError> {
        let whole = libc::flock { l_type: libc::F_UNLCK as i16, l_start: 0, l_len: 0, ..byte(0, 0) };
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&whole)) {
            Ok(_) | Err(nix::Error::EINVAL | nix::Error::ENOLCK | nix::Error::EOPNOTSUPP) => Ok(()),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// An error about the file.
    pub(super) fn failed(&self, source: io::Error) -> ImageError {
        ImageError::Open { path: self.path.clone(), source }
    }

    /// It is ours again.
    pub(super) fn take(&self) -> Result<(), ImageError> {
        take(&self.file, self.writable, &self.path)
    }
}

fn take(file: &std::fs::File, writable: bool, path: &Path) -> Result<(), ImageError> {
    lock(file, writable).map_err(|error| match error {
        nix::Error::EAGAIN | nix::Error::EACCES => ImageError::Locked(path.to_owned()),
        other => ImageError::Open { path: path.to_owned(), source: other.into() },
    })
}

/// QEMU's lock bytes: one for each thing that a user does, one for each that it lets nobody else do.
const DOES: libc::off_t = 100;
const FORBIDS: libc::off_t = 200;
const READ: libc::off_t = 0;
const WRITE: libc::off_t = 1;
const RESIZE: libc::off_t = 3;

impl Opened {
    /// Opens a file by its name. A lock says how it is used; without one it is only looked at.
    pub(super) fn open(
        path: &Path,
        writable: bool,
        direct: bool,
        locked: bool,
    ) -> Result<Opened, ImageError> {
        let open_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ImageError::Missing(path.to_owned()),
            io::ErrorKind::InvalidInput if direct => ImageError::NoDirect(path.to_owned()),
            _ => ImageError::Open { path: path.to_owned(), source },
        };
        let kind = std::fs::metadata(path).map_err(open_error)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(ImageError::NotAFile(path.to_owned()));
        }
        let flags = if direct { libc::O_DIRECT } else { 0 };
        let host = OpenOptions::new()
            .read(true)
            .write(writable)
            .custom_flags(flags)
            .open(path)
            .map_err(open_error)?;
        Opened::adopt(path, host, writable, direct, locked)
    }

    /// A file that somebody else has opened, to read and, if it is `writable`, to write. `name` is for
    /// messages.
    pub(super) fn adopt(
        name: &Path,
        host: std::fs::File,
        writable: bool,
        direct: bool,
        locked: bool,
    ) -> Result<Opened, ImageError> {
        let path = name;
        let open_error = |source: io::Error| ImageError::Open { path: path.to_owned(), source };
        let kind = host.metadata().map_err(open_error)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(ImageError::NotAFile(path.to_owned()));
        }
        if locked {
            take(&host, writable, path)?;
        }
        let flush = host.try_clone().map_err(open_error)?;
        let options = StorageOpenOptions::new().filename(path).write(writable).direct(direct);
        let file = File::from_open_file(host, options).map_err(open_error)?;
        Ok(Opened { path: path.to_owned(), file, flush, direct })
    }

    /// The right to it, as long as any handle is open.
    pub(super) fn claim(&self, writable: bool) -> Result<Claim, ImageError> {
        let path = self.path.clone();
        match self.flush.try_clone() {
            Ok(file) => Ok(Claim { path, file, writable }),
            Err(source) => Err(ImageError::Open { path, source }),
        }
    }

    /// Bytes of a raw disk.
    pub(super) fn raw_size(&self) -> Result<u64, ImageError> {
        let size = size_of(&self.file, &self.path)?;
        if size == 0 || !size.is_multiple_of(SECTOR) {
            return Err(ImageError::Size { path: self.path.clone(), size });
        }
        Ok(size)
    }

    /// Bytes that the host writes at once: known for block devices and O_DIRECT only.
    pub(super) fn physical_block(&self) -> u32 {
        let block = self.flush.metadata().ok().filter(|m| m.file_type().is_block_device());
        let block = block.map_or(SECTOR, |m| m.blksize());
        if block.is_power_of_two() && (SECTOR..=4096).contains(&block) { block as u32 } else { SECTOR as u32 }
    }

    /// Bytes from `at` on, as many as there are. Goes past imago, and with O_DIRECT by another handle, which
    /// need not read whole pages.
    pub(super) fn bytes(&self, at: u64, len: usize) -> Result<Vec<u8>, ImageError> {
        let plain = if self.direct { std::fs::File::open(&self.path) } else { self.flush.try_clone() };
        let read = |file: std::fs::File| {
            let mut head = vec![0; len];
            let mut done = 0;
            while done < len {
                match file.read_at(&mut head[done..], at.saturating_add(done as u64))? {
                    0 => break,
                    more => done += more,
                }
            }
            head.truncate(done);
            Ok(head)
        };
        plain.and_then(read).map_err(|source| ImageError::Open { path: self.path.clone(), source })
    }
}

fn byte(kind: libc::c_int, at: libc::off_t) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: at, l_len: 1, l_pid: 0 }
}

/// Says what we do and what we forbid, then looks whether anybody forbids what we do or does what we
/// forbid. The locks go with the file's last handle.
fn lock(file: &std::fs::File, writable: bool) -> nix::Result<()> {
    let does: &[libc::off_t] = if writable { &[READ, WRITE, RESIZE] } else { &[READ] };
    let forbids = [WRITE, RESIZE];
    let mine = does.iter().map(|bit| DOES + bit).chain(forbids.iter().map(|bit| FORBIDS + bit));
    for at in mine {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&byte(libc::F_RDLCK, at))) {
            // A file system without locks: QEMU goes on without them too.
            Err(nix::Error::EINVAL | nix::Error::ENOLCK | nix::Error::EOPNOTSUPP) => return Ok(()),
            other => other?,
        };
    }
    let others = does.iter().map(|bit| FORBIDS + bit).chain(forbids.iter().map(|bit| DOES + bit));
    for at in others {
        let mut found = byte(libc::F_WRLCK, at);
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
        if i32::from(found.l_type) != libc::F_UNLCK {
            return Err(nix::Error::EAGAIN);
        }
    }
    Ok(())
}
