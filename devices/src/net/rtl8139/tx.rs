//! Packets that go out: four buffers, or in C+ mode a ring of descriptors.
//!
//! A packet is read whole before anything of it is sent. While the backend has no room it waits here, its buffer or
//! descriptors still the card's, and nothing of it is read again.

use std::collections::VecDeque;

use devices_core::Node;
use devices_core::dma::DmaError;
use devices_core::net::MIN_FRAME;

use super::spec::{RING_MAX, descriptor as d, int, tcr, tsd};
use super::{BURST, Rtl8139};
use crate::net::offload::{self, Insert, Segment};

/// Most descriptors of one packet: more than a ring of the datasheet's has.
pub(super) const CHAIN_MAX: usize = 64;
/// Most bytes of one packet before it is cut into segments: the largest IP packet and its Ethernet header.
const PACKET_MAX: usize = 65_535 + 14;
/// Most bytes of what is sent: that, and a VLAN tag.
pub(super) const FRAME_MAX: usize = PACKET_MAX + 4;
/// Least payload of a segment. Stacks do not go below; a guest that does would have the card hold many times what
/// it wrote.
const MSS_MIN: usize = 48;
/// Most segments of one packet.
pub(super) const FRAMES_MAX: usize = PACKET_MAX.div_ceil(MSS_MIN);

/// Frames one behind the other, in memory that is used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Bytes of each that is left.
    lengths: VecDeque<usize>,
    /// Bytes of those that are gone.
    gone: usize,
    /// Bytes of all that are whole.
    whole: usize,
}

impl Frames {
    fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
        (self.gone, self.whole) = (0, 0);
    }

    /// The bytes behind the last whole frame are one, filled up to the shortest that a wire carries. Its tag, if it is to
    /// have one, goes behind its addresses.
    fn close(&mut self, tag: Option<[u8; 2]>) {
        if let Some([high, low]) = tag
            && self.bytes.len() >= self.whole + 12
        {
            let at = self.whole + 12;
            self.bytes.splice(at..at, [0x81, 0, high, low]);
        }
        let len = (self.bytes.len() - self.whole).max(MIN_FRAME);
        self.whole += len;
        self.bytes.resize(self.whole, 0);
        self.lengths.push_back(len);
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    fn first(&self) -> Option<&[u8]> {
        Some(&self.bytes[self.gone..self.gone + self.lengths.front()?])
    }

    fn remove_first(&mut self) {
        self.gone += self.lengths.pop_front().unwrap_or(0);
    }

    /// Those that are left.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[self.gone..];
        self.lengths.iter().map(move |len| {
            let (frame, more) = rest.split_at(*len);
            rest = more;
            frame
        })
    }
}

impl FromIterator<Vec<u8>> for Frames {
    /// Frames as they are: none is filled up.
    fn from_iter<T: IntoIterator<Item = Vec<u8>>>(frames: T) -> Frames {
        let mut all = Frames::default();
        for frame in frames {
            all.bytes.extend_from_slice(&frame);
            all.lengths.push_back(frame.len());
        }
        all.whole = all.bytes.len();
        all
    }
}

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The buffer of that TSD.
    Buffer(u8),
    /// Descriptors; which one is next then.
    Ring { next: u32 },
}

/// A packet that is being sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// What is left of it: more than one if it is cut into segments.
    pub frames: Frames,
    pub source: Source,
    /// Its descriptors: addresses and first words.
    pub taken: Vec<(u64, u32)>,
    /// It cannot be sent, which its descriptors are to say.
    pub failed: bool,
}

impl Default for Packet {
    fn default() -> Packet {
        Packet { frames: Frames::default(), source: Source::Buffer(0), taken: Vec::new(), failed: false }
    }
}

/// Memory that is used again from packet to packet; empty between calls.
#[derive(Debug, Default)]
pub(super) struct Spare {
    packet: Packet,
    /// A packet that is to be cut into segments.
    data: Vec<u8>,
}

/// The transmitter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transmitter {
    /// The buffer that is next.
    pub buffer: u8,
    /// The descriptor that is next.
    pub index: u32,
    /// TPPoll was written, and no descriptor found since that was not the card's.
    pub polled: bool,
    pub packet: Option<Packet>,
}

impl Transmitter {
    /// The transmitter was switched off or on.
    pub fn restart(&mut self) {
        *self = Transmitter { buffer: self.buffer, ..Transmitter::default() };
    }

    /// For people.
    pub fn inspect(&self, node: &mut Node) {
        node.value("Tx buffer", self.buffer).value("Tx descriptor", self.index);
        let waiting = self.packet.as_ref().map_or(0, |packet| packet.frames.len());
        node.value("waiting to be sent", waiting);
    }
}

/// A descriptor of either kind, as it lies in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    /// Where it lies.
    pub place: u64,
    pub command: u32,
    pub vlan: u32,
    pub address: u64,
}

impl Descriptor {
    /// Which one follows it.
    pub fn next(&self, index: u32) -> u32 {
        if self.command & d::EOR != 0 { 0 } else { (index + 1) % RING_MAX }
    }
}

