//! Interrupts (section 7.4): causes and mask, told by the pin, by MSI or by five vectors of MSI-X, and the timers that
//! hold them back.

use super::E1000e;
use super::spec::{ASSERTED, Cause, VECTORS, ctrl_ext, ivar, reg, stat};
use crate::net::e1000x::controller::Controller;
use crate::net::e1000x::delay::{Delay, THROTTLE_UNIT};
use crate::net::e1000x::stats;

/// Causes with an entry in IVAR, in the order of their entries.
const ENTRIES: [Cause; 5] = [Cause::RXQ0, Cause::RXQ1, Cause::TXQ0, Cause::TXQ1, Cause::OTHER];

/// The interrupt logic.
#[derive(Debug, Default)]
pub(super) struct Irq {
    /// ICR, but for [`ASSERTED`].
    pub causes: Cause,
    /// IMS.
    pub mask: Cause,
    /// The pin.
    pub level: bool,
    /// Those that a message was sent for and that have stood, unmasked, ever since.
    pub told: Cause,
    /// The pin does not go up again before then, nor is MSI's message sent (ITR).
    pub throttled: Option<u64>,
    /// Likewise for each vector (EITR).
    pub vectors: [Option<u64>; VECTORS],
    /// RXT0 that is held back (RDTR, RADV).
    pub receive: Delay,
    /// ACK that is (RAID).
    pub acknowledge: Delay,
    /// TXDW that is (TIDV, TADV).
    pub transmit: Delay,
}

/// How the guest is interrupted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Pin,
    Msi,
    Msix,
}

impl Irq {
    /// ICR.
    pub fn icr(&self) -> u32 {
        self.causes.bits() | if self.causes.is_empty() { 0 } else { ASSERTED }
    }

    fn pending(&self) -> Cause {
        self.causes & self.mask
    }

    /// What was held back long enough.
    fn due(&mut self, now: u64) -> Cause {
        let mut due = Cause::empty();
        for (delay, cause) in [
            (&mut self.receive, Cause::RXT0),
            (&mut self.acknowledge, Cause::ACK),
            (&mut self.transmit, Cause::TXDW),
        ] {
            if delay.due(now) {
                due |= cause;
            }
        }
        due
    }

    /// Everything that was held back.
    pub fn flush(&mut self) -> Cause {
        self.due(u64::MAX)
    }

    /// When something that was held back is told.
    fn held(&self) -> Option<u64> {
        [(&self.receive, Cause::RXT0), (&self.acknowledge, Cause::ACK), (&self.transmit, Cause::TXDW)]
            .into_iter()
            .filter(|(_, cause)| self.mask.contains(*cause))
            .filter_map(|(delay, _)| delay.deadline())
            .min()
    }
}

/// A throttle as it stands now: a shorter interval holds at once.
fn throttle(until: Option<u64>, now: u64, window: u64) -> Option<u64> {
    let until = until.filter(|until| now < *until && window != 0);
    until.map(|until| until.min(now.saturating_add(window)))
}

impl E1000e {
    fn by(&self) -> By {
        if self.pci.msix_enabled() {
            By::Msix
        } else if self.pci.messages_enabled() {
            By::Msi
        } else {
            By::Pin
        }
    }

    /// MSI-X is on: queues have causes of their own, and nothing is held back but by EITR.
    pub(super) fn is_msix(&self) -> bool {
        self.pci.msix_enabled()
    }

    /// Something happened.
    pub(super) fn happened(&mut self, cause: Cause) {
        self.irq.causes |= cause.difference(Cause::from_bits_retain(ASSERTED));
        if cause.intersects(Cause::OTHERS) && self.is_msix() {
            self.irq.causes |= Cause::OTHER;
        }
    }

    fn look_at_delays(&mut self) {
        let due = self.irq.due(self.mac.wiring.now());
        self.cause(due);
    }

    /// ICR is read. It is cleared when nothing is unmasked, when MSI-X is off, and when causes are masked by
    /// themselves, so that the reader has to unmask them.
    pub(super) fn read_icr(&mut self) -> u32 {
        self.look_at_delays();
        let (value, extended) = (self.irq.icr(), self.mac.registers.get(reg::CTRL_EXT));
        let masks = extended & (ctrl_ext::IAME | ctrl_ext::EIAME) != 0;
        if self.irq.mask.is_empty() || masks || !self.is_msix() {
            self.irq.causes = Cause::empty();
        }
        self.acknowledged(value);
        value
    }

    /// ICR is written: ones clear. With OTHER go those that it stands for.
    pub(super) fn write_icr(&mut self, value: u32) {
        self.acknowledged(self.irq.icr());
        let mut cleared = Cause::from_bits_retain(value);
        if cleared.contains(Cause::OTHER) {
            cleared |= Cause::OTHERS;
        }
        self.irq.causes = self.irq.causes.difference(cleared);
    }

    /// With IAME, whoever looks at ICR masks what is in IAM.
    fn acknowledged(&mut self, icr: u32) {
        if icr & ASSERTED != 0 && self.mac.registers.get(reg::CTRL_EXT) & ctrl_ext::IAME != 0 {
            let masked = Cause::from_bits_retain(self.mac.registers.get(reg::IAM));
            self.irq.mask = self.irq.mask.difference(masked);
        }
    }

