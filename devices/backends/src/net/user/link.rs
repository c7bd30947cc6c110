//! The Ethernet that guest and stack share: who has which address there, and how a packet gets its frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::options::UserOptions;
use super::packet::{self, ETHERNET, IPV4_HEADER, IPV6_HEADER, MTU};
use super::{arp, ndp, segment};
use crate::net::queues::Queues;

pub(super) type Mac = [u8; 6];

pub(super) const BROADCAST: Mac = [0xff; 6];
/// The router's own address on the link.
pub(super) const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// The station that all IPv6 comes from.
pub(super) const MAC_V6: Mac = [0x52, 0x56, 0, 0, 0, 2];

/// Stations that are known at once; the one heard longest ago gives way.
const NEIGHBOURS: usize = 64;
/// Packets that wait for an answer to "who has".
const WAITING: usize = 16;
/// Before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

struct Waiting {
    address: IpAddr,
    asked: Instant,
    frame: Vec<u8>,
}

/// The stack's end of the queues.
pub(super) struct Link {
    pub(super) queues: Arc<Queues>,
    pub(super) options: Arc<UserOptions>,
    pub(super) now: Instant,
    /// In the order of their last use, the last one last.
    neighbours: Vec<(IpAddr, Mac)>,
    waiting: Vec<Waiting>,
    id: u16,
    /// A frame that is being made.
    frame: Vec<u8>,
}

/// The station that an IPv4 address of ours has: 52:55 and the address, as libslirp's.
pub(super) fn mac_v4(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x52, 0x55, a, b, c, d]
}

impl Link {
    pub(super) fn new(queues: Arc<Queues>, options: Arc<UserOptions>, now: Instant) -> Link {
        Link { queues, options, now, neighbours: Vec::new(), waiting: Vec::new(), id: 1, frame: Vec::new() }
    }

    /// Whether a frame to that station is for us.
    pub(super) fn ours(mac: &[u8]) -> bool {
        mac[0] & 1 != 0 || (mac[0] == 0x52 && (mac[1] == 0x55 || mac[1] == 0x56))
    }

