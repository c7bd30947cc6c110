//! The transmitter (section 7.2): two rings, and frames to the backend.

use super::E1000e;
use super::spec::{Cause, QUEUES, TARC_ENABLE, ivar, reg, tctl, txd};
use crate::net::e1000x::ring::{Batch, Ring};
use crate::net::e1000x::stats;

/// Most descriptors and frames of a queue in one call; then others have their turn.
const BUDGET: u32 = 128;
/// The rings, by queue.
const RINGS: [Ring; QUEUES] = [Ring(reg::TDBAL), Ring(reg::TDBAL1)];
/// Whether the queue is on.
const ARBITRATION: [u32; QUEUES] = [reg::TARC0, reg::TARC1];

/// The queue whose first register a write changed.
pub(super) fn queue_of_head(offset: u32) -> Option<usize> {
    RINGS.iter().position(|ring| ring.head_at() == offset)
}

impl E1000e {
    fn can_transmit(&self, queue: usize) -> bool {
        let ring = RINGS[queue];
        let count = ring.count(&self.registers);
        // A tail beyond the ring would never be met.
        let sound = ring.head(&self.registers) < count && ring.tail(&self.registers) < count;
        let on = self.registers.get(reg::TCTL) & tctl::EN != 0
            && self.registers.get(ARBITRATION[queue]) & TARC_ENABLE != 0;
        sound && on && self.dma.enabled() && !self.quiet
    }

    /// Sends what there is in both queues, as long as the backend takes it.
    pub(super) fn transmit(&mut self) {
        (0..QUEUES).for_each(|queue| self.transmit_queue(queue));
    }

    fn transmit_queue(&mut self, queue: usize) {
        let ring = RINGS[queue];
        let mut batch = Batch::new();
        let mut worked = false;
        for budget in (0..BUDGET).rev() {
            if self.quiet || self.tx[queue].ready && !self.emit(queue) {
                break;
            }
            if !self.can_transmit(queue) {
                break;
            }
            if self.tx[queue].current.is_none() {
                let Some(descriptor) = batch.next(ring, &self.registers, &self.dma) else { break };
                self.tx[queue].begin(&descriptor);
            }
            worked = true;
            if self.tx[queue].gather(&self.dma, &mut self.registers) {
                self.complete(queue);
            }
            if budget == 0 {
                self.go_on();
            }
        }
        if worked && ring.head(&self.registers) == ring.tail(&self.registers) {
            self.cause(Cause::TXQE);
        }
    }

    /// Sends the finished frame. False: the backend does not take it now.
    fn emit(&mut self, queue: usize) -> bool {
        let buffer = std::mem::take(&mut self.tx[queue].buffer);
        let frame = &buffer[self.tx[queue].finished()];
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
        self.tx[queue].buffer = buffer;
        if sent && self.tx[queue].sent() {
            self.complete(queue);
        }
        sent
    }

    /// The current descriptor is used up.
    fn complete(&mut self, queue: usize) {
        let Some(current) = self.tx[queue].complete() else { return };
        let ring = RINGS[queue];
        let every = self.registers.get(reg::IVAR) & ivar::EVERY != 0;
        if every || current.command & txd::RS != 0 {
            let upper = (current.upper | txd::DD) & !txd::TROUBLE;
            let address = ring.address(&self.registers, ring.head(&self.registers));
            let _ = self.dma.write(address.wrapping_add(12), &upper.to_le_bytes());
            self.tell_transmitted(queue, current.command);
        }
        ring.advance(&mut self.registers, 1);
    }

    /// A descriptor was written back: told now, or when the delay timers say.
    fn tell_transmitted(&mut self, queue: usize, command: u32) {
        if self.is_msix() {
            return self.cause(if queue == 0 { Cause::TXQ0 } else { Cause::TXQ1 });
        }
        let [relative, absolute] = [reg::TIDV, reg::TADV].map(|at| self.registers.get(at));
        if command & txd::IDE == 0 || relative == 0 {
            return self.cause(Cause::TXDW);
        }
        let now = self.wiring.now();
        self.irq.transmit.hold(now, relative, absolute);
    }
}
