//! The receiver (section 7.1): frames from the backend, or from the transmitter in loopback, into one of two rings, by
//! legacy, extended or split descriptors.
//!
//! Frames are fetched only while there is room: the backend keeps the rest, and nothing is lost to a slow guest.

use super::E1000e;
use super::spec::{Cause, QUEUES, mrqc, psrctl, rctl, reg, rfctl, rxcsum, rxd};
use crate::net::e1000x::controller::Controller;
use crate::net::e1000x::ring::Ring;
use crate::net::e1000x::{rx, stats};
use crate::net::offload;
use crate::net::packet::{Ip, Packet, Transport, toeplitz};

/// The rings, by queue.
const RINGS: [Ring; QUEUES] = [Ring::rx(0), Ring::rx(1)];
/// The format of descriptors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Legacy,
    Extended,
    /// Four buffers, and twice as long.
    Split,
}

/// Descriptors as they are set up.
#[derive(Clone, Copy)]
struct Layout {
    format: Format,
    /// Bytes of each buffer.
    sizes: [usize; 4],
}

impl Layout {
    /// What a descriptor counts for in RDH and RDT, which count 16 bytes.
    fn units(&self) -> u32 {
        if self.format == Format::Split { 2 } else { 1 }
    }

    /// Whether so many descriptors have room for a frame, of which so much goes into a first buffer of its own.
    fn has_room(&self, descriptors: u32, total: usize, header: Option<usize>) -> bool {
        let first = if header.is_some() { 0 } else { self.sizes[0] };
        let each = first + self.sizes[1..].iter().sum::<usize>();
        total - header.unwrap_or(0) <= (descriptors as usize).saturating_mul(each)
    }
}

/// What the last descriptor of a frame says of it.
#[derive(Clone, Copy, Default)]
struct Report {
    /// Status and errors, as the extended format has them.
    status: u32,
    checksum: u16,
    ip_id: u16,
    /// Type of the hash, and the queue.
    mrq: u32,
    /// In place of identification and checksum.
    hash: Option<u32>,
    tag: u16,
}

/// A frame on its way into a ring.
struct Arrival<'a> {
    frame: &'a [u8],
    /// Its bytes with the check sequence, if that is kept.
    total: usize,
    /// Bytes of the header, if that is split off.
    header: Option<usize>,
    report: Report,
}

impl E1000e {
    fn layout(&self) -> Layout {
        let [control, filters] = [reg::RCTL, reg::RFCTL].map(|at| self.mac.registers.get(at));
        let one = |size| [size, 0, 0, 0];
        let flexible = (control >> rctl::FLXBUF_SHIFT & 0xf) as usize;
        let usual = if flexible != 0 { flexible << 10 } else { rx::buffer_size(&self.mac.registers) };
        if filters & rfctl::EXTEN == 0 {
            return Layout { format: Format::Legacy, sizes: one(usual) };
        }
        if control & rctl::DTYP != rctl::DTYP_SPLIT {
            return Layout { format: Format::Extended, sizes: one(usual) };
        }
        let split = self.mac.registers.get(reg::PSRCTL).to_le_bytes();
        let mut sizes = [0; 4];
        for (buffer, size) in sizes.iter_mut().enumerate() {
            *size = usize::from(split[buffer] & psrctl::MASKS[buffer] as u8) * psrctl::UNITS[buffer];
        }
        Layout { format: Format::Split, sizes }
    }

    /// Frames are spread over the queues by their hash.
    fn spreads(&self) -> bool {
        let [several, checksums, filters] =
            [reg::MRQC, reg::RXCSUM, reg::RFCTL].map(|at| self.mac.registers.get(at));
        several & mrqc::ENABLE == mrqc::RSS && checksums & rxcsum::PCSD != 0 && filters & rfctl::EXTEN != 0
    }

    /// Descriptors of a ring that the guest has given.
    fn rx_free(&self, ring: Ring, units: u32) -> u32 {
        // A tail beyond the ring would never be met.
        ring.free(&self.mac.registers).min(ring.count(&self.mac.registers)) / units
    }

    /// The receiver is on, with a descriptor for a frame.
    pub(super) fn has_room(&self) -> bool {
        if !self.mac.receives() {
            return false;
        }
        let units = self.layout().units();
        let queues = if self.spreads() { QUEUES } else { 1 };
        RINGS[..queues].iter().any(|ring| self.rx_free(*ring, units) > 0)
    }

