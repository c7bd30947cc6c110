//! How a frame is put together from legacy, context and data descriptors: checksums, segmentation, VLAN tags.
//!
//! A frame is put together in one buffer, is sent, and the ring's head moves on when its last descriptor is used up.
//! While the backend is full the finished frame waits in the buffer, as part of the state.

use devices_core::dma::Dma;
use devices_core::net::MIN_FRAME;

use super::registers::Registers;
use super::spec::{ctrl, reg, stat, tctl, txd};
use super::stats;
use crate::net::offload::{self, Insert, Segment};

/// Room before a frame for a VLAN tag.
pub const HEADROOM: usize = 4;
/// The longest that is put together: a segment's headers and payload as long as their fields can say.
pub const LONGEST: usize = 0xffff + 0xff;

/// What a context descriptor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
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
pub struct Current {
    pub address: u64,
    pub left: u32,
    pub command: u32,
    pub upper: u32,
}

/// The packet under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
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
pub struct Tx {
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

    /// A descriptor has been fetched.
    pub fn begin(&mut self, descriptor: &[u8; 16]) {
        let word = u64::from_le_bytes(*descriptor.first_chunk().expect("16 bytes have 8"));
        let rest = u64::from_le_bytes(*descriptor.last_chunk().expect("16 bytes have 8"));
        let (command, upper) = (rest as u32, (rest >> 32) as u32);
        let extended = command & txd::DEXT != 0;
        let data = extended && command & txd::DATA != 0;
        let current = Current { address: word, left: command & 0xffff, command, upper };
        if extended && !data {
            let context = Context::decode(descriptor);
            let which = if command & txd::TSE != 0 { &mut self.segmentation } else { &mut self.plain };
            *which = context;
            // It ends nothing, whatever its bit for TCP is.
            self.current = Some(Current { left: 0, command: command & !txd::EOP, ..current });
            return;
        }
        if !self.packet.open {
            let segmented = data && command & txd::TSE != 0;
            let options = if data { (upper >> 8) as u8 } else { 0 };
            self.packet = Packet { open: true, options, segmented, ..Packet::default() };
        }
        let left = if data { command & 0xf_ffff } else { current.left };
        self.current = Some(Current { left, ..current });
    }

    /// Takes data of the current descriptor, up to a whole frame, which is [`ready`](Tx::ready) then. True: the
    /// descriptor is used up.
    pub fn gather(&mut self, dma: &Dma, registers: &mut Registers) -> bool {
        let Some(mut current) = self.current else { return false };
        let segmented = self.packet.segmented;
        let (limit, header) = if segmented {
            (self.segmentation.limit(), usize::from(self.segmentation.header))
        } else {
            (LONGEST, 0)
        };
        if current.left > 0 {
            let (from, room) = (self.len, limit.saturating_sub(self.len));
            let len = room.min(current.left as usize);
            let to = &mut self.buffer[HEADROOM + from..][..len];
            if dma.read(current.address, to).is_err() {
                to.fill(0);
            }
            self.len += len;
            current.address = current.address.wrapping_add(len as u64);
            // What no frame has room for is lost.
            current.left = if len == 0 { 0 } else { current.left - len as u32 };
            self.current = Some(current);
            if from < header && self.len >= header {
                self.header[..header].copy_from_slice(&self.buffer[HEADROOM..][..header]);
            }
            if segmented && self.len == limit && limit > header {
                self.finish(&current, registers);
                return false;
            }
        }
        if current.left > 0 {
            return false;
        }
        let packet = self.packet;
        let more = if segmented {
            self.len >= header && self.len > if packet.segments == 0 { 0 } else { header }
        } else {
            self.len > 0
        };
        let whole = current.command & txd::EOP != 0 && more;
        if whole {
            self.finish(&current, registers);
        }
        !whole
    }

    /// The frame has all its bytes: what the card does to it is done.
    fn finish(&mut self, current: &Current, registers: &mut Registers) {
        let packet = self.packet;
        let context = *self.context();
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
            offload::segment(self.frame(), &of);
            if last && packet.segments > 0 {
                stats::count(registers, stat::TSCTC);
            }
            if packet.options & txd::TXSM != 0 {
                offload::add_length(self.frame(), context.transport.start, context.transport.at);
            }
        }
        if packet.options & txd::TXSM != 0 {
            offload::insert(self.frame(), context.transport);
        }
        if packet.options & txd::IXSM != 0 {
            offload::insert(self.frame(), context.ip);
        }
        if current.command & (txd::DEXT | txd::IC) == txd::IC {
            let (start, at) = ((current.upper >> 8 & 0xff) as usize, (current.command >> 16 & 0xff) as usize);
            offload::insert(self.frame(), Insert { start, at, end: 0, never_zero: false });
        }
        if registers.get(reg::TCTL) & tctl::PSP != 0 && self.len < MIN_FRAME {
            let from = self.len;
            self.len = MIN_FRAME;
            self.frame()[from..].fill(0);
        }
        self.add_tag(current, registers);
        self.ready = true;
    }

    fn add_tag(&mut self, current: &Current, registers: &Registers) {
        let wanted = current.command & txd::VLE != 0 && registers.get(reg::CTRL) & ctrl::VME != 0;
        if !wanted || self.len < 12 {
            return;
        }
        let kind = registers.get(reg::VET) as u16;
        let tag = (current.upper >> 16) as u16;
        let buffer = &mut self.buffer;
        buffer.copy_within(HEADROOM..HEADROOM + 12, 0);
        buffer[12..14].copy_from_slice(&kind.to_be_bytes());
        buffer[14..16].copy_from_slice(&tag.to_be_bytes());
        self.tagged = true;
    }

    /// The finished frame was sent. True: the descriptor is used up.
    pub fn sent(&mut self) -> bool {
        self.ready = false;
        self.tagged = false;
        if !self.packet.segmented {
            return true;
        }
        let Context { header, segment, .. } = self.segmentation;
        let header = usize::from(header);
        self.packet.segments = self.packet.segments.wrapping_add(1);
        self.packet.sent = self.packet.sent.saturating_add(segment.into());
        self.buffer[HEADROOM..][..header].copy_from_slice(&self.header[..header]);
        self.len = header;
        false
    }

    /// Takes the descriptor that is used up; at a packet's end nothing is left of that.
    pub fn complete(&mut self) -> Option<Current> {
        let current = self.current.take()?;
        if current.command & txd::EOP != 0 {
            self.packet = Packet::default();
            self.len = 0;
        }
        Some(current)
    }
}
