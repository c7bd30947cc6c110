//! The receiver: frames from the backend, or from the transmitter in loopback, into the ring of descriptors
//! (section 3.2).
//!
//! Frames are fetched only while there is room: the backend keeps the rest, and nothing is lost to a slow guest.

use devices_core::net::{MAX_FRAME, MIN_FRAME};

use super::E1000;
use super::spec::{Cause, ctrl, rctl, reg, rxcsum, rxd, stat, status};
use crate::net::e1000x::ring::Ring;
use crate::net::e1000x::{filter, stats};
use crate::net::offload;

const RING: Ring = Ring(reg::RDBAL);
/// Most frames that one call receives; then others have their turn.
const BUDGET: u32 = 64;
/// The longest frame without a check sequence that is no long packet: with a VLAN tag.
const LONGEST: usize = 1518;
/// The longest long packet.
const LONGEST_LONG: usize = 16384 - 4;
/// The check sequence, for which there is room in the buffers unless it is taken off.
const FCS: usize = 4;

/// The receiver's own.
pub(super) struct Rx {
    /// A frame that is being received; empty between calls.
    frame: Vec<u8>,
}

impl Rx {
    pub fn new() -> Rx {
        Rx { frame: Vec::with_capacity(MAX_FRAME) }
    }
}

/// What the last descriptor of a frame says of it.
#[derive(Clone, Copy, Default)]
struct Report {
    checksum: u16,
    status: u8,
    errors: u8,
    special: u16,
}

impl E1000 {
    /// Bytes of a receive buffer.
    fn buffer_size(&self) -> usize {
        let control = self.registers.get(reg::RCTL);
        match (control >> rctl::BSIZE_SHIFT & 3, control & rctl::BSEX != 0) {
            (0, _) => 2048,
            (size, false) => 2048 >> size,
            (size, true) => 32768 >> size,
        }
    }

    fn can_receive(&self) -> bool {
        let on = self.registers.get(reg::RCTL) & rctl::EN != 0;
        let free = RING.free(&self.registers);
        on && !self.quiet && self.dma.enabled() && RING.count(&self.registers) > 0 && free > 0
    }

    /// Fetches frames while there are some and room for them.
    pub(super) fn receive(&mut self) {
        let linked = self.registers.get(reg::STATUS) & status::LU != 0 && !self.loops();
        let mut budget = BUDGET;
        while linked && self.can_receive() {
            if budget == 0 {
                return self.go_on();
            }
            budget -= 1;
            let mut frame = std::mem::take(&mut self.rx.frame);
            if !self.backend.receive(&mut frame) {
                self.rx.frame = frame;
                return;
            }
            self.deliver(frame);
        }
    }

    /// What the transmitter sends comes back.
    pub(super) fn loop_back(&mut self, sent: &[u8]) {
        let mut frame = std::mem::take(&mut self.rx.frame);
        frame.clear();
        frame.extend_from_slice(sent);
        if self.registers.get(reg::RCTL) & rctl::EN != 0 {
            self.deliver(frame);
        } else {
            self.rx.frame = frame;
        }
    }

    /// A frame has come in. Gives its memory back.
    fn deliver(&mut self, mut frame: Vec<u8>) {
        if frame.len() < MIN_FRAME {
            frame.resize(MIN_FRAME, 0);
        }
        if self.fits(&frame) && filter::accepts(&self.registers, &frame) {
            self.store(&mut frame);
        }
        self.rx.frame = frame;
    }

    fn fits(&mut self, frame: &[u8]) -> bool {
        let control = self.registers.get(reg::RCTL);
        let long = control & rctl::LPE != 0;
        let oversize = frame.len() > if long { LONGEST_LONG } else { LONGEST };
        if oversize && control & rctl::SBP == 0 {
            stats::count(&mut self.registers, stat::ROC);
            return false;
        }
        true
    }

    fn store(&mut self, frame: &mut [u8]) {
        let mut report = Report::default();
        let strips = self.registers.get(reg::CTRL) & ctrl::VME != 0;
        let tag = filter::tag(&self.registers, frame).filter(|_| strips);
        let frame = match tag {
            Some(tag) => {
                report.special = tag;
                report.status |= rxd::VP;
                frame.copy_within(0..12, 4);
                &frame[4..]
            }
            None => frame,
        };
        self.look_at_checksums(frame, &mut report);
        let stripped = self.registers.get(reg::RCTL) & rctl::SECRC != 0;
        let total = frame.len() + if stripped { 0 } else { FCS };
        if total > (RING.free(&self.registers) as usize).saturating_mul(self.buffer_size())
            || RING.count(&self.registers) == 0
            || !self.write_frame(frame, total, report)
        {
            stats::lost(&mut self.registers);
            return self.cause(Cause::RXO);
        }
        stats::received(&mut self.registers, frame);
        self.tell_received();
    }

    fn look_at_checksums(&self, frame: &[u8], report: &mut Report) {
        let control = self.registers.get(reg::RXCSUM);
        let from = frame.len().min(control as usize & 0xff);
        report.checksum = !offload::fold(offload::sum(&frame[from..]));
        if control & (rxcsum::IPOFLD | rxcsum::TUOFLD) == 0 {
            report.status |= rxd::IXSM;
            return;
        }
        let found = offload::check(frame);
        let looks = [
            (rxcsum::IPOFLD, found.ip, rxd::IPCS, rxd::IPE),
            (rxcsum::TUOFLD, found.transport, rxd::TCPCS, rxd::TCPE),
        ];
        for (wanted, found, looked, wrong) in looks {
            if let Some(right) = found.filter(|_| control & wanted != 0) {
                report.status |= looked;
                report.errors |= if right { 0 } else { wrong };
            }
        }
    }

    /// Puts a frame into as many descriptors as it takes. False: there were too few.
    fn write_frame(&mut self, frame: &[u8], total: usize, report: Report) -> bool {
        let (count, size) = (RING.count(&self.registers), self.buffer_size());
        let mut at = 0;
        for _ in 0..RING.free(&self.registers).min(count) {
            let descriptor = RING.address(&self.registers, RING.head(&self.registers));
            // Where there is no RAM nothing comes from, and nothing goes to, as on a real bus.
            let buffer = self.dma.read_u64(descriptor).unwrap_or(0);
            let mut len = 0;
            let mut said = Report::default();
            // A descriptor without a buffer is skipped.
            if buffer != 0 {
                len = size.min(total - at);
                let data = &frame[at.min(frame.len())..(at + len).min(frame.len())];
                let _ = self.dma.write(buffer, data);
                at += len;
                said.status = report.status & rxd::VP;
                said.special = report.special;
                if at >= total {
                    said = Report { status: report.status | rxd::EOP, ..report };
                }
            }
            let _ = self.dma.write(descriptor.wrapping_add(8), &said.bytes(len));
            RING.advance(&mut self.registers, 1);
            if at >= total {
                return true;
            }
        }
        false
    }

    /// Frames have been received: now, or when the delay timers say.
    fn tell_received(&mut self) {
        let [relative, absolute] = [reg::RDTR, reg::RADV].map(|at| self.registers.get(at));
        if relative == 0 {
            self.cause(Cause::RXT0);
        } else {
            let now = self.wiring.now();
            self.irq.receive.hold(now, relative, absolute);
        }
        let few = self.registers.get(reg::RCTL) >> rctl::RDMTS_SHIFT & 3;
        if RING.free(&self.registers) <= RING.count(&self.registers) >> (few + 1) {
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
        [a, b, c, d, self.status | rxd::DD, self.errors, e, f]
    }
}
