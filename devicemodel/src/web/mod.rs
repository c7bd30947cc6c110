//! `--display web`: a page in a browser with the guest's screen, what it is doing, and what a person does to it.
//!
//! The process serves the page itself, by HTTP, and no file of it comes from elsewhere. It listens on this machine alone
//! unless an address is given. All that it serves lies below a token that nobody can guess, which is in the address
//! that is printed; a browser that comes from another site's page is refused even with it (`server`).
//!
//! A page has two WebSockets. The screen's is handed to the VNC server. The monitor's carries QMP in both directions, and of
//! that the commands that the page has buttons for (`control`): who has the token is no more than somebody at the
//! guest's front.

pub(crate) mod control;
mod files;
mod server;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use backends::vnc::Door;
use rustix::event::{EventfdFlags, eventfd};

use crate::monitor::server::Inside;
use token::Token;

/// Ports that are tried in their order, if nobody names one.
const PORTS: std::ops::RangeInclusive<u16> = 5800..=5899;

/// Where the page is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Address or name.
    host: String,
    /// None: the first of [`PORTS`] that is free.
    port: Option<u16>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}:{}-{}", self.host, PORTS.start(), PORTS.end()),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    /// Reads `[HOST:]PORT`, or nothing.
    fn from_str(text: &str) -> Result<Place, String> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port),
            None => ("127.0.0.1", text),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = match port {
            "" if !text.contains(':') => None,
            port => match port.parse() {
                Ok(port @ 1..) => Some(port),
                _ => return Err(format!("web={text:?} is not [HOST:]PORT")),
            },
        };
        if bare.is_empty() {
            return Err(format!(
                "web={text:?} names no host: 0.0.0.0 and [::] are all of this machine's addresses"
            ));
        }
        Ok(Place { host: bare.to_owned(), port })
    }
}

/// A socket that listens, before there is a page behind it.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    token: Token,
}

impl Listener {
    /// Listens there.
    pub fn bind(place: &Place) -> io::Result<Listener> {
        let ports = place.port.map_or(PORTS, |port| port..=port);
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for port in ports {
            let addresses = (place.host.as_str(), port).to_socket_addrs()?.collect::<Vec<_>>();
            match TcpListener::bind(&addresses[..]) {
                Ok(socket) => {
                    socket.set_nonblocking(true)?;
                    let address = socket.local_addr()?;
                    return Ok(Listener { socket, address, token: Token::new()? });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where it listens.
    pub fn address(&self) -> &SocketAddr {
        &self.address
    }

    /// What a person opens, the token included.
    pub fn url(&self) -> String {
        format!("http://{}/{}/", self.address, self.token.text())
    }
}

/// What the thread and its owner both see.
struct Shared {
    bell: OwnedFd,
    stopping: AtomicBool,
}

/// The page's server. Dropping it closes all connections.
pub struct Web {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Serves it: screens go to `screen`, what is said to the monitor to `monitor`.
    pub fn start(listener: Listener, screen: Door, monitor: Inside) -> io::Result<Web> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { bell, stopping: AtomicBool::new(false) });
        let server = server::Server::new(listener, shared.clone(), screen, monitor);
        let thread = std::thread::Builder::new().name("web".to_owned()).spawn(move || server.run())?;
        Ok(Web { shared, thread: Some(thread) })
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // One that has a count already is as good.
        let _ = rustix::io::write(&self.shared.bell, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}
