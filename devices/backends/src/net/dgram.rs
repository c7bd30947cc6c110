//! `dgram`, and `socket` where it is one: a frame a datagram, to one peer or to a group.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use devices_core::Waker;
use devices_core::net::Offload;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, SocketAddrAny, SocketType, bind, connect, getsockname, recvfrom, send, sendto,
    sockopt,
};

use super::address::{self, Address};
use super::options::{Options, Style};
use super::packets::{Wire, exchange};
use super::queues::{Queues, Threaded};
use super::{Around, NetError, Netdev, Word};
use crate::socket::Unlink;

/// How long to wait for a peer on a Unix socket that has no room: only a socket with one peer could tell.
const AGAIN: Duration = Duration::from_millis(2);

/// Where datagrams come from and go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DgramSpec {
    /// Our end. For a group: the address of the interface that leads to it, or a socket that is bound already.
    pub local: Option<Address>,
    /// The peer, or a group. None: the local socket is connected.
    pub remote: Option<Address>,
    /// The word for it.
    pub word: Word,
}

impl DgramSpec {
    pub(super) fn parse(options: &[(String, String)]) -> Result<DgramSpec, String> {
        let mut options = Options::new(options, Style::Tree);
        let local = Address::parse(&mut options, "local")?;
        let remote = Address::parse(&mut options, "remote")?;
        options.end()?;
        let spec = DgramSpec { local, remote, word: Word::Own };
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), String> {
        let no_local = || "dgram requires local= parameter".to_owned();
        match (&self.local, &self.remote) {
            (Some(Address::Unix { .. }), Some(remote)) if remote.is_multicast() => {
                Err("a group of hosts is not reached from a unix socket".into())
            }
            (_, Some(remote)) if remote.is_multicast() => Ok(()),
            (None, _) => Err(no_local()),
            (_, Some(Address::Fd(_))) => Err("don't support remote type of fd".into()),
            (Some(Address::Fd(_)), _) => Ok(()),
            (_, None) => Err("type=inet or type=unix requires remote parameter".into()),
            (Some(Address::Inet { .. }), Some(Address::Inet { .. }))
            | (Some(Address::Unix { .. }), Some(Address::Unix { .. })) => Ok(()),
            _ => Err("remote and local types must be the same".into()),
        }
    }

    /// What `info network` says of it.
    fn state(&self) -> String {
        let local = self.local.as_ref().map(Address::plain).unwrap_or_default();
        match (&self.remote, self.word) {
            (Some(remote), Word::Own) if remote.is_multicast() => format!("mcast={}", remote.plain()),
            (Some(remote), Word::Socket) if remote.is_multicast() => {
                format!("socket: mcast={}", remote.plain())
            }
            (Some(remote @ Address::Unix { .. }), _) => format!("udp={local}:{}", remote.plain()),
            (Some(remote), Word::Own) => format!("udp={local}/{}", remote.plain()),
            (Some(remote), Word::Socket) => format!("socket: udp={}", remote.plain()),
            (None, Word::Own) => format!("fd={local}"),
            (None, Word::Socket) => format!("socket: fd={local}"),
        }
    }
}

/// Sockets that are open.
pub(super) struct Prepared {
    wire: Datagrams,
    unlink: Option<Unlink>,
    state: String,
    word: Word,
}

struct Datagrams {
    name: String,
    socket: OwnedFd,
    out: Out,
}

/// Where the guest's frames go.
enum Out {
    /// Whom the socket is connected to.
    Peer,
    /// To a Unix socket by its name, which may be gone and come again.
    To(SocketAddrAny),
    /// To a group, of which we are one: from a socket of its own, so that what we have sent is known when it comes
    /// back.
    Group(OwnedFd, SocketAddr),
}

pub(super) fn prepare(spec: &DgramSpec, around: &Around) -> Result<Prepared, NetError> {
    let place = spec.remote.as_ref().or(spec.local.as_ref());
    let name = place.map(Address::to_string).unwrap_or_default();
    let error = |source| NetError::Socket { what: "exchange datagrams with", address: name.clone(), source };
    let given = match &spec.local {
        Some(Address::Fd(fd)) => {
            let socket = (around.fd)(fd).map_err(|why| NetError::Fd { fd: fd.clone(), why })?;
            Some(checked(fd, socket)?)
        }
        _ => None,
    };
    let (socket, out, unlink) = match (&spec.remote, given) {
        (Some(remote), given) if remote.is_multicast() => {
            let (socket, out) = group(remote, spec.local.as_ref(), given).map_err(error)?;
            (socket, out, None)
        }
        (None, Some(socket)) => (socket, Out::Peer, None),
        (Some(remote), Some(socket)) => {
            one_of(remote, |to| Ok(connect(&socket, to)?)).map_err(error)?;
            (socket, Out::Peer, None)
        }
        (remote, None) => pair(spec.local.as_ref(), remote.as_ref()).map_err(error)?,
    };
    let wire = Datagrams { name, socket, out };
    Ok(Prepared { wire, unlink, state: spec.state(), word: spec.word })
}

/// A connected socket that we were given, under the name `fd`.
pub(super) fn given(fd: &str, socket: OwnedFd, word: Word) -> Result<Prepared, NetError> {
    let spec = DgramSpec { local: Some(Address::Fd(fd.to_owned())), remote: None, word };
    let socket = checked(fd, socket)?;
    let wire = Datagrams { name: format!("fd:{fd}"), socket, out: Out::Peer };
    Ok(Prepared { wire, unlink: None, state: spec.state(), word })
}

