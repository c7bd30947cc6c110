//! What of the 8259 pair is saved: all that it knows.

use devices_core::state::{StateError, valid};
use serde::{Deserialize, Serialize};

/// Which initialization word the data port takes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// None: the data port is the mask.
    #[default]
    Ready,
    /// ICW2.
    Icw2,
    /// ICW3.
    Icw3,
    /// ICW4.
    Icw4,
}

/// One chip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Half {
    /// Levels of the inputs.
    pub levels: u8,
    /// Interrupt requests.
    pub irr: u8,
    /// In service.
    pub isr: u8,
    /// Masked.
    pub imr: u8,
    /// Level triggered inputs.
    pub elcr: u8,
    /// Vector of input 0.
    pub base: u8,
    /// The input with the highest priority, 0 to 7.
    pub highest: u8,
    /// The command port reads the ISR, not the IRR.
    pub read_isr: bool,
    /// The next read polls.
    pub poll: bool,
    /// Special mask mode.
    pub special_mask: bool,
    /// Automatic end of interrupt.
    pub auto_eoi: bool,
    /// Rotation in automatic end of interrupt.
    pub auto_rotate: bool,
    /// Special fully nested mode.
    pub nested: bool,
    /// Progress of initialization.
    pub step: Step,
    /// ICW1 asked for ICW4.
    pub want_icw4: bool,
    /// ICW1 said that the chip is alone.
    pub single: bool,
}

/// Both chips: master, slave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chips {
    /// Master.
    pub master: Half,
    /// Slave.
    pub slave: Half,
}

impl Chips {
    /// Whether the chips can be in this state.
    pub fn check(&self) -> Result<(), StateError> {
        for half in [&self.master, &self.slave] {
            valid(half.highest < 8, "an 8259 has eight priorities")?;
        }
        Ok(())
    }
}
