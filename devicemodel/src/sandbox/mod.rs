//! What the process gives up before it serves a guest: a guest that takes it over must find nothing.
//!
//! [`enter`] is called once, when every file, socket and device is open, and before anything that a guest has written is
//! read: images, and the state from which it goes on. In its order: a root folder of its own, another user, no core
//! dumps, no file by a name (landlock, where the kernel has it), and only the system calls that serving a guest needs
//! ([`filter`]). What is opened later comes as an open file (QMP `add-fd`). A Xen device model restricts its privcmd
//! and evtchn files to its domain before: the filter lets that pass no more.
//!
//! A guest that a person has started without a word confines itself too: [`begin`] leaves it the files that its
//! command line names ([`Named`]), [`finish`] the system calls. A Xen guest's PV disks are served by a process that has
//! nothing but open images ([`enter_for_disks`]), which it gets from one that opens them and cannot read them
//! ([`enter_as_opener`]).
//!
//! A user namespace of its own would add nothing to that, and is not made: files by name are landlock's, other processes
//! and other families of sockets are the filter's, and what it opens is the part of the kernel that ordinary users do
//! not reach otherwise. Sockets of the host's other programs, which landlock lets pass on most kernels, are out of reach
//! because `connect` is not among the calls. A guest with user networking is one that connects: then a process has no
//! call to make a local socket; so is one that has a stream of TCP connected again, to the ports that are named. One whose
//! sockets lead to Unix sockets (`virtio-vsock-pci`), or that connects to one again when it has gone, has both: which
//! programs it reaches is then left to the rights of its user.

pub mod filter;
mod named;
mod paths;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, chdir, chroot, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use thiserror::Error;

pub use filter::Reach;
use filter::Work;
pub use named::Named;
use paths::Files;

use crate::config::{GuestConfig, NetdevConfig};
use backends::image::reserve;
use backends::net::Address;

/// Who the process becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By number; no name service is asked.
    Ids {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A name of the host's user database, with that user's own group.
    Name(String),
}

/// What to give up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Root folder of the process; an empty one is best.
    pub chroot: Option<PathBuf>,
    /// Who it becomes.
    pub user: Option<User>,
    /// File names and system calls too.
    pub confine: bool,
    /// All but these connections.
    pub reach: Reach,
    /// Ports of TCP that may be connected to, on any host, where not the internet is in reach.
    pub ports: Vec<u16>,
}

/// Why something could not be given up. The guest must not run then.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The user.
    #[error("there is no user '{0}'")]
    NoUser(String),
    /// The user is root.
    #[error("the user to become is root")]
    Root,
    /// What the guest's configuration asks for and a confined process cannot do.
    #[error("{0}")]
    Impossible(String),
    /// We became root again.
    #[error("giving up root does not last")]
    RootAgain,
    /// A step.
    #[error("{what}: {source}")]
    Step {
        /// Which.
        what: String,
        /// What the host said.
        #[source]
        source: io::Error,
    },
}

fn step(what: impl Into<String>) -> impl FnOnce(io::Error) -> SandboxError {
    let what = what.into();
    |source| SandboxError::Step { what, source }
}

/// Gives up what `options` say, in every thread of the process. Not to be undone; after an error some of
/// it may have been given up. `most` is what its largest file needs; none: that is not known.
pub fn enter(options: &Options, most: Option<u64>) -> Result<(), SandboxError> {
    leave(options, most)?;
    if options.confine {
        no_tracing()?;
        let connect = options.ports.clone();
        only(&Files { internet: options.reach.internet, connect, ..Files::default() })?;
        filter::all_threads(Work::Machine(options.reach)).map_err(step("the system call filter"))?;
    }
    Ok(())
}

/// Gives up, before there is a second thread, what a guest's process does not need that a person has started: files
/// other than those that are named, and root's power but that over those files.
pub fn begin(named: &Named, config: &GuestConfig) -> Result<(), SandboxError> {
    can_serve(config)?;
    let layers = config.disks.iter().filter(|disk| disk.snapshot).count();
    reserve(layers).map_err(step("snapshot"))?;
    keep(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::FOWNER)?;
    only(&named.files(config))
}

/// Gives up what [`begin`] left and `config` does not name.
pub fn narrow(named: &Named, config: &GuestConfig) -> Result<(), SandboxError> {
    can_serve(config)?;
    only(&named.files(config))
}

/// The rest of [`begin`], when everything is open and before the guest runs: system calls. What is opened later are
/// files that may still be opened.
pub fn finish(config: &GuestConfig) -> Result<(), SandboxError> {
    filter::all_threads(Work::Guest(config.reach())).map_err(step("the system call filter"))
}

/// Whether a confined process can do all that a guest's configuration asks for later.
pub fn can_serve(config: &GuestConfig) -> Result<(), SandboxError> {
    let impossible = |why| Err(SandboxError::Impossible(why));
    config.connected_again().into_iter().try_for_each(|(id, address)| match address {
        Address::Unix { abstract_name: true, .. } => impossible(format!(
            "network {id}: reconnect and reconnect-ms need a Unix socket with a path: one without is out of a confined \
             process's reach"
        )),
        _ => Ok(()),
    })
}

/// Why a back end that comes while the guest runs cannot be connected again, if it is to be. `config` is what the process
/// was confined for.
pub fn refuses(netdev: &NetdevConfig, config: &GuestConfig) -> Option<String> {
    let address = netdev.connected_again().filter(|_| filter::is_on())?;
    let reach = config.reach();
    let within = match address {
        Address::Unix { abstract_name, .. } => reach.programs && !abstract_name,
        Address::Inet { port, .. } => reach.internet || reach.hosts && config.ports().contains(&port),
        Address::Fd(_) => true,
    };
    (!within).then(|| {
        format!(
            "network {}: the process is confined and could not connect to {address} again: leave out reconnect, name \
             such a network when the guest is started, or start it with --sandbox off",
            netdev.id
        )
    })
}

