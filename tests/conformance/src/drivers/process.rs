//! A program that runs a machine.

use std::fs::File;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use guest_tests::Qmp;
use serde_json::json;
use tempfile::TempDir;

use crate::machine::Broken;

/// A program, its folder, and its end: dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    folder: TempDir,
    child: Option<Child>,
}

impl Process {
    /// A folder for a program that is yet to be started. Its path is short: unix sockets lie in it.
    pub(super) fn new(name: &str) -> Result<Process, Broken> {
        let folder = tempfile::Builder::new().prefix("conf").tempdir();
        let folder =
            folder.map_err(|error| Broken { machine: name.into(), why: format!("no folder: {error}") })?;
        Ok(Process { name: name.into(), folder, child: None })
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn stderr(&self) -> PathBuf {
        self.folder().join("stderr")
    }

    /// Starts it, with nothing on its stdin.
    pub(super) fn start(&mut self, command: &mut Command) -> Result<(), Broken> {
        let started = File::create(self.stderr()).and_then(|stderr| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(stderr)
                .current_dir(self.folder())
                .spawn()
        });
        let child = started.map_err(|error| {
            self.broken(format!("{} cannot be started: {error}", command.get_program().to_string_lossy()))
        })?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts it and waits until it connects to `socket`, which we make.
    pub(super) fn connected(&mut self, command: &mut Command, socket: &Path) -> Result<UnixStream, Broken> {
        let listener = UnixListener::bind(socket).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = listener.map_err(|error| self.broken(format!("no socket: {error}")))?;
        self.start(command)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let waits = stream.set_nonblocking(false);
                    return waits.map(|()| stream).map_err(|error| self.broken(error.to_string()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.broken(format!("no connection: {error}"))),
            }
            if !self.is_alive() || Instant::now() > until {
                return Err(self.broken("does not connect to its line"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Presses the reset button by the monitor at `socket` in its folder.
    pub(super) fn press_reset(&mut self, socket: &str, monitor: &mut Option<Qmp>) -> Result<(), Broken> {
        let socket = self.folder().join(socket);
        let pressed = (|| {
            let monitor = match monitor {
                Some(monitor) => monitor,
                none => none.insert(Qmp::connect(&socket, || self.is_alive())?),
            };
            monitor.execute("system_reset", json!({}))
        })();
        pressed.map(|_| ()).map_err(|error| self.broken(format!("system_reset: {error:#}")))
    }

    /// Whether it runs.
    pub(super) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Why it is of no use any more, with what it said last and how it ended.
    pub(super) fn broken(&mut self, why: impl Into<String>) -> Broken {
        let mut why = why.into();
        if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
            why += &format!("; it ended: {status}");
        }
        let said = std::fs::read(self.stderr()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(1000)..]).trim().to_owned();
        if !said.is_empty() {
            why += &format!("; it said: {said}");
        }
        Broken { machine: self.name.clone(), why }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that has ended already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A path inside a value of several fields: commas are doubled.
pub(super) fn quoted(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// How long a machine may be silent before it counts as dead.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
