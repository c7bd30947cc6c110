//! The process that opens the images of PV disks, for another one that reads them.
//!
//! It keeps the right to open any file, and knows what a guest has written from nowhere: it opens what xenstore names
//! as the image of one of its domain's disks (`params`, as the toolstack wrote it), looks what kind of file that is,
//! and hands it over without reading a byte. It also passes on what the other process says to xenstore, as far as it
//! may be said. It ends when the other one does.
//!
//! Symbolic links are followed, since the names of LVM's volumes are some: whoever can make one in a folder of images
//! could as well put a file there. What is opened is looked at again after it was opened, and no name of `/proc` leads
//! anywhere (`sandbox::enter_as_opener`).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hypervisor_xen::xenstore::XenStore;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::opener_client::{self, Question};
use super::proxy::Proxy;
use super::xenstore_filter::Guard;
use super::{QdiskError, begin, vbd_config};
use crate::sandbox;

/// The subcommand.
pub(crate) const SUBCOMMAND: &str = "pv-opener";
/// What the process is called in lists of processes.
const NAME: &std::ffi::CStr = c"ailurus-opener";

/// What it has open while it serves.
struct Serving {
    store: XenStore,
    guard: Guard,
    proxy: Proxy,
}

/// Serves the process at the other end of standard input until that is gone.
pub(crate) fn main(domid: u16) -> Result<(), QdiskError> {
    begin(NAME).map_err(QdiskError::new)?;
    let link = io::stdin().as_fd().try_clone_to_owned().map_err(QdiskError::new)?;
    let started = start(domid, &link);
    let (greeting, serving) = match started {
        Ok((serving, theirs)) => (Ok(theirs), Some(serving)),
        Err(error) => (Err(error.to_string()), None),
    };
    opener_client::greet(&link, &greeting).map_err(QdiskError::new)?;
    drop(greeting);
    match serving {
        Some(serving) => serving.serve(&link),
        None => Ok(()),
    }
}

/// Opens what is needed, and gives up the rest. What comes with it is the other process's way to xenstore.
fn start(domid: u16, link: &OwnedFd) -> Result<(Serving, File), QdiskError> {
    let store = XenStore::open().map_err(QdiskError::new)?;
    let backend = super::backend(&store, domid)?;
    let frontend = format!("{}/device/vbd", store.domain_path(domid).map_err(QdiskError::new)?);
    let guard = Guard { backend, frontend };
    let (ours, theirs) = UnixStream::pair().map_err(QdiskError::new)?;
    let passed_on = hypervisor_xen::xenstore::connect().map_err(QdiskError::new)?;
    let proxy = Proxy::new(guard.clone(), ours.into(), passed_on).map_err(QdiskError::new)?;
    if let Err(error) = hypervisor_xen::footprint::shrink() {
        tracing::warn!("memory is not given back: {error}");
    }
    let streams = [&proxy.disks.as_fd(), &proxy.store.as_fd(), &store.as_fd()].map(|fd| fd.as_raw_fd());
    sandbox::enter_as_opener(&streams, &[libc::STDIN_FILENO, link.as_raw_fd()]).map_err(QdiskError::new)?;
    Ok((Serving { store, guard, proxy }, OwnedFd::from(theirs).into()))
}

impl Serving {
    fn serve(mut self, link: &OwnedFd) -> Result<(), QdiskError> {
        loop {
            let [disks, store] = self.proxy.interest();
            let mut polled = [PollFd::new(link, PollFlags::IN), disks, store];
            match poll(&mut polled, None) {
                Err(Errno::INTR) => continue,
                result => result.map_err(QdiskError::new)?,
            };
            let asked = !polled[0].revents().is_empty();
            if asked {
                let Some(question) = Question::receive(link) else { return Ok(()) };
                let answer = self.open(question.device, question.write);
                if question.answer(link, &answer).is_err() {
                    return Ok(());
                }
            }
            if !self.proxy.turn() {
                return Ok(());
            }
        }
    }

    /// The image of a disk.
    fn open(&self, device: u32, write: bool) -> Result<File, String> {
        let (path, writable) = self.named(device)?;
        if write && !writable {
            return Err(format!("the disk {device} is not one that is written"));
        }
        open_image(&path, write).map_err(|error| error.to_string())
    }

    /// What the toolstack says of a disk's image: where it is, and whether it is written.
    fn named(&self, device: u32) -> Result<(PathBuf, bool), String> {
        let find = |key: &str| {
            let found = self.store.find(&format!("{}/{device}/{key}", self.guard.backend));
            found.map_err(|error| error.to_string())
        };
        let params = find("params")?.ok_or_else(|| format!("there is no disk {device}"))?;
        let path = vbd_config::image(&params).flatten().map(|(path, _)| path);
        let path = path.ok_or_else(|| format!("the disk {device} has no image: {params:?}"))?;
        Ok((path, find("mode")?.as_deref() == Some("w")))
    }
}

/// Opens a file or block device that is there; what else has that name is not even opened.
fn open_image(path: &Path, write: bool) -> io::Result<File> {
    let no_image = || io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a block device");
    let what = |file: &OwnedFd| {
        let stat = fstat(file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let image = matches!(kind, FileType::RegularFile | FileType::BlockDevice);
        if image { Ok((stat.st_dev, stat.st_ino, kind)) } else { Err(no_image()) }
    };
    if !path.is_absolute() {
        return Err(no_image());
    }
    // To open a pipe or a device can block, or do something.
    let looked_at = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let before = what(&looked_at)?;
    let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
    let file = openat(CWD, path, access | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    if what(&file)? != before {
        return Err(io::Error::other("another file has that name now"));
    }
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_and_block_devices_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("image"), b"x").unwrap();
        std::os::unix::fs::symlink(at("image"), at("link")).unwrap();
        for name in ["image", "link"] {
            assert_eq!(io::read_to_string(open_image(&at(name), true).unwrap()).unwrap(), "x");
        }
        let reader = open_image(&at("image"), false).unwrap();
        assert!(io::Write::write(&mut &reader, b"y").is_err());
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        // A pipe that nobody reads would block for ever.
        for path in [at("pipe"), at("socket"), folder.path().into(), "/dev/null".into()] {
            let error = open_image(&path, false).unwrap_err().to_string();
            assert_eq!(error, "neither a file nor a block device", "{}", path.display());
        }
        assert_eq!(open_image(&at("none"), false).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(open_image(Path::new("image"), false).is_err(), "no name is relative");
    }
}
