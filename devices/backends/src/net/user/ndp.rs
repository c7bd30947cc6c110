//! ICMPv6: neighbours, the router's advertisement, and echo of the router's own addresses (RFC 4861, 4443, 8106).

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::link::{LINK_LOCAL, Link, MAC_V6, Mac};
use super::options::Ipv6Options;
use super::packet::{ICMPV6, Ip, checksum_with, put16};

pub(super) const ECHO_REQUEST: u8 = 128;
pub(super) const ECHO_REPLY: u8 = 129;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Seconds that a router is good for, an address is valid and preferred, a name server is good for.
const ROUTER_LIFETIME: u16 = 1800;
const VALID: u32 = 86_400;
const PREFERRED: u32 = 14_400;
const DNS_LIFETIME: u32 = 1200;
/// Between two advertisements that nobody asked for: RFC 4861's usual bounds in seconds.
const INTERVAL: (u64, u64) = (200, 600);

/// When the next advertisement is due.
pub(super) struct Router {
    pub(super) due: Option<Instant>,
    /// What the intervals are drawn from.
    draw: u64,
}

impl Router {
    pub(super) fn new(ipv6: bool, now: Instant) -> Router {
        let mut router = Router { due: None, draw: 0x9e37_79b9_7f4a_7c15 };
        if ipv6 {
            router.postpone(now);
        }
        router
    }

    fn postpone(&mut self, now: Instant) {
        self.draw = self.draw.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let seconds = INTERVAL.0 + (self.draw >> 33) % (INTERVAL.1 - INTERVAL.0);
        self.due = Some(now + Duration::from_secs(seconds));
    }

    /// Advertises if it is time.
    pub(super) fn tick(&mut self, link: &mut Link) {
        if self.due.is_some_and(|due| link.now >= due) {
            advertise(link);
            self.postpone(link.now);
        }
    }
}

/// Sends an ICMPv6 packet that starts at `body`, whose checksum is put in.
fn send(link: &mut Link, src: Ipv6Addr, dst: Ipv6Addr, body: &mut [u8]) {
    put16(body, 2, 0);
    let sum = checksum_with(src.into(), dst.into(), ICMPV6, body);
    put16(body, 2, sum);
    // Neighbours believe only what no router has passed on: the hop limit is whole.
    link.datagram_v6((src, dst), ICMPV6, 255, body);
}

/// The option that says which station a packet is of.
fn link_address(kind: u8, mac: Mac) -> [u8; 8] {
    [kind, 1, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]]
}

/// Asks who has an address.
pub(super) fn ask(link: &mut Link, address: Ipv6Addr) {
    let mut body = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    body.extend_from_slice(&address.octets());
    body.extend_from_slice(&link_address(1, MAC_V6));
    let low = address.octets();
    let group = Ipv6Addr::from_bits(
        0xff02_0000_0000_0000_0000_0001_ff00_0000
            | u128::from(u32::from_be_bytes([0, low[13], low[14], low[15]])),
    );
    send(link, LINK_LOCAL, group, &mut body);
}

fn advertise(link: &mut Link) {
    let Some(Ipv6Options { prefix, length, dns, .. }) = link.options.ipv6 else { return };
    // Hop limit 64; other configuration (the boot file, the domain) by DHCPv6.
    let mut body = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0x40];
    body.extend_from_slice(&ROUTER_LIFETIME.to_be_bytes());
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&link_address(1, MAC_V6));
    // The prefix: on link, and addresses are made of it.
    body.extend_from_slice(&[3, 4, length, 0xc0]);
    body.extend_from_slice(&VALID.to_be_bytes());
    body.extend_from_slice(&PREFERRED.to_be_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(&prefix.octets());
    if !link.options.restrict {
        body.extend_from_slice(&[25, 3, 0, 0]);
        body.extend_from_slice(&DNS_LIFETIME.to_be_bytes());
        body.extend_from_slice(&dns.octets());
    }
    send(link, LINK_LOCAL, ALL_NODES, &mut body);
}

/// Whether an address is one that we answer for.
fn own(v6: &Ipv6Options, address: Ipv6Addr) -> bool {
    [v6.host, v6.dns, LINK_LOCAL].contains(&address)
}

/// Takes a packet of the guest's. False: it is not about the link.
pub(super) fn input(link: &mut Link, ip: &Ip<'_>, mac: Mac) -> bool {
    let Some(v6) = link.options.ipv6 else { return true };
    let (IpAddr::V6(src), IpAddr::V6(dst), body) = (ip.src, ip.dst, ip.payload) else { return true };
    if body.len() < 8 || checksum_with(ip.src, ip.dst, ICMPV6, body) != 0 {
        return true;
    }
    match body[0] {
        ROUTER_SOLICITATION => {
            link.learn(ip.src, mac);
            advertise(link);
        }
        NEIGHBOUR_SOLICITATION if body.len() >= 24 => solicited(link, &v6, src, body, mac),
        NEIGHBOUR_ADVERTISEMENT if body.len() >= 24 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&body[8..24]);
            link.learn(IpAddr::V6(octets.into()), mac);
        }
        ECHO_REQUEST if own(&v6, dst) && !src.is_unspecified() => {
            link.learn(ip.src, mac);
            let mut reply = body.to_vec();
            reply[0] = ECHO_REPLY;
            send(link, dst, src, &mut reply);
        }
        ECHO_REQUEST => return false,
        _ => {}
    }
    true
}

fn solicited(link: &mut Link, v6: &Ipv6Options, src: Ipv6Addr, body: &[u8], mac: Mac) {
    let mut octets = [0; 16];
    octets.copy_from_slice(&body[8..24]);
    let target = Ipv6Addr::from(octets);
    if !own(v6, target) {
        return;
    }
    link.learn(IpAddr::V6(src), mac);
    // A router; solicited unless it looks for a duplicate of its address; overrides what is known.
    let (flags, to) = if src.is_unspecified() { (0xa0, ALL_NODES) } else { (0xe0, src) };
    let mut answer = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    answer.extend_from_slice(&octets);
    answer.extend_from_slice(&link_address(2, MAC_V6));
    send(link, target, to, &mut answer);
}
