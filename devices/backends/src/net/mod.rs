//! Host ends of a network card's cable: what `-netdev` names.
//!
//! A back end is read from its options ([`parse`]), opened while the process still may ([`prepare`]), and then
//! [started](Prepared::start) for its card. One thread serves it; between that and the card lie two bounded queues, so
//! that a vCPU makes no system call but, at most, one that wakes the thread.

mod address;
mod dgram;
mod dump;
pub mod framing;
mod hub;
mod legacy;
mod options;
mod packets;
mod queues;
mod ring;
mod several;
mod stream;
mod tap;
#[cfg(test)]
mod tests;
pub mod user;
mod vhost_user;
mod vnet;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use devices_core::Waker;
use devices_core::net::NetBackend;
use rustix::net::{SocketType, sockopt};
use thiserror::Error;

pub use address::Address;
pub use dgram::DgramSpec;
pub use dump::Dump;
pub use hub::{Attached, HubportSpec, Hubs};
pub use stream::StreamSpec;
pub use tap::{Interface, TapSpec};
pub use user::{UserHandle, UserOptions};
pub use vhost_user::VhostUserSpec;

/// What a `-netdev` says, without its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetSpec {
    /// A stream of bytes to another program.
    Stream(StreamSpec),
    /// Datagrams, to another program or a group of them.
    Dgram(DgramSpec),
    /// A port of a hub.
    Hubport(HubportSpec),
    /// A socket that we are given, which itself tells whether it is a stream.
    Socket(String),
    /// A network of this process's own.
    User(UserOptions),
    /// An interface of the host's kernel.
    Tap(TapSpec),
    /// A switch that shares memory with us.
    VhostUser(VhostUserSpec),
}

/// By which of QEMU's words a socket was asked for, which is how `info network` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `stream` or `dgram`.
    Own,
    /// `socket`.
    Socket,
}

/// The kinds that are built, as `-netdev help` lists them.
pub const KINDS: &[&str] = &["socket", "stream", "dgram", "hubport", "tap", "user", "vhost-user"];

/// Kinds of QEMU's that are not built, and why.
const REFUSED: &[(&str, &str)] = &[
    ("l2tpv3", "tunnels of L2TPv3 are not built: use a tap interface with the kernel's l2tp"),
    ("vde", "switches of VDE are not built: use stream or a tap interface"),
    ("netmap", "netmap is not built: Linux does not have it"),
    ("af-xdp", "AF_XDP is not built: use a tap interface"),
    ("vhost-vdpa", "vDPA devices are not built"),
    ("bridge", "QEMU's setuid helper is not used: use tap with ifname= or fd="),
    ("vmnet-host", "vmnet is of macOS, not Linux"),
    ("vmnet-shared", "vmnet is of macOS, not Linux"),
    ("vmnet-bridged", "vmnet is of macOS, not Linux"),
];

