//! Addresses of sockets, as QAPI's `SocketAddress` has them, and sockets at them.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};

use super::options::Options;

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host's port.
    Inet {
        /// Its name or number; empty: any, or this host.
        host: String,
        /// The port.
        port: u16,
        /// Only IPv4 (true) or only IPv6 (false), if either.
        ipv4: Option<bool>,
    },
    /// A path; or a name that is in no folder (`abstract`).
    Unix {
        /// Which.
        path: PathBuf,
        /// It is no path.
        abstract_name: bool,
    },
    /// A descriptor that we were given: its number, or a name that the monitor gave it.
    Fd(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Address::Inet { .. } => "tcp",
            Address::Unix { .. } => "unix",
            Address::Fd(_) => "fd",
        };
        write!(f, "{kind}:{}", self.plain())
    }
}

impl Address {
    /// Without its kind.
    pub(super) fn plain(&self) -> String {
        match self {
            Address::Inet { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Inet { host, port, .. } => format!("{host}:{port}"),
            Address::Unix { path, .. } => path.display().to_string(),
            Address::Fd(fd) => fd.clone(),
        }
    }

    /// The address under `name` (`addr`, `local`, `remote`), if there is one.
    pub(super) fn parse(options: &mut Options, name: &str) -> Result<Option<Address>, String> {
        if !options.has_any(&format!("{name}.")) {
            return Ok(None);
        }
        let key = |part: &str| format!("{name}.{part}");
        let address = match options.required(&key("type"))? {
            "inet" => {
                let host = options.required(&key("host"))?.to_owned();
                let port = options.required(&key("port"))?;
                let port = port.parse().map_err(|_| format!("{port:?} is not a port's number"))?;
                let (v4, v6) = (options.flag(&key("ipv4"))?, options.flag(&key("ipv6"))?);
                let ipv4 = match (v4, v6) {
                    (Some(false), Some(false)) => return Err("neither IPv4 nor IPv6 is left".into()),
                    (Some(true), Some(true)) | (None, None) => None,
                    (v4, v6) => Some(v4.unwrap_or(v6 == Some(false))),
                };
                // How the kernel keeps a quiet connection alive, and names that are numbers, change nothing here.
                options.flag(&key("keep-alive"))?;
                options.flag(&key("numeric"))?;
                if options.flag(&key("mptcp"))? == Some(true) {
                    return Err(format!("{name}.mptcp is not built"));
                }
                if options.take(&key("to")).is_some() {
                    return Err(format!("{name}.to is not built: name one port"));
                }
                Address::Inet { host, port, ipv4 }
            }
            "unix" => {
                let path = options.required(&key("path"))?.into();
                let abstract_name = options.flag(&key("abstract"))?.unwrap_or(false);
                if options.flag(&key("tight"))? == Some(false) {
                    return Err(format!("{name}.tight=off is not built"));
                }
                Address::Unix { path, abstract_name }
            }
            "fd" => Address::Fd(options.required(&key("str"))?.to_owned()),
            "vsock" => return Err(format!("{name}.type=vsock is not built")),
            other => return Err(format!("Parameter 'type' does not accept value '{other}'")),
        };
        Ok(Some(address))
    }

    /// What `HOST:PORT` says, as the options of `socket` have it.
    pub(super) fn host_port(text: &str) -> Result<Address, String> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("host address '{text}' doesn't contain ':' separating host from port"))?;
        let port = port.parse().map_err(|_| format!("port number '{port}' is invalid"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Address::Inet { host: host.to_owned(), port, ipv4: None })
    }

    /// What a socket's other end, or this one, says of itself.
    pub(super) fn of(address: Option<SocketAddrAny>, else_this: &Address) -> Address {
        match address.and_then(|address| SocketAddr::try_from(address).ok()) {
            Some(address) => Address::Inet {
                host: address.ip().to_canonical().to_string(),
                port: address.port(),
                ipv4: Some(address.ip().to_canonical().is_ipv4()),
            },
            None => else_this.clone(),
        }
    }

    /// All that it may mean to the kernel. Asks the host's resolver. A host that is not named is this one, or, to
    /// `listen`, any.
    pub(super) fn resolve(&self, listen: bool) -> io::Result<Vec<SocketAddrAny>> {
        match self {
            Address::Inet { host, port, ipv4 } => {
                let host = match (host.as_str(), listen, ipv4) {
                    ("", true, Some(false)) => "::",
                    ("", true, _) => "0.0.0.0",
                    ("", false, Some(false)) => "::1",
                    ("", false, _) => "127.0.0.1",
                    (host, ..) => host,
                };
                let all = (host, *port).to_socket_addrs()?;
                let fits = |a: &SocketAddr| ipv4.is_none_or(|v4| v4 == a.is_ipv4());
                let all: Vec<_> = all.filter(fits).map(SocketAddrAny::from).collect();
                if all.is_empty() { Err(io::ErrorKind::AddrNotAvailable.into()) } else { Ok(all) }
            }
            Address::Unix { path, abstract_name: false } => Ok(vec![SocketAddrUnix::new(path)?.into()]),
            Address::Unix { path, abstract_name: true } => {
                let name = path.as_os_str().as_encoded_bytes();
                Ok(vec![SocketAddrUnix::new_abstract_name(name)?.into()])
            }
            Address::Fd(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether it is a group of hosts.
    pub(super) fn is_multicast(&self) -> bool {
        matches!(self, Address::Inet { host, .. }
            if host.parse().is_ok_and(|ip: IpAddr| ip.is_multicast()))
    }
}

/// A new socket for an address of that kind, which never blocks.
pub(super) fn socket(to: &SocketAddrAny, kind: SocketType) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(to.address_family(), kind, flags, None)?)
}

/// A connection, or one that is on its way (true).
pub(super) fn begin_connect(to: &SocketAddrAny) -> io::Result<(OwnedFd, bool)> {
    let socket = socket(to, SocketType::STREAM)?;
    let underway = match connect(&socket, to) {
        Ok(()) => false,
        Err(Errno::INPROGRESS) => true,
        Err(error) => return Err(error.into()),
    };
    Ok((socket, underway))
}

/// Frames are to go at once. Not every socket is TCP's.
pub(super) fn no_delay(socket: &OwnedFd) {
    if matches!(sockopt::socket_domain(socket), Ok(AddressFamily::INET | AddressFamily::INET6)) {
        let _ = sockopt::set_tcp_nodelay(socket, true);
    }
}
