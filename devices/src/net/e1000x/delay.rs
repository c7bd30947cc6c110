//! Timers that hold interrupts back: RDTR, RADV, TIDV, TADV.

use super::registers::Registers;
use super::spec::{reg, txd};

/// Nanoseconds of a count of ITR and EITR.
pub const THROTTLE_UNIT: u64 = 256;
/// Nanoseconds of a count of the delay timers.
const DELAY_UNIT: u64 = 1024;

/// Something that has happened, and is told later: so long after it happened last, and at the latest so long after it
/// happened first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Since it happened last.
    pub relative: Option<u64>,
    /// Since it happened first.
    pub absolute: Option<u64>,
}

impl Delay {
    /// A transmit descriptor with that command was written back. False: that is told at once.
    pub fn hold_descriptor(&mut self, now: u64, registers: &Registers, command: u32) -> bool {
        let [relative, absolute] = [reg::TIDV, reg::TADV].map(|at| registers.get(at));
        let held = command & txd::IDE != 0 && relative != 0;
        if held {
            self.hold(now, relative, absolute);
        }
        held
    }

    /// It has happened. Counts of the timers; a relative one of zero is not to come here.
    pub fn hold(&mut self, now: u64, relative: u32, absolute: u32) {
        self.relative = Some(now.saturating_add(u64::from(relative) * DELAY_UNIT));
        if absolute != 0 && self.absolute.is_none() {
            self.absolute = Some(now.saturating_add(u64::from(absolute) * DELAY_UNIT));
        }
    }

    /// When it is to be told.
    pub fn deadline(&self) -> Option<u64> {
        self.relative.into_iter().chain(self.absolute).min()
    }

    /// Whether it is to be told now.
    pub fn due(&mut self, now: u64) -> bool {
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        if due {
            *self = Delay::default();
        }
        due
    }
}
