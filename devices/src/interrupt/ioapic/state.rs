//! What of the IOAPIC is saved: all that it knows.

use devices_core::state::{StateError, valid};
use serde::{Deserialize, Serialize};

use super::spec::{MASKED, PINS};

/// Registers, latched edges and levels of the pins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// Register select.
    pub select: u8,
    /// Identification, in place.
    pub id: u32,
    /// Redirection table.
    pub entries: Vec<u64>,
    /// Levels of the pins.
    pub levels: u32,
}

impl Default for Registers {
    fn default() -> Registers {
        Registers { select: 0, id: 0, entries: vec![MASKED; PINS], levels: 0 }
    }
}

impl Registers {
    /// Whether the chip can be in this state.
    pub fn check(&self) -> Result<(), StateError> {
        valid(self.entries.len() == PINS, "an IOAPIC has 24 pins")
    }
}
