//! How a back end and we find each other: at a Unix socket, on which either of us listens.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, connect, socket_with, sockopt,
};

use crate::socket::{self, Unlink};

/// Connects to back ends, where this process may be one that cannot.
pub trait Dial: Send {
    /// A connection to whoever listens there, one that never blocks.
    fn dial(&mut self) -> io::Result<OwnedFd>;
}

/// Where a back end is.
pub enum Place {
    /// It listens, and we connect; again so long after it has gone, if at all.
    Connect(Box<dyn Dial>, Option<Duration>),
    /// We listen at that path.
    Listen(PathBuf),
    /// A listening socket that we were given.
    Given(OwnedFd),
    /// At the other end of that connection. When it goes there is no other.
    There(OwnedFd),
}

/// Connects to a path itself.
pub struct Direct(pub PathBuf);

impl Dial for Direct {
    fn dial(&mut self) -> io::Result<OwnedFd> {
        dial(&self.0)
    }
}

/// A connection to a path, which never blocks.
pub fn dial(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Where the next back end comes from.
pub(super) enum Source {
    Connect(Box<dyn Dial>, Option<Duration>),
    Listen(OwnedFd),
    Nowhere,
}

/// What came of looking for one.
pub(super) enum Found {
    Peer(OwnedFd),
    /// None yet: look again when this can be read, or so long later.
    Later(Option<Duration>),
    /// There will be none.
    Never,
}

/// Finds the first back end, waiting for it at most so long.
pub(super) fn first(place: Place, patience: Duration) -> io::Result<(OwnedFd, Source, Option<Unlink>)> {
    let (listener, unlink) = match place {
        Place::Connect(mut dial, again) => {
            return Ok((dial.dial()?, Source::Connect(dial, again), None));
        }
        Place::There(peer) => {
            rustix::io::ioctl_fionbio(&peer, true)?;
            return Ok((peer, Source::Nowhere, None));
        }
        Place::Listen(path) => {
            let (listener, unlink): (UnixListener, _) = socket::listen(&path)?;
            (OwnedFd::from(listener), Some(unlink))
        }
        Place::Given(listener) => {
            if !sockopt::socket_acceptconn(&listener)? {
                return Err(io::Error::other("the socket does not listen"));
            }
            rustix::io::ioctl_fionbio(&listener, true)?;
            (listener, None)
        }
    };
    let time = patience.try_into().ok();
    let came = poll(&mut [PollFd::new(&listener, PollFlags::IN)], time.as_ref())?;
    let mut source = Source::Listen(listener);
    match source.next()? {
        Found::Peer(peer) if came > 0 => Ok((peer, source, unlink)),
        _ => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody has connected there")),
    }
}

impl Source {
    /// Looks for another back end. An error: there may be one later.
    pub(super) fn next(&mut self) -> io::Result<Found> {
        match self {
            Source::Connect(_, None) | Source::Nowhere => Ok(Found::Never),
            Source::Connect(dial, Some(again)) => match dial.dial() {
                Ok(peer) => Ok(Found::Peer(peer)),
                Err(_) => Ok(Found::Later(Some(*again))),
            },
            Source::Listen(listener) => {
                match accept_with(&*listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                    Ok(peer) => Ok(Found::Peer(peer)),
                    Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(Found::Later(None)),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// What can be read when there may be another.
    pub(super) fn listener(&self) -> Option<&OwnedFd> {
        match self {
            Source::Connect(..) | Source::Nowhere => None,
            Source::Listen(listener) => Some(listener),
        }
    }

    /// How long to wait before the next is looked for.
    pub(super) fn pause(&self) -> Duration {
        match self {
            Source::Connect(_, Some(again)) => *again,
            _ => Duration::ZERO,
        }
    }
}
