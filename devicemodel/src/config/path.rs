//! Paths in a saved guest: text, and bytes where they are no UTF-8, which serde's own refuse.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// For `#[serde(with)]` of a path that may not be there.
pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(Name).serialize(to)
}

/// Likewise.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(Option::<Owned>::deserialize(from)?.map(|owned| owned.0))
}

struct Name<'a>(&'a Path);

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => to.serialize_str(text),
            None => to.serialize_bytes(self.0.as_os_str().as_bytes()),
        }
    }
}

struct Owned(PathBuf);

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Owned, D::Error> {
        from.deserialize_any(TextOrBytes)
    }
}

struct TextOrBytes;

impl Visitor<'_> for TextOrBytes {
    type Value = Owned;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a path")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Owned, E> {
        Ok(Owned(text.into()))
    }
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Owned, E> {
        Ok(Owned(OsString::from_vec(bytes.to_vec()).into()))
    }
}