    /// Puts a frame that is let in into memory.
    pub(super) fn store_frame(&mut self, frame: &[u8], tag: Option<u16>) {
        let mut report = Report::default();
        if let Some(tag) = tag {
            report.tag = tag;
            report.status |= rxd::VP;
        }
        let packet = Packet::of(frame, self.mac.registers.get(reg::VET) as u16);
        self.look_at_checksums(frame, &packet, &mut report);
        self.look_at_layers(&packet, &mut report);
        let queue = self.look_at_hash(frame, &packet, &mut report);
        let layout = self.layout();
        let total = rx::total(&self.mac.registers, frame);
        let header = self.header(&layout, &packet, frame);
        let free = self.rx_free(RINGS[queue], layout.units());
        let arrival = Arrival { frame, total, header, report };
        if !layout.has_room(free, total, header) || !self.write_frame(RINGS[queue], layout, &arrival) {
            stats::lost(&mut self.mac.registers);
            return self.cause(Cause::RXO);
        }
        stats::received(&mut self.mac.registers, frame);
        self.tell_received(queue, &packet, total);
    }

    fn look_at_checksums(&self, frame: &[u8], packet: &Packet, report: &mut Report) {
        let registers = &self.mac.registers;
        report.checksum = rx::packet_checksum(registers, frame);
        let six = matches!(packet.ip, Some(Ip::V6 { .. }));
        let skips = six && registers.get(reg::RFCTL) & rfctl::IPV6_XSUM_DIS != 0;
        if skips || !rx::looks_at_checksums(registers) {
            report.status |= rxd::IXSM;
            return;
        }
        // A frame's type stands before the network layer, behind all tags.
        let found = frame.get(packet.network - 14..).map(offload::check).unwrap_or_default();
        let status = rx::checksum_status(registers, found);
        let udp = status & rxd::TCPCS != 0 && packet.transport == Some(Transport::Udp);
        report.status |= status | if udp { rxd::UDPCS } else { 0 };
    }

    /// Type and identification of the packet.
    fn look_at_layers(&self, packet: &Packet, report: &mut Report) {
        let [filters, checksums] = [reg::RFCTL, reg::RXCSUM].map(|at| self.mac.registers.get(at));
        let transport = u32::from(packet.transport.is_some());
        let kind = match packet.ip {
            Some(Ip::V4 { id }) => {
                if checksums & rxcsum::PCSD == 0 {
                    report.status |= rxd::IPIDV;
                    report.ip_id = id;
                }
                1 + transport
            }
            Some(Ip::V6 { .. }) if filters & rfctl::IPV6_DIS == 0 => 5 + transport,
            _ => 0,
        };
        report.status |= kind << rxd::TYPE_SHIFT;
        if self.acknowledges(packet) {
            report.status |= rxd::ACK;
        }
    }

    /// Whether it is a TCP acknowledgement of the kind that the guest wants to know of.
    fn acknowledges(&self, packet: &Packet) -> bool {
        let with_data = self.mac.registers.get(reg::RFCTL) & rfctl::ACK_DATA_DIS == 0;
        matches!(packet.transport, Some(Transport::Tcp { acknowledges: true, bare }) if bare || with_data)
    }

    /// The queue.
    fn look_at_hash(&self, frame: &[u8], packet: &Packet, report: &mut Report) -> usize {
        if !self.spreads() {
            return 0;
        }
        let wanted = self.mac.registers.get(reg::MRQC);
        let ports_too = self.mac.registers.get(reg::RFCTL) & rfctl::IPV6_EX_DIS == 0;
        let (kind, ports) = match packet.ip {
            Some(Ip::V4 { .. }) if wanted & mrqc::TCP_V4 != 0 && packet.is_tcp() => (1, true),
            Some(Ip::V4 { .. }) if wanted & mrqc::V4 != 0 => (2, false),
            Some(Ip::V6 { extended }) if ports_too || !extended => match packet.is_tcp() {
                true if wanted & mrqc::TCP_V6 != 0 => (3, true),
                _ if wanted & mrqc::V6_EX != 0 => (4, false),
                _ if wanted & mrqc::V6 != 0 => (5, false),
                _ => (0, false),
            },
            Some(Ip::V6 { .. }) if wanted & mrqc::V6 != 0 => (5, false),
            _ => (0, false),
        };
        report.hash = Some(0);
        if kind == 0 {
            return 0;
        }
        let ports = if ports { packet.ports(frame) } else { &[] };
        let hash = toeplitz(&self.hash_key(), &[packet.addresses(frame), ports]);
        let entry = self.mac.registers.get(reg::RETA + (hash & 0x7c)) >> (8 * (hash & 3));
        let queue = entry >> 7 & 1;
        report.hash = Some(hash);
        report.mrq = kind | queue << 8;
        queue as usize
    }

    fn hash_key(&self) -> [u8; 40] {
        let mut key = [0; 40];
        for (bytes, number) in key.as_chunks_mut::<4>().0.iter_mut().zip(0..) {
            *bytes = self.mac.registers.get(reg::RSSRK + 4 * number).to_le_bytes();
        }
        key
    }

