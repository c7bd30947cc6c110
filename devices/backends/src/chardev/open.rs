//! Opening lines.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use devices_core::Waker;
use devices_core::chardev::{CharBackend, Null};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::device::{Chardev, Shared};
use super::escape::Escape;
use super::terminal::Stdio;
use super::{CharError, CharSpec};
use crate::socket;

/// A line that is open.
pub struct OpenChardev {
    /// For the device.
    pub backend: Arc<dyn CharBackend>,
    /// The path of a pseudo-terminal, for people.
    pub path: Option<PathBuf>,
}

/// The host's end of a line, open. Nothing comes or goes before it is [started](Prepared::start).
pub struct Prepared(Option<End>);

/// What a line leads to, if anywhere.
enum End {
    Stdio { taken: Stdio, input: OwnedFd, output: OwnedFd },
    Pty(OwnedFd, PathBuf),
    File(File),
    Connect(UnixStream),
    Unix(UnixListener, socket::Unlink),
}

/// Opens the host's end of a line.
pub fn prepare(spec: &CharSpec) -> Result<Prepared, CharError> {
    let socket_error = |path: &Path| {
        let path = path.to_owned();
        move |source| CharError::Path { what: "socket", path, source }
    };
    Ok(Prepared(Some(match spec {
        CharSpec::Null => return Ok(Prepared(None)),
        CharSpec::Stdio => {
            let what = |source| CharError::System { what: "standard input or output", source };
            let taken = Stdio::take()?;
            let (input, output) = (own(&io::stdin()).map_err(what)?, own(&io::stdout()).map_err(what)?);
            End::Stdio { taken, input, output }
        }
        CharSpec::Pty => pty()?,
        CharSpec::File(path) => End::File(file(path, false)?),
        CharSpec::Append(path) => End::File(file(path, true)?),
        CharSpec::Unix(path) => {
            let (listener, unlink) = socket::listen(path).map_err(socket_error(path))?;
            End::Unix(listener, unlink)
        }
        CharSpec::Connect(path) => {
            let peer = UnixStream::connect(path).map_err(socket_error(path))?;
            peer.set_nonblocking(true).map_err(socket_error(path))?;
            End::Connect(peer)
        }
    })))
}

/// Opens a line for the device behind `waker`, which is woken with `number`. `escape` is told of the escape
/// key on standard input.
pub fn open(
    spec: &CharSpec,
    waker: Waker,
    number: u32,
    escape: impl Fn(Escape) + Send + Sync + 'static,
) -> Result<OpenChardev, CharError> {
    prepare(spec)?.start(waker, number, escape)
}

impl Prepared {
    /// Serves the line: see [`open`].
    pub fn start(
        self,
        waker: Waker,
        number: u32,
        escape: impl Fn(Escape) + Send + Sync + 'static,
    ) -> Result<OpenChardev, CharError> {
        let Some(end) = self.0 else {
            return Ok(OpenChardev { backend: Arc::new(Null), path: None });
        };
        let shared = Shared::new(waker, number)?;
        let (line, path) = match end {
            End::Stdio { taken, input, output } => {
                shared.connect(Some(Arc::new(output)));
                shared.measure(&input);
                let input = Arc::new(input);
                let escape: super::device::OnEscape = Box::new(escape);
                let serve = move |shared: &Shared| shared.read_all(&input, Some(&escape));
                (Chardev::start(shared, serve, Box::new(taken))?, None)
            }
            End::Pty(main, name) => (serve_pty(shared, main)?, Some(name)),
            End::File(file) => {
                shared.connect(Some(Arc::new(file.into())));
                (Chardev::start(shared, |_| {}, Box::new(()))?, None)
            }
            End::Unix(listener, unlink) => (unix(shared, listener, unlink)?, None),
            End::Connect(peer) => (connect(shared, peer)?, None),
        };
        Ok(OpenChardev { backend: Arc::new(line), path })
    }
}

/// A file that is made anew, or written to its end.
fn file(path: &Path, append: bool) -> Result<File, CharError> {
    // A named pipe is opened for both directions, which needs nobody at its other end; without waiting, so
    // that only a poll waits for who reads it.
    let pipe = path.metadata().is_ok_and(|meta| meta.file_type().is_fifo());
    let mut options = OpenOptions::new();
    options
        .read(pipe)
        .write(true)
        .create(true)
        .truncate(!append)
        .append(append)
        .custom_flags(OFlags::NONBLOCK.bits() as i32);
    options.open(path).map_err(|source| CharError::Path { what: "file", path: path.to_owned(), source })
}

fn own(fd: &impl std::os::fd::AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

/// A pseudo-terminal in raw mode.
fn pty() -> Result<End, CharError> {
    let error = |e: rustix::io::Errno| CharError::System { what: "pseudo-terminal", source: e.into() };
    let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(error)?;
    grantpt(&main).map_err(error)?;
    unlockpt(&main).map_err(error)?;
    let name = ptsname(&main, Vec::new()).map_err(error)?;
    let name = PathBuf::from(name.to_string_lossy().into_owned());
    let mut modes = tcgetattr(&main).map_err(error)?;
    modes.make_raw();
    tcsetattr(&main, OptionalActions::Now, &modes).map_err(error)?;
    rustix::io::ioctl_fionbio(&main, true).map_err(error)?;
    Ok(End::Pty(main, name))
}

/// Output with nobody at the other end is dropped once the kernel's buffer is full of it.
fn serve_pty(shared: Arc<Shared>, main: OwnedFd) -> Result<Chardev, CharError> {
    let main = Arc::new(main);
    let serve = {
        let main = main.clone();
        move |shared: &Shared| {
            // With nobody at the other end the kernel says hang-up at once: look again later.
            while !shared.stopping() {
                let hung_up = hung_up(&main);
                shared.connect((!hung_up).then(|| main.clone()));
                if hung_up {
                    shared.pause(Duration::from_millis(200));
                } else {
                    shared.read_all(&main, None);
                }
            }
        }
    };
    shared.connect(Some(main));
    Chardev::start(shared, serve, Box::new(()))
}

fn hung_up(main: &OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(main, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(1..) if fds[0].revents().contains(PollFlags::HUP))
}

/// Output after the other end has gone is dropped.
fn connect(shared: Arc<Shared>, peer: UnixStream) -> Result<Chardev, CharError> {
    let peer = Arc::new(OwnedFd::from(peer));
    shared.connect(Some(peer.clone()));
    let serve = move |shared: &Shared| {
        shared.read_all(&peer, None);
        shared.connect(None);
    };
    Chardev::start(shared, serve, Box::new(()))
}

fn unix(shared: Arc<Shared>, listener: UnixListener, unlink: socket::Unlink) -> Result<Chardev, CharError> {
    let listening = listener.try_clone();
    let listening = listening.map_err(|source| CharError::System { what: "second handle", source })?.into();
    let serve = move |shared: &Shared| {
        while !shared.stopping() {
            if !shared.ready(&listening, PollFlags::IN) {
                continue;
            }
            let Ok((client, _)) = listener.accept() else {
                shared.pause(Duration::from_millis(50));
                continue;
            };
            if client.set_nonblocking(true).is_err() {
                continue;
            }
            let client = Arc::new(OwnedFd::from(client));
            shared.connect(Some(client.clone()));
            shared.read_all(&client, None);
            shared.connect(None);
        }
    };
    Chardev::start(shared, serve, Box::new(unlink))
}
