//! IP packets: taken apart and put together. What comes in is the guest's and may be anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const ETHERNET: usize = 14;
pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
/// IPv6's fragment header.
pub(super) const FRAGMENT: u8 = 44;

pub(super) const IPV4_HEADER: usize = 20;
pub(super) const IPV6_HEADER: usize = 40;
/// Most bytes of a packet on our Ethernet.
pub(super) const MTU: usize = 1500;
/// Hops that a packet of ours may take.
pub(super) const HOPS: u8 = 64;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

pub(super) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The sum of 16-bit words in ones' complement, folded.
fn sum(mut total: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        total += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        total += u64::from(u32::from_be_bytes(last));
    }
    total
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// The Internet checksum. Over bytes that hold a right one it gives 0.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    fold(sum(0, bytes))
}

/// The sum of a pseudo-header alone, as it stands in a checksum that is to be completed.
pub(super) fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> u16 {
    !fold(addresses(src, dst) + u64::from(protocol) + len as u64)
}

/// The checksum of an upper layer's packet with the pseudo-header before it.
pub(super) fn checksum_with(src: IpAddr, dst: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    fold(sum(addresses(src, dst) + u64::from(protocol) + body.len() as u64, body))
}

fn addresses(src: IpAddr, dst: IpAddr) -> u64 {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => sum(sum(0, &src.octets()), &dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => sum(sum(0, &src.octets()), &dst.octets()),
        _ => 0,
    }
}

/// A packet's header, read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    pub(super) payload: &'a [u8],
    /// The packet as it came, without what Ethernet put behind it; None: it had more headers than one.
    pub(super) whole: Option<&'a [u8]>,
    /// It is a piece: (identification, offset, whether more follow).
    pub(super) piece: Option<(u32, usize, bool)>,
}

impl<'a> Ip<'a> {
    /// Reads an IPv4 packet. None: it is none.
    pub(super) fn v4(bytes: &'a [u8]) -> Option<Ip<'a>> {
        let first = *bytes.first()?;
        let header = usize::from(first & 15) * 4;
        let total = usize::from(u16_at(bytes, 2));
        if first >> 4 != 4 || header < IPV4_HEADER || total < header || bytes.len() < total {
            return None;
        }
        if checksum(&bytes[..header]) != 0 {
            return None;
        }
        let bits = u16_at(bytes, 6);
        let (offset, more) = (usize::from(bits & 0x1fff) * 8, bits & 0x2000 != 0);
        Some(Ip {
            src: Ipv4Addr::from_bits(u32_at(bytes, 12)).into(),
            dst: Ipv4Addr::from_bits(u32_at(bytes, 16)).into(),
            protocol: bytes[9],
            payload: &bytes[header..total],
            whole: Some(&bytes[..total]),
            piece: (offset != 0 || more).then(|| (u32::from(u16_at(bytes, 4)), offset, more)),
        })
    }

    /// The sender of an IPv4 packet of which only the beginning is there.
    pub(super) fn v4_head(bytes: &[u8]) -> Option<IpAddr> {
        (bytes.len() >= IPV4_HEADER).then(|| Ipv4Addr::from_bits(u32_at(bytes, 12)).into())
    }

    /// Reads an IPv6 packet with the extension headers that we look behind: hop-by-hop, destination options and a
    /// fragment.
    pub(super) fn v6(bytes: &'a [u8]) -> Option<Ip<'a>> {
        if bytes.len() < IPV6_HEADER || bytes[0] >> 4 != 6 {
            return None;
        }
        let end = IPV6_HEADER + usize::from(u16_at(bytes, 4));
        let bytes = bytes.get(..end)?;
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&bytes[at..at + 16]);
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        let (mut protocol, mut at, mut piece) = (bytes[6], IPV6_HEADER, None);
        // More headers than these have no use that we know.
        for _ in 0..4 {
            match protocol {
                0 | 60 => {
                    let header = bytes.get(at..at + 2)?;
                    protocol = header[0];
                    at += (usize::from(header[1]) + 1) * 8;
                }
                FRAGMENT if piece.is_none() => {
                    let header = bytes.get(at..at + 8)?;
                    protocol = header[0];
                    let bits = u16_at(header, 2);
                    piece = Some((u32_at(header, 4), usize::from(bits & !7), bits & 1 != 0));
                    at += 8;
                    // What follows is a piece of something.
                    break;
                }
                _ => break,
            }
        }
        Some(Ip {
            src: address(8),
            dst: address(24),
            protocol,
            payload: bytes.get(at..)?,
            whole: (at == IPV6_HEADER).then_some(bytes),
            piece,
        })
    }
}

/// Writes an IPv4 header for a packet of `total` bytes. `bits`: flags and offset.
pub(super) fn write_v4(
    to: &mut [u8],
    (src, dst): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    total: usize,
    id: u16,
    bits: u16,
) {
    to[..IPV4_HEADER].fill(0);
    to[0] = 0x45;
    put16(to, 2, total as u16);
    put16(to, 4, id);
    put16(to, 6, bits);
    to[8] = HOPS;
    to[9] = protocol;
    to[12..16].copy_from_slice(&src.octets());
    to[16..20].copy_from_slice(&dst.octets());
    let sum = checksum(&to[..IPV4_HEADER]);
    put16(to, 10, sum);
}

/// Writes an IPv6 header for a payload of that many bytes.
pub(super) fn write_v6(
    to: &mut [u8],
    (src, dst): (Ipv6Addr, Ipv6Addr),
    protocol: u8,
    payload: usize,
    hops: u8,
) {
    to[..IPV6_HEADER].fill(0);
    to[0] = 0x60;
    put16(to, 4, payload as u16);
    to[6] = protocol;
    to[7] = hops;
    to[8..24].copy_from_slice(&src.octets());
    to[24..40].copy_from_slice(&dst.octets());
}

/// Where addresses of a packet of the guest's must not lead: to the host's own loopback by its name, to nowhere, to a
/// group.
pub(super) fn forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.octets()[0] == 0 || v4.octets()[0] >= 224,
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || v6.to_ipv4_mapped().is_some()
                || v6.to_ipv4().is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_internets() {
        // RFC 1071's example: the sum is ddf2.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[1]), !0x0100);
        assert_eq!(checksum(&[]), 0xffff);
        let mut header = [0; 20];
        let pair = (Ipv4Addr::new(10, 0, 2, 2), Ipv4Addr::new(10, 0, 2, 15));
        write_v4(&mut header, pair, UDP, 20, 1, 0);
        assert_eq!(checksum(&header), 0);
        assert!(Ip::v4(&header).is_some());
        header[1] ^= 1;
        assert!(Ip::v4(&header).is_none());
    }

    #[test]
    fn addresses_that_must_not_be_reached() {
        for bad in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "ff02::1", "fe80::1"]
        {
            assert!(forbidden(bad.parse().unwrap()), "{bad}");
        }
        assert!(forbidden("::ffff:127.0.0.1".parse().unwrap()) && forbidden("::127.0.0.1".parse().unwrap()));
        assert!(!forbidden("10.0.2.2".parse().unwrap()) && !forbidden("fec0::2".parse().unwrap()));
    }
}
