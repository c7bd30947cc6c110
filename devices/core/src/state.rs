//! Saved state of a device: what it is called, how it is encoded, what can be wrong with it.
//!
//! A body is named MessagePack. A field that came later says its default where it is declared (`serde(default)`), so
//! that an old build's state still loads; any other that is missing is an error. serde takes a missing `Option` for
//! `None`: `#[serde(deserialize_with = "Option::deserialize")]` makes it one that must be there.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// One device's saved state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// What kind of device wrote it: `16550`, `i8259`. Checked at load.
    pub kind: String,
    /// Version of the body's meaning. Higher only when an old build could not make sense of it.
    pub version: u16,
    /// Named MessagePack.
    pub body: Vec<u8>,
}

/// Why a state was not saved or loaded.
#[derive(Debug, Error)]
pub enum StateError {
    /// It is another device's.
    #[error("it is the state of a {found}, not of a {expected}")]
    Kind {
        /// What this device is.
        expected: &'static str,
        /// What the state says.
        found: String,
    },
    /// A newer build wrote it.
    #[error("its version is {found}; this build knows {known} and older")]
    Version {
        /// The newest that this build loads.
        known: u16,
        /// What the state says.
        found: u16,
    },
    /// It does not decode.
    #[error("it does not decode: {0}")]
    Decode(String),
    /// It decodes to something the device cannot be in.
    #[error("{0}")]
    Invalid(String),
    /// It could not be encoded.
    #[error("it does not encode: {0}")]
    Encode(String),
}

impl Saved {
    /// Encodes `body`.
    pub fn encode<T: Serialize>(kind: &'static str, version: u16, body: &T) -> Result<Saved, StateError> {
        let body = rmp_serde::to_vec_named(body).map_err(|e| StateError::Encode(e.to_string()))?;
        Ok(Saved { kind: kind.to_owned(), version, body })
    }

    /// Decodes the body after checking kind and version. The body must be consumed whole.
    pub fn decode<T: DeserializeOwned>(&self, kind: &'static str, known: u16) -> Result<T, StateError> {
        if self.kind != kind {
            return Err(StateError::Kind { expected: kind, found: self.kind.clone() });
        }
        if self.version > known {
            return Err(StateError::Version { known, found: self.version });
        }
        let mut rest = self.body.as_slice();
        let value = rmp_serde::decode::from_read(&mut rest).map_err(|e| StateError::Decode(e.to_string()))?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(StateError::Decode(format!("{} bytes are left over", rest.len())))
        }
    }
}

/// Checks a condition of a loaded state.
pub fn valid(holds: bool, what: &str) -> Result<(), StateError> {
    if holds { Ok(()) } else { Err(StateError::Invalid(what.to_owned())) }
}
