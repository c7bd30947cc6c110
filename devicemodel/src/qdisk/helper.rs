//! The process that serves PV disks for a device model without rights.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use backends::image::Images;

use super::apart::{Answer, Ask, Link, Question, Tree};
use super::service::Service;
use super::{PvDisks, QdiskError, Thread};
use crate::sandbox;

/// What the process is called in lists of processes.
const NAME: &std::ffi::CStr = c"ailurus-pvdisks";

/// Serves the PV disks of a domain until the device model, at the other end of standard input, is gone.
pub(crate) fn main(domid: u16) -> Result<(), QdiskError> {
    close_inherited().map_err(QdiskError::new)?;
    let stream = io::stdin().as_fd().try_clone_to_owned().map_err(QdiskError::new)?;
    let mut link = Link::new(UnixStream::from(stream));
    let started = start(domid);
    let result = started.as_ref().map(|_| Tree::default()).map_err(|error| error.0.clone());
    link.send(&Answer { id: 0, result }).map_err(QdiskError::new)?;
    let (disks, images) = started?;
    while let Some(Question { id, ask }) = link.receive(None).map_err(QdiskError::new)? {
        let result = answer(&disks, &images, ask).map_err(|error| error.0);
        if ask.is_answered() {
            link.send(&Answer { id, result }).map_err(QdiskError::new)?;
        }
    }
    Ok(())
}

/// Opens what is needed, gives up the rest, and serves.
fn start(domid: u16) -> Result<(PvDisks, Images), QdiskError> {
    rustix::process::chdir("/").map_err(QdiskError::new)?;
    rustix::thread::set_name(NAME).map_err(QdiskError::new)?;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // They are meant for the device model, which ends this by closing the socket.
        let unheard = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal, unheard).map_err(QdiskError::new)?;
    }
    let images = Images::default();
    let service = Service::new(domid, None, images.clone())?;
    if let Err(error) = hypervisor_xen::footprint::shrink() {
        tracing::warn!("memory is not given back: {error}");
    }
    sandbox::enter_for_disks().map_err(QdiskError::new)?;
    Ok((PvDisks::Here(Thread::start(service)?), images))
}

fn answer(disks: &PvDisks, images: &Images, ask: Ask) -> Result<Tree, QdiskError> {
    match ask {
        Ask::Pause => disks.pause(),
        Ask::Resume => disks.resume(),
        Ask::Settle => disks.settle()?,
        Ask::Lend => images.lend().map_err(QdiskError::new)?,
        Ask::Take => images.take().map_err(QdiskError::new)?,
        Ask::Inspect => {
            let mut node = devices_core::Node::default();
            disks.inspect(&mut node);
            return Ok(Tree::from(&node));
        }
    }
    Ok(Tree::default())
}

/// Closes what the toolstack left open for the device model: nothing of ours is open yet.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > libc::STDERR_FILENO)
        .collect();
    for fd in open {
        // The folder that was read is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}
