//! The host side of a network card, as the card sees it, and the card as those who use the machine see it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::Device;
use crate::model::{Default as Usually, Kind, Property};
use crate::port::Port;

/// Most bytes of an Ethernet frame that a backend takes or gives: the largest IP packet, its header, a VLAN tag.
pub const MAX_FRAME: usize = 65_535 + 18;
/// Fewest bytes of a frame on the wire, without its check sequence. Cards fill up shorter ones.
pub const MIN_FRAME: usize = 60;

/// The other end of a card's cable. Frames are Ethernet's, from the destination address to the end of the
/// payload, with no preamble and no check sequence. Nothing here blocks.
///
/// The backend wakes its card ([`crate::Wake::Backend`]) when there is a frame after there was none, and when it takes
/// frames again after it refused one. It holds none of its own locks then, since the card calls it at once.
pub trait NetBackend: Send + Sync {
    /// Takes a frame of the guest's. False: there is no room now. The card keeps the frame and offers it again when it
    /// is woken, so that a slow host slows the guest and loses nothing. A frame that no wire would carry (empty, more
    /// than [`MAX_FRAME`]) is taken and dropped.
    fn send(&self, frame: &[u8]) -> bool;
    /// The next frame for the guest, which replaces what is in `frame`. False: there is none. At most [`MAX_FRAME`]
    /// bytes; may be shorter than [`MIN_FRAME`].
    fn receive(&self, frame: &mut Vec<u8>) -> bool;

    /// What a card may leave to it; the same all its life.
    fn offloads(&self) -> Offloads {
        Offloads::NONE
    }
    /// From now on it may leave so much to the card, of what [`offloads`](NetBackend::offloads) says. Nothing at the start.
    fn set_offloads(&self, _allowed: Offloads) {}
    /// [`send`](NetBackend::send) with what is left to be done to the frame.
    fn send_with(&self, frame: &[u8], _left: Offload) -> bool {
        self.send(frame)
    }
    /// [`receive`](NetBackend::receive) with what is left to be done to the frame. None: there is none.
    fn receive_with(&self, frame: &mut Vec<u8>) -> Option<Offload> {
        self.receive(frame).then(Offload::default)
    }

    /// Queues that it has in each direction; the same all its life. The first is the one that the calls above mean.
    fn queues(&self) -> u16 {
        1
    }
    /// So many of them are in use from now on, the first ones: one at the start. What waits in others is lost.
    fn set_queues(&self, _in_use: u16) {}
    /// [`send_with`](NetBackend::send_with) by one of the queues.
    fn send_by(&self, _queue: u16, frame: &[u8], left: Offload) -> bool {
        self.send_with(frame, left)
    }
    /// [`receive_with`](NetBackend::receive_with) by one of the queues.
    fn receive_by(&self, queue: u16, frame: &mut Vec<u8>) -> Option<Offload> {
        if queue == 0 { self.receive_with(frame) } else { None }
    }
}

/// What one side of a cable may leave to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums of TCP and UDP.
    pub checksum: bool,
    /// Segments of TCP over IPv4.
    pub tso4: bool,
    /// Of TCP over IPv6.
    pub tso6: bool,
    /// Segments whose packet has CWR set (RFC 3168).
    pub ecn: bool,
}

impl Offloads {
    /// Nothing.
    pub const NONE: Offloads = Offloads { checksum: false, tso4: false, tso6: false, ecn: false };
    /// Everything.
    pub const ALL: Offloads = Offloads { checksum: true, tso4: true, tso6: true, ecn: true };

    /// As a byte.
    pub fn bits(self) -> u8 {
        let Offloads { checksum, tso4, tso6, ecn } = self;
        [checksum, tso4, tso6, ecn].iter().rev().fold(0, |bits, on| bits << 1 | u8::from(*on))
    }

