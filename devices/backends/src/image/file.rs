//! Opening and locking an image's file.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use devices_core::block::SECTOR;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::ImageError;
use super::host::{DiskFile, HostFile};

/// An open file, locked.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    file: std::fs::File,
    /// It is past the page cache.
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
        Ok(Opened { path: path.to_owned(), file: host, direct })
    }

    /// The right to it, as long as any handle is open.
    pub(super) fn claim(&self, writable: bool) -> Result<Claim, ImageError> {
        let path = self.path.clone();
        match self.file.try_clone() {
            Ok(file) => Ok(Claim { path, file, writable }),
            Err(source) => Err(ImageError::Open { path, source }),
        }
    }

    /// Bytes of a raw disk: whole sectors, as QEMU counts them. What is missing of the last one reads as zeros, and
    /// is there once the guest has written it.
    pub(super) fn raw_size(&self, tell: bool) -> Result<u64, ImageError> {
        let failed = |source| ImageError::Open { path: self.path.clone(), source };
        let file =
            self.file.try_clone().and_then(|file| DiskFile::new(file, false, false)).map_err(failed)?;
        let size = file.len().map_err(failed)?;
        let whole = size.next_multiple_of(SECTOR);
        if size == 0 {
            return Err(ImageError::Size { path: self.path.clone(), size });
        }
        if tell && whole != size {
            let path = self.path.display();
            tracing::warn!(%path, size, "not whole sectors of {SECTOR} bytes: padded with zeros to {whole}");
        }
        Ok(whole)
    }

    /// The file, to be read and written.
    pub(super) fn into_disk(self) -> Result<DiskFile, ImageError> {
        let Opened { path, file, direct } = self;
        DiskFile::new(file, direct, true).map_err(|source| ImageError::Open { path, source })
    }

    /// Bytes that the host writes at once: known for block devices and O_DIRECT only.
    pub(super) fn physical_block(&self) -> u32 {
        let block = self.file.metadata().ok().filter(|m| m.file_type().is_block_device());
        let block = block.map_or(SECTOR, |m| m.blksize());
        if block.is_power_of_two() && (SECTOR..=4096).contains(&block) { block as u32 } else { SECTOR as u32 }
    }
}

/// Files of [`reserve`] that nobody has taken yet.
static RESERVED: Mutex<Vec<std::fs::File>> = Mutex::new(Vec::new());

fn reserved() -> MutexGuard<'static, Vec<std::fs::File>> {
    RESERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the temporary files of so many throw-away layers ahead, for a process that may make no file when it opens
/// its images.
pub fn reserve(layers: usize) -> io::Result<()> {
    let files = (0..layers).map(|_| temporary()).collect::<io::Result<Vec<_>>>()?;
    reserved().extend(files);
    Ok(())
}

/// A file that is gone when it is closed.
pub(super) fn unnamed() -> io::Result<DiskFile> {
    let ahead = reserved().pop();
    DiskFile::new(ahead.map_or_else(temporary, Ok)?, false, false)
}

fn temporary() -> io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};
    let folder = std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let what = |error: rustix::io::Errno| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("no temporary file in {}: {error}", folder.display()))
    };
    Ok(rustix::fs::open(&folder, flags, Mode::RUSR | Mode::WUSR).map_err(what)?.into())
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
