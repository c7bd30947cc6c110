//! What of the clock is saved: all that it knows.

use devices_core::state::{StateError, valid};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::spec::*;

/// Registers, and the time by guest time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// Index port.
    pub index: u8,
    /// All registers and RAM. The time registers count only while the clock stands.
    pub bytes: ByteBuf,
    /// Seconds since 1970 at `since`, while the clock runs.
    pub base: i64,
    /// Guest time at which a second began. May lie before the machine's start.
    pub since: i64,
    /// The second up to which updates and alarms have been flagged.
    pub checked: i64,
    /// The crystal's tick up to which periods have been flagged.
    pub ticked: u64,
}

impl Default for Registers {
    fn default() -> Registers {
        let mut bytes = vec![0; SIZE];
        bytes[usize::from(A)] = A_DEFAULT;
        bytes[usize::from(B)] = B_24;
        bytes[usize::from(D)] = D_VRT;
        let bytes = ByteBuf::from(bytes);
        Registers { index: 0, bytes, base: 0, since: 0, checked: 0, ticked: 0 }
    }
}

impl Registers {
    /// Whether the clock can be in this state.
    pub fn check(&self) -> Result<(), StateError> {
        valid(self.bytes.len() == SIZE, "the clock has 128 bytes")?;
        // 1 << 45 seconds are a million years: far from any overflow.
        let sane = |time: i64| time.unsigned_abs() < 1 << 45;
        valid(sane(self.base) && sane(self.checked), "no such time")?;
        valid(self.since >= -(SECOND as i64), "the clock began before the machine")
    }
}
