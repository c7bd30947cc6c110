//! Objects that belong to no device (`-object`, `object-add`).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use serde::Deserialize;

use super::protocol::QmpError;
use super::{Begun, Guest};

/// Most objects.
const MOST: usize = 64;
/// Most bytes of a secret's file.
const LONGEST: u64 = 64 << 10;

/// An object that other things refer to by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A password or key.
    Secret(Vec<u8>),
    /// Random numbers: the host's, whichever of these it is.
    Rng(Rng),
    /// Memory of the guest.
    Memory(MemoryBackend),
}

impl Object {
    /// QEMU's name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Object::Secret(_) => "secret",
            Object::Rng(Rng::Builtin) => "rng-builtin",
            Object::Rng(Rng::Random) => "rng-random",
            Object::Memory(memory) => memory.kind,
        }
    }
}

/// Where random numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rng {
    /// QEMU's own generator, which the host's stands for.
    Builtin,
    /// `/dev/urandom`, or `/dev/random`, which is the same.
    Random,
}

impl Rng {
    /// That of a device of the host's.
    pub fn random(file: Option<&str>) -> Option<Rng> {
        matches!(file, None | Some("/dev/urandom" | "/dev/random")).then_some(Rng::Random)
    }
}

/// Memory of a guest, for `query-memdev`: all of ours lies in a file without a name, shared with those who serve devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBackend {
    /// Its type: `memory-backend-ram`, `memory-backend-memfd`.
    pub kind: &'static str,
    /// In bytes.
    pub size: u64,
    /// As it was asked for.
    pub share: bool,
    /// Likewise.
    pub merge: bool,
    /// Likewise.
    pub dump: bool,
    /// It is the machine's RAM.
    pub is_ram: bool,
}

impl MemoryBackend {
    /// One of so many bytes, as it is if nobody says more.
    pub fn new(kind: &'static str, size: u64) -> MemoryBackend {
        MemoryBackend { kind, size, share: false, merge: true, dump: true, is_ram: false }
    }
}

/// A secret that is to be: itself, or the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Secret {
    data: Option<String>,
    file: Option<PathBuf>,
    #[serde(default)]
    format: Format,
}

/// How it is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// As it is.
    #[default]
    Raw,
    /// In base64.
    Base64,
}

/// The objects, by id. Clones are the same objects: a secret whose file the host lets wait is kept when it is read.
#[derive(Clone, Debug, Default)]
pub struct Objects(Arc<Mutex<BTreeMap<String, Object>>>);

impl Objects {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a secret, whose value is read now.
    pub fn add_secret(&self, id: String, secret: Secret, guest: &mut dyn Guest) -> Result<Begun, QmpError> {
        let Secret { data, file, format } = secret;
        match (data, file) {
            (None, None) => Err(QmpError::generic("Either 'file' or 'data' must be provided")),
            (Some(_), Some(_)) => Err(QmpError::generic("'file' and 'data' are mutually exclusive")),
            (Some(data), None) => self.keep(id, data.into_bytes(), format).map(|()| Begun::Done),
            (None, Some(file)) => {
                let objects = self.clone();
                guest.read_file(&file, LONGEST, Box::new(move |bytes| objects.keep(id, bytes, format)))
            }
        }
    }

    fn keep(&self, id: String, bytes: Vec<u8>, format: Format) -> Result<(), QmpError> {
        self.add(id, Object::Secret(format.value(bytes)?))
    }

    /// Adds an object.
    pub fn add(&self, id: String, object: Object) -> Result<(), QmpError> {
        let mut all = self.all();
        if all.contains_key(&id) {
            return Err(duplicate(&id));
        }
        if all.len() >= MOST {
            return Err(QmpError::generic("there are too many objects: use object-del"));
        }
        all.insert(id, object);
        Ok(())
    }

    /// Removes an object.
    pub fn remove(&self, id: &str) -> Result<(), QmpError> {
        let missing = || QmpError::generic(format!("object '{id}' not found"));
        self.all().remove(id).map(drop).ok_or_else(missing)
    }

    /// Whether there is one of that id.
    pub fn contains(&self, id: &str) -> bool {
        self.all().contains_key(id)
    }

    /// All, with their ids.
    pub fn list(&self) -> Vec<(String, Object)> {
        self.all().iter().map(|(id, object)| (id.clone(), object.clone())).collect()
    }

    /// Whether that is where random numbers come from.
    pub fn is_rng(&self, id: &str) -> bool {
        matches!(self.all().get(id), Some(Object::Rng(_)))
    }
}

/// What QEMU says of an id that is used.
pub fn duplicate(id: &str) -> QmpError {
    QmpError::generic(format!("attempt to add duplicate property '{id}' to object (type 'container')"))
}

impl Secret {
    /// One that is read when it is wanted, at once if there is no file.
    pub fn new(data: Option<String>, file: Option<PathBuf>, format: Format) -> Secret {
        Secret { data, file, format }
    }

    /// Its value, read now: for who may wait for the host.
    pub fn read(&self) -> Result<Object, QmpError> {
        let bytes = match (&self.data, &self.file) {
            (Some(data), None) => data.clone().into_bytes(),
            (None, Some(file)) => read(file)?,
            (None, None) => return Err(QmpError::generic("Either 'file' or 'data' must be provided")),
            (Some(_), Some(_)) => {
                return Err(QmpError::generic("'file' and 'data' are mutually exclusive"));
            }
        };
        Ok(Object::Secret(self.format.value(bytes)?))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, QmpError> {
    let failed = |why: &dyn std::fmt::Display| {
        QmpError::generic(format!("Failed to open file \u{201c}{}\u{201d}: {why}", file.display()))
    };
    let mut bytes = Vec::new();
    // Nobody may be at the other end of a pipe.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file);
    let opened = opened.map_err(|error| failed(&error))?;
    opened.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(failed(&format!("it has more than {LONGEST} bytes")));
    }
    Ok(bytes)
}

impl Format {
    fn value(self, bytes: Vec<u8>) -> Result<Vec<u8>, QmpError> {
        match self {
            Format::Raw => Ok(bytes),
            Format::Base64 => {
                decode(&bytes).ok_or_else(|| QmpError::generic("Base64 data contains invalid characters"))
            }
        }
    }
}

/// Base64 (RFC 4648, section 4), with the padding that it needs; white space does not count.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    base64::prelude::BASE64_STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_what_their_format_says() {
        let value = |data: &str| Format::Base64.value(data.into());
        assert_eq!(value("c2Vzc\nmU=").unwrap(), b"sesre");
        assert_eq!(value("c2Vzcm8K").unwrap(), b"sesro\n");
        for bad in ["**", "abc", "====", "a=bc"] {
            assert!(value(bad).is_err(), "{bad}");
        }
        assert_eq!(Format::Raw.value(b"**".to_vec()).unwrap(), b"**");
    }

    #[test]
    fn a_client_cannot_add_objects_without_end() {
        let objects = Objects::default();
        let added = (0..MOST + 5).filter(|n| objects.keep(format!("o{n}"), Vec::new(), Format::Raw).is_ok());
        assert_eq!(added.count(), MOST);
        assert!(objects.keep("o1".into(), Vec::new(), Format::Raw).is_err(), "it is there");
    }
}
