//! Interrupts: causes, mask, and the timers that hold them back (sections 3.2.7, 3.4.3, 13.4.17 and on).

use super::spec::Cause;
use crate::net::e1000x::delay::{Delay, THROTTLE_UNIT};

/// The interrupt logic.
#[derive(Debug, Default)]
pub(super) struct Irq {
    /// ICR.
    pub causes: Cause,
    /// IMS.
    pub mask: Cause,
    /// The pin.
    pub level: bool,
    /// The pin does not go up again before then.
    pub throttled: Option<u64>,
    /// RXT0 that is held back.
    pub receive: Delay,
    /// TXDW that is.
    pub transmit: Delay,
}

impl Irq {
    /// ICR is read.
    pub fn take(&mut self, now: u64) -> u32 {
        self.look_at_delays(now);
        std::mem::take(&mut self.causes).bits()
    }

    /// What was held back long enough is told.
    pub fn look_at_delays(&mut self, now: u64) {
        if self.receive.due(now) {
            self.causes |= Cause::RXT0;
        }
        if self.transmit.due(now) {
            self.causes |= Cause::TXDW;
        }
    }

    /// What was held back on the receiver's side is told now.
    pub fn flush(&mut self) {
        if self.receive.deadline().is_some() {
            self.receive = Delay::default();
            self.causes |= Cause::RXT0;
        }
    }

    /// The pin as it is to be now; ITR as it stands.
    pub fn settle(&mut self, now: u64, itr: u32) {
        self.look_at_delays(now);
        let window = u64::from(itr) * THROTTLE_UNIT;
        // A shorter interval holds at once.
        self.throttled = self.throttled.filter(|until| now < *until && window != 0);
        self.throttled = self.throttled.map(|until| until.min(now.saturating_add(window)));
        let pending = self.causes.intersects(self.mask);
        if !pending {
            self.level = false;
        } else if !self.level && self.throttled.is_none() {
            self.level = true;
            self.throttled = (window != 0).then(|| now.saturating_add(window));
        }
    }

    /// When the pin may go up by itself. What is held back otherwise shows when somebody looks.
    pub fn deadline(&self) -> Option<u64> {
        if self.level {
            return None;
        }
        let held = |delay: &Delay, cause| delay.deadline().filter(|_| self.mask.contains(cause));
        let held = [held(&self.receive, Cause::RXT0), held(&self.transmit, Cause::TXDW)];
        let pending = self.causes.intersects(self.mask).then_some(0);
        let first = held.into_iter().flatten().chain(pending).min()?;
        Some(first.max(self.throttled.unwrap_or(0)))
    }
}