    /// Whether an address may be one of the guest's.
    pub(super) fn guest_address(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => self.options.ipv4.is_some_and(|v4| {
                v4.contains(ip) && ![v4.host, v4.dns, v4.net, v4.broadcast()].contains(&ip)
            }),
            IpAddr::V6(ip) => self.options.ipv6.is_some_and(|v6| {
                (v6.contains(ip) && ip != v6.host && ip != v6.dns)
                    || (ip.is_unicast_link_local() && ip != LINK_LOCAL)
            }),
        }
    }

    /// The station of an address was heard.
    pub(super) fn learn(&mut self, address: IpAddr, mac: Mac) {
        if self.neighbours.last() == Some(&(address, mac)) {
            return;
        }
        if mac[0] & 1 != 0 || !self.guest_address(address) {
            return;
        }
        match self.neighbours.iter().position(|known| known.0 == address) {
            Some(at) => drop(self.neighbours.remove(at)),
            None if self.neighbours.len() == NEIGHBOURS => drop(self.neighbours.remove(0)),
            None => {}
        }
        self.neighbours.push((address, mac));
        while let Some(at) = self.waiting.iter().position(|waiting| waiting.address == address) {
            let mut frame = self.waiting.remove(at).frame;
            frame[..6].copy_from_slice(&mac);
            self.queues.push_beyond(&frame);
        }
    }

    /// The station that a packet goes to. None: nobody has said yet.
    fn station(&self, address: IpAddr) -> Option<Mac> {
        match address {
            IpAddr::V4(ip) if ip.is_broadcast() => Some(BROADCAST),
            IpAddr::V6(ip) if ip.is_multicast() => {
                let octets = ip.octets();
                Some([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
            }
            _ => self.neighbours.iter().rev().find(|known| known.0 == address).map(|known| known.1),
        }
    }

    /// A frame of that type with that many bytes of payload.
    pub(super) fn frame<R>(
        &mut self,
        (to, from): (Mac, Mac),
        kind: u16,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        self.frame.clear();
        self.frame.resize(ETHERNET + len, 0);
        header(&mut self.frame, to, from, kind);
        let result = fill(&mut self.frame[ETHERNET..]);
        self.queues.push_beyond(&self.frame);
        result
    }

    /// The type of a packet to `dst`, and the station that it comes from.
    fn kind(&self, dst: IpAddr) -> (u16, Mac) {
        match (dst, self.options.ipv4) {
            (IpAddr::V4(_), Some(v4)) => (packet::IPV4, mac_v4(v4.host)),
            (IpAddr::V4(_), None) => (packet::IPV4, MAC_V6),
            (IpAddr::V6(_), _) => (packet::IPV6, MAC_V6),
        }
    }

    /// A TCP packet of that many bytes to `dst`, which `fill` writes but for its checksum. `size`: it is to be cut into
    /// segments of so many bytes.
    pub(super) fn segments<R>(
        &mut self,
        dst: IpAddr,
        len: usize,
        size: Option<u16>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let (kind, from) = self.kind(dst);
        let to = self.station(dst);
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.resize(ETHERNET + len, 0);
        header(&mut frame, to.unwrap_or(BROADCAST), from, kind);
        let result = fill(&mut frame[ETHERNET..]);
        if to.is_some() {
            segment::deliver(&self.queues, &mut frame, size);
        } else if segment::complete(&mut frame, size) {
            self.ask(dst, frame.clone());
        }
        self.frame = frame;
        result
    }

    /// A packet of that many bytes to `dst`, which `fill` writes.
    pub(super) fn packet<R>(&mut self, dst: IpAddr, len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let (kind, from) = self.kind(dst);
        if let Some(to) = self.station(dst) {
            return self.frame((to, from), kind, len, fill);
        }
        let mut frame = vec![0; ETHERNET + len];
        header(&mut frame, BROADCAST, from, kind);
        let result = fill(&mut frame[ETHERNET..]);
        self.ask(dst, frame);
        result
    }

    /// Nobody has said who has this address: asks, and keeps the packet.
    fn ask(&mut self, address: IpAddr, frame: Vec<u8>) {
        if !self.guest_address(address) {
            return;
        }
        let now = self.now;
        let asked = self.waiting.iter().filter(|w| w.address == address).map(|w| w.asked).max();
        let again = asked.is_none_or(|asked| now.duration_since(asked) >= ASK_AGAIN);
        if again {
            match address {
                IpAddr::V4(ip) => arp::ask(self, ip),
                IpAddr::V6(ip) => ndp::ask(self, ip),
            }
        }
        // One packet an address: what is lost is sent again by those who care.
        self.waiting.retain(|waiting| waiting.address != address);
        if self.waiting.len() == WAITING {
            self.waiting.remove(0);
        }
        let asked = if again { now } else { asked.unwrap_or(now) };
        self.waiting.push(Waiting { address, asked, frame });
    }

    /// Sends an upper layer's packet, in pieces if it is larger than the link allows.
    pub(super) fn datagram(&mut self, src: IpAddr, dst: IpAddr, protocol: u8, body: &[u8]) {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.datagram_v4((src, dst), protocol, body),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.datagram_v6((src, dst), protocol, packet::HOPS, body),
            _ => {}
        }
    }

    fn datagram_v4(&mut self, pair: (Ipv4Addr, Ipv4Addr), protocol: u8, body: &[u8]) {
        if IPV4_HEADER + body.len() > 65_535 {
            return;
        }
        self.id = self.id.wrapping_add(1);
        let id = self.id;
        let most = (MTU - IPV4_HEADER) & !7;
        let mut offset = 0;
        loop {
            let rest = body.len() - offset;
            let take = if rest <= MTU - IPV4_HEADER { rest } else { most };
            let more = u16::from(take < rest) << 13;
            self.packet(pair.1.into(), IPV4_HEADER + take, |to| {
                packet::write_v4(to, pair, protocol, IPV4_HEADER + take, id, more | (offset / 8) as u16);
                to[IPV4_HEADER..].copy_from_slice(&body[offset..offset + take]);
            });
            offset += take;
            if offset == body.len() {
                return;
            }
        }
    }

    pub(super) fn datagram_v6(&mut self, pair: (Ipv6Addr, Ipv6Addr), protocol: u8, hops: u8, body: &[u8]) {
        let dst = pair.1.into();
        if body.len() <= MTU - IPV6_HEADER {
            return self.packet(dst, IPV6_HEADER + body.len(), |to| {
                packet::write_v6(to, pair, protocol, body.len(), hops);
                to[IPV6_HEADER..].copy_from_slice(body);
            });
        }
        if body.len() > 65_535 {
            return;
        }
        self.id = self.id.wrapping_add(1);
        let id = self.id;
        let most = (MTU - IPV6_HEADER - 8) & !7;
        for (index, part) in body.chunks(most).enumerate() {
            let offset = index * most;
            let more = u16::from(offset + part.len() < body.len());
            self.packet(dst, IPV6_HEADER + 8 + part.len(), |to| {
                packet::write_v6(to, pair, packet::FRAGMENT, 8 + part.len(), hops);
                let fragment = &mut to[IPV6_HEADER..];
                fragment[..8].fill(0);
                fragment[0] = protocol;
                packet::put16(fragment, 2, offset as u16 | more);
                packet::put16(fragment, 6, id);
                fragment[8..].copy_from_slice(part);
            });
        }
    }
}

fn header(frame: &mut [u8], to: Mac, from: Mac, kind: u16) {
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    packet::put16(frame, 12, kind);
}
