//! A xenstore client: the wire protocol over xenstored's socket or the kernel's device, no C library.
//!
//! One request is under way at a time. Watch events that arrive meanwhile are queued; who waits for the
//! file descriptor to become readable therefore also asks for [`XenStore::next_event`] after requests.

mod connection;
#[cfg(test)]
mod tests;
pub mod wire;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use thiserror::Error;

use crate::error::{CallError, Named};
use crate::privcmd::open_device;
use connection::Connection;
use wire::{WireError, kind, strings};

/// Where xenstored listens, unless the environment's `XENSTORED_PATH` says otherwise.
const SOCKET: &str = "/var/run/xenstored/socket";
/// The way to a xenstored that is in another domain.
const DEVICE: &str = "/dev/xen/xenbus";
/// Tries to commit a transaction before somebody else's changes are blamed.
const TRANSACTION_TRIES: usize = 50;

/// Why a request failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// xenstored said no, with an error's name such as `ENOENT`.
    #[error("xenstore {request} {path}: {name}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// Of which path.
        path: String,
        /// The error's name.
        name: String,
    },
    /// The connection broke, or nothing was answered in time.
    #[error("xenstore {request} {path}: {source}")]
    Io {
        /// What was asked.
        request: &'static str,
        /// Of which path.
        path: String,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// The other side does not speak the protocol. The connection is not used any more.
    #[error("xenstore {request} {path}: {source}")]
    Protocol {
        /// What was asked.
        request: &'static str,
        /// Of which path.
        path: String,
        /// What is wrong.
        #[source]
        source: WireError,
    },
    /// A path with a zero byte, or a request that is too long.
    #[error("xenstore {0} {1:?}: not a path, or too long")]
    Argument(&'static str, String),
    /// The transaction met others' changes every time.
    #[error("xenstore: a transaction did not get through in {TRANSACTION_TRIES} tries")]
    Contended,
}

impl StoreError {
    /// Whether xenstored gave this error's name.
    pub fn is(&self, error: &str) -> bool {
        matches!(self, StoreError::Refused { name, .. } if name == error)
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something at or below a watched path changed, or the watch is new.
    Changed {
        /// What changed; relative if the watch is.
        path: String,
        /// The watch's token.
        token: String,
    },
    /// More changed than could be kept: everything watched must be looked at.
    Lost,
}

/// What a domain may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Write.
    Write,
    /// Both.
    Both,
}

/// A permission: the first of a node names its owner and what all others may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What.
    pub access: Access,
    /// Who.
    pub domid: u16,
}

impl Permission {
    fn encode(self) -> String {
        let letter = match self.access {
            Access::None => 'n',
            Access::Read => 'r',
            Access::Write => 'w',
            Access::Both => 'b',
        };
        format!("{letter}{}", self.domid)
    }
}

/// Connects to xenstored's socket, or else to the kernel's device. The error tells of both.
pub fn connect() -> Result<OwnedFd, CallError> {
    let path = std::env::var_os("XENSTORED_PATH").map_or_else(|| PathBuf::from(SOCKET), PathBuf::from);
    let socket = match UnixStream::connect(&path) {
        Ok(stream) => return Ok(stream.into()),
        Err(error) => error,
    };
    let device = open_device(DEVICE, 0).map_err(|error| {
        let why = format!("{}: {socket}; {error}", path.display());
        CallError::new("connecting to xenstore", io::Error::new(socket.kind(), why))
    })?;
    Ok(device.into())
}

/// A connection, or a transaction on one. Clones are handles.
#[derive(Clone)]
pub struct XenStore {
    connection: Arc<Mutex<Connection>>,
    fd: RawFd,
    transaction: u32,
}

impl XenStore {
    /// Speaks over a new connection: see [`connect`].
    pub fn open() -> Result<XenStore, CallError> {
        XenStore::over(connect()?)
    }

    /// Speaks over a stream that is connected already.
    pub fn over(stream: OwnedFd) -> Result<XenStore, CallError> {
        let connection = Connection::new(File::from(stream)).named("fcntl of xenstore's connection")?;
        let fd = connection.as_raw_fd();
        Ok(XenStore { connection: Arc::new(Mutex::new(connection)), fd, transaction: 0 })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// One request about a path, with what follows it.
    fn request(&self, name: &'static str, kind: u32, path: &str, rest: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut payload = Vec::with_capacity(path.len() + 1 + rest.len());
        payload.extend_from_slice(path.as_bytes());
        payload.push(0);
        payload.extend_from_slice(rest);
        let wrong = path.contains('\0') || path.is_empty() || path.len() > wire::PATH_MAX;
        if wrong || payload.len() > wire::PAYLOAD_MAX {
            return Err(StoreError::Argument(name, path.to_owned()));
        }
        self.raw(name, kind, path, self.transaction, payload)
    }

    fn raw(
        &self,
        request: &'static str,
        kind: u32,
        path: &str,
        transaction: u32,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let path = || path.to_owned();
        match self.connection().request(kind, transaction, payload) {
            Ok(reply) => Ok(reply),
            Err(connection::Failure::Refused(name)) => {
                Err(StoreError::Refused { request, path: path(), name })
            }
            Err(connection::Failure::Io(source)) => Err(StoreError::Io { request, path: path(), source }),
            Err(connection::Failure::Wire(source)) => {
                Err(StoreError::Protocol { request, path: path(), source })
            }
        }
    }

    /// A node's value.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.request("read", kind::READ, path, &[])
    }

