//! A guest's sockets as Unix sockets of the host's, by the convention of Firecracker's and Cloud Hypervisor's users.
//!
//! * The guest connects to the host's (CID 2) port P: that leads to the Unix socket `PATH_P`. Nobody there: it is refused.
//! * A program of the host's connects to `PATH`, writes `CONNECT P` and a newline, and reads `OK` and a number when the
//!   guest has accepted at its port P. If the guest refuses, or does not answer in two seconds, the socket is closed.
//!
//! A thread of its own moves the bytes. What it keeps of a connection is [`BUFFER`] bytes at most, and there are so many
//! connections and no more; one that is too much is refused. Nothing is read of the host's program before the guest has
//! said that it has room, and no guest is told of room that there is not; a guest that sends more loses the connection.
//! So a slow program at either end stops its own connection, and no other.
//!
//! Left out: SEQPACKET and datagrams; connections of a guest's to another guest.

mod client;
mod connection;
mod mux;
mod shared;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use devices_core::Waker;
use devices_core::vsock::VsockBackend;
use hypervisor::thread_role;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::socket::{self, Unlink};
use mux::{EVENTS, Mux};
use shared::Shared;

/// Bytes of the guest's that wait for one program of the host's.
pub const BUFFER: u32 = 64 << 10;

/// What sockets lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The guest's CID.
    pub cid: u64,
    /// The socket that programs of the host's connect to, and what the names of those begin with that the guest does.
    pub path: PathBuf,
    /// Most connections, of either direction and also those that nobody has accepted yet.
    pub connections: usize,
}

/// What had to be opened before the process confines itself.
pub struct Prepared {
    listener: UnixListener,
    unlink: Unlink,
}

/// Binds the socket that programs of the host's connect to.
pub fn prepare(path: &Path) -> io::Result<Prepared> {
    let (listener, unlink) = socket::listen(path)?;
    Ok(Prepared { listener, unlink })
}

impl Prepared {
    fn mux(self, options: Options, waker: Waker, number: u32) -> io::Result<(Mux, Arc<Shared>, Unlink)> {
        let shared = Arc::new(Shared::new(waker, number)?);
        // Each connection has a file descriptor, and others need some too.
        let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize / 2);
        let connections = options.connections.clamp(1, most.max(1));
        let mux = Mux::new(Options { connections, ..options }, self.listener, shared.clone())?;
        Ok((mux, shared, self.unlink))
    }

    /// Serves the device behind `waker`, which is woken with `number`.
    pub fn start(self, options: Options, waker: Waker, number: u32) -> io::Result<Vsock> {
        let (mux, shared, unlink) = self.mux(options, waker, number)?;
        thread::Builder::new().name("vsock".to_owned()).spawn(move || run(mux))?;
        Ok(Vsock { shared, _unlink: unlink })
    }
}

/// The thread.
fn run(mut mux: Mux) {
    let mut events = Vec::with_capacity(EVENTS);
    while !mux.shared().stopping() {
        thread_role::at(thread_role::Role::Sockets);
        let wait = mux.turn(&events, Instant::now());
        events.clear();
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match epoll::wait(mux.epoll(), rustix::buffer::spare_capacity(&mut events), wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::warn!("the guest's sockets lead nowhere any more: {error}");
                return;
            }
        }
    }
}

/// The device's end. Connections end when it is dropped; the thread is not waited for, since it may be waking the very
/// device that drops us.
pub struct Vsock {
    shared: Arc<Shared>,
    _unlink: Unlink,
}

impl VsockBackend for Vsock {
    fn send(&self, packet: &[u8]) -> bool {
        self.shared.send(packet)
    }
    fn receive(&self, packet: &mut Vec<u8>) -> bool {
        self.shared.receive(packet)
    }
    fn reset(&self) {
        self.shared.reset();
    }
}

impl Drop for Vsock {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