    /// Out of a byte.
    pub fn of_bits(bits: u8) -> Offloads {
        let on = |bit: u8| bits & 1 << bit != 0;
        Offloads { checksum: on(0), tso4: on(1), tso6: on(2), ecn: on(3) }
    }

    /// Whether a frame may have so much left to be done.
    pub fn allow(self, left: Offload) -> bool {
        let segments = match left.gso_type & !gso::ECN {
            gso::NONE => true,
            gso::TCPV4 => self.tso4,
            gso::TCPV6 => self.tso6,
            _ => false,
        };
        let checksum = left.flags & Offload::NEEDS_CSUM == 0 || self.checksum;
        let ecn = left.gso_type & gso::ECN == 0 || self.ecn;
        segments && checksum && ecn
    }
}

/// Kinds of packets that are more than one frame (`VIRTIO_NET_HDR_GSO_*`).
pub mod gso {
    /// It is one frame.
    pub const NONE: u8 = 0;
    /// TCP over IPv4.
    pub const TCPV4: u8 = 1;
    /// TCP over IPv6.
    pub const TCPV6: u8 = 4;
    /// A bit: CWR is set, of the first segment alone.
    pub const ECN: u8 = 0x80;
}

/// What is left to be done to a frame: the header that virtio and the host's kernel put before it (`struct
/// virtio_net_hdr`; Virtio 1.3, 5.1.6) without its count of buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// [`Offload::NEEDS_CSUM`], [`Offload::DATA_VALID`].
    pub flags: u8,
    /// Of [`gso`]: what kind of segments it is to be cut into.
    pub gso_type: u8,
    /// Bytes of all headers; a hint.
    pub hdr_len: u16,
    /// Bytes of payload of each segment.
    pub gso_size: u16,
    /// Where the sum begins.
    pub csum_start: u16,
    /// Where it goes, from there.
    pub csum_offset: u16,
}

impl Offload {
    /// Flag: the checksum is that of the pseudo header alone, and to be completed.
    pub const NEEDS_CSUM: u8 = 1;
    /// Flag: the checksums have been looked at.
    pub const DATA_VALID: u8 = 2;
    /// Bytes of the header.
    pub const LEN: usize = 10;

    /// Whether nothing is left.
    pub fn is_plain(self) -> bool {
        self.flags & Offload::NEEDS_CSUM == 0 && self.gso_type == gso::NONE
    }

    /// As it lies in memory.
    pub fn bytes(self) -> [u8; Offload::LEN] {
        let Offload { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset } = self;
        let [[a, b], [c, d], [e, f], [g, h]] =
            [hdr_len, gso_size, csum_start, csum_offset].map(u16::to_le_bytes);
        [flags, gso_type, a, b, c, d, e, f, g, h]
    }

    /// Out of memory.
    pub fn of_bytes(bytes: [u8; Offload::LEN]) -> Offload {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = bytes;
        let [hdr_len, gso_size, csum_start, csum_offset] =
            [[a, b], [c, d], [e, f], [g, h]].map(u16::from_le_bytes);
        Offload { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset }
    }
}

/// A cable that leads nowhere: takes everything, gives nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullNet;

impl NetBackend for NullNet {
    fn send(&self, _frame: &[u8]) -> bool {
        true
    }
    fn receive(&self, _frame: &mut Vec<u8>) -> bool {
        false
    }
}

/// A cable whose calls go over a port: `o`, once, answered by what it can be left, and by how many queues it has if there
/// are several; `a` and what the card can be left, with no answer; `s` and the frame, answered by 1 if it was taken and 0
/// if not; `r`, answered by 1 and the frame, or by nothing; `S`, `R` likewise, with what is left to be done before the
/// frame. Of several queues: `q` and how many are in use, with no answer; `T`, `U` as `S`, `R`, with the queue first.
pub struct Ported {
    port: Arc<dyn Port>,
    inner: Arc<dyn NetBackend>,
    offloads: Offloads,
    queues: u16,
}

