//! The process that serves PV disks for a device model without rights. It has none itself: it reads what guests have
//! written, in their images and in the pages that they share.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use backends::image::Images;
use hypervisor_xen::xenstore::XenStore;

use super::opener_client::Opener;
use super::remote::{Answer, Ask, Link, Question, Tree};
use super::service::{Service, Source};
use super::{PvDisks, QdiskError, Thread, begin};
use crate::sandbox;

/// What the process is called in lists of processes.
const NAME: &std::ffi::CStr = c"ailurus-pvdisks";

/// Serves the PV disks of a domain until the device model, at the other end of standard input, is gone. At the other
/// end of standard output is who opens images.
pub(crate) fn main(domid: u16, rights: &sandbox::Options) -> Result<(), QdiskError> {
    begin(NAME).map_err(QdiskError::new)?;
    let stream = io::stdin().as_fd().try_clone_to_owned().map_err(QdiskError::new)?;
    let mut link = Link::new(UnixStream::from(stream));
    let started = start(domid, rights);
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
fn start(domid: u16, rights: &sandbox::Options) -> Result<(PvDisks, Images), QdiskError> {
    let images = Images::default();
    let link = io::stdout().as_fd().try_clone_to_owned().map_err(QdiskError::new)?;
    let (opener, store) = Opener::greeted(link).map_err(QdiskError::new)?;
    let store = XenStore::over(store.into()).map_err(QdiskError::new)?;
    let service = Service::new(domid, store, Source::Opener(Arc::new(opener)), images.clone())?;
    if let Err(error) = hypervisor_xen::footprint::shrink() {
        tracing::warn!("memory is not given back: {error}");
    }
    sandbox::enter_for_disks(rights).map_err(QdiskError::new)?;
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
