//! TCP packets on their way to the guest: their checksums, and those that are more than one frame.
//!
//! The stack makes neither. What the card may be left is left to it; the rest is done here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use devices_core::net::{Offload, gso};

use super::packet::{
    self, ETHERNET, IPV4_HEADER, IPV6_HEADER, TCP, checksum, checksum_with, put16, u16_at, u32_at,
};
use crate::net::queues::Queues;

/// Where the checksum is in TCP's header.
const CHECKSUM: usize = 16;
/// FIN and PSH, which are the last segment's.
const LAST: u8 = 0x09;

/// Where the headers of a TCP packet in its frame end. IP's has no options: it is ours.
struct Layout {
    v4: bool,
    tcp: usize,
    payload: usize,
}

impl Layout {
    /// None: it is no TCP packet.
    fn of(frame: &[u8]) -> Option<Layout> {
        let v4 = u16_at(frame, 12) == packet::IPV4;
        let tcp = ETHERNET + if v4 { IPV4_HEADER } else { IPV6_HEADER };
        let payload = tcp + usize::from(frame.get(tcp + 12)? >> 4) * 4;
        (payload >= tcp + 20 && payload <= frame.len()).then_some(Layout { v4, tcp, payload })
    }

    fn addresses(&self, frame: &[u8]) -> (IpAddr, IpAddr) {
        if self.v4 {
            let at = |at: usize| Ipv4Addr::from_bits(u32_at(frame, ETHERNET + at)).into();
            return (at(12), at(16));
        }
        let at = |at: usize| {
            let octets = frame.get(ETHERNET + at..).and_then(|rest| rest.first_chunk());
            IpAddr::V6(Ipv6Addr::from(octets.copied().unwrap_or([0; 16])))
        };
        (at(8), at(24))
    }

    /// Makes the checksum.
    fn sum(&self, frame: &mut [u8]) {
        put16(frame, self.tcp + CHECKSUM, 0);
        let (src, dst) = self.addresses(frame);
        let sum = checksum_with(src, dst, TCP, &frame[self.tcp..]);
        put16(frame, self.tcp + CHECKSUM, sum);
    }

    /// Leaves it to the card, with the pseudo header's sum in its place.
    fn leave(&self, frame: &mut [u8]) -> Offload {
        let (src, dst) = self.addresses(frame);
        let sum = packet::pseudo(src, dst, TCP, frame.len() - self.tcp);
        put16(frame, self.tcp + CHECKSUM, sum);
        Offload {
            flags: Offload::NEEDS_CSUM,
            csum_start: self.tcp as u16,
            csum_offset: CHECKSUM as u16,
            ..Offload::default()
        }
    }
}

/// Gives the guest a TCP packet in its frame, which is to be cut into segments of `size` bytes, if that is said.
pub(super) fn deliver(queues: &Queues, frame: &mut [u8], size: Option<u16>) {
    let Some(layout) = Layout::of(frame) else { return };
    let allowed = queues.allowed();
    let size = size.filter(|size| frame.len() - layout.payload > usize::from(*size));
    let Some(size) = size else {
        let left = if allowed.checksum { layout.leave(frame) } else { Offload::default() };
        if !allowed.checksum {
            layout.sum(frame);
        }
        return queues.push_beyond_with(frame, left);
    };
    let (may, gso_type) = if layout.v4 { (allowed.tso4, gso::TCPV4) } else { (allowed.tso6, gso::TCPV6) };
    if !may || !allowed.checksum {
        return cut(queues, frame, &layout, size.max(1).into());
    }
    let left = layout.leave(frame);
    let left = Offload { gso_type, gso_size: size, hdr_len: layout.payload as u16, ..left };
    queues.push_beyond_with(frame, left);
}

/// Makes the checksum of one that is to wait. False: it is more than one frame.
pub(super) fn complete(frame: &mut [u8], size: Option<u16>) -> bool {
    let Some(layout) = Layout::of(frame) else { return false };
    layout.sum(frame);
    size.is_none_or(|size| frame.len() - layout.payload <= size.into())
}

/// Cuts it into frames.
fn cut(queues: &Queues, frame: &[u8], layout: &Layout, size: usize) {
    let (headers, payload) = frame.split_at(layout.payload);
    let first = u32_at(headers, layout.tcp + 4);
    let last = payload.len().div_ceil(size).saturating_sub(1);
    let mut one = Vec::with_capacity(headers.len() + size);
    for (number, part) in payload.chunks(size).enumerate() {
        one.clear();
        one.extend_from_slice(headers);
        one.extend_from_slice(part);
        let length = one.len() - ETHERNET;
        if layout.v4 {
            put16(&mut one, ETHERNET + 2, length as u16);
            put16(&mut one, ETHERNET + 4, number as u16);
            put16(&mut one, ETHERNET + 10, 0);
            let sum = checksum(&one[ETHERNET..ETHERNET + IPV4_HEADER]);
            put16(&mut one, ETHERNET + 10, sum);
        } else {
            put16(&mut one, ETHERNET + 4, (length - IPV6_HEADER) as u16);
        }
        let sequence = first.wrapping_add((number * size) as u32);
        one[layout.tcp + 4..layout.tcp + 8].copy_from_slice(&sequence.to_be_bytes());
        if number != last {
            one[layout.tcp + 13] &= !LAST;
        }
        layout.sum(&mut one);
        queues.push_beyond(&one);
    }
}