impl Ported {
    /// `inner` is behind the port; in a replay nobody asks it.
    pub fn new(port: Arc<dyn Port>, inner: Arc<dyn NetBackend>) -> Ported {
        let answer = port.call(b"o".to_vec(), &mut || {
            let (bits, queues) = (inner.offloads().bits(), inner.queues());
            if queues == 1 { vec![bits] } else { [&[bits], &queues.to_le_bytes()[..]].concat() }
        });
        let (offloads, queues) = match *answer {
            [] => (Offloads::NONE, 1),
            [bits, low, high] => (Offloads::of_bits(bits), u16::from_le_bytes([low, high])),
            [bits, ..] => (Offloads::of_bits(bits), 1),
        };
        Ported { port, inner, offloads, queues: queues.max(1) }
    }

    fn receive_by_call(
        &self,
        call: Vec<u8>,
        frame: &mut Vec<u8>,
        receive: &mut dyn FnMut(&mut Vec<u8>) -> Option<Offload>,
    ) -> Option<Offload> {
        let found = self.port.call(call, &mut || match receive(frame) {
            None => Vec::new(),
            Some(left) => [&left.bytes()[..], frame.as_slice()].concat(),
        });
        let (left, found) = found.split_first_chunk()?;
        frame.clear();
        frame.extend_from_slice(found);
        Some(Offload::of_bytes(*left))
    }
}

impl NetBackend for Ported {
    fn send(&self, frame: &[u8]) -> bool {
        let taken = self.port.call([b"s", frame].concat(), &mut || vec![self.inner.send(frame).into()]);
        taken != [0]
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        let found = self.port.call(b"r".to_vec(), &mut || {
            if !self.inner.receive(frame) {
                return Vec::new();
            }
            [&[1], frame.as_slice()].concat()
        });
        let Some((_, found)) = found.split_first() else { return false };
        frame.clear();
        frame.extend_from_slice(found);
        true
    }
    fn offloads(&self) -> Offloads {
        self.offloads
    }
    fn set_offloads(&self, allowed: Offloads) {
        self.port.call(vec![b'a', allowed.bits()], &mut || {
            self.inner.set_offloads(allowed);
            Vec::new()
        });
    }
    fn send_with(&self, frame: &[u8], left: Offload) -> bool {
        let call = [b"S", &left.bytes()[..], frame].concat();
        self.port.call(call, &mut || vec![self.inner.send_with(frame, left).into()]) != [0]
    }
    fn receive_with(&self, frame: &mut Vec<u8>) -> Option<Offload> {
        self.receive_by_call(b"R".to_vec(), frame, &mut |frame| self.inner.receive_with(frame))
    }
    fn queues(&self) -> u16 {
        self.queues
    }
    fn set_queues(&self, in_use: u16) {
        if self.queues > 1 {
            self.port.call([b"q", &in_use.to_le_bytes()[..]].concat(), &mut || {
                self.inner.set_queues(in_use);
                Vec::new()
            });
        }
    }
    fn send_by(&self, queue: u16, frame: &[u8], left: Offload) -> bool {
        if self.queues == 1 {
            return self.send_with(frame, left);
        }
        let call = [b"T", &queue.to_le_bytes()[..], &left.bytes(), frame].concat();
        self.port.call(call, &mut || vec![self.inner.send_by(queue, frame, left).into()]) != [0]
    }
    fn receive_by(&self, queue: u16, frame: &mut Vec<u8>) -> Option<Offload> {
        if self.queues == 1 {
            return if queue == 0 { self.receive_with(frame) } else { None };
        }
        let call = [b"U", &queue.to_le_bytes()[..]].concat();
        self.receive_by_call(call, frame, &mut |frame| self.inner.receive_by(queue, frame))
    }
}

/// Which frames of a kind a card receives (QAPI `RxState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Those whose address is in a table.
    Normal,
    /// None.
    None,
    /// All.
    All,
}

