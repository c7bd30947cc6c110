//! The transmitter: legacy, context and data descriptors, checksums, segmentation, VLAN tags (section 3.3).
//!
//! A frame is put together in one buffer, is sent, and the head moves on when its last descriptor is used up. While the
//! backend is full the finished frame waits in the buffer, as part of the state.

use super::spec::{Cause, DESCRIPTOR, ctrl, reg, stat, tctl, txd};
use super::{E1000, stats};
use crate::net::offload::{self, Insert, Segment};
use devices_core::net::MIN_FRAME;

/// Most descriptors and frames of one call; then others have their turn.
const BUDGET: u32 = 128;
/// Descriptors that are fetched at once.
const BATCH: usize = 16;
/// Room before a frame for a VLAN tag.
pub(super) const HEADROOM: usize = 4;
/// The longest that is put together: a segment's headers and payload as long as their fields can say.
pub(super) const LONGEST: usize = 0xffff + 0xff;

/// What a context descriptor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    pub ip: Insert,
    pub transport: Insert,
    /// Payload of the whole packet.
    pub payload: u32,
    pub header: u8,
    pub segment: u16,
    pub v4: bool,
    pub tcp: bool,
}

impl Context {
    pub fn decode(descriptor: &[u8; 16]) -> Context {
        let [a, b, c, d, e, f, g, h, i, j, k, l, _, header, m, n] = *descriptor;
        let command = u32::from_le_bytes([i, j, k, l]);
        let tcp = command & txd::TCP != 0;
        let insert = |start: u8, at: u8, end: [u8; 2]| Insert {
            start: start.into(),
            at: at.into(),
            end: u16::from_le_bytes(end).into(),
            never_zero: false,
        };
        Context {
            ip: insert(a, b, [c, d]),
            transport: Insert { never_zero: !tcp, ..insert(e, f, [g, h]) },
            payload: command & 0xf_ffff,
            header,
            segment: u16::from_le_bytes([m, n]),
            v4: command & txd::IP != 0,
            tcp,
        }
    }

    /// Bytes of a full segment with its headers.
    fn limit(&self) -> usize {
        usize::from(self.header) + usize::from(self.segment)
    }
}

/// A descriptor with data, as far as it has been used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Current {
    pub address: u64,
    pub left: u32,
    pub command: u32,
    pub upper: u32,
}

/// The packet under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packet {
    /// Its first descriptor has been seen.
    pub open: bool,
    /// Which checksums are to be inserted.
    pub options: u8,
    /// It is cut into segments.
    pub segmented: bool,
    /// Segments that have been sent.
    pub segments: u16,
    /// Bytes of their payload.
    pub sent: u32,
}

/// The transmitter's own.
pub(super) struct Tx {
    /// For packets that are not cut up.
    pub plain: Context,
    /// For those that are.
    pub segmentation: Context,
    pub current: Option<Current>,
    pub packet: Packet,
    /// [`HEADROOM`], then the frame.
    pub buffer: Vec<u8>,
    /// Bytes of the frame, without a tag.
    pub len: usize,
    /// Headers of a packet that is cut up, as the guest wrote them.
    pub header: [u8; 256],
    /// The frame is finished and waits for the backend.
    pub ready: bool,
    /// It has been given a tag, in the headroom.
    pub tagged: bool,
}

impl Tx {
    pub fn new() -> Tx {
        Tx { buffer: vec![0; HEADROOM + LONGEST], ..Tx::idle() }
    }

    /// Nothing is under way, and there is no buffer.
    fn idle() -> Tx {
        Tx {
            plain: Context::default(),
            segmentation: Context::default(),
            current: None,
            packet: Packet::default(),
            buffer: Vec::new(),
            len: 0,
            header: [0; 256],
            ready: false,
            tagged: false,
        }
    }

    pub fn reset(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        *self = Tx { buffer, ..Tx::idle() };
    }

    fn context(&self) -> &Context {
        if self.packet.segmented { &self.segmentation } else { &self.plain }
    }

    /// Where the finished frame lies in the buffer.
    pub fn finished(&self) -> std::ops::Range<usize> {
        let start = if self.tagged { 0 } else { HEADROOM };
        start..HEADROOM + self.len
    }

    fn frame(&mut self) -> &mut [u8] {
        &mut self.buffer[HEADROOM..HEADROOM + self.len]
    }
}

/// Descriptors that were fetched in one go.
struct Batch {
    bytes: [u8; BATCH * DESCRIPTOR as usize],
    first: u32,
    count: u32,
}

