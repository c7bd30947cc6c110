//! The PV disks (`qdisk`) of a Xen domain: what the toolstack offers in xenstore is served here.
//!
//! One thread (`service`) waits for xenstore's watches, for the frontends' event channels and for the
//! images' answers, and hands each to the disk that it concerns
//! ([`Blkback`](devices::xen::blkback::Blkback), which knows the protocol). Work on images is done by the
//! images' own threads. An image that an emulated drive has open too is shared with it: two views of one
//! qcow2 file would destroy it.
//!
//! A device model that is to give up xenstore and the host's files (`dm_restrict=1`) has that thread in a
//! process of its own ([`Apart`], `helper`), with as few rights, since it reads what guests have written. That one has
//! a third process open its images (`opener`, `asked`) and say to xenstore what it may say (`guard`, `proxy`).
//! No image can be shared then: one that an emulated drive has is opened when a frontend connects, which works once the
//! guest has had the drive unplugged.

pub(crate) mod helper;
mod host;
mod medium;
mod notify;
pub(crate) mod opener;
mod opener_client;
mod proxy;
mod remote;
mod service;
mod vbd_config;
mod xenstore_filter;

use std::ffi::CStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use backends::image::Images;
use devices_core::Node;
use devices_core::block::BlockBackend;
use hypervisor_xen::xenstore::XenStore;
use thiserror::Error;

use notify::Doorbell;
#[cfg(test)]
pub(crate) use remote::SUBCOMMAND;
pub use remote::{Apart, Ask, Link, Question, Tree};
use service::{Service, Source};

use crate::sandbox;

/// How long a save waits for requests in flight. Less than libxl waits for an answer to one command.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long somebody who looks at the guest waits for what is told of the disks: the monitor serves nobody meanwhile.
const GLANCE: Duration = Duration::from_secs(1);
/// How long the end waits for them.
const LAST_PATIENCE: Duration = Duration::from_secs(20);

/// An image that the machine has open, by its path.
pub(crate) type Shared = Box<dyn Fn(&Path) -> Option<Arc<dyn BlockBackend>> + Send>;

/// Why PV disks cannot be served.
#[derive(Debug, Error)]
#[error("PV disks: {0}")]
pub struct QdiskError(String);

impl QdiskError {
    fn new(error: impl ToString) -> QdiskError {
        QdiskError(error.to_string())
    }

    fn late() -> QdiskError {
        QdiskError(format!("requests are still in flight after {} s", PATIENCE.as_secs()))
    }
}

/// Who serves a domain's PV disks. That ends, and lets its disks finish, when this is dropped.
pub(crate) enum PvDisks {
    /// A thread of this process. The images that it opens are the machine's to lend.
    Here(Thread),
    /// Another process, with images of its own.
    Apart(Apart),
}

impl PvDisks {
    /// Serves the PV disks of a domain here, those that are there and those that come.
    pub(crate) fn here(domid: u16, shared: Shared, images: Images) -> Result<PvDisks, QdiskError> {
        let store = XenStore::open().map_err(QdiskError::new)?;
        Ok(PvDisks::Here(Thread::start(Service::new(domid, store, Source::Machine(shared), images)?)?))
    }

    /// The same in another process, for one that is about to give up its rights as these say; the other one does too.
    pub(crate) fn apart(domid: u16, rights: &sandbox::Options) -> Result<PvDisks, QdiskError> {
        Ok(PvDisks::Apart(Apart::start(domid, rights)?))
    }

    /// Takes no more requests. Does not wait for those in flight.
    pub(crate) fn pause(&self) {
        match self {
            PvDisks::Here(thread) => thread.command(Command::Pause(true)),
            PvDisks::Apart(process) => process.tell(Ask::Pause),
        }
    }

    /// Takes requests again.
    pub(crate) fn resume(&self) {
        match self {
            PvDisks::Here(thread) => thread.command(Command::Pause(false)),
            PvDisks::Apart(process) => process.tell(Ask::Resume),
        }
    }

