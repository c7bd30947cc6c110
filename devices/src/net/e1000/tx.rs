//! The transmitter (section 3.3): the ring, and frames to the backend.

use super::E1000;
use super::spec::{Cause, reg, tctl, txd};
use crate::net::e1000x::ring::{Batch, Ring};
use crate::net::e1000x::stats;

/// Most descriptors and frames of one call; then others have their turn.
const BUDGET: u32 = 128;
const RING: Ring = Ring(reg::TDBAL);

impl E1000 {
    fn can_transmit(&self) -> bool {
        let count = RING.count(&self.registers);
        // A tail beyond the ring would never be met.
        let sound = RING.head(&self.registers) < count && RING.tail(&self.registers) < count;
        sound && self.registers.get(reg::TCTL) & tctl::EN != 0 && self.dma.enabled() && !self.quiet
    }

    /// Sends what there is, as long as the backend takes it.
    pub(super) fn transmit(&mut self) {
        let mut batch = Batch::new();
        let mut worked = false;
        for budget in (0..BUDGET).rev() {
            if self.quiet || self.tx.ready && !self.emit() {
                break;
            }
            if !self.can_transmit() {
                break;
            }
            if self.tx.current.is_none() {
                let Some(descriptor) = batch.next(RING, &self.registers, &self.dma) else { break };
                self.tx.begin(&descriptor);
            }
            worked = true;
            if self.tx.gather(&self.dma, &mut self.registers) {
                self.complete();
            }
            if budget == 0 {
                self.go_on();
            }
        }
        if worked && RING.head(&self.registers) == RING.tail(&self.registers) {
            self.cause(Cause::TXQE);
        }
    }

    /// Sends the finished frame. False: the backend does not take it now.
    fn emit(&mut self) -> bool {
        let buffer = std::mem::take(&mut self.tx.buffer);
        let frame = &buffer[self.tx.finished()];
        let sent = if self.loops() {
            self.loop_back(frame);
            true
        } else {
            // With no cable it goes nowhere.
            !self.cable || self.backend.send(frame)
        };
        if sent {
            stats::transmitted(&mut self.registers, frame);
        }
        self.tx.buffer = buffer;
        if sent && self.tx.sent() {
            self.complete();
        }
        sent
    }

    /// The current descriptor is used up.
    fn complete(&mut self) {
        let Some(current) = self.tx.complete() else { return };
        if current.command & (txd::RS | txd::RPS) != 0 {
            let upper = (current.upper | txd::DD) & !txd::TROUBLE;
            let address = RING.address(&self.registers, RING.head(&self.registers));
            let _ = self.dma.write(address.wrapping_add(12), &upper.to_le_bytes());
            self.tell_transmitted(current.command);
        }
        RING.advance(&mut self.registers, 1);
    }

    /// A descriptor was written back: told now, or when the delay timers say.
    fn tell_transmitted(&mut self, command: u32) {
        let [relative, absolute] = [reg::TIDV, reg::TADV].map(|at| self.registers.get(at));
        if command & txd::IDE == 0 || relative == 0 {
            return self.cause(Cause::TXDW);
        }
        let now = self.wiring.now();
        self.irq.transmit.hold(now, relative, absolute);
    }
}