impl E1000 {
    fn tx_count(&self) -> u32 {
        self.registers.get(reg::TDLEN) / DESCRIPTOR as u32
    }

    fn can_transmit(&self) -> bool {
        let count = self.tx_count();
        let [head, tail] = [reg::TDH, reg::TDT].map(|at| self.registers.get(at));
        // A tail beyond the ring would never be met.
        let sound = head < count && tail < count;
        sound && self.registers.get(reg::TCTL) & tctl::EN != 0 && self.dma.enabled() && !self.quiet
    }

    /// Sends what there is, as long as the backend takes it.
    pub(super) fn transmit(&mut self) {
        let mut batch = Batch { bytes: [0; BATCH * DESCRIPTOR as usize], first: 0, count: 0 };
        let mut worked = false;
        for budget in (0..BUDGET).rev() {
            if self.quiet || self.tx.ready && !self.emit() {
                break;
            }
            if !self.can_transmit() {
                break;
            }
            if self.tx.current.is_none() && !self.fetch(&mut batch) {
                break;
            }
            worked = true;
            self.gather();
            if budget == 0 {
                self.go_on();
            }
        }
        if worked && self.registers.get(reg::TDH) == self.registers.get(reg::TDT) {
            self.cause(Cause::TXQE);
        }
    }

    /// Takes the next descriptor. False: there is none.
    fn fetch(&mut self, batch: &mut Batch) -> bool {
        let [head, tail] = [reg::TDH, reg::TDT].map(|at| self.registers.get(at));
        if head == tail {
            return false;
        }
        if head < batch.first || head - batch.first >= batch.count {
            let end = if head < tail { tail } else { self.tx_count() };
            batch.first = head;
            batch.count = (end - head).min(BATCH as u32);
            let bytes = &mut batch.bytes[..batch.count as usize * DESCRIPTOR as usize];
            if self.dma.read(self.tx_descriptor(head), bytes).is_err() {
                bytes.fill(0);
            }
        }
        let at = (head - batch.first) as usize;
        let descriptor = batch.bytes.as_chunks::<16>().0[at];
        self.begin(&descriptor);
        true
    }

    fn tx_descriptor(&self, head: u32) -> u64 {
        let base =
            u64::from(self.registers.get(reg::TDBAH)) << 32 | u64::from(self.registers.get(reg::TDBAL));
        base.wrapping_add(u64::from(head) * DESCRIPTOR)
    }

    /// A descriptor has been fetched.
    fn begin(&mut self, descriptor: &[u8; 16]) {
        let word = u64::from_le_bytes(*descriptor.first_chunk().expect("16 bytes have 8"));
        let rest = u64::from_le_bytes(*descriptor.last_chunk().expect("16 bytes have 8"));
        let (command, upper) = (rest as u32, (rest >> 32) as u32);
        let extended = command & txd::DEXT != 0;
        let data = extended && command & txd::DATA != 0;
        let current = Current { address: word, left: command & 0xffff, command, upper };
        if extended && !data {
            let context = Context::decode(descriptor);
            let which = if command & txd::TSE != 0 { &mut self.tx.segmentation } else { &mut self.tx.plain };
            *which = context;
            // It ends nothing, whatever its bit for TCP is.
            self.tx.current = Some(Current { left: 0, command: command & !txd::EOP, ..current });
            return;
        }
        if !self.tx.packet.open {
            let segmented = data && command & txd::TSE != 0;
            let options = if data { (upper >> 8) as u8 } else { 0 };
            self.tx.packet = Packet { open: true, options, segmented, ..Packet::default() };
        }
        let left = if data { command & 0xf_ffff } else { current.left };
        self.tx.current = Some(Current { left, ..current });
    }

