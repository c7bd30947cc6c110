//! Lines by name: those of the configuration, and those that the monitor's clients add.
//!
//! A line is open from its start to its end, whoever uses it: a device that comes takes it, and gives it back when it
//! goes. Nobody reads it meanwhile, and it takes what comes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backends::chardev::{CharError, OpenChardev, Prepared};
use devices::board::MakeError;
use devices_core::chardev::{self, CharBackend};
use devices_core::model::{CHARDEV, Properties};
use devices_core::{Wake, Waker};

use super::build::board::Board;
use super::serial::{escape, spec};
use super::{BuildError, Machine};
use crate::config::{ChardevConfig, SerialConfig};
use crate::monitor::info::ChardevInfo;
use crate::monitor::protocol::QmpError;
use crate::notices::Notifier;

/// Most lines that the monitor's clients add: each has threads of its own.
const MOST: usize = 16;

/// The lines.
#[derive(Default)]
pub(crate) struct Chardevs(Mutex<BTreeMap<String, Line>>);

struct Line {
    config: SerialConfig,
    /// The path of a pseudo-terminal.
    path: Option<PathBuf>,
    /// It came while the guest ran.
    added: bool,
    backend: Arc<dyn CharBackend>,
    user: Arc<User>,
}

/// The device that uses a line.
#[derive(Default)]
struct User {
    /// How it is woken; none: nobody uses it.
    wakes: Mutex<Option<(Waker, u32)>>,
    /// The guest has it open.
    open: AtomicBool,
}

impl User {
    fn wakes(&self) -> MutexGuard<'_, Option<(Waker, u32)>> {
        self.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by the line's threads, with no lock held.
    fn wake(&self) {
        let found = self.wakes().clone();
        if let Some((waker, number)) = found {
            waker.wake(Wake::Backend(number));
        }
    }
}

/// A line as its device has it; given back when it is dropped.
struct Used {
    backend: Arc<dyn CharBackend>,
    user: Arc<User>,
}

impl CharBackend for Used {
    fn write(&self, data: &[u8]) -> usize {
        self.backend.write(data)
    }
    fn read(&self, data: &mut [u8]) -> usize {
        self.backend.read(data)
    }
    fn connected(&self) -> bool {
        self.backend.connected()
    }
    fn size(&self) -> Option<(u16, u16)> {
        self.backend.size()
    }
    fn set_open(&self, open: bool) {
        self.user.open.store(open, Ordering::Release);
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.user.open.store(false, Ordering::Release);
        *self.user.wakes() = None;
    }
}

impl Chardevs {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<String, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the lines of a configuration. A replay has none.
    pub(super) fn open(&self, board: &Board<'_>) -> Result<(), BuildError> {
        for ChardevConfig { id, line } in &board.config.chardevs {
            let failed = |source| BuildError::Chardev { id: id.clone(), source };
            let prepared = match spec(line).filter(|_| !board.border.replays()) {
                Some(spec) => Some(board.ahead.chardev(id, &spec).map_err(failed)?),
                None => None,
            };
            self.start(id, line.clone(), prepared, board.notifier, false).map_err(failed)?;
        }
        Ok(())
    }

    fn start(
        &self,
        id: &str,
        config: SerialConfig,
        prepared: Option<Prepared>,
        notifier: &Notifier,
        added: bool,
    ) -> Result<Option<PathBuf>, CharError> {
        let user = Arc::<User>::default();
        let waked = user.clone();
        let waker = Waker::calling(move |_| waked.wake());
        let OpenChardev { backend, path } = match prepared {
            Some(prepared) => prepared.start(waker, 0, escape(notifier))?,
            None => OpenChardev { backend: Arc::new(chardev::Null), path: None },
        };
        self.lines().insert(id.to_owned(), Line { config, path: path.clone(), added, backend, user });
        Ok(path)
    }

