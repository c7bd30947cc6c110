//! Sockets: where clients come in, and a client's connection.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::VncError;
use super::options::{FIRST_PORT, FIRST_WEBSOCKET, Options, Place, Share, WebsocketPort};
use super::wire::Wire;
use crate::socket::{self, Unlink};
use crate::tls::Credentials;

/// One end of a connection, for people and for `query-vnc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A numeric address, or the host that the option named; empty for a Unix socket.
    pub host: String,
    /// The port, or the path of a Unix socket.
    pub service: String,
    /// `ipv4`, `ipv6` or `unix`.
    pub family: &'static str,
}

impl Address {
    fn of(address: &SocketAddr) -> Address {
        Address {
            host: address.ip().to_canonical().to_string(),
            service: address.port().to_string(),
            family: if address.ip().to_canonical().is_ipv4() { "ipv4" } else { "ipv6" },
        }
    }

    fn unix(path: &Path) -> Address {
        Address { host: String::new(), service: path.display().to_string(), family: "unix" }
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Sockets that listen, before there is a server behind them: they are made while the process still may.
pub struct Listener {
    sockets: Vec<Socket>,
    /// Where WebSockets are opened.
    web: Vec<TcpListener>,
    websocket: Option<Address>,
    address: Address,
    display: Option<u16>,
    pub(super) options: Options,
    tls: Option<Credentials>,
    /// A viewer that listened, connected to.
    dialed: Option<Connection>,
    _unlink: Option<Unlink>,
}

/// How long a viewer that listens is waited for.
const DIAL: Duration = Duration::from_secs(5);
/// Most addresses of it that are tried.
const DIALED: usize = 4;

impl Listener {
    /// Listens where the options say, on the first display that is free.
    pub fn bind(options: Options) -> Result<Listener, VncError> {
        match &options.place {
            place if options.reverse => {
                let error = |source| VncError::Dial { place: place.to_string(), source };
                let connection = dial(place).map_err(error)?;
                let address = connection.address().clone();
                Ok(Listener { dialed: Some(connection), ..Listener::nowhere(address, options) })
            }
            Place::Unix(path) => {
                let error = |source| VncError::Listen { place: path.display().to_string(), source };
                let (socket, unlink) = socket::listen(path).map_err(error)?;
                Ok(Listener {
                    sockets: vec![Socket::Unix(socket)],
                    _unlink: Some(unlink),
                    ..Listener::nowhere(Address::unix(path), options)
                })
            }
            Place::Tcp { host, display, to } => {
                let error = |source| VncError::Listen { place: format!("{host}:{display}"), source };
                let (sockets, web, display) = tcp(host, *display..=*to, options.websocket).map_err(error)?;
                let websocket = web.first().map(|_| address(&web)).transpose().map_err(error)?;
                let address = address(&sockets).map_err(error)?;
                let sockets = sockets.into_iter().map(Socket::Tcp).collect();
                let display = Some(display);
                Ok(Listener { sockets, web, websocket, display, ..Listener::nowhere(address, options) })
            }
        }
    }

    /// Listens nowhere: all clients come by the server's [`Door`](super::Door), at that address.
    pub fn behind(address: &SocketAddr, options: Options) -> Listener {
        let address = Address::of(address);
        Listener { websocket: Some(address.clone()), ..Listener::nowhere(address, options) }
    }

    fn nowhere(address: Address, options: Options) -> Listener {
        Listener {
            sockets: Vec::new(),
            web: Vec::new(),
            websocket: None,
            address,
            tls: None,
            display: None,
            dialed: None,
            _unlink: None,
            options,
        }
    }

    /// The viewer that was connected to, once.
    pub(super) fn take_dialed(&mut self) -> Option<Wire> {
        self.dialed.take().map(Wire::plain)
    }

    /// Takes only clients that encrypt (VeNCrypt with certificates), browsers too.
    pub fn encrypted(self, tls: Credentials) -> Listener {
        Listener { tls: Some(tls), ..self }
    }

    /// Whether it does, and with what.
    pub(super) fn tls(&self) -> Option<&Credentials> {
        self.tls.as_ref()
    }

    /// Where browsers reach it, if they do.
    pub fn websocket(&self) -> Option<&Address> {
        self.websocket.as_ref()
    }

    /// Where clients reach it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The display that was taken; none for a Unix socket.
    pub fn display(&self) -> Option<u16> {
        self.display
    }

    /// Whether clients need a password.
    pub fn password(&self) -> bool {
        self.options.password
    }

    /// The place of the sound that clients can hear, by its name.
    pub fn audiodev(&self) -> Option<&str> {
        self.options.audiodev.as_deref()
    }

    pub(super) fn share(&self) -> Share {
        self.options.share
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sockets = self.sockets.iter().map(|socket| match socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        });
        sockets.chain(self.web.iter().map(AsFd::as_fd))
    }

    /// The next client that waits. None: none does.
    pub(super) fn accept(&self) -> io::Result<Option<Wire>> {
        for socket in &self.sockets {
            let accepted = match socket {
                Socket::Tcp(socket) => {
                    socket.accept().and_then(|(stream, from)| Connection::tcp(stream, &from))
                }
                Socket::Unix(socket) => socket.accept().and_then(|(stream, _)| Connection::unix(stream)),
            };
            if let Some(connection) = some(accepted)? {
                return Ok(Some(Wire::plain(connection)));
            }
        }
        for socket in &self.web {
            let accepted = socket.accept().and_then(|(stream, from)| {
                let loopback = stream.local_addr()?.ip().to_canonical().is_loopback();
                Ok((Connection::tcp(stream, &from)?, loopback))
            });
            if let Some((connection, loopback)) = some(accepted)? {
                let wire = Wire::web(connection, loopback);
                // Who cannot be served for want of memory is let go.
                return Ok(match &self.tls {
                    Some(tls) => wire.secured(tls),
                    None => Some(wire),
                });
            }
        }
        Ok(None)
    }
}

/// Connects to a viewer that listens, at the first of its addresses that answers.
fn dial(place: &Place) -> io::Result<Connection> {
    match place {
        Place::Unix(path) => Connection::unix(socket::connect(path)?),
        Place::Tcp { host, display: port, .. } => {
            let mut last = io::ErrorKind::AddrNotAvailable.into();
            for address in (host.as_str(), *port).to_socket_addrs()?.take(DIALED) {
                match TcpStream::connect_timeout(&address, DIAL) {
                    Ok(stream) => return Connection::tcp(stream, &address),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

fn some<T>(accepted: io::Result<T>) -> io::Result<Option<T>> {
    match accepted {
        Ok(accepted) => Ok(Some(accepted)),
        Err(error) if nothing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted | ConnectionReset)
}

fn address(sockets: &[TcpListener]) -> io::Result<Address> {
    let first = sockets.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(Address::of(&first.local_addr()?))
}

/// Listens on all addresses of a host, at the first display whose port is free on each of them, and where browsers
/// come in.
fn tcp(
    host: &str,
    displays: std::ops::RangeInclusive<u16>,
    websocket: Option<WebsocketPort>,
) -> io::Result<(Vec<TcpListener>, Vec<TcpListener>, u16)> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for display in displays {
        let port = websocket.map(|port| match port {
            WebsocketPort::OfDisplay => FIRST_WEBSOCKET + display,
            WebsocketPort::Number(port) => port,
        });
        let taken = tcp_at(host, FIRST_PORT + display).and_then(|sockets| {
            let web = port.map(|port| tcp_at(host, port)).transpose()?;
            Ok((sockets, web.unwrap_or_default(), display))
        });
        match taken {
            Ok(taken) => return Ok(taken),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn tcp_at(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    if host.is_empty() {
        // A socket of IPv6 takes IPv4's clients too, where there is IPv6.
        let socket = match TcpListener::bind(("::", port)) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(("0.0.0.0", port)),
            result => result,
        }?;
        socket.set_nonblocking(true)?;
        return Ok(vec![socket]);
    }
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    let mut sockets = Vec::new();
    let mut failed = None;
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                sockets.push(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // A name may stand for addresses of a family that this machine has not got.
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A client's connection. Nothing here blocks.
pub(super) struct Connection {
    stream: Stream,
    address: Address,
}

impl Connection {
    pub fn tcp(stream: TcpStream, from: &SocketAddr) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        // Without these it works as well, only later.
        let _ = stream.set_nodelay(true);
        let _ = sockopt::set_socket_keepalive(&stream, true);
        Ok(Connection { address: Address::of(from), stream: Stream::Tcp(stream) })
    }

    fn unix(stream: UnixStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection { address: Address::unix(Path::new("")), stream: Stream::Unix(stream) })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }

    /// Reads what is there. None: nothing now.
    pub fn read(&self, data: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(self.fd(), data, RecvFlags::empty()) {
            Ok((_, 0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((len, _)) => Ok(Some(len)),
            Err(error) => later(error.into()),
        }
    }

    /// Writes what there is room for. None: no room now.
    pub fn write(&self, data: &[u8]) -> io::Result<Option<usize>> {
        match send(self.fd(), data, SendFlags::NOSIGNAL) {
            Ok(len) => Ok(Some(len)),
            Err(error) => later(error.into()),
        }
    }
}

fn later(error: io::Error) -> io::Result<Option<usize>> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
        _ => Err(error),
    }
}
