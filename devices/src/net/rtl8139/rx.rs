//! Packets that come in: a ring of bytes, or in C+ mode a ring of descriptors.

use devices_core::Node;
use devices_core::dma::DmaError;
use devices_core::net::MIN_FRAME;

use super::filter::To;
use super::spec::{cpcr, descriptor as d, header, int, rcr, tcr};
use super::tx::Descriptor;
use super::{BURST, Rtl8139};
use crate::net::offload::{self, Checked};

/// Bytes of the check sequence.
const FCS: usize = 4;
/// Longest packet, with check sequence, for the ring of bytes. The chip's border is 4 KiB; behind a ring with WRAP
/// drivers leave room for 2 KiB, which no peer is to pass.
const RING_PACKET_MAX: usize = 2048;
/// Longest for descriptors: their field's.
pub(super) const PACKET_MAX: usize = d::RX_SIZE as usize;
/// Most descriptors that one packet is spread over.
const CHAIN_MAX: usize = 64;

/// The receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Receiver {
    /// The descriptor that is next.
    pub index: u32,
    /// A packet that the guest has no room for yet.
    pub held: Option<Vec<u8>>,
}

impl Receiver {
    /// The receiver was switched on.
    pub fn start(&mut self) {
        *self = Receiver::default();
    }

    /// Whether a packet waits for room.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// For people.
    pub fn inspect(&self, node: &mut Node) {
        node.value("Rx descriptor", self.index);
        node.value("held", self.held.as_ref().map_or(0, Vec::len));
    }
}

/// Memory that is used again from packet to packet; empty between calls.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// A packet as it came.
    frame: Vec<u8>,
    /// The same as it goes into the guest's memory.
    written: Vec<u8>,
    /// The descriptors that it goes to.
    chain: Vec<Descriptor>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is the guest's, or nobody's.
    Gone,
    /// There is no room for it now.
    NoRoom,
    /// Memory may not be written now.
    NotMaster,
}

/// What room the guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// It had, and the packet is there.
    Taken,
    /// It has to make some.
    NotNow,
    /// Its whole ring is too small.
    Never,
}

impl Rtl8139 {
    /// Takes what the backend has, up to what one call may. Whether that was all that can be taken now.
    pub(super) fn receive(&mut self) -> bool {
        let mut frame = std::mem::take(&mut self.scratch.frame);
        let all = self.receive_by(&mut frame);
        self.scratch.frame = frame;
        all
    }

    fn receive_by(&mut self, frame: &mut Vec<u8>) -> bool {
        for _ in 0..BURST {
            if self.registers.receives() && self.phy.link && !self.dma.enabled() {
                return true;
            }
            let held = self.rx.held.take();
            let again = held.is_some();
            match held {
                Some(held) => *frame = held,
                None if self.backend.receive(frame) => {}
                None => return true,
            }
            match self.deliver(frame) {
                Fate::Gone => {}
                fate @ (Fate::NoRoom | Fate::NotMaster) => {
                    self.rx.held = Some(std::mem::take(frame));
                    if fate == Fate::NoRoom && !again {
                        self.raise(int::RXOVW);
                    }
                    return true;
                }
            }
        }
        false
    }

    /// A packet of the card's own, in loopback: lost if there is no room.
    pub(super) fn loop_back(&mut self, frame: &[u8]) {
        let mut copy = std::mem::take(&mut self.scratch.frame);
        copy.clear();
        copy.extend_from_slice(frame);
        if self.deliver(&mut copy) == Fate::NoRoom {
            self.raise(int::RXOVW);
            self.miss();
        }
        self.scratch.frame = copy;
    }

    fn miss(&mut self) {
        self.counters.missed = self.counters.missed.wrapping_add(1);
        self.counters.rx_errors = self.counters.rx_errors.wrapping_add(1);
        self.registers.mpc = (self.registers.mpc + 1) & 0x00ff_ffff;
    }