fn checked(fd: &str, socket: OwnedFd) -> Result<OwnedFd, NetError> {
    let bad = |why: String| NetError::Fd { fd: fd.to_owned(), why };
    match sockopt::socket_type(&socket) {
        Ok(SocketType::DGRAM) => {}
        Ok(_) => return Err(bad("it is no datagram socket".into())),
        Err(error) => return Err(bad(error.to_string())),
    }
    rustix::io::ioctl_fionbio(&socket, true).map_err(|e| bad(e.to_string()))?;
    Ok(socket)
}

/// What becomes of the first address that works.
fn one_of<T>(address: &Address, mut work: impl FnMut(&SocketAddrAny) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for to in address.resolve(true)? {
        match work(&to) {
            Ok(made) => return Ok(made),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A socket for one peer. Frames of others are not taken.
fn pair(local: Option<&Address>, remote: Option<&Address>) -> io::Result<(OwnedFd, Out, Option<Unlink>)> {
    let (Some(local), Some(remote)) = (local, remote) else { return Err(io::ErrorKind::InvalidInput.into()) };
    if let Address::Unix { path, abstract_name: false } = local {
        remove_socket(path)?;
    }
    let socket = one_of(local, |to| {
        let socket = address::socket(to, SocketType::DGRAM)?;
        bind(&socket, to)?;
        Ok(socket)
    })?;
    match (local, remote) {
        (Address::Unix { path, abstract_name }, _) => {
            let to = remote.resolve(false)?.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok((socket, Out::To(to), (!abstract_name).then(|| Unlink::new(path))))
        }
        _ => {
            let tried = remote.resolve(false)?;
            let connected = tried.iter().find_map(|to| connect(&socket, to).ok());
            connected.ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok((socket, Out::Peer, None))
        }
    }
}

/// A socket that is left over from before is in the way; anything else is not ours to remove.
fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Sockets for a group: one that hears it, and one that talks to it.
fn group(remote: &Address, local: Option<&Address>, given: Option<OwnedFd>) -> io::Result<(OwnedFd, Out)> {
    let Address::Inet { host, port, .. } = remote else { return Err(io::ErrorKind::InvalidInput.into()) };
    let group: Ipv4Addr = host.parse().map_err(|_| io::Error::other("groups of IPv6 are not built"))?;
    let interface = match local {
        Some(local @ Address::Inet { .. }) => {
            one_of(local, |to| match SocketAddr::try_from(to.clone())?.ip() {
                IpAddr::V4(interface) => Ok(interface),
                IpAddr::V6(_) => Err(io::Error::other("the interface's address is to be one of IPv4")),
            })?
        }
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let to = SocketAddrAny::from(SocketAddr::from(SocketAddrV4::new(group, *port)));
    let hears = match given {
        Some(socket) => socket,
        None => {
            let socket = address::socket(&to, SocketType::DGRAM)?;
            // Others on this host hear the group too.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &to)?;
            sockopt::set_ip_add_membership(&socket, &group, &interface)?;
            socket
        }
    };
    let talks = address::socket(&to, SocketType::DGRAM)?;
    bind(&talks, &SocketAddr::from(SocketAddrV4::new(interface, 0)))?;
    // Others on this host are to hear it.
    sockopt::set_ip_multicast_loop(&talks, true)?;
    if !interface.is_unspecified() {
        sockopt::set_ip_multicast_if(&talks, &interface)?;
    }
    connect(&talks, &to)?;
    let from = SocketAddr::try_from(getsockname(&talks)?)?;
    Ok((hears, Out::Group(talks, from)))
}

impl Prepared {
    pub(super) fn start(self, waker: Waker, number: u32) -> Result<Arc<dyn Netdev>, NetError> {
        let queues = Queues::new(waker, number)?;
        queues.set_open(true);
        let kind = if self.word == Word::Own { "dgram" } else { "socket" };
        let wire = self.wire;
        Threaded::start(queues, kind, &self.state, self.unlink, move |served| exchange(served, wire))
    }
}

impl Wire for Datagrams {
    fn name(&self) -> String {
        format!("the socket to {}", self.name)
    }

    fn file(&self) -> &OwnedFd {
        &self.socket
    }

    fn again(&self) -> Option<Duration> {
        // The socket that is waited for is not the one that is full, or cannot tell.
        (!matches!(self.out, Out::Peer)).then_some(AGAIN)
    }

    fn write(&mut self, packet: &[u8]) -> Result<(), Errno> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = match &self.out {
            Out::Peer => send(&self.socket, packet, flags),
            Out::To(to) => sendto(&self.socket, packet, flags, to),
            Out::Group(talks, _) => send(talks, packet, flags),
        };
        match sent {
            // Nobody is there, there is no way to it, or a frame is longer than a datagram may be: it is lost, as on
            // any network.
            Ok(_)
            | Err(
                Errno::CONNREFUSED
                | Errno::NOENT
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::NETDOWN
                | Errno::NOBUFS
                | Errno::MSGSIZE,
            ) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(Range<usize>, Offload)>, Errno> {
        let received = recvfrom(&self.socket, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC);
        let (len, whole, from) = match received {
            // What the network said of a frame that was sent.
            Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH) => return Ok(None),
            other => other?,
        };
        if let Out::Group(_, own) = &self.out
            && from.and_then(|from| SocketAddr::try_from(from).ok()) == Some(*own)
        {
            return Ok(None);
        }
        Ok((whole <= len).then_some((0..len, Offload::default())))
    }
}
