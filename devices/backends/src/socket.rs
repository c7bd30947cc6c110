//! Unix sockets that we listen on.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Removes a socket's file when it is dropped.
pub struct Unlink(PathBuf);

impl Unlink {
    /// That of a socket that is bound already.
    pub fn new(path: &Path) -> Unlink {
        Unlink(path.to_owned())
    }
}

impl Drop for Unlink {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Connects to a socket at that path without waiting for who listens there: its queue may be full.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

/// A socket at that path that never blocks, with what removes it in the end. A socket that is left over
/// from before is in the way and goes; anything else is not ours to remove, and nor is one of which nobody can tell.
pub fn listen(path: &Path) -> io::Result<(UnixListener, Unlink)> {
    if std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Ok(_) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let listener = UnixListener::bind(path)?;
    let unlink = Unlink::new(path);
    listener.set_nonblocking(true)?;
    Ok((listener, unlink))
}
