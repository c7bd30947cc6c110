//! Objects that belong to no device (`object-add`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use serde::Deserialize;

use super::protocol::QmpError;
use super::{Begun, Guest};

/// Most objects.
const MOST: usize = 64;
/// Most bytes of a secret's file.
const LONGEST: u64 = 64 << 10;

/// A password or key that other things refer to by its id.
#[derive(Debug, Deserialize)]
pub struct Secret {
    data: Option<String>,
    file: Option<PathBuf>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Raw,
    Base64,
}

/// The objects, by id. Clones are the same objects: a secret whose file the host lets wait is kept when it is read.
#[derive(Clone, Debug, Default)]
pub struct Objects(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Objects {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a secret, whose value is read now.
    pub fn add(&self, id: String, secret: Secret, guest: &mut dyn Guest) -> Result<Begun, QmpError> {
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
        let value = format.value(bytes)?;
        let mut all = self.all();
        if all.contains_key(&id) {
            return Err(duplicate(&id));
        }
        if all.len() >= MOST {
            return Err(QmpError::generic("there are too many objects: use object-del"));
        }
        all.insert(id, value);
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

    /// Their ids; all of them are secrets.
    pub fn ids(&self) -> Vec<String> {
        self.all().keys().cloned().collect()
    }
}

/// What QEMU says of an id that is used.
pub fn duplicate(id: &str) -> QmpError {
    QmpError::generic(format!("attempt to add duplicate property '{id}' to object (type 'container')"))
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