#[cfg(test)]
mod tests {
    use devices_core::Waker;
    use devices_core::net::Offloads;

    use super::super::packet::{Ip, write_v4, write_v6};
    use super::*;

    /// A packet of TCP with FIN and PSH, and so many bytes of payload, which count.
    fn packet(v4: bool, payload: usize) -> Vec<u8> {
        let mut frame = vec![2; ETHERNET];
        let (a, b) = (Ipv4Addr::new(10, 0, 2, 2), Ipv4Addr::new(10, 0, 2, 15));
        let ip = if v4 { IPV4_HEADER } else { IPV6_HEADER };
        put16(&mut frame, 12, if v4 { packet::IPV4 } else { packet::IPV6 });
        frame.resize(ETHERNET + ip, 0);
        match v4 {
            true => write_v4(&mut frame[ETHERNET..], (a, b), TCP, ip + 20 + payload, 0, 0),
            false => {
                let pair = (a.to_ipv6_mapped(), b.to_ipv6_mapped());
                write_v6(&mut frame[ETHERNET..], pair, TCP, 20 + payload, 64);
            }
        }
        frame.extend([0, 80, 0, 81, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 0, 0x50, 0x19, 1, 0, 0, 0, 0, 0]);
        frame.extend((0..payload).map(|at| at as u8));
        frame
    }

    fn sound(frame: &[u8]) -> bool {
        let ip = match u16_at(frame, 12) {
            packet::IPV4 => Ip::v4(&frame[ETHERNET..]),
            _ => Ip::v6(&frame[ETHERNET..]),
        };
        ip.is_some_and(|ip| checksum_with(ip.src, ip.dst, TCP, ip.payload) == 0)
    }

    fn came(queues: &Queues) -> Vec<(Vec<u8>, Offload)> {
        let mut frame = Vec::new();
        std::iter::from_fn(|| Some((queues.receive(&mut frame)?, frame.clone())))
            .map(|(left, frame)| (frame, left))
            .collect()
    }

    #[test]
    fn a_card_that_can_be_left_nothing_gets_frames_that_are_whole() {
        for v4 in [true, false] {
            let queues = Queues::new(Waker::default(), 0).unwrap();
            deliver(&queues, &mut packet(v4, 2500), Some(1000));
            let frames = came(&queues);
            assert_eq!(frames.len(), 3);
            let tcp = ETHERNET + if v4 { IPV4_HEADER } else { IPV6_HEADER };
            let mut payload = Vec::new();
            for (number, (frame, left)) in frames.iter().enumerate() {
                assert!(left.is_plain() && sound(frame), "{v4} {number}");
                let sequence = 0xffff_fff0u32.wrapping_add(number as u32 * 1000);
                assert_eq!(u32_at(frame, tcp + 4), sequence);
                assert_eq!(frame[tcp + 13], if number == 2 { 0x19 } else { 0x10 });
                payload.extend_from_slice(&frame[tcp + 20..]);
            }
            assert_eq!(payload, (0..2500).map(|at| at as u8).collect::<Vec<_>>());
            deliver(&queues, &mut packet(v4, 1000), Some(1000));
            let one = came(&queues);
            assert!(one.len() == 1 && sound(&one[0].0));
        }
    }

    #[test]
    fn what_the_card_may_be_left_is_left_to_it() {
        for (v4, kind, start) in [(true, gso::TCPV4, 34), (false, gso::TCPV6, 54)] {
            let queues = Queues::new(Waker::default(), 0).unwrap();
            queues.allow(Offloads::ALL);
            deliver(&queues, &mut packet(v4, 2500), Some(1000));
            deliver(&queues, &mut packet(v4, 3), None);
            let frames = came(&queues);
            assert_eq!(frames.len(), 2);
            let (frame, left) = &frames[0];
            assert_eq!((left.gso_type, left.gso_size, usize::from(left.hdr_len)), (kind, 1000, start + 20));
            for (frame, left) in [(frame, left), (&frames[1].0, &frames[1].1)] {
                assert_eq!(left.flags, Offload::NEEDS_CSUM);
                assert_eq!((left.csum_start, left.csum_offset), (start as u16, 16));
                // Completed, it is right.
                let mut done = frame.clone();
                let sum = checksum(&done[start..]);
                put16(&mut done, start + 16, sum);
                assert!(sound(&done), "{v4}");
            }
            assert_eq!(frames[1].1.gso_type, gso::NONE);
            // Segments of one kind are nothing to a card of the other, nor anything without checksums.
            queues.allow(Offloads { tso4: !v4, tso6: v4, ..Offloads::ALL });
            deliver(&queues, &mut packet(v4, 2500), Some(1000));
            queues.allow(Offloads { checksum: false, ..Offloads::ALL });
            deliver(&queues, &mut packet(v4, 2500), Some(1000));
            let frames = came(&queues);
            assert!(frames.len() == 6 && frames.iter().all(|(frame, left)| left.is_plain() && sound(frame)));
        }
    }
}
