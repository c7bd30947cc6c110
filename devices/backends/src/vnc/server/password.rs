//! The password, and until when it is one.

use std::time::{SystemTime, UNIX_EPOCH};

/// A password. None at first, which lets nobody in.
#[derive(Default)]
pub(super) struct Password {
    text: Option<Vec<u8>>,
    /// The second of the Unix epoch from which on it is right no more.
    pub expires: Option<u64>,
}

impl Password {
    /// Another one. When it expires is as it was.
    pub fn set(&mut self, text: Option<&str>) {
        self.text = text.map(|text| text.as_bytes().to_vec());
    }

    /// The one that is right now.
    pub fn now(&self) -> Option<Vec<u8>> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let expired = self.expires.is_some_and(|at| at <= now());
        self.text.clone().filter(|_| !expired)
    }
}
