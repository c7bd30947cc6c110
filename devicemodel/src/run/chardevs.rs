//! Lines that the monitor's clients have added. Nothing in the machine can be put on one while it runs: they
//! are open, take what comes and give nothing.

use std::collections::BTreeMap;

use backends::chardev::{self, CharError, CharSpec, OpenChardev};
use devices_core::Waker;

use crate::monitor::info::{ChardevBackend, ChardevInfo};
use crate::monitor::protocol::QmpError;

/// Most lines: each has threads of its own.
const MOST: usize = 16;

/// The lines, by id.
#[derive(Default)]
pub(super) struct Chardevs(BTreeMap<String, Chardev>);

struct Chardev {
    /// As QEMU writes it.
    filename: String,
    /// Closes when it is dropped.
    _open: OpenChardev,
}

impl Chardevs {
    /// Opens a line; the path of a new pseudo-terminal.
    pub(super) fn add(&mut self, id: &str, line: ChardevBackend) -> Result<Option<String>, QmpError> {
        if self.0.len() >= MOST {
            return Err(QmpError::generic("there are too many lines: use chardev-remove"));
        }
        let (spec, filename) = match line {
            ChardevBackend::Null => (CharSpec::Null, "null".into()),
            ChardevBackend::File(path) => (CharSpec::File(path), "file".into()),
            ChardevBackend::Append(path) => (CharSpec::Append(path), "file".into()),
            ChardevBackend::Pty => (CharSpec::Pty, "pty:".into()),
            ChardevBackend::Unix(path) => {
                let name = format!("disconnected:unix:{},server=on", path.display());
                (CharSpec::Unix(path), name)
            }
        };
        let open = chardev::open(&spec, Waker::default(), 0, |_| ());
        let open = open.map_err(|error| QmpError::generic(refusal(id, &error)))?;
        let pty = open.path.as_ref().map(|path| path.display().to_string());
        let filename = filename + pty.as_deref().unwrap_or_default();
        self.0.insert(id.into(), Chardev { filename, _open: open });
        Ok(pty)
    }

    /// Closes a line.
    pub(super) fn remove(&mut self, id: &str) -> Result<(), QmpError> {
        let missing = || QmpError::generic(format!("Chardev '{id}' not found"));
        self.0.remove(id).map(drop).ok_or_else(missing)
    }

    /// For `query-chardev`.
    pub(super) fn info(&self) -> Vec<ChardevInfo> {
        let info = |(label, line): (&String, &Chardev)| ChardevInfo {
            label: label.clone(),
            filename: line.filename.clone(),
            frontend_open: false,
        };
        self.0.iter().map(info).collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_and_go_and_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = Chardevs::default();
        let pty = lines.add("p", ChardevBackend::Pty).unwrap().unwrap();
        assert_eq!(lines.info()[0].filename, format!("pty:{pty}"));
        lines.add("f", ChardevBackend::File(folder.path().join("out"))).unwrap();
        lines.add("s", ChardevBackend::Unix(folder.path().join("socket"))).unwrap();
        assert!(folder.path().join("socket").exists());
        let error = lines.add("x", ChardevBackend::File("/nonexistent/x".into())).unwrap_err();
        assert_eq!(
            error.desc,
            "Failed to add chardev 'x': Could not open '/nonexistent/x': No such file or directory"
        );
        for id in ["p", "f", "s"] {
            lines.remove(id).unwrap();
        }
        assert_eq!(lines.remove("p").unwrap_err().desc, "Chardev 'p' not found");
        let added = (0..MOST + 3).filter(|n| lines.add(&n.to_string(), ChardevBackend::Null).is_ok()).count();
        assert_eq!(added, MOST);
    }
}
