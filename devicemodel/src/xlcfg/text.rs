//! The strings of a file, which xl takes as bytes.

use std::ffi::OsString;
use std::ops::Deref;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::config::ConfigError;

/// A string: UTF-8, or else Latin-1, whose characters are Unicode's first.
#[derive(Clone, Debug, Default)]
pub struct Text {
    text: String,
    latin_1: bool,
}

impl Text {
    /// What these bytes say.
    pub(super) fn of(bytes: Vec<u8>) -> Text {
        match String::from_utf8(bytes) {
            Ok(text) => Text { text, latin_1: false },
            Err(error) => Text { text: characters(error.as_bytes()), latin_1: true },
        }
    }

    /// This and then the other. Only its first part in Latin-1 makes it anew.
    pub(super) fn and(mut self, other: &Text) -> Text {
        if other.latin_1 && !self.latin_1 {
            self = Text { text: characters(self.text.as_bytes()), latin_1: true };
        }
        match self.latin_1 && !other.latin_1 {
            true => self.text.push_str(&characters(other.text.as_bytes())),
            false => self.text.push_str(&other.text),
        }
        self
    }

    /// The path that it is, or a piece of it: the file's own bytes, whatever they mean to whoever named the file so.
    pub(super) fn path(&self, piece: &str) -> PathBuf {
        OsString::from_vec(self.bytes(piece)).into()
    }

    /// Where it may hold a path and is not kept as bytes.
    pub(super) fn utf8(&self) -> Result<&str, ConfigError> {
        match self.latin_1 {
            false => Ok(&self.text),
            true => Err(ConfigError::Invalid(format!("'{}' is not UTF-8, as it must be here", self.text))),
        }
    }

    /// A piece as it stands in the file.
    fn bytes(&self, piece: &str) -> Vec<u8> {
        match self.latin_1 {
            false => piece.into(),
            true => piece.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect(),
        }
    }
}

/// Bytes as Latin-1 has them.
fn characters(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}

/// They say the same.
impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.text == other.text
    }
}

impl Eq for Text {}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text { text: text.to_owned(), latin_1: false }
    }
}