/// What a card lets in (QAPI `RxFilterInfo`), for `query-rx-filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RxFilter {
    /// Everything.
    pub promiscuous: bool,
    /// Frames to one station.
    pub unicast: Accepts,
    /// Frames to a group.
    pub multicast: Accepts,
    /// Frames to all.
    pub broadcast: bool,
    /// Tagged frames.
    pub vlan: Accepts,
    /// The station address as it is set now.
    pub main_mac: [u8; 6],
    /// Other station addresses that are let in.
    pub unicast_table: Vec<[u8; 6]>,
    /// Groups, where the card keeps addresses. One with a hash table has none here.
    pub multicast_table: Vec<[u8; 6]>,
    /// VLANs that are let in.
    pub vlan_table: Vec<u16>,
}

/// A network card, for those who use the machine.
pub trait Nic: Device {
    /// The address that it was made with.
    fn mac(&self) -> [u8; 6];
    /// Whether the cable is in.
    fn link(&self) -> bool;
    /// Puts the cable in or pulls it out; the guest sees what hardware would show it.
    fn set_link(&mut self, up: bool);
    /// What it lets in now.
    fn rx_filter(&self) -> RxFilter;
}

/// What every card has. Put before a card's own properties.
pub const MAC: Property = Property {
    name: "mac",
    kind: Kind::Mac,
    default: Usually::None,
    help: "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56",
};
/// The other end of the cable.
pub const NETDEV: Property = Property {
    name: "netdev",
    kind: Kind::Netdev,
    default: Usually::None,
    help: "ID of a netdev to use as a backend",
};

/// Reads six bytes in hexadecimal with colons between them.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut bytes = text.split(':');
    for to in &mut mac {
        let byte =
            bytes.next().filter(|byte| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *to = u8::from_str_radix(byte, 16).ok()?;
    }
    bytes.next().is_none().then_some(mac)
}

/// The six bytes as people read them.
pub fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Frames that wait, and what is left to be done to each.
type Waiting = VecDeque<(Vec<u8>, Offload)>;

/// A backend for tests: keeps what it is sent, gives what it is given. It can be left everything.
#[derive(Debug, Default)]
pub struct TestNet {
    sent: Mutex<VecDeque<(u16, Vec<u8>, Offload)>>,
    /// By queues; one that nothing was given is none.
    given: Mutex<Vec<Waiting>>,
    full: Mutex<bool>,
    allowed: Mutex<Offloads>,
    /// Queues beside the first.
    more: u16,
    /// Those of them that are in use.
    in_use: Mutex<u16>,
}

/// Most frames that a [`TestNet`] backend keeps: a fuzzed card must not grow the test.
const LOOSE: usize = 256;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestNet {
    /// One with so many queues.
    pub fn with_queues(queues: u16) -> TestNet {
        TestNet { more: queues.saturating_sub(1), ..TestNet::default() }
    }
    /// The next frame that the card sent.
    pub fn sent(&self) -> Option<Vec<u8>> {
        self.sent_with().map(|(frame, _)| frame)
    }
    /// The same with what is left to be done to it.
    pub fn sent_with(&self) -> Option<(Vec<u8>, Offload)> {
        lock(&self.sent).pop_front().map(|(_, frame, left)| (frame, left))
    }
    /// The same with the queue by which it came.
    pub fn sent_by(&self) -> Option<(u16, Vec<u8>)> {
        lock(&self.sent).pop_front().map(|(queue, frame, _)| (queue, frame))
    }
    /// A frame for the card, which the test then wakes.
    pub fn give(&self, frame: &[u8]) {
        self.give_with(frame, Offload::default());
    }
    /// The same with something left to be done.
    pub fn give_with(&self, frame: &[u8], left: Offload) {
        self.give_by(0, frame, left);
    }
    /// The same by one of the queues.
    pub fn give_by(&self, queue: u16, frame: &[u8], left: Offload) {
        let mut given = lock(&self.given);
        let queue = usize::from(queue.min(self.more));
        if given.len() <= queue {
            given.resize_with(queue + 1, VecDeque::new);
        }
        if given[queue].len() < LOOSE {
            given[queue].push_back((frame.to_vec(), left));
        }
    }
    /// Queues that the card uses.
    pub fn in_use(&self) -> u16 {
        *lock(&self.in_use) + 1
    }
    /// What it may leave to the card.
    pub fn allowed(&self) -> Offloads {
        *lock(&self.allowed)
    }
    /// Frames that the card has not taken.
    pub fn left(&self) -> usize {
        lock(&self.given).iter().map(VecDeque::len).sum()
    }
    /// Whether it refuses frames.
    pub fn set_full(&self, full: bool) {
        *lock(&self.full) = full;
    }
}

