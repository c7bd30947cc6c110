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
use super::null::{NULL_SIZE, Null, is_null};

/// What an image lies in, open: QEMU's protocol layer.
#[derive(Debug)]
pub enum Protocol {
    /// A file or block device of the host.
    File(std::fs::File),
    /// Nothing: zeros, whatever is written ([`is_null`](super::is_null)).
    Null,
}

impl Protocol {
    /// A handle on the same.
    pub fn try_clone(&self) -> io::Result<Protocol> {
        match self {
            Protocol::File(file) => file.try_clone().map(Protocol::File),
            Protocol::Null => Ok(Protocol::Null),
        }
    }
}

impl From<std::fs::File> for Protocol {
    fn from(file: std::fs::File) -> Protocol {
        Protocol::File(file)
    }
}

/// What is open, and locked if it is a file.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    on: Protocol,
    /// It is past the page cache.
    direct: bool,
}

/// The right to use a file as a writer or reader, which can be lent to another process for a while.
pub(super) struct Claim {
    path: PathBuf,
    /// A handle on the same open file: the locks are that's.
    on: Protocol,
    writable: bool,
}

impl Claim {
    /// Others may use the file from now on.
    pub(super) fn lend(&self) -> Result<(), ImageError> {
        let Protocol::File(file) = &self.on else { return Ok(()) };
        let whole = libc::flock { l_type: libc::F_UNLCK as i16, l_start: 0, l_len: 0, ..byte(0, 0) };
        match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
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
        match &self.on {
            Protocol::File(file) => take(file, self.writable, &self.path),
            Protocol::Null => Ok(()),
        }
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
        if is_null(path) {
            return Opened::adopt(path, Protocol::Null, writable, false, locked);
        }
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
        Opened::adopt(path, host.into(), writable, direct, locked)
    }

    /// What somebody else has opened, to read and, if it is `writable`, to write. `name` is for messages.
    pub(super) fn adopt(
        name: &Path,
        on: Protocol,
        writable: bool,
        direct: bool,
        locked: bool,
    ) -> Result<Opened, ImageError> {
        let path = name.to_owned();
        let Protocol::File(file) = &on else { return Ok(Opened { path, on, direct }) };
        let kind = match file.metadata() {
            Ok(metadata) => metadata.file_type(),
            Err(source) => return Err(ImageError::Open { path, source }),
        };
        if !kind.is_file() && !kind.is_block_device() {
            return Err(ImageError::NotAFile(path));
        }
        if locked {
            take(file, writable, &path)?;
        }
        Ok(Opened { path, on, direct })
    }

    /// The right to it, as long as any handle is open.
    pub(super) fn claim(&self, writable: bool) -> Result<Claim, ImageError> {
        let path = self.path.clone();
        match self.on.try_clone() {
            Ok(on) => Ok(Claim { path, on, writable }),
            Err(source) => Err(ImageError::Open { path, source }),
        }
    }

    /// Bytes of a raw disk: whole sectors, as QEMU counts them. What is missing of the last one reads as zeros, and
    /// is there once the guest has written it.
    pub(super) fn raw_size(&self, tell: bool) -> Result<u64, ImageError> {
        let Protocol::File(file) = &self.on else { return Ok(NULL_SIZE) };
        let failed = |source| ImageError::Open { path: self.path.clone(), source };
        let file = file.try_clone().and_then(|file| DiskFile::new(file, false, false)).map_err(failed)?;
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
    pub(super) fn into_disk(self) -> Result<Box<dyn HostFile>, ImageError> {
        let Opened { path, on, direct } = self;
        match on {
            Protocol::Null => Ok(Box::new(Null)),
            Protocol::File(file) => match DiskFile::new(file, direct, true) {
                Ok(file) => Ok(Box::new(file)),
                Err(source) => Err(ImageError::Open { path, source }),
            },
        }
    }

    /// Bytes that the host writes at once: known for block devices and O_DIRECT only.
    pub(super) fn physical_block(&self) -> u32 {
        let Protocol::File(file) = &self.on else { return SECTOR as u32 };
        let block = file.metadata().ok().filter(|m| m.file_type().is_block_device());
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
