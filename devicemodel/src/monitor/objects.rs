//! Objects that belong to no device (`object-add`).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use base64::Engine;
use serde::Deserialize;

use super::protocol::QmpError;

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

/// The objects, by id.
#[derive(Debug, Default)]
pub struct Objects(BTreeMap<String, Vec<u8>>);

impl Objects {
    /// Adds a secret, read now.
    pub fn add(&mut self, id: String, secret: Secret) -> Result<(), QmpError> {
        let bytes = secret.read()?;
        if self.0.contains_key(&id) {
            let text = format!("attempt to add duplicate property '{id}' to object (type 'container')");
            return Err(QmpError::generic(text));
        }
        if self.0.len() >= MOST {
            return Err(QmpError::generic("there are too many objects: use object-del"));
        }
        self.0.insert(id, bytes);
        Ok(())
    }

    /// Removes an object.
    pub fn remove(&mut self, id: &str) -> Result<(), QmpError> {
        let missing = || QmpError::generic(format!("object '{id}' not found"));
        self.0.remove(id).map(drop).ok_or_else(missing)
    }

    /// Their ids; all of them are secrets.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Secret {
    fn read(self) -> Result<Vec<u8>, QmpError> {
        let bytes = match (self.data, self.file) {
            (None, None) => return Err(QmpError::generic("Either 'file' or 'data' must be provided")),
            (Some(_), Some(_)) => {
                return Err(QmpError::generic("'file' and 'data' are mutually exclusive"));
            }
            (Some(data), None) => data.into_bytes(),
            (None, Some(path)) => {
                let mut bytes = Vec::new();
                // Nobody may be at the other end of a pipe.
                let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
                let read = file.and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
                let failed = |error| QmpError::generic(format!("Unable to read {}: {error}", path.display()));
                read.map_err(failed)?;
                bytes
            }
        };
        match self.format {
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

    fn secret(data: &str, format: Format) -> Secret {
        Secret { data: Some(data.into()), file: None, format }
    }

    #[test]
    fn secrets_are_read_when_they_are_added() {
        assert_eq!(secret("c2Vzc\nmU=", Format::Base64).read().unwrap(), b"sesre");
        assert_eq!(secret("c2Vzcm8K", Format::Base64).read().unwrap(), b"sesro\n");
        for bad in ["**", "abc", "====", "a=bc"] {
            assert!(secret(bad, Format::Base64).read().is_err(), "{bad}");
        }
        let file = |path: &str| Secret { data: None, file: Some(path.into()), format: Format::Raw };
        assert_eq!(file("/dev/zero").read().unwrap().len() as u64, LONGEST);
        assert!(file("/nonexistent").read().unwrap_err().desc.starts_with("Unable to read /nonexistent: "));
    }

    #[test]
    fn a_client_cannot_add_objects_without_end() {
        let mut objects = Objects::default();
        let added = (0..MOST + 5).filter(|n| objects.add(format!("o{n}"), secret("x", Format::Raw)).is_ok());
        assert_eq!(added.count(), MOST);
    }
}