impl Rtl8139 {
    /// Reads a descriptor of a ring.
    pub(super) fn descriptor(&self, ring: u64, index: u32) -> Result<Descriptor, DmaError> {
        let place = ring.wrapping_add(u64::from(index) * d::LEN);
        let mut bytes = [0; d::LEN as usize];
        self.dma.read(place, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<4>();
        let [command, vlan, low, high] = [0, 1, 2, 3].map(|at| u32::from_le_bytes(words[at]));
        Ok(Descriptor { place, command, vlan, address: u64::from(high) << 32 | u64::from(low) })
    }

    /// Sends what there is, up to what one call may. Whether that was all.
    pub(super) fn transmit(&mut self) -> bool {
        let mut sent = 0;
        while sent < BURST {
            let Some(packet) = self.tx.packet.take().or_else(|| self.next_packet()) else { return true };
            sent += packet.frames.len().max(1);
            if let Some(rest) = self.send(packet) {
                // The backend wakes the card when it has room.
                self.tx.packet = Some(rest);
                return true;
            }
        }
        false
    }

    /// Sends a packet; what is left of it, if the backend has no room or memory cannot be reached now.
    fn send(&mut self, mut packet: Packet) -> Option<Packet> {
        let loopback = self.registers.tcr & tcr::LOOPBACK == tcr::LOOPBACK;
        while let Some(frame) = packet.frames.first() {
            if loopback {
                self.loop_back(frame);
            } else if self.phy.link && !self.backend.send(frame) {
                return Some(packet);
            }
            self.counters.tx_ok += 1;
            self.counters.tx_bytes += frame.len() as u64;
            packet.frames.remove_first();
        }
        if !self.dma.enabled() {
            return Some(packet);
        }
        self.sent(&packet);
        self.spare.packet = packet;
        None
    }

    /// Gives a packet's buffer or descriptors back.
    fn sent(&mut self, packet: &Packet) {
        let failed = packet.failed;
        match packet.source {
            Source::Buffer(number) => {
                let outcome = if failed { tsd::TABT } else { tsd::TOK };
                self.registers.tsd[usize::from(number) % 4] |= tsd::OWN | outcome;
                self.tx.buffer = (number + 1) % 4;
            }
            Source::Ring { next } => {
                for (place, command) in &packet.taken {
                    let error = if failed { d::TES } else { 0 };
                    let command = command & !(d::OWN | d::TX_STATUS) | error;
                    if let Err(error) = self.dma.write(*place, &command.to_le_bytes()) {
                        self.bus_error(error);
                    }
                }
                self.tx.index = next;
            }
        }
        if failed {
            self.counters.tx_errors += 1;
        }
        self.raise(if failed { int::TER } else { int::TOK });
    }

    fn next_packet(&mut self) -> Option<Packet> {
        if !self.registers.transmits() || !self.dma.enabled() {
            return None;
        }
        let descriptors = self.registers.transmits_descriptors();
        if descriptors && !self.tx.polled {
            return None;
        }
        let mut packet = std::mem::take(&mut self.spare.packet);
        packet.frames.clear();
        packet.taken.clear();
        packet.failed = false;
        let some = if descriptors { self.next_chain(&mut packet) } else { self.next_buffer(&mut packet) };
        self.tx.polled &= some || !descriptors;
        if some {
            return Some(packet);
        }
        self.spare.packet = packet;
        None
    }

    /// The packet of the next buffer. False: it is not the card's.
    fn next_buffer(&mut self, packet: &mut Packet) -> bool {
        let number = self.tx.buffer;
        let status = self.registers.tsd[usize::from(number) % 4];
        if status & tsd::OWN != 0 {
            return false;
        }
        packet.source = Source::Buffer(number);
        let (address, len) = (self.registers.tsad[usize::from(number) % 4], (status & tsd::SIZE) as usize);
        packet.frames.bytes.resize(len, 0);
        if let Err(error) = self.dma.read(address.into(), &mut packet.frames.bytes) {
            self.bus_error(error);
            packet.frames.bytes.clear();
            packet.failed = true;
        }
        if !packet.frames.bytes.is_empty() {
            packet.frames.close(None);
        }
        true
    }

    /// The next packet of the ring. False: a descriptor of it is not the card's, or cannot be read.
    fn next_chain(&mut self, packet: &mut Packet) -> bool {
        let ring = self.registers.tx_ring();
        let (mut index, mut tag) = (self.tx.index, None);
        let Packet { frames, source, taken, failed } = packet;
        loop {
            let descriptor = match self.descriptor(ring, index) {
                Ok(descriptor) => descriptor,
                Err(error) => {
                    self.bus_error(error);
                    return false;
                }
            };
            let Descriptor { place, command, vlan, address } = descriptor;
            if command & d::OWN == 0 {
                self.raise(int::TDU);
                return false;
            }
            taken.push((place, command));
            index = descriptor.next(index);
            if vlan & d::TAGC != 0 {
                tag = Some((vlan as u16).to_le_bytes());
            }
            let (from, len) = (frames.bytes.len(), (command & 0xffff) as usize);
            *failed |= from + len > PACKET_MAX || taken.len() > CHAIN_MAX;
            if !*failed {
                frames.bytes.resize(from + len, 0);
                if let Err(error) = self.dma.read(address, &mut frames.bytes[from..]) {
                    self.bus_error(error);
                    *failed = true;
                }
            }
            // A chain without end is given back in parts.
            if command & d::LS != 0 || taken.len() > CHAIN_MAX {
                *failed = *failed || !finish(frames, &mut self.spare.data, command, tag);
                if *failed {
                    frames.clear();
                }
                *source = Source::Ring { next: index };
                return true;
            }
        }
    }
}

/// Where the headers of a packet are that the card does something to.
#[derive(Clone, Copy)]
struct Headers {
    ip: usize,
    transport: usize,
    protocol: u8,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The headers of IPv4, with or without a VLAN tag before them; the card knows no IPv6.
fn headers(frame: &[u8]) -> Option<Headers> {
    let tagged = frame.get(12..14)? == [0x81, 0];
    let ip = if tagged { 18 } else { 14 };
    if frame.get(ip - 2..ip)? != [8, 0] {
        return None;
    }
    let first = *frame.get(ip)?;
    let transport = ip + usize::from(first & 15) * 4;
    let whole = first >> 4 == 4 && transport >= ip + 20 && transport <= frame.len();
    whole.then_some(Headers { ip, transport, protocol: *frame.get(ip + 9)? })
}

/// Makes the frames of a packet that has been read: one, or its segments; with checksums and tag as its descriptor asks.
/// False: it asks for segments that nobody makes. `data` is for those, and empty.
fn finish(frames: &mut Frames, data: &mut Vec<u8>, command: u32, tag: Option<[u8; 2]>) -> bool {
    let frame = &mut frames.bytes;
    if frame.is_empty() {
        return true;
    }
    let headers = headers(frame);
    if command & d::LGSEN != 0 {
        let mss = (command >> d::MSS_SHIFT & d::MSS) as usize;
        let headers = headers.filter(|headers| headers.protocol == TCP && mss >= MSS_MIN);
        let Some(headers) = headers else { return false };
        std::mem::swap(frame, data);
        let made = segments(frames, data, headers, mss, tag);
        data.clear();
        return made;
    }
    if let Some(headers) = headers {
        if command & d::IPCS != 0 {
            ip_checksum(frame, headers);
        }
        let wanted = match headers.protocol {
            TCP => d::TCPCS,
            UDP => d::UDPCS,
            _ => 0,
        };
        if command & wanted != 0 {
            transport_checksum(frame, headers);
        }
    }
    frames.close(tag);
    true
}

/// Cuts a TCP packet into segments of at most `mss` bytes of payload. False: its TCP header is not whole.
fn segments(to: &mut Frames, data: &[u8], headers: Headers, mss: usize, tag: Option<[u8; 2]>) -> bool {
    let Headers { ip, transport, .. } = headers;
    let Some(offset) = data.get(transport + 12) else { return false };
    let len = usize::from(offset >> 4) * 4;
    let Some(payload) = data.get(transport + len..).filter(|_| len >= 20) else { return false };
    let count = payload.len().div_ceil(mss).max(1);
    for number in 0..count {
        let sent = number * mss;
        to.bytes.extend_from_slice(&data[..transport + len]);
        to.bytes.extend_from_slice(&payload[sent..payload.len().min(sent + mss)]);
        let frame = &mut to.bytes[to.whole..];
        let (number, last) = (number as u16, number + 1 == count);
        let of = Segment { ip, v4: true, transport, tcp: true, number, sent: sent as u32, last };
        offload::segment(frame, &of);
        ip_checksum(frame, headers);
        transport_checksum(frame, headers);
        to.close(tag);
    }
    true
}

fn ip_checksum(frame: &mut [u8], Headers { ip, transport, .. }: Headers) {
    frame[ip + 10..ip + 12].fill(0);
    let how = Insert { start: ip, at: ip + 10, end: transport - 1, never_zero: false };
    offload::insert(frame, how);
}

/// TCP's or UDP's checksum, over its pseudo header and as much as the IP header says.
fn transport_checksum(frame: &mut [u8], Headers { ip, transport, protocol }: Headers) {
    let total = usize::from(u16::from_be_bytes([frame[ip + 2], frame[ip + 3]]));
    let end = (ip + total).min(frame.len());
    let at = transport + if protocol == TCP { 16 } else { 6 };
    if at + 2 > end {
        return;
    }
    let length = (end - transport) as u64;
    let pseudo = offload::sum(&frame[ip + 12..ip + 20]) + u64::from(protocol) + length;
    frame[at..at + 2].copy_from_slice(&offload::fold(pseudo).to_be_bytes());
    offload::insert(frame, Insert { start: transport, at, end: end - 1, never_zero: protocol == UDP });
}