    /// Takes data of the current descriptor, up to a whole frame.
    fn gather(&mut self) {
        let Some(mut current) = self.tx.current else { return };
        let segmented = self.tx.packet.segmented;
        let (limit, header) = if segmented {
            (self.tx.segmentation.limit(), usize::from(self.tx.segmentation.header))
        } else {
            (LONGEST, 0)
        };
        if current.left > 0 {
            let (from, room) = (self.tx.len, limit.saturating_sub(self.tx.len));
            let len = room.min(current.left as usize);
            let to = &mut self.tx.buffer[HEADROOM + from..][..len];
            if self.dma.read(current.address, to).is_err() {
                to.fill(0);
            }
            self.tx.len += len;
            current.address = current.address.wrapping_add(len as u64);
            // What no frame has room for is lost.
            current.left = if len == 0 { 0 } else { current.left - len as u32 };
            self.tx.current = Some(current);
            if from < header && self.tx.len >= header {
                self.tx.header[..header].copy_from_slice(&self.tx.buffer[HEADROOM..][..header]);
            }
            if segmented && self.tx.len == limit && limit > header {
                return self.finish(&current);
            }
        }
        if current.left > 0 {
            return;
        }
        let packet = self.tx.packet;
        let more = if segmented {
            self.tx.len >= header && self.tx.len > if packet.segments == 0 { 0 } else { header }
        } else {
            self.tx.len > 0
        };
        if current.command & txd::EOP != 0 && more {
            self.finish(&current);
        } else {
            self.complete();
        }
    }

    /// The frame has all its bytes: what the card does to it is done.
    fn finish(&mut self, current: &Current) {
        let packet = self.tx.packet;
        let context = *self.tx.context();
        if packet.segmented {
            let sent = packet.sent;
            let last = context.payload <= sent.saturating_add(context.segment.into());
            let of = Segment {
                ip: context.ip.start,
                v4: context.v4,
                transport: context.transport.start,
                tcp: context.tcp,
                number: packet.segments,
                sent,
                last,
            };
            offload::segment(self.tx.frame(), &of);
            if last && packet.segments > 0 {
                stats::count(&mut self.registers, stat::TSCTC);
            }
            if packet.options & txd::TXSM != 0 {
                offload::add_length(self.tx.frame(), context.transport.start, context.transport.at);
            }
        }
        if packet.options & txd::TXSM != 0 {
            offload::insert(self.tx.frame(), context.transport);
        }
        if packet.options & txd::IXSM != 0 {
            offload::insert(self.tx.frame(), context.ip);
        }
        if current.command & (txd::DEXT | txd::IC) == txd::IC {
            let (start, at) = ((current.upper >> 8 & 0xff) as usize, (current.command >> 16 & 0xff) as usize);
            offload::insert(self.tx.frame(), Insert { start, at, end: 0, never_zero: false });
        }
        if self.registers.get(reg::TCTL) & tctl::PSP != 0 && self.tx.len < MIN_FRAME {
            let from = self.tx.len;
            self.tx.len = MIN_FRAME;
            self.tx.frame()[from..].fill(0);
        }
        self.add_tag(current);
        self.tx.ready = true;
    }

    fn add_tag(&mut self, current: &Current) {
        let wanted = current.command & txd::VLE != 0 && self.registers.get(reg::CTRL) & ctrl::VME != 0;
        if !wanted || self.tx.len < 12 {
            return;
        }
        let kind = self.registers.get(reg::VET) as u16;
        let tag = (current.upper >> 16) as u16;
        let buffer = &mut self.tx.buffer;
        buffer.copy_within(HEADROOM..HEADROOM + 12, 0);
        buffer[12..14].copy_from_slice(&kind.to_be_bytes());
        buffer[14..16].copy_from_slice(&tag.to_be_bytes());
        self.tx.tagged = true;
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
        if !sent {
            return false;
        }
        self.tx.ready = false;
        self.tx.tagged = false;
        if self.tx.packet.segmented {
            let Context { header, segment, .. } = self.tx.segmentation;
            let header = usize::from(header);
            self.tx.packet.segments = self.tx.packet.segments.wrapping_add(1);
            self.tx.packet.sent = self.tx.packet.sent.saturating_add(segment.into());
            self.tx.buffer[HEADROOM..][..header].copy_from_slice(&self.tx.header[..header]);
            self.tx.len = header;
        } else {
            self.complete();
        }
        true
    }

    /// The current descriptor is used up.
    fn complete(&mut self) {
        let Some(current) = self.tx.current.take() else { return };
        let head = self.registers.get(reg::TDH);
        if current.command & (txd::RS | txd::RPS) != 0 {
            let upper = (current.upper | txd::DD) & !txd::TROUBLE;
            let _ = self.dma.write(self.tx_descriptor(head).wrapping_add(12), &upper.to_le_bytes());
            self.tell_transmitted(current.command);
        }
        self.registers.set(reg::TDH, if head + 1 >= self.tx_count() { 0 } else { head + 1 });
        if current.command & txd::EOP != 0 {
            self.tx.packet = Packet::default();
            self.tx.len = 0;
        }
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