/// The root folder, the user, and the size of files.
fn leave(options: &Options, most: Option<u64>) -> Result<(), SandboxError> {
    // The user database is out of reach from the new root.
    let ids = options.user.as_ref().map(User::ids).transpose()?;
    if let Some(folder) = &options.chroot {
        let at = || format!("chroot to {}", folder.display());
        chroot(folder).map_err(|error| step(at())(error.into()))?;
        chdir("/").map_err(|error| step(at())(error.into()))?;
    }
    if options.confine {
        limit_files(most)?;
    }
    ids.map_or(Ok(()), |(uid, gid)| become_user(uid, gid))
}

/// Gives up what a process does not need that serves PV disks and nothing else: what `options` say, all of root's power,
/// all files by name, and system calls. Before it starts a thread. Its images come open, each when it is attached and
/// of any size, so that the size of files is not limited: it has none but those.
pub fn enter_for_disks(options: &Options) -> Result<(), SandboxError> {
    leave(options, None)?;
    keep(CapabilitySet::empty())?;
    no_tracing()?;
    only(&Files::default())?;
    filter::all_threads(Work::PvDisks).map_err(step("the system call filter"))
}

/// Gives up what a process does not need that opens images for another: all of root's power but that over files, files
/// where no images lie, those that are not there, and system calls. What it opens it cannot read: of these files
/// bytes move over `streams`, and other files over `links`.
pub fn enter_as_opener(streams: &[RawFd], links: &[RawFd]) -> Result<(), SandboxError> {
    keep(CapabilitySet::DAC_OVERRIDE)?;
    no_tracing()?;
    only(&Files { write: paths::for_images(), ..Files::default() })?;
    filter::opener(streams, links).map_err(step("the system call filter"))
}

/// What an error of the host's means to somebody who named a file to a process that is confined.
pub fn explain(error: &mut String) {
    if filter::is_on() && (error.contains("Permission denied") || error.contains("Operation not permitted")) {
        error.push_str(
            "; the process is confined to the files that it was started with: hand this one over (add-fd), \
             name one in the folder of the monitor's socket, or start the guest with --sandbox off",
        );
    }
}

/// Gives up all capabilities but these, in the calling thread and those that it starts.
fn keep(kept: CapabilitySet) -> Result<(), SandboxError> {
    let mut sets = capabilities(None).map_err(|error| step("its capabilities")(error.into()))?;
    sets = CapabilitySets {
        effective: sets.effective & kept,
        permitted: sets.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(|error| step("giving up capabilities")(error.into()))
}

/// libxl limits a restricted device model to files of 256 KiB (`RLIMIT_FSIZE`): so large may become what it makes,
/// logs and saved states. The limit is raised for what the guest's disks need, and no further.
fn limit_files(most: Option<u64>) -> Result<(), SandboxError> {
    // Beyond it a write is an error, not the end of the process.
    let unheard = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGXFSZ, unheard).map_err(step("a signal"))?;
    let given = getrlimit(Resource::Fsize);
    let wanted = raised(&given, most);
    if wanted != given
        && let Err(error) = setrlimit(Resource::Fsize, wanted)
    {
        tracing::warn!("the size of files is limited (RLIMIT_FSIZE), that of disks too: {error}");
    }
    Ok(())
}

/// A limit that lets files become so large; none: there is none.
fn raised(given: &Rlimit, most: Option<u64>) -> Rlimit {
    let enough = |limit: Option<u64>| limit.zip(most).map(|(limit, most)| limit.max(most));
    Rlimit { current: enough(given.current), maximum: enough(given.maximum) }
}

/// Nobody else may look at the process's memory.
fn no_tracing() -> Result<(), SandboxError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| step("no tracing")(error.into()))
}

/// No core dumps, and no files by name but these.
fn only(files: &Files) -> Result<(), SandboxError> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|error| step("no core dumps")(error.into()))?;
    if !paths::restrict(files).map_err(step("landlock"))? {
        tracing::info!("this kernel has no landlock: file names are left to chroot and to the filter");
    }
    Ok(())
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Ids { uid, gid } => write!(f, "{uid}:{gid}"),
            User::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for User {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<User, std::num::ParseIntError> {
        match text.split_once(':') {
            None => Ok(User::Name(text.to_owned())),
            Some((uid, gid)) => Ok(User::Ids { uid: uid.parse()?, gid: gid.parse()? }),
        }
    }
}

impl User {
    fn ids(&self) -> Result<(Uid, Gid), SandboxError> {
        let (uid, gid) = match self {
            User::Ids { uid, gid } => (Uid::from_raw(*uid), Gid::from_raw(*gid)),
            User::Name(name) => {
                let found = nix::unistd::User::from_name(name)
                    .map_err(|error| step("the user database")(error.into()))?;
                let user = found.ok_or_else(|| SandboxError::NoUser(name.clone()))?;
                (user.uid, user.gid)
            }
        };
        if uid.is_root() { Err(SandboxError::Root) } else { Ok((uid, gid)) }
    }
}

/// Through the C library, which changes all threads and not just the calling one.
fn become_user(uid: Uid, gid: Gid) -> Result<(), SandboxError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: nix::Error| step(what)(error.into())
    };
    setgroups(&[]).map_err(failed("giving up groups"))?;
    setgid(gid).map_err(failed(&format!("becoming group {gid}")))?;
    setuid(uid).map_err(failed(&format!("becoming user {uid}")))?;
    if setuid(Uid::from_raw(0)).is_ok() { Err(SandboxError::RootAgain) } else { Ok(()) }
}
