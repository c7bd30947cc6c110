//! A program that runs a machine.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use guest_tests::Qmp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::launch::COM1_SOCKET;
use crate::machine::{Broken, Input};

/// A program, its folder, and its end: dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    folder: TempDir,
    child: Option<Child>,
    monitor: Option<Qmp>,
    com1: Option<UnixStream>,
}

const MONITOR_SOCKET: &str = "qmp";

impl Process {
    /// A folder for a program that is yet to be started. Its path is short: unix sockets lie in it.
    pub(super) fn new(name: &str) -> Result<Process, Broken> {
        let folder = tempfile::Builder::new().prefix("conf").tempdir();
        let folder =
            folder.map_err(|error| Broken { machine: name.into(), why: format!("no folder: {error}") })?;
        Ok(Process { name: name.into(), folder, child: None, monitor: None, com1: None })
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

    /// The words that make its monitor.
    pub(super) fn monitor_words(&self) -> [String; 2] {
        let socket = quoted(&self.folder().join(MONITOR_SOCKET));
        ["-qmp".into(), format!("unix:{socket},server=on,wait=off")]
    }

    fn order(&mut self, command: &str, arguments: Value) -> Result<(), Broken> {
        let socket = self.folder().join(MONITOR_SOCKET);
        let mut monitor = self.monitor.take();
        let done = (|| {
            let monitor = match &mut monitor {
                Some(monitor) => monitor,
                none => none.insert(Qmp::connect(&socket, || self.is_alive())?),
            };
            monitor.execute(command, arguments)
        })();
        self.monitor = monitor;
        done.map(|_| ()).map_err(|error| self.broken(format!("{command}: {error:#}")))
    }

    /// Presses the reset button, by the monitor.
    pub(super) fn press_reset(&mut self) -> Result<(), Broken> {
        self.order("system_reset", json!({}))
    }

    /// Brings keys and the mouse in by the monitor, bytes by COM1's line.
    pub(super) fn input(&mut self, inputs: &[Input<'_>]) -> Result<(), Broken> {
        let events: Vec<Value> = inputs.iter().flat_map(events).collect();
        if !events.is_empty() {
            self.order("input-send-event", json!({ "events": events }))?;
        }
        for input in inputs {
            if let Input::Com1(bytes) = input {
                let written = self.line().and_then(|line| line.write_all(bytes));
                written.map_err(|error| self.broken(format!("COM1's line: {error}")))?;
            }
        }
        Ok(())
    }

    /// What COM1 sends: `len` bytes, or those that come within a second.
    pub(super) fn com1(&mut self, len: usize) -> Result<Vec<u8>, Broken> {
        let mut bytes = vec![0; len];
        let mut got = 0;
        while got < len {
            match self.line().and_then(|line| line.read(&mut bytes[got..])) {
                Ok(0) => return Err(self.broken("COM1's line was closed")),
                Ok(more) => got += more,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break;
                }
                Err(error) => return Err(self.broken(format!("COM1's line: {error}"))),
            }
        }
        bytes.truncate(got);
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<&mut UnixStream> {
        let path = self.folder().join(COM1_SOCKET);
        match &mut self.com1 {
            Some(line) => Ok(line),
            none => {
                let line = UnixStream::connect(path)?;
                line.set_read_timeout(Some(Duration::from_secs(1)))?;
                line.set_write_timeout(Some(PATIENCE))?;
                Ok(none.insert(line))
            }
        }
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

/// What the monitor calls it (QMP, `InputEvent`).
fn events(input: &Input<'_>) -> Vec<Value> {
    let axis = |axis, value| json!({ "type": "rel", "data": { "axis": axis, "value": value } });
    match *input {
        Input::Key(key, down) => {
            let key = json!({ "type": "qcode", "data": key });
            vec![json!({ "type": "key", "data": { "down": down, "key": key } })]
        }
        Input::Move(right, down) => {
            let moves = [("x", right), ("y", down)];
            moves.into_iter().filter(|(_, by)| *by != 0).map(|(name, by)| axis(name, by)).collect()
        }
        Input::Button(button, down) => {
            vec![json!({ "type": "btn", "data": { "down": down, "button": button } })]
        }
        Input::Com1(_) => Vec::new(),
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