    /// Waits until nothing is in flight. They are paused.
    pub(crate) fn settle(&self) -> Result<(), QdiskError> {
        match self {
            PvDisks::Here(thread) => thread.settle(),
            PvDisks::Apart(process) => process.ask(Ask::Settle).map(drop),
        }
    }

    /// Lets other processes have the images that are not the machine's. Nothing is in flight.
    pub(crate) fn lend(&self) -> Result<(), QdiskError> {
        match self {
            PvDisks::Here(_) => Ok(()),
            PvDisks::Apart(process) => process.ask(Ask::Lend).map(drop),
        }
    }

    /// Takes them back.
    pub(crate) fn take(&self) -> Result<(), QdiskError> {
        match self {
            PvDisks::Here(_) => Ok(()),
            PvDisks::Apart(process) => process.ask(Ask::Take).map(drop),
        }
    }

    /// For people.
    pub(crate) fn inspect(&self, node: &mut Node) {
        let tree = match self {
            PvDisks::Here(thread) => thread.inspect(),
            PvDisks::Apart(process) => process.ask(Ask::Inspect).map(Node::from),
        };
        match tree {
            Ok(tree) => *node = tree,
            Err(error) => {
                node.value("error", error);
            }
        }
    }
}

/// What the thread is asked to do.
enum Command {
    /// Take no more requests, or take them again.
    Pause(bool),
    /// Answer when nothing is in flight.
    Settle(Sender<()>),
    /// Tell about the disks.
    Inspect(Sender<Node>),
    /// End.
    Quit,
}

/// The thread that serves PV disks. It ends, and lets its disks finish, when this is dropped.
pub(crate) struct Thread {
    commands: Sender<Command>,
    bell: Arc<Doorbell>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(service: Service) -> Result<Thread, QdiskError> {
        let (commands, receive) = channel();
        let bell = service.bell();
        let run = move || service.run(&receive);
        let thread = std::thread::Builder::new().name("qdisk".into()).spawn(run).map_err(QdiskError::new)?;
        Ok(Thread { commands, bell, thread: Some(thread) })
    }

    fn command(&self, command: Command) {
        // It fails when the thread has ended, which it has said then.
        let _ = self.commands.send(command);
        self.bell.ring();
    }

    /// Has the thread answer within that time; None if it does not.
    fn ask<T>(
        &self,
        patience: Duration,
        command: impl FnOnce(Sender<T>) -> Command,
    ) -> Result<Option<T>, QdiskError> {
        let (send, receive) = channel();
        self.command(command(send));
        match receive.recv_timeout(patience) {
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(QdiskError::new("they are not served any more")),
        }
    }

    fn settle(&self) -> Result<(), QdiskError> {
        self.ask(PATIENCE, Command::Settle)?.ok_or_else(QdiskError::late)
    }

    fn inspect(&self) -> Result<Node, QdiskError> {
        let hangs = || QdiskError::new("the thread that serves them does not answer");
        self.ask(GLANCE, Command::Inspect)?.ok_or_else(hangs)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.command(Command::Quit);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("PV disks: the thread ended by a fault of ours");
        }
    }
}

/// The folder of a domain's disks in xenstore.
fn backend(store: &XenStore, domid: u16) -> Result<String, QdiskError> {
    let own = store.find("domid").map_err(QdiskError::new)?;
    let own = own.and_then(|own| own.trim().parse().ok()).unwrap_or(0);
    let home = store.domain_path(own).map_err(QdiskError::new)?;
    Ok(format!("{home}/backend/qdisk/{domid}"))
}

/// What a process begins with that a device model has started.
fn begin(name: &CStr) -> io::Result<()> {
    close_inherited()?;
    rustix::process::chdir("/")?;
    rustix::thread::set_name(name)?;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // They are meant for the device model, which ends this by closing the socket.
        let unheard = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal, unheard)?;
    }
    Ok(())
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
