//! What of the HPET is saved: all that it knows.

use devices_core::state::{StateError, valid};
use serde::{Deserialize, Serialize};

use super::spec::{T_CAPABILITIES, T_WRITABLE, TIMERS};

/// One timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparator {
    /// Configuration and capabilities.
    pub config: u64,
    /// Comparator.
    pub value: u64,
    /// What a periodic timer adds to it.
    pub period: u64,
    /// Value of the counter at the next match.
    #[serde(deserialize_with = "Option::deserialize")]
    pub due: Option<u64>,
}

impl Default for Comparator {
    fn default() -> Comparator {
        Comparator { config: T_CAPABILITIES, value: u64::MAX, period: 0, due: None }
    }
}

/// All registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// General configuration.
    pub config: u64,
    /// Interrupt status.
    pub status: u64,
    /// The counter while it stands; while it runs, what it is ahead of guest time in ticks.
    pub counter: u64,
    /// Timers.
    pub timers: [Comparator; TIMERS],
}

impl Registers {
    /// Whether the HPET can be in this state.
    pub fn check(&self) -> Result<(), StateError> {
        let known = T_WRITABLE | T_CAPABILITIES;
        valid(self.timers.iter().all(|timer| timer.config & !known == 0), "no such timer configuration")
    }
}