    /// ICS is read: ICR, of which nothing is cleared.
    pub(super) fn read_ics(&mut self) -> u32 {
        self.look_at_delays();
        self.irq.icr()
    }

    /// IMS is written: ones unmask.
    pub(super) fn write_ims(&mut self, value: u32) {
        let unmasked = Cause::from_bits_retain(value) & Cause::MASKABLE;
        self.irq.mask |= unmasked;
        let extended = self.mac.registers.get(reg::CTRL_EXT);
        if extended & ctrl_ext::PBA_CLR != 0 {
            let vectors = (0..ENTRIES.len()).filter(|entry| unmasked.intersects(ENTRIES[*entry]));
            for vector in vectors.filter_map(|entry| self.vector(entry)).collect::<Vec<_>>() {
                self.pci.clear_msix_pending(vector as u16);
            }
        }
        if unmasked == Cause::MASKABLE && extended & ctrl_ext::TIMERS_CLEAR != 0 {
            let held = self.irq.flush();
            self.cause(held);
            self.irq.throttled = None;
            self.irq.vectors = [None; VECTORS];
        }
    }

    /// The vector of a cause, if it has one that there is.
    fn vector(&self, entry: usize) -> Option<usize> {
        let entry = self.mac.registers.get(reg::IVAR) >> (4 * entry);
        let vector = (entry & ivar::VECTOR) as usize;
        (entry & ivar::VALID != 0 && vector < VECTORS).then_some(vector)
    }

    /// Causes that a vector has yet to tell.
    fn untold(&self, vector: usize) -> Cause {
        let new = self.irq.pending().difference(self.irq.told);
        let own = (0..ENTRIES.len()).filter(|entry| self.vector(*entry) == Some(vector));
        own.fold(Cause::empty(), |sum, entry| sum | new & ENTRIES[entry])
    }

    /// Pin and messages as they are to be.
    pub(super) fn settle_interrupts(&mut self) {
        self.look_at_delays();
        let now = self.mac.wiring.now();
        let window = u64::from(self.mac.registers.get(reg::ITR)) * THROTTLE_UNIT;
        self.irq.throttled = throttle(self.irq.throttled, now, window);
        self.irq.told &= self.irq.pending();
        let by = self.by();
        match by {
            By::Pin => self.settle_pin(now, window),
            By::Msi => self.settle_msi(now, window),
            By::Msix => (0..VECTORS).for_each(|vector| self.settle_vector(now, vector)),
        }
        if by != By::Pin {
            self.irq.level = false;
        }
        if self.irq.level != self.pin() {
            self.pci.set_intx(self.irq.level);
        }
    }

    fn settle_pin(&mut self, now: u64, window: u64) {
        self.irq.told = Cause::empty();
        if self.irq.pending().is_empty() {
            self.irq.level = false;
        } else if !self.irq.level && self.irq.throttled.is_none() {
            self.irq.level = true;
            self.irq.throttled = (window != 0).then(|| now.saturating_add(window));
            stats::count(&mut self.mac.registers, stat::IAC);
        }
    }

    fn settle_msi(&mut self, now: u64, window: u64) {
        let pending = self.irq.pending();
        if pending != self.irq.told && self.irq.throttled.is_none() {
            self.irq.told = pending;
            self.irq.throttled = (window != 0).then(|| now.saturating_add(window));
            self.send(0);
        }
    }

    fn settle_vector(&mut self, now: u64, vector: usize) {
        let window = u64::from(self.mac.registers.get(reg::EITR + 4 * vector as u32)) * THROTTLE_UNIT;
        self.irq.vectors[vector] = throttle(self.irq.vectors[vector], now, window);
        let new = self.untold(vector);
        if new.is_empty() || self.irq.vectors[vector].is_some() {
            return;
        }
        self.irq.vectors[vector] = (window != 0).then(|| now.saturating_add(window));
        self.send(vector as u16);
        if self.mac.registers.get(reg::CTRL_EXT) & ctrl_ext::EIAME != 0 {
            let masked = Cause::from_bits_retain(self.mac.registers.get(reg::IAM)) & new;
            self.irq.mask = self.irq.mask.difference(masked);
        }
        let cleared = Cause::from_bits_retain(self.mac.registers.get(reg::EIAC)) & new;
        self.irq.causes = self.irq.causes.difference(cleared);
        self.irq.told = (self.irq.told | new) & self.irq.pending();
    }

    fn send(&mut self, vector: u16) {
        self.pci.message(vector);
        stats::count(&mut self.mac.registers, stat::IAC);
    }

    /// When the guest is to be interrupted without anybody's call.
    pub(super) fn irq_deadline(&self) -> Option<u64> {
        let irq = &self.irq;
        let after = |untold: bool, throttled: Option<u64>| throttled.filter(|_| untold);
        let throttled = match self.by() {
            By::Pin => after(!irq.level && !irq.pending().is_empty(), irq.throttled),
            By::Msi => after(irq.pending() != irq.told, irq.throttled),
            By::Msix => {
                (0..VECTORS).filter_map(|at| after(!self.untold(at).is_empty(), irq.vectors[at])).min()
            }
        };
        irq.held().into_iter().chain(throttled).min()
    }
}
