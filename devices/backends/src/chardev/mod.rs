//! Character devices: where a serial line's bytes go and come from.
//!
//! A line has two threads: one waits for input, one writes output. The device's side is two bounded rings,
//! so that a vCPU makes no system call but, at most, one that wakes the writer.

mod device;
mod escape;
mod open;
mod terminal;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

pub use device::{Chardev, flush_all};
pub use escape::Escape;
pub use open::{OpenChardev, Prepared, open, prepare};
pub use terminal::{leave_signals, restore as restore_terminal};

/// Where a line leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CharSpec {
    /// Nowhere.
    Null,
    /// Our own standard input and output. A terminal is put in raw mode; Ctrl-A is the escape key.
    Stdio,
    /// A new pseudo-terminal.
    Pty,
    /// Output to a file, which is made anew.
    File(PathBuf),
    /// Output to a file, behind what it has.
    Append(PathBuf),
    /// A Unix socket that we listen on; one client at a time.
    Unix(PathBuf),
    /// A Unix socket that somebody else listens on.
    Connect(PathBuf),
}

impl FromStr for CharSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<CharSpec, String> {
        let path = |path: &str| {
            // QEMU's options that say what we do anyway.
            let path = path.strip_suffix(",server,nowait").unwrap_or(path);
            if path.is_empty() { Err(format!("{text:?} names no path")) } else { Ok(PathBuf::from(path)) }
        };
        match text.split_once(':') {
            None if text == "none" || text == "null" => Ok(CharSpec::Null),
            None if text == "stdio" => Ok(CharSpec::Stdio),
            None if text == "pty" => Ok(CharSpec::Pty),
            Some(("file", rest)) => path(rest).map(CharSpec::File),
            Some(("unix", rest)) => path(rest).map(CharSpec::Unix),
            _ => Err(format!("{text:?} is not a line: stdio, pty, file:PATH, unix:PATH or none")),
        }
    }
}

/// Why a line could not be opened.
#[derive(Debug, Error)]
pub enum CharError {
    /// The file or socket.
    #[error("{what} {} cannot be opened: {source}", .path.display())]
    Path {
        /// `file` or `socket`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard input and output serve one line.
    #[error("stdio is used by another line already")]
    Taken,
    /// A pseudo-terminal, a thread.
    #[error("no {what}: {source}")]
    System {
        /// What there is none of.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}
