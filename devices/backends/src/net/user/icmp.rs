//! ICMP: echo of the host's and the name server's addresses is answered here; of others by the host's own unprivileged
//! ICMP sockets, where its administrator allows them (`net.ipv4.ping_group_range`), or not at all. Errors are made only
//! for connections that the host cannot begin.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType, ipproto, recv, sendto};

use super::host::{self, Host, Kind, Slab, Token};
use super::link::Link;
use super::ndp;
use super::packet::{
    ICMP, ICMPV6, IPV4_HEADER, IPV6_HEADER, Ip, checksum, checksum_with, forbidden, put16, u16_at,
};

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
/// Conversations at once; the oldest gives way.
const FLOWS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers that are read in one go.
const BURST: usize = 64;

struct Flow {
    guest: IpAddr,
    remote: IpAddr,
    ident: u16,
    socket: OwnedFd,
    used: Instant,
}

#[derive(Default)]
pub(super) struct Icmp {
    flows: Slab<Flow>,
    /// It has been said that the host allows none.
    told: bool,
}

impl Icmp {
    /// Takes a packet of the guest's. ICMPv6's about the link are [`ndp`]'s.
    pub(super) fn input(&mut self, link: &mut Link, host: &Host, ip: &Ip<'_>) {
        let (body, v4) = (ip.payload, ip.src.is_ipv4());
        let request = if v4 { ECHO_REQUEST } else { ndp::ECHO_REQUEST };
        if body.len() < 8 || (body[0], body[1]) != (request, 0) || (v4 && checksum(body) != 0) {
            return;
        }
        let own = host.options.ipv4.is_some_and(|v4| [v4.host.into(), v4.dns.into()].contains(&ip.dst));
        if own {
            let mut reply = body.to_vec();
            reply[0] = ECHO_REPLY;
            finish(&mut reply, ip.dst, ip.src);
            return link.datagram(ip.dst, ip.src, ICMP, &reply);
        }
        if !host.options.restrict && !forbidden(ip.dst) && !inside(host, ip.dst) {
            self.pass(link, host, ip);
        }
    }

    fn pass(&mut self, link: &Link, host: &Host, ip: &Ip<'_>) {
        let (guest, remote, ident) = (ip.src, ip.dst, u16_at(ip.payload, 4));
        let found = self
            .flows
            .iter()
            .find(|(_, flow)| flow.guest == guest && flow.remote == remote && flow.ident == ident);
        let token = match found {
            Some((token, _)) => token,
            None => {
                let number = if remote.is_ipv4() { ipproto::ICMP } else { ipproto::ICMPV6 };
                let made = host::socket(host::family(remote), SocketType::DGRAM, Some(number));
                let socket = match made {
                    Ok(socket) => socket,
                    Err(error) => return self.cannot(error),
                };
                if rustix::net::connect(&socket, &SocketAddr::new(remote, 0)).is_err() {
                    return;
                }
                if self.flows.len() >= FLOWS {
                    let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(token, _)| token);
                    oldest.map(|token| self.flows.remove(token));
                }
                if host.watch(&socket, Kind::Icmp, self.flows.next()).is_err() {
                    return;
                }
                self.flows.insert(Flow { guest, remote, ident, socket, used: link.now })
            }
        };
        let Some(flow) = self.flows.get_mut(token) else { return };
        flow.used = link.now;
        // The kernel puts its own identifier and checksum in. A full buffer loses an echo, as networks do.
        let to = SocketAddr::new(remote, 0);
        let _ = sendto(&flow.socket, ip.payload, SendFlags::NOSIGNAL, &to);
    }

    /// The host has no socket for an echo. Said once: a guest may ask for many.
    fn cannot(&mut self, error: Errno) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::info!(
                "network: echoes to other hosts are not passed on: {error} (see net.ipv4.ping_group_range)"
            );
        }
    }

    /// Answers of the host's network.
    pub(super) fn event(&mut self, link: &mut Link, scratch: &mut [u8], token: Token) {
        let Some(flow) = self.flows.get_mut(token) else { return };
        for _ in 0..BURST {
            let Ok((read, _)) = recv(&flow.socket, &mut *scratch, RecvFlags::empty()) else { return };
            let reply = if flow.remote.is_ipv4() { ECHO_REPLY } else { ndp::ECHO_REPLY };
            let Some(body) = scratch.get_mut(..read).filter(|body| body.len() >= 8) else { continue };
            if body[0] != reply {
                continue;
            }
            put16(body, 4, flow.ident);
            finish(body, flow.remote, flow.guest);
            let protocol = if flow.remote.is_ipv4() { ICMP } else { ICMPV6 };
            link.datagram(flow.remote, flow.guest, protocol, body);
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let old = |flow: &Flow| now.duration_since(flow.used) >= PATIENCE;
        let tokens = self.flows.iter().filter(|(_, flow)| old(flow)).map(|(token, _)| token);
        for token in tokens.collect::<Vec<_>>() {
            self.flows.remove(token);
        }
    }

    pub(super) fn clear(&mut self) {
        self.flows = Slab::default();
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }
}

fn inside(host: &Host, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => host.options.ipv4.is_some_and(|v4| v4.contains(ip)),
        IpAddr::V6(ip) => host.options.ipv6.is_some_and(|v6| v6.contains(ip)),
    }
}

/// Puts the checksum in.
fn finish(body: &mut [u8], from: IpAddr, to: IpAddr) {
    put16(body, 2, 0);
    let sum = if from.is_ipv4() { checksum(body) } else { checksum_with(from, to, ICMPV6, body) };
    put16(body, 2, sum);
}

/// Tells the guest that there is no way to where its packet should go: to the host, or to its network.
pub(super) fn unreachable(link: &mut Link, packet: &[u8], host: bool) {
    let (v4, v6) = (link.options.ipv4, link.options.ipv6);
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= IPV4_HEADER => {
            let Some((ip, v4)) = Ip::v4_head(packet).zip(v4) else { return };
            let header = usize::from(packet[0] & 15) * 4;
            let mut body = vec![3, u8::from(host), 0, 0, 0, 0, 0, 0];
            body.extend_from_slice(&packet[..packet.len().min(header + 8)]);
            let from = IpAddr::from(v4.host);
            finish(&mut body, from, ip);
            link.datagram(from, ip, ICMP, &body);
        }
        Some(6) if packet.len() >= IPV6_HEADER => {
            let Some(v6) = v6 else { return };
            let mut octets = [0; 16];
            octets.copy_from_slice(&packet[8..24]);
            let (from, to) = (IpAddr::from(v6.host), IpAddr::from(octets));
            let mut body = vec![1, if host { 3 } else { 0 }, 0, 0, 0, 0, 0, 0];
            body.extend_from_slice(packet);
            finish(&mut body, from, to);
            link.datagram(from, to, ICMPV6, &body);
        }
        _ => {}
    }
}
