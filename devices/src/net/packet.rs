//! What a received frame is, for cards that look: its layers, for checksums, splitting and the hash of RSS. Nothing about it
//! is believed.

/// Ethernet types.
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// IP protocols.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// IPv6 extension headers: hop by hop, routing, fragment, destination.
const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// A routing header of that type has the address at which a mobile host is at home (RFC 6275, 6.4).
const TYPE_2: u8 = 2;
/// Options of a destination header: one byte of padding; the address at which the sender is at home (RFC 6275, 6.3).
const PAD_1: u8 = 0;
const HOME_ADDRESS: u8 = 0xc9;
/// Most of them that are looked at.
const MOST_EXTENSIONS: usize = 8;

/// The network layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ip {
    V4 { id: u16 },
    V6 { extended: bool },
}

/// The transport layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// `bare`: with no data.
    Tcp {
        acknowledges: bool,
        bare: bool,
    },
    Udp,
}

/// A frame's layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Where the network layer begins, behind all tags.
    pub network: usize,
    pub ip: Option<Ip>,
    /// Only of a packet that is whole.
    pub transport: Option<Transport>,
    pub fragment: bool,
    /// Where the transport layer begins, and where its data do.
    pub transport_at: usize,
    pub data_at: usize,
    /// Where the addresses are at which sender and receiver are at home, of a packet over IPv6 that has them.
    home: [Option<usize>; 2],
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?))
}

impl Packet {
    /// Looks at a frame; tags have that type or a usual one.
    pub fn of(frame: &[u8], vet: u16) -> Packet {
        let mut packet = Packet { network: 14, ..Packet::default() };
        let mut kind = word(frame, 12);
        for _ in 0..2 {
            if kind.is_some_and(|kind| kind == vet || VLAN.contains(&kind)) {
                kind = word(frame, packet.network + 2);
                packet.network += 4;
            }
        }
        match kind {
            Some(IPV4) => packet.look_at_v4(frame),
            Some(IPV6) => packet.look_at_v6(frame),
            _ => {}
        }
        packet
    }

    fn look_at_v4(&mut self, frame: &[u8]) {
        let Some(header) = frame.get(self.network..).and_then(|rest| rest.first_chunk::<20>()) else {
            return;
        };
        let len = usize::from(header[0] & 15) * 4;
        if header[0] >> 4 != 4 || len < 20 {
            return;
        }
        self.ip = Some(Ip::V4 { id: u16::from_be_bytes([header[4], header[5]]) });
        self.fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        self.transport_at = self.network + len;
        self.data_at = self.transport_at;
        let end = self.network + usize::from(u16::from_be_bytes([header[2], header[3]]));
        self.look_at_transport(frame, header[9], end);
    }

    fn look_at_v6(&mut self, frame: &[u8]) {
        let Some(header) = frame.get(self.network..).and_then(|rest| rest.first_chunk::<40>()) else {
            return;
        };
        if header[0] >> 4 != 6 {
            return;
        }
        let end = self.network + 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let (mut at, mut next) = (self.network + 40, header[6]);
        for _ in 0..MOST_EXTENSIONS {
            let Some(&[following, len]) = frame.get(at..).and_then(|rest| rest.first_chunk()) else { break };
            if !EXTENSIONS.contains(&next) {
                break;
            }
            self.fragment |= next == FRAGMENT;
            let end = at + if next == FRAGMENT { 8 } else { 8 + 8 * usize::from(len) };
            let header = frame.get(at..end).unwrap_or_default();
            match (next, header) {
                (DESTINATION, header) => {
                    self.home[0] = self.home[0].or(home_address(header).map(|to| at + to))
                }
                // The last of its two stations is what is left.
                (ROUTING, [_, 2, TYPE_2, 1, ..]) => self.home[1] = Some(at + 8),
                _ => {}
            }
            at = end;
            next = following;
        }
        self.ip = Some(Ip::V6 { extended: at != self.network + 40 });
        self.transport_at = at;
        self.data_at = at;
        self.look_at_transport(frame, next, end);
    }