    /// A node's value as text, or None if there is no such node. Bytes that are not UTF-8 are replaced.
    pub fn find(&self, path: &str) -> Result<Option<String>, StoreError> {
        match self.read(path) {
            Ok(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Err(error) if error.is("ENOENT") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a node's value; makes the node and those above it.
    pub fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.request("write", kind::WRITE, path, value.as_ref()).map(|_| ())
    }

    /// Makes an empty node, unless it is there.
    pub fn mkdir(&self, path: &str) -> Result<(), StoreError> {
        self.request("mkdir", kind::MKDIR, path, &[]).map(|_| ())
    }

    /// Removes a node and all below it; it need not be there.
    pub fn rm(&self, path: &str) -> Result<(), StoreError> {
        match self.request("rm", kind::RM, path, &[]) {
            Err(error) if error.is("ENOENT") => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Names of the nodes right below a node.
    pub fn directory(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let reply = self.request("directory", kind::DIRECTORY, path, &[])?;
        let text = |name: &[u8]| String::from_utf8(name.to_vec());
        let names: Result<Vec<String>, _> = strings(&reply).map(text).collect();
        names.map_err(|_| {
            let source = WireError::Malformed(kind::DIRECTORY);
            StoreError::Protocol { request: "directory", path: path.to_owned(), source }
        })
    }

    /// Replaces a node's permissions.
    pub fn set_permissions(&self, path: &str, permissions: &[Permission]) -> Result<(), StoreError> {
        let rest: String = permissions.iter().map(|permission| permission.encode() + "\0").collect();
        self.request("set_perms", kind::SET_PERMS, path, rest.as_bytes()).map(|_| ())
    }

    /// The path of a domain's own nodes.
    pub fn domain_path(&self, domid: u16) -> Result<String, StoreError> {
        let reply = self.request("get_domain_path", kind::GET_DOMAIN_PATH, &domid.to_string(), &[])?;
        Ok(String::from_utf8_lossy(strings(&reply).next().unwrap_or_default()).into_owned())
    }

    /// Has [`next_event`](XenStore::next_event) tell of changes at and below a path, and once right away.
    pub fn watch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        self.watching("watch", kind::WATCH, path, token)
    }

    /// Ends a watch. Events of it that were queued are dropped.
    pub fn unwatch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        let result = self.watching("unwatch", kind::UNWATCH, path, token);
        self.connection().forget(token);
        result
    }

    fn watching(&self, name: &'static str, kind: u32, path: &str, token: &str) -> Result<(), StoreError> {
        if token.contains('\0') {
            return Err(StoreError::Argument(name, token.to_owned()));
        }
        self.request(name, kind, path, format!("{token}\0").as_bytes()).map(|_| ())
    }

    /// The next event, if there is one; does not wait. Fails when the connection broke.
    pub fn next_event(&self) -> Result<Option<Event>, StoreError> {
        let failed = |request, failure| match failure {
            connection::Failure::Wire(source) => {
                StoreError::Protocol { request, path: String::new(), source }
            }
            connection::Failure::Io(source) => StoreError::Io { request, path: String::new(), source },
            connection::Failure::Refused(name) => StoreError::Refused { request, path: String::new(), name },
        };
        self.connection().next_event().map_err(|failure| failed("watch event", failure))
    }

    /// Does several things at once or not at all. `what` is called again when somebody else's changes came
    /// between; what it has done to anything but the store it is given must bear that.
    pub fn transaction<T>(
        &self,
        mut what: impl FnMut(&XenStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..TRANSACTION_TRIES {
            let reply = self.raw("transaction_start", kind::TRANSACTION_START, "", 0, vec![0])?;
            let id = strings(&reply).next().and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
            let transaction = id.filter(|id| *id != 0).ok_or_else(|| StoreError::Protocol {
                request: "transaction_start",
                path: String::new(),
                source: WireError::Malformed(kind::TRANSACTION_START),
            })?;
            let inside = XenStore { transaction, ..self.clone() };
            let done = what(&inside);
            let commit: &[u8] = if done.is_ok() { b"T\0" } else { b"F\0" };
            let end = self.raw("transaction_end", kind::TRANSACTION_END, "", transaction, commit.to_vec());
            match (done, end) {
                (Ok(value), Ok(_)) => return Ok(value),
                (Err(error), _) if !error.is("EAGAIN") => return Err(error),
                (_, Err(error)) if !error.is("EAGAIN") => return Err(error),
                _ => {}
            }
        }
        Err(StoreError::Contended)
    }
}

impl AsFd for XenStore {
    /// Readable when there may be an event. Not to be read from.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the connection owns its file and never replaces it; we own a share of the connection.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}