    /// How much of a frame goes into the first buffer alone.
    fn header(&self, layout: &Layout, packet: &Packet, frame: &[u8]) -> Option<usize> {
        let whole = self.mac.registers.get(reg::RFCTL) & rfctl::IPFRSP_DIS != 0;
        if layout.format != Format::Split || packet.ip.is_none() || packet.fragment && whole {
            return None;
        }
        Some(packet.data_at).filter(|len| *len <= layout.sizes[0] && *len <= frame.len())
    }

    /// Puts a frame into as many descriptors as it takes. False: there were too few.
    fn write_frame(&mut self, ring: Ring, layout: Layout, arrival: &Arrival<'_>) -> bool {
        let mut at = 0;
        for _ in 0..self.rx_free(ring, layout.units()) {
            let descriptor = ring.address(&self.mac.registers, ring.head(&self.mac.registers));
            let mut read = [0; 32];
            let len = if layout.format == Format::Split { 32 } else { 16 };
            // Where there is no RAM nothing comes from, and nothing goes to, as on a real bus.
            if self.mac.dma.read(descriptor, &mut read[..len]).is_err() {
                read = [0; 32];
            }
            let buffers =
                [0, 8, 16, 24].map(|at| u64::from_le_bytes(*read[at..].first_chunk().expect("8 bytes")));
            let mut written = [0u16; 4];
            // A descriptor without a buffer is skipped.
            if buffers[0] != 0 {
                for number in 0..4 {
                    let size = match (number, arrival.header) {
                        (0, Some(header)) if at == 0 => header,
                        (0, Some(_)) => 0,
                        _ => layout.sizes[number],
                    };
                    let len = size.min(arrival.total - at);
                    let end = arrival.frame.len();
                    let data = &arrival.frame[at.min(end)..(at + len).min(end)];
                    if !data.is_empty() {
                        let _ = self.mac.dma.write(buffers[number], data);
                    }
                    written[number] = len as u16;
                    at += len;
                }
            }
            let done = at >= arrival.total;
            self.write_back(layout.format, descriptor, written, arrival, done);
            ring.advance(&mut self.mac.registers, layout.units());
            if done {
                return true;
            }
        }
        false
    }

    /// Writes a descriptor back. What says that it is done is written last.
    fn write_back(&self, format: Format, at: u64, written: [u16; 4], arrival: &Arrival<'_>, last: bool) {
        let report = if last { arrival.report } else { Report::default() };
        let status = report.status | rxd::DD | if last { rxd::EOP } else { 0 };
        let write = |offset: u64, bytes: &[u8]| {
            let _ = self.mac.dma.write(at.wrapping_add(offset), bytes);
        };
        let [length, tag, checksum] = [written[0], report.tag, report.checksum].map(u16::to_le_bytes);
        if format == Format::Legacy {
            let [low, .., high] = status.to_le_bytes();
            return write(8, [length, checksum, [low, high], tag].as_flattened());
        }
        if format == Format::Split {
            let header = arrival.header.map_or(0, |len| len as u16 & 0x3ff | rxd::HDRSP);
            let words = [header, written[1], written[2], written[3], 0, 0, 0, 0].map(u16::to_le_bytes);
            write(16, words.as_flattened());
        }
        let second = report.hash.unwrap_or(u32::from(report.checksum) << 16 | u32::from(report.ip_id));
        write(0, [report.mrq, second].map(u32::to_le_bytes).as_flattened());
        let [a, b, c, d] = status.to_le_bytes();
        write(8, [[a, b], [c, d], length, tag].as_flattened());
    }

    /// A frame has been received: now, or when the delay timers say.
    fn tell_received(&mut self, queue: usize, packet: &Packet, total: usize) {
        let [relative, absolute, acknowledge, filters, small] =
            [reg::RDTR, reg::RADV, reg::RAID, reg::RFCTL, reg::RSRPD].map(|at| self.mac.registers.get(at));
        let msix = self.is_msix();
        let held = relative != 0 && !msix;
        if total < small as usize {
            self.cause(Cause::SRPD);
        }
        let now = self.mac.wiring.now();
        if filters & rfctl::ACK_DIS == 0 && self.acknowledges(packet) {
            if held && acknowledge != 0 {
                self.irq.acknowledge.hold(now, acknowledge, 0);
            } else {
                self.cause(Cause::ACK);
            }
        }
        match queue {
            _ if held => self.irq.receive.hold(now, relative, absolute),
            0 if msix => self.cause(Cause::RXQ0),
            _ if msix => self.cause(Cause::RXQ1),
            _ => self.cause(Cause::RXT0),
        }
        let (registers, ring) = (&self.mac.registers, RINGS[queue]);
        if !msix && rx::few_left(registers, ring.free(registers), ring.count(registers)) {
            self.cause(Cause::RXDMT0);
        }
    }
}
