//! ARP: who has the host's, the name server's and the forwarded servers' addresses. All other questions, a guest's
//! about its own new address before all, are met with silence.

use std::net::{IpAddr, Ipv4Addr};

use super::link::{BROADCAST, Link, Mac, mac_v4};
use super::packet::{self, put16, u16_at, u32_at};

const LENGTH: usize = 28;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

fn write(to: &mut [u8], operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) {
    put16(to, 0, 1);
    put16(to, 2, packet::IPV4);
    to[4] = 6;
    to[5] = 4;
    put16(to, 6, operation);
    to[8..14].copy_from_slice(&sender.0);
    to[14..18].copy_from_slice(&sender.1.octets());
    to[18..24].copy_from_slice(&target.0);
    to[24..28].copy_from_slice(&target.1.octets());
}

/// Asks who has an address.
pub(super) fn ask(link: &mut Link, address: Ipv4Addr) {
    let Some(v4) = link.options.ipv4 else { return };
    let own = mac_v4(v4.host);
    link.frame((BROADCAST, own), packet::ARP, LENGTH, |to| {
        write(to, REQUEST, (own, v4.host), ([0; 6], address));
    });
}

/// What a guest asks or answers.
pub(super) fn input(link: &mut Link, body: &[u8]) {
    let Some(v4) = link.options.ipv4 else { return };
    if body.len() < LENGTH
        || u16_at(body, 0) != 1
        || u16_at(body, 2) != packet::IPV4
        || (body[4], body[5]) != (6, 4)
    {
        return;
    }
    let sender = Ipv4Addr::from_bits(u32_at(body, 14));
    let target = Ipv4Addr::from_bits(u32_at(body, 24));
    let mut mac = [0; 6];
    mac.copy_from_slice(&body[8..14]);
    link.learn(IpAddr::V4(sender), mac);
    if u16_at(body, 6) != REQUEST || mac[0] & 1 != 0 {
        return;
    }
    let forwarded = link.options.guestfwd.iter().any(|forward| *forward.server.ip() == target);
    if target == v4.host || target == v4.dns || forwarded {
        let own = mac_v4(target);
        link.frame((mac, own), packet::ARP, LENGTH, |to| {
            write(to, REPLY, (own, target), (mac, sender));
        });
    }
}