/// Why a network's host end could not be opened.
#[derive(Debug, Error)]
pub enum NetError {
    /// Nobody can listen there, or nobody does.
    #[error("cannot {what} {address}: {source}")]
    Socket {
        /// `listen at` or `connect to`.
        what: &'static str,
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A descriptor that is none, or not of the kind that it must be.
    #[error("Can't use file descriptor {fd}: {why}")]
    Fd {
        /// Its number or name.
        fd: String,
        /// What is wrong.
        why: String,
    },
    /// A tap interface.
    #[error("could not configure /dev/net/tun ({name}): {source}")]
    Tap {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// User networking.
    #[error("{0}")]
    User(#[from] user::UserError),
    /// An eventfd, a thread.
    #[error("no {what}: {source}")]
    System {
        /// What there is none of.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// What opening takes from those who run the guest.
pub struct Around<'a> {
    /// Gives a descriptor of our own for one that we were started with (a number), or that the monitor got (a name).
    pub fd: &'a dyn Fn(&str) -> Result<OwnedFd, String>,
    /// The machine's hubs.
    pub hubs: &'a Hubs,
}

/// What happens at the other end of a cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// Somebody is there now (`NETDEV_STREAM_CONNECTED`).
    Connected(Address),
    /// Nobody is there any more (`NETDEV_STREAM_DISCONNECTED`).
    Disconnected,
}

/// Told of events, from the back end's own thread, with nothing locked. It must not block.
pub type Observer = Arc<dyn Fn(NetEvent) + Send + Sync>;

/// A back end that runs, until it is dropped.
pub trait Netdev: NetBackend {
    /// What `info network` shows behind the id: `index=0,type=stream,unix:/run/switch`.
    fn info(&self) -> String;
    /// It as user networking.
    fn user(&self) -> Option<UserHandle> {
        None
    }
}

/// Reads the options of a back end of that kind, its id apart. Nested ones have dots: `addr.type`.
pub fn parse(kind: &str, options: &[(String, String)]) -> Result<NetSpec, String> {
    match kind {
        "stream" => StreamSpec::parse(options).map(NetSpec::Stream),
        "dgram" => DgramSpec::parse(options).map(NetSpec::Dgram),
        "hubport" => HubportSpec::parse(options).map(NetSpec::Hubport),
        "socket" => legacy::parse(options),
        "tap" => TapSpec::parse(options).map(NetSpec::Tap),
        "user" => UserOptions::parse(options).map(NetSpec::User),
        "vhost-user" => VhostUserSpec::parse(options).map(NetSpec::VhostUser),
        _ => match REFUSED.iter().find(|(name, _)| *name == kind) {
            Some((_, why)) => Err((*why).to_owned()),
            None => Err(format!("Parameter 'type' does not accept value '{kind}'")),
        },
    }
}

/// A back end whose files and sockets are open. Nothing comes or goes before it is started.
pub struct Prepared(Open);

enum Open {
    Stream(stream::Prepared),
    Dgram(dgram::Prepared),
    Hubport(hub::Prepared),
    Tap(tap::Prepared),
    User(user::Prepared),
    VhostUser(vhost_user::Prepared),
}

/// Opens what must be open before the process confines itself. May take as long as the host's resolver, and a second.
pub fn prepare(spec: &NetSpec, around: &Around) -> Result<Prepared, NetError> {
    Ok(Prepared(match spec {
        NetSpec::Stream(spec) => Open::Stream(stream::prepare(spec, around)?),
        NetSpec::Dgram(spec) => Open::Dgram(dgram::prepare(spec, around)?),
        NetSpec::Hubport(spec) => Open::Hubport(hub::prepare(spec, around.hubs)?),
        NetSpec::Socket(fd) => given(fd, around)?,
        NetSpec::Tap(spec) => Open::Tap(tap::prepare(spec, around)?),
        NetSpec::User(options) => Open::User(user::prepare(options)?),
        NetSpec::VhostUser(spec) => Open::VhostUser(vhost_user::prepare(spec, around)?),
    }))
}

fn given(fd: &str, around: &Around) -> Result<Open, NetError> {
    let bad = |why: String| NetError::Fd { fd: fd.to_owned(), why };
    let socket = (around.fd)(fd).map_err(bad)?;
    match sockopt::socket_type(&socket) {
        Ok(SocketType::DGRAM) => dgram::given(fd, socket, Word::Socket).map(Open::Dgram),
        Ok(_) => stream::given(fd, socket, false, Word::Socket).map(Open::Stream),
        Err(error) => Err(bad(error.to_string())),
    }
}

impl Prepared {
    /// Serves the card behind `waker`, which is woken with `number`.
    pub fn start(self, waker: Waker, number: u32, observer: Observer) -> Result<Arc<dyn Netdev>, NetError> {
        match self.0 {
            Open::Stream(stream) => stream.start(waker, number, observer),
            Open::Dgram(dgram) => dgram.start(waker, number),
            Open::Hubport(port) => port.start(waker, number),
            Open::Tap(tap) => tap.start(waker, number),
            Open::User(user) => Ok(user.start(waker, number)?),
            Open::VhostUser(switch) => switch.start(waker, number, observer),
        }
    }

    /// Puts `other` on this port of a hub (`hubport,netdev=`), where a card would be. None: this is
    /// no port.
    pub fn attach(self, other: Prepared, observer: Observer) -> Option<Result<Attached, NetError>> {
        match self.0 {
            Open::Hubport(port) => Some(port.attach(other, observer)),
            _ => None,
        }
    }
}