    /// `end`: where the packet ends by its own word.
    fn look_at_transport(&mut self, frame: &[u8], protocol: u8, end: usize) {
        let Some(rest) = frame.get(self.transport_at..).filter(|_| !self.fragment) else { return };
        match protocol {
            TCP if rest.len() >= 20 => {
                self.data_at += usize::from(rest[12] >> 4).max(5) * 4;
                let bare = self.data_at >= end;
                self.transport = Some(Transport::Tcp { acknowledges: rest[13] & 0x10 != 0, bare });
            }
            UDP if rest.len() >= 8 => {
                self.data_at += 8;
                self.transport = Some(Transport::Udp);
            }
            _ => {}
        }
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self.transport, Some(Transport::Tcp { .. }))
    }

    /// Its source and destination addresses.
    pub fn addresses<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let (first, len) = match self.ip {
            Some(Ip::V4 { .. }) => (12, 8),
            Some(Ip::V6 { .. }) => (8, 32),
            None => (0, 0),
        };
        frame.get(self.network + first..).and_then(|rest| rest.get(..len)).unwrap_or_default()
    }

    /// The same, one by one.
    pub fn both_addresses<'a>(&self, frame: &'a [u8]) -> [&'a [u8]; 2] {
        let both = self.addresses(frame);
        let (from, to) = both.split_at(both.len() / 2);
        [from, to]
    }

    /// Where sender and receiver are at home.
    pub fn real_addresses<'a>(&self, frame: &'a [u8]) -> [&'a [u8]; 2] {
        let mut both = self.both_addresses(frame);
        for (address, home) in both.iter_mut().zip(self.home) {
            let home = home.and_then(|at| frame.get(at..)).and_then(|rest| rest.get(..16));
            *address = home.unwrap_or(*address);
        }
        both
    }

    /// Its source and destination ports.
    pub fn ports<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame.get(self.transport_at..).and_then(|rest| rest.get(..4)).unwrap_or_default()
    }
}

/// Where the home address is in a destination header.
fn home_address(header: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        match *header.get(at..)? {
            [PAD_1, ..] => at += 1,
            [HOME_ADDRESS, 16, ..] => return Some(at + 2),
            [_, len, ..] => at += 2 + usize::from(len),
            _ => return None,
        }
    }
}

/// Toeplitz's hash: the key, moved on by a bit for every bit of the data, summed where that is set.
pub(crate) fn toeplitz(key: &[u8; 40], data: &[&[u8]]) -> u32 {
    let mut window = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
    let mut next = key[4..].iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut hash = 0;
    for byte in data.iter().copied().flatten() {
        for bit in (0..8).rev() {
            if byte >> bit & 1 != 0 {
                hash ^= window;
            }
            window = window << 1 | u32::from(next.next().unwrap_or(0));
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the packets of Microsoft's "Verifying the RSS Hash Calculation".
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    #[test]
    fn the_hash_is_microsofts() {
        let addresses = [66, 9, 149, 187, 161, 142, 100, 80];
        let ports = [2794u16.to_be_bytes(), 1766u16.to_be_bytes()].concat();
        assert_eq!(toeplitz(&KEY, &[&addresses]), 0x323e_8fc2);
        assert_eq!(toeplitz(&KEY, &[&addresses, &ports]), 0x51cc_c178);
        let six = [
            0x3ffe_2501_0200_1fff_0000_0000_0000_0007u128.to_be_bytes(),
            0x3ffe_2501_0200_0003_0000_0000_0000_0001u128.to_be_bytes(),
        ]
        .concat();
        assert_eq!(toeplitz(&KEY, &[&six]), 0x2cc1_8cd5);
        assert_eq!(toeplitz(&KEY, &[&six, &ports]), 0x4020_7d3d);
    }

    #[test]
    fn layers_are_found_behind_tags_and_extensions() {
        let mut frame = vec![2; 12];
        frame.extend([0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 28, 60, 64]);
        frame.extend([7; 32]);
        frame.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        frame.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
        let packet = Packet::of(&frame, 0x8100);
        assert_eq!((packet.network, packet.transport_at, packet.data_at), (22, 70, 90));
        assert_eq!(packet.ip, Some(Ip::V6 { extended: true }));
        assert_eq!(packet.transport, Some(Transport::Tcp { acknowledges: true, bare: true }));
        assert_eq!(packet.addresses(&frame), [7; 32]);
        assert_eq!(packet.ports(&frame), [0, 1, 0, 2]);
        for len in 0..frame.len() {
            let packet = Packet::of(&frame[..len], 0x8100);
            let _ = (packet.addresses(&frame[..len]), packet.ports(&frame[..len]));
            assert_eq!(packet.transport, None, "{len}");
        }
    }
}
