//! What of the 8254 is saved: all that it knows.

use devices_core::state::{StateError, valid};
use serde::{Deserialize, Serialize};

use super::speaker::Sound;
use super::spec::COUNTERS;

/// Whether a counter counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Run {
    /// No count was loaded since the control word.
    #[default]
    Idle,
    /// It has counted since this tick of the input clock.
    Since(u64),
    /// Its gate holds it, so many ticks after the load.
    Held(u64),
}

/// One counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Mode, 0 to 5.
    pub mode: u8,
    /// Counts in decimal.
    pub bcd: bool,
    /// Bytes that are read and written: 1 low, 2 high, 3 both.
    pub access: u8,
    /// Level of the gate.
    pub gate: bool,
    /// The count as written, 1 to 65536; 0: none since the control word.
    pub reload: u32,
    /// The count that is being counted, 1 to 65536.
    pub count: u32,
    /// Progress.
    pub run: Run,
    /// When `reload` becomes `count`: the end of the present period.
    #[serde(deserialize_with = "Option::deserialize")]
    pub switch: Option<u64>,
    /// The low byte of a pair, written first.
    #[serde(deserialize_with = "Option::deserialize")]
    pub low: Option<u8>,
    /// The high byte of a pair is read next.
    pub read_high: bool,
    /// Latched count.
    #[serde(deserialize_with = "Option::deserialize")]
    pub latch: Option<u16>,
    /// Latched status.
    #[serde(deserialize_with = "Option::deserialize")]
    pub status: Option<u8>,
}

/// The chip and port B.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chip {
    /// The counters.
    pub counters: [Counter; COUNTERS],
    /// Port B: the speaker follows counter 2.
    pub speaker: bool,
    /// Level of the interrupt line.
    pub irq: bool,
    /// The tick up to which counter 0 has made its interrupts.
    pub seen: u64,
    /// Counter 0 has not been set up since power-on: its output is undefined then, and taken to be low.
    pub silent: bool,
    /// What the speaker plays; nothing, in states of before it was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<Sound>,
}

impl Chip {
    /// Whether the chip can be in this state.
    pub fn check(&self) -> Result<(), StateError> {
        for counter in &self.counters {
            valid(counter.mode < 6, "an 8254 has six modes")?;
            valid(counter.reload <= 0x1_0000, "an 8254's count has 16 bits")?;
            valid(matches!(counter.count, 1..=0x1_0000), "an 8254's count has 16 bits")?;
        }
        Ok(())
    }
}