impl NetBackend for TestNet {
    fn send(&self, frame: &[u8]) -> bool {
        self.send_with(frame, Offload::default())
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        self.receive_with(frame).is_some()
    }
    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }
    fn set_offloads(&self, allowed: Offloads) {
        *lock(&self.allowed) = allowed;
    }
    fn send_with(&self, frame: &[u8], left: Offload) -> bool {
        self.send_by(0, frame, left)
    }
    fn receive_with(&self, frame: &mut Vec<u8>) -> Option<Offload> {
        self.receive_by(0, frame)
    }
    fn queues(&self) -> u16 {
        self.more + 1
    }
    fn set_queues(&self, in_use: u16) {
        assert!((1..=self.queues()).contains(&in_use), "the card uses {in_use} queues");
        // What waits stays: a card that is loaded is reset before.
        *lock(&self.in_use) = in_use - 1;
    }
    fn send_by(&self, queue: u16, frame: &[u8], left: Offload) -> bool {
        assert!(queue < self.in_use(), "queue {queue} is not in use");
        if *lock(&self.full) {
            return false;
        }
        let mut sent = lock(&self.sent);
        if sent.len() == LOOSE {
            sent.pop_front();
        }
        sent.push_back((queue, frame.to_vec(), left));
        true
    }
    fn receive_by(&self, queue: u16, frame: &mut Vec<u8>) -> Option<Offload> {
        assert!(queue < self.in_use(), "queue {queue} is not in use");
        let (next, left) = lock(&self.given).get_mut(usize::from(queue))?.pop_front()?;
        *frame = next;
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_frame_is_the_header_of_virtio() {
        let left = Offload {
            flags: 1,
            gso_type: 0x81,
            hdr_len: 54,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
        };
        assert_eq!(left.bytes(), [1, 0x81, 54, 0, 0xa8, 5, 34, 0, 16, 0]);
        assert_eq!(Offload::of_bytes(left.bytes()), left);
        let all = Offloads::ALL;
        assert!(all.allow(left) && !left.is_plain());
        for less in [
            Offloads { checksum: false, ..all },
            Offloads { tso4: false, ..all },
            Offloads { ecn: false, ..all },
        ] {
            assert!(!less.allow(left), "{less:?}");
            assert_eq!(Offloads::of_bits(less.bits()), less);
        }
        // Of UDP, and what nobody knows.
        for unknown in [3, 2, 5, 0x7f] {
            assert!(!all.allow(Offload { gso_type: unknown, ..left }), "{unknown}");
        }
        let valid = Offload { flags: Offload::DATA_VALID, ..Offload::default() };
        assert!(Offloads::NONE.allow(valid) && valid.is_plain());
    }

    #[test]
    fn addresses_are_read_and_written() {
        let mac = [0x52, 0x54, 0, 0x12, 0x34, 0xab];
        assert_eq!(parse_mac("52:54:00:12:34:AB"), Some(mac));
        assert_eq!(format_mac(mac), "52:54:00:12:34:ab");
        for bad in ["", "52:54:00:12:34", "52:54:00:12:34:ab:00", "5:54:00:12:34:ab", "+1:54:00:12:34:ab"] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }
}
