//! Failed calls: which one, of what, and what the host said.

use std::io;

use thiserror::Error;

/// A call to the kernel or to Xen that failed.
#[derive(Debug, Error)]
#[error("{call}{detail}: {source}")]
pub struct CallError {
    /// Name of the call, as the headers have it.
    pub call: &'static str,
    /// What it was asked for: empty, or a space and words.
    pub detail: String,
    /// What the host said.
    #[source]
    pub source: io::Error,
}

impl CallError {
    /// A failed call without details.
    pub fn new(call: &'static str, source: io::Error) -> CallError {
        CallError { call, detail: String::new(), source }
    }

    /// A failed call and what it was asked for.
    pub fn with(call: &'static str, detail: String, source: io::Error) -> CallError {
        CallError { call, detail: format!(" {detail}"), source }
    }

    /// The error number, if it is one of the host's.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

impl From<CallError> for hypervisor::Error {
    fn from(error: CallError) -> hypervisor::Error {
        hypervisor::Error::Host { what: "Xen", source: io::Error::new(error.source.kind(), error) }
    }
}

/// Adds the call's name to what the host said.
pub(crate) trait Named<T> {
    /// The failure of `call`.
    fn named(self, call: &'static str) -> Result<T, CallError>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, call: &'static str) -> Result<T, CallError> {
        self.map_err(|source| CallError::new(call, source))
    }
}