    /// The line that a device's properties name, which wakes it from now on.
    pub(super) fn take(
        &self,
        board: &Board<'_>,
        properties: &Properties,
        waker: Waker,
        number: u32,
    ) -> Result<Option<Arc<dyn CharBackend>>, MakeError> {
        let Some(id) = properties.text(CHARDEV.name) else { return Ok(None) };
        let lines = self.lines();
        let line = lines.get(id);
        let line =
            line.ok_or_else(|| properties.invalid(CHARDEV.name, format!("can't find value '{id}'")))?;
        let mut wakes = line.user.wakes();
        if wakes.is_some() {
            return Err(properties.invalid(CHARDEV.name, format!("'{id}' is in use")).into());
        }
        *wakes = Some((waker, number));
        let backend: Arc<dyn CharBackend> = match board.border.port(&format!("chardev/{id}")) {
            Some(port) => Arc::new(chardev::Ported::new(port, line.backend.clone())),
            None => line.backend.clone(),
        };
        Ok(Some(Arc::new(Used { backend, user: line.user.clone() })))
    }

    /// As they are to be opened again for a saved guest: those that somebody uses.
    pub(super) fn configs(&self) -> Vec<ChardevConfig> {
        let used = |line: &&Line| line.user.wakes().is_some();
        let lines = self.lines();
        let all = lines.iter().filter(|(_, line)| used(line));
        all.map(|(id, line)| ChardevConfig { id: id.clone(), line: line.config.clone() }).collect()
    }
}

impl Machine {
    /// Adds a line, whose end was [prepared](prepare_line); the path of a new pseudo-terminal.
    pub(crate) fn add_chardev(
        &self,
        id: &str,
        config: SerialConfig,
        end: Option<Prepared>,
    ) -> Result<Option<String>, QmpError> {
        if self.chardevs.lines().contains_key(id) {
            return Err(QmpError::generic(format!("Chardev with id '{id}' already exists")));
        }
        if self.chardevs.lines().values().filter(|line| line.added).count() >= MOST {
            return Err(QmpError::generic("there are too many lines: use chardev-remove"));
        }
        let path = self.chardevs.start(id, config, end, &self.notifier, true);
        let path = path.map_err(|error| QmpError::generic(refusal(id, &error)))?;
        Ok(path.map(|path| path.display().to_string()))
    }

    /// Closes a line.
    pub(crate) fn remove_chardev(&self, id: &str) -> Result<(), QmpError> {
        let mut lines = self.chardevs.lines();
        match lines.get(id) {
            None => return Err(QmpError::generic(format!("Chardev '{id}' not found"))),
            Some(line) if line.user.wakes().is_some() => {
                return Err(QmpError::generic(format!("Chardev '{id}' is busy")));
            }
            Some(_) => {}
        }
        let gone = lines.remove(id);
        // It waits for its threads.
        drop(lines);
        drop(gone);
        Ok(())
    }

    /// For `query-chardev`.
    pub(crate) fn chardevs(&self) -> Vec<ChardevInfo> {
        let info = |(id, line): (&String, &Line)| ChardevInfo {
            label: id.clone(),
            filename: super::info::line_name(&line.config, line.path.as_deref(), line.backend.connected()),
            frontend_open: line.user.open.load(Ordering::Acquire),
        };
        self.chardevs.lines().iter().map(info).collect()
    }

    /// The id of the port of that number on a virtio console, which its name on the bus tells.
    pub(crate) fn port_id(&self, of: &str, port: u32) -> Option<String> {
        self.plugged.child_id(of, &[port.into()])
    }

    /// Named lines that lead to a pseudo-terminal.
    pub fn named_terminals(&self) -> Vec<(String, PathBuf)> {
        let lines = self.chardevs.lines();
        lines.iter().filter_map(|(id, line)| Some((id.clone(), line.path.clone()?))).collect()
    }
}

/// Opens what a line leads to, which may take the host its time.
pub(crate) fn prepare_line(id: &str, config: &SerialConfig) -> Result<Option<Prepared>, QmpError> {
    let prepared = spec(config).map(|spec| backends::chardev::prepare(&spec)).transpose();
    prepared.map_err(|error| QmpError::generic(refusal(id, &error)))
}

fn refusal(id: &str, error: &CharError) -> String {
    let why = match error {
        CharError::Path { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            format!("Could not open '{}': No such file or directory", path.display())
        }
        other => other.to_string(),
    };
    format!("Failed to add chardev '{id}': {why}")
}