    fn deliver(&mut self, frame: &mut Vec<u8>) -> Fate {
        let loopback = self.registers.tcr & tcr::LOOPBACK == tcr::LOOPBACK;
        if !self.registers.receives() || !self.phy.link && !loopback {
            self.counters.dropped += 1;
            return Fate::Gone;
        }
        if frame.len() < MIN_FRAME {
            frame.resize(MIN_FRAME, 0);
        }
        let address = frame.first_chunk().copied().unwrap_or_default();
        let Some(to) = self.registers.lets_in(address) else {
            self.counters.rx_errors = self.counters.rx_errors.wrapping_add(1);
            return Fate::Gone;
        };
        let descriptors = self.registers.cpcr & cpcr::RX != 0;
        let longest = if descriptors { PACKET_MAX } else { RING_PACKET_MAX };
        if frame.len() + FCS > longest {
            self.miss();
            return Fate::Gone;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.written.clear();
        let written = if descriptors {
            self.write_descriptors(frame, to, &mut scratch)
        } else {
            self.write_ring(frame, to, &mut scratch.written)
        };
        self.scratch = scratch;
        match written {
            Ok(Room::Taken) => self.received(frame.len(), to),
            Ok(Room::NotNow) => return Fate::NoRoom,
            Ok(Room::Never) => {
                self.raise(int::RXOVW);
                self.miss();
            }
            Err(DmaError::NotMaster) => return Fate::NotMaster,
            Err(error @ DmaError::NotRam(_)) => {
                self.bus_error(error);
                self.miss();
            }
        }
        Fate::Gone
    }

    fn received(&mut self, len: usize, to: To) {
        self.counters.rx_ok += 1;
        self.counters.rx_bytes += len as u64;
        match to {
            To::Station => self.counters.rx_station += 1,
            To::All => self.counters.rx_broadcast += 1,
            To::Group => self.counters.rx_multicast = self.counters.rx_multicast.wrapping_add(1),
            To::Other => {}
        }
        self.raise(int::ROK);
    }

    /// Writes a packet with its header to the ring of bytes.
    fn write_ring(&mut self, frame: &[u8], to: To, bytes: &mut Vec<u8>) -> Result<Room, DmaError> {
        let len = self.registers.ring_len();
        let used = self.registers.unread();
        let status = header::ROK
            | match to {
                To::Station => header::PAM,
                To::Group => header::MAR,
                To::All => header::BAR,
                To::Other => 0,
            };
        bytes.extend((status | ((frame.len() + FCS) as u32) << 16).to_le_bytes());
        bytes.extend(frame);
        bytes.extend(check_sequence(frame).to_le_bytes());
        let takes = (bytes.len() as u32).next_multiple_of(4);
        // A ring that is full to the last byte would look empty.
        if takes >= len - used {
            return Ok(Room::NotNow);
        }
        let at = u32::from(self.registers.cbr) & (len - 1) & !3;
        let behind = len < 65_536 && self.registers.rcr & rcr::WRAP != 0;
        let first = if behind { bytes.len() } else { bytes.len().min((len - at) as usize) };
        let start = self.registers.rbstart;
        self.dma.write(start.wrapping_add(at).into(), &bytes[..first])?;
        self.dma.write(start.into(), &bytes[first..])?;
        self.registers.cbr = ((at + takes) & (len - 1)) as u16;
        Ok(Room::Taken)
    }

    /// Writes a packet to as many descriptors as it takes.
    fn write_descriptors(&mut self, frame: &[u8], to: To, with: &mut Scratch) -> Result<Room, DmaError> {
        let Scratch { frame: _, written: bytes, chain } = with;
        let tag = self.untagged(frame, bytes);
        bytes.extend(check_sequence(frame).to_le_bytes());
        let next = match self.rx_chain(bytes.len(), chain)? {
            Ok(next) => next,
            Err(room) => return Ok(room),
        };
        let mut rest = bytes.as_slice();
        for Descriptor { command, address, .. } in chain.iter() {
            let (part, more) = rest.split_at(rest.len().min((command & d::RX_SIZE) as usize));
            self.dma.write(*address, part)?;
            rest = more;
        }
        let status = match to {
            To::Station => d::PAM,
            To::Group => d::MAR,
            To::All => d::BAR,
            To::Other => 0,
        };
        let status = status | self.checked(frame) | bytes.len() as u32;
        let last = chain.len() - 1;
        // The first one last: when the driver sees that it is its own, so are the others.
        for (number, descriptor) in chain.iter().enumerate().rev() {
            let ends = if number == 0 { d::FS } else { 0 } | if number == last { d::LS } else { 0 };
            let command = descriptor.command & d::EOR | ends | status;
            let mut words = [0; 8];
            words[..4].copy_from_slice(&command.to_le_bytes());
            words[4..].copy_from_slice(&tag.to_le_bytes());
            // The owner is told last.
            self.dma.write(descriptor.place + 4, &words[4..])?;
            self.dma.write(descriptor.place, &words[..4])?;
        }
        self.rx.index = next;
        Ok(Room::Taken)
    }

    /// The descriptors for so many bytes, in `chain`, and which one is next then; or why there are none.
    fn rx_chain(&self, len: usize, chain: &mut Vec<Descriptor>) -> Result<Result<u32, Room>, DmaError> {
        chain.clear();
        let ring = self.registers.rx_ring();
        // Nobody has told where it is yet.
        if ring == 0 {
            return Ok(Err(Room::NotNow));
        }
        let (mut room, mut index) = (0, self.rx.index);
        while room < len {
            let descriptor = self.descriptor(ring, index)?;
            if descriptor.command & d::OWN == 0 {
                return Ok(Err(Room::NotNow));
            }
            room += (descriptor.command & d::RX_SIZE) as usize;
            index = descriptor.next(index);
            chain.push(descriptor);
            let whole_ring = index == self.rx.index || chain.len() == CHAIN_MAX;
            if whole_ring && room < len {
                return Ok(Err(Room::Never));
            }
        }
        Ok(Ok(index))
    }

    /// Puts the packet, without its VLAN tag if the driver wants it so, into `plain`, which is empty. Gives the
    /// descriptor's word for the tag.
    fn untagged(&self, frame: &[u8], plain: &mut Vec<u8>) -> u32 {
        if self.registers.cpcr & cpcr::RX_VLAN == 0 || frame[12..14] != [0x81, 0] {
            plain.extend_from_slice(frame);
            return 0;
        }
        plain.extend_from_slice(&frame[..12]);
        plain.extend_from_slice(&frame[16..]);
        plain.resize(plain.len().max(MIN_FRAME), 0);
        d::TAVA | u32::from(u16::from_le_bytes([frame[14], frame[15]]))
    }

    /// What the descriptor says about checksums.
    fn checked(&self, frame: &[u8]) -> u32 {
        if self.registers.cpcr & cpcr::RX_CHECKSUM == 0 {
            return 0;
        }
        judged(frame)
    }
}

/// Protocol and wrong checksums of an IPv4 packet, as a descriptor's bits.
fn judged(frame: &[u8]) -> u32 {
    let packet = if frame[12..14] == [0x81, 0] { &frame[4..] } else { frame };
    let Checked { ip: Some(ip), transport } = offload::check(packet) else { return 0 };
    let wrong = if ip { 0 } else { d::IPF };
    wrong
        | match (packet[14 + 9], transport) {
            (6, Some(right)) => d::TCP | if right { 0 } else { d::TCPF },
            (17, Some(right)) => d::UDP | if right { 0 } else { d::UDPF },
            _ => d::IP,
        }
}

/// The Ethernet check sequence, eight bytes at a time: every packet has one, and no driver looks at it.
fn check_sequence(frame: &[u8]) -> u32 {
    let (eights, rest) = frame.as_chunks::<8>();
    let crc = eights.iter().fold(u32::MAX, |crc, bytes| {
        let mut bytes = *bytes;
        for (byte, crc) in bytes.iter_mut().zip(crc.to_le_bytes()) {
            *byte ^= crc;
        }
        bytes.iter().zip(CRC.iter().rev()).fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)])
    });
    !rest.iter().fold(crc, |crc, byte| CRC[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

/// Remainders of all bytes with zero to seven bytes of zeros behind them.
static CRC: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc: u32 = tables[behind - 1][byte];
            tables[behind][byte] = tables[0][(crc & 0xff) as usize] ^ crc >> 8;
            byte += 1;
        }
        behind += 1;
    }
    tables
};
