//! The receiver: frames from the backend, or from the transmitter in loopback, into the ring of descriptors
//! (section 3.2).
//!
//! Frames are fetched only while there is room: the backend keeps the rest, and nothing is lost to a slow guest.

use super::E1000;
use super::spec::{Cause, reg, rxd};
use crate::net::e1000x::controller::Controller;
use crate::net::e1000x::ring::Ring;
use crate::net::e1000x::{rx, stats};
use crate::net::offload;

const RING: Ring = Ring::rx(0);
/// What the last descriptor of a frame says of it.
#[derive(Clone, Copy, Default)]
struct Report {
    checksum: u16,
    /// With the errors, as [`rxd`] has them.
    status: u32,
    special: u16,
}

impl E1000 {
    /// The receiver is on, with a descriptor for a frame.
    pub(super) fn has_room(&self) -> bool {
        let registers = &self.mac.registers;
        self.mac.receives() && RING.count(registers) > 0 && RING.free(registers) > 0
    }

    /// Puts a frame that is let in into memory.
    pub(super) fn store_frame(&mut self, frame: &[u8], tag: Option<u16>) {
        let mut report = Report::default();
        if let Some(tag) = tag {
            report.special = tag;
            report.status |= rxd::VP;
        }
        self.look_at_checksums(frame, &mut report);
        let total = rx::total(&self.mac.registers, frame);
        if total
            > (RING.free(&self.mac.registers) as usize).saturating_mul(rx::buffer_size(&self.mac.registers))
            || RING.count(&self.mac.registers) == 0
            || !self.write_frame(frame, total, report)
        {
            stats::lost(&mut self.mac.registers);
            return self.cause(Cause::RXO);
        }
        stats::received(&mut self.mac.registers, frame);
        self.tell_received();
    }

    fn look_at_checksums(&self, frame: &[u8], report: &mut Report) {
        let registers = &self.mac.registers;
        report.checksum = rx::packet_checksum(registers, frame);
        report.status |= if rx::looks_at_checksums(registers) {
            rx::checksum_status(registers, offload::check(frame))
        } else {
            rxd::IXSM
        };
    }

    /// Puts a frame into as many descriptors as it takes. False: there were too few.
    fn write_frame(&mut self, frame: &[u8], total: usize, report: Report) -> bool {
        let (count, size) = (RING.count(&self.mac.registers), rx::buffer_size(&self.mac.registers));
        let mut at = 0;
        for _ in 0..RING.free(&self.mac.registers).min(count) {
            let descriptor = RING.address(&self.mac.registers, RING.head(&self.mac.registers));
            // Where there is no RAM nothing comes from, and nothing goes to, as on a real bus.
            let buffer = self.mac.dma.read_u64(descriptor).unwrap_or(0);
            let mut len = 0;
            let mut said = Report::default();
            // A descriptor without a buffer is skipped.
            if buffer != 0 {
                len = size.min(total - at);
                let data = &frame[at.min(frame.len())..(at + len).min(frame.len())];
                let _ = self.mac.dma.write(buffer, data);
                at += len;
                said.status = report.status & rxd::VP;
                said.special = report.special;
                if at >= total {
                    said = Report { status: report.status | rxd::EOP, ..report };
                }
            }
            let _ = self.mac.dma.write(descriptor.wrapping_add(8), &said.bytes(len));
            RING.advance(&mut self.mac.registers, 1);
            if at >= total {
                return true;
            }
        }
        false
    }

    /// Frames have been received: now, or when the delay timers say.
    fn tell_received(&mut self) {
        let [relative, absolute] = [reg::RDTR, reg::RADV].map(|at| self.mac.registers.get(at));
        if relative == 0 {
            self.cause(Cause::RXT0);
        } else {
            let now = self.mac.wiring.now();
            self.irq.receive.hold(now, relative, absolute);
        }
        let registers = &self.mac.registers;
        if rx::few_left(registers, RING.free(registers), RING.count(registers)) {
            self.cause(Cause::RXDMT0);
        }
    }
}

impl Report {
    /// The second half of a descriptor, which is written in one piece: whoever sees that it is done sees the rest.
    fn bytes(self, len: usize) -> [u8; 8] {
        let [a, b] = (len as u16).to_le_bytes();
        let [c, d] = self.checksum.to_le_bytes();
        let [e, f] = self.special.to_le_bytes();
        let [low, .., high] = (self.status | rxd::DD).to_le_bytes();
        [a, b, c, d, low, high, e, f]
    }
}
