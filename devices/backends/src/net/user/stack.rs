//! The stack: a frame of the guest's is taken apart and given to who it is for; sockets of the host's have news; moments
//! come. Nothing here waits.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices_core::net::{Offload, gso};
use rustix::event::epoll::{self, CreateFlags, Event};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::dhcp::{self, Leases};
use super::host::{Host, Kind, Slab, Token};
use super::icmp::Icmp;
use super::link::{Link, Mac};
use super::ndp::{self, Router};
use super::options::{Protocol, UserOptions};
use super::packet::{
    self, ETHERNET, ICMP, ICMPV6, IPV4_HEADER, IPV6_HEADER, Ip, TCP, UDP, checksum_with, u16_at,
};
use super::reassembly::Reassembly;
use super::tcp::Tcp;
use super::tftp::{self, Tftp};
use super::udp::Udp;
use super::{Flows, arp};
use crate::net::queues::Queues;
use crate::net::ring::FRAMES;
use crate::net::vnet::complete;

/// How often old flows are looked for, and a listener that failed is asked again.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Clients that are let in in one go.
const CLIENTS: usize = 16;
/// Room for the largest datagram.
const SCRATCH: usize = 64 << 10;
/// News that are read in one go.
pub(super) const EVENTS: usize = 256;

struct Listener {
    socket: OwnedFd,
    guest: SocketAddr,
}

/// What a rule made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarded {
    Tcp(Token),
    Udp(Token),
}

pub(super) struct Stack {
    pub(super) link: Link,
    host: Host,
    router: Router,
    leases: Leases,
    tftp: Tftp,
    icmp: Icmp,
    udp: Udp,
    tcp: Tcp,
    pieces: Reassembly,
    listeners: Slab<Listener>,
    /// Listeners that have clients, after as many as may were let in.
    crowded: Vec<Token>,
    housekeeping: Option<Instant>,
    scratch: Vec<u8>,
    /// A frame of the guest's; empty between turns.
    frame: Vec<u8>,
    /// The guest has left the checksum of this TCP packet to us.
    unsummed: bool,
}

/// What the stack is made of.
pub(super) struct Parts {
    pub(super) options: Arc<UserOptions>,
    pub(super) resolvers: Vec<SocketAddr>,
    pub(super) folder: Option<OwnedFd>,
    pub(super) queues: Arc<Queues>,
    pub(super) seed: u64,
    pub(super) limit: usize,
}

impl Stack {
    pub(super) fn new(parts: Parts, now: Instant) -> Result<Stack, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut link = Link::new(parts.queues, parts.options.clone(), now);
        let host = Host { epoll, options: parts.options, resolvers: parts.resolvers, first: Cell::new(0) };
        host.watch(link.queues.kicked(), Kind::Kick, Token::ZERO)?;
        Ok(Stack {
            router: Router::new(host.options.ipv6.is_some(), now),
            leases: Leases::default(),
            tftp: Tftp::new(parts.folder),
            icmp: Icmp::default(),
            udp: Udp::new(parts.limit),
            tcp: Tcp::new(&mut link, parts.seed, parts.limit),
            pieces: Reassembly::default(),
            listeners: Slab::default(),
            crowded: Vec::new(),
            housekeeping: None,
            scratch: vec![0; SCRATCH],
            frame: Vec::new(),
            unsummed: false,
            link,
            host,
        })
    }

    pub(super) fn epoll(&self) -> &OwnedFd {
        &self.host.epoll
    }

    /// A port of the host's that leads to one of the guest's.
    pub(super) fn forward(
        &mut self,
        protocol: Protocol,
        socket: OwnedFd,
        guest: SocketAddr,
    ) -> Result<Forwarded, Errno> {
        match protocol {
            Protocol::Udp => Ok(Forwarded::Udp(self.udp.forward(&self.host, socket, guest)?)),
            Protocol::Tcp => {
                self.host.watch(&socket, Kind::Listener, self.listeners.next())?;
                Ok(Forwarded::Tcp(self.listeners.insert(Listener { socket, guest })))
            }
        }
    }

    pub(super) fn unforward(&mut self, what: Forwarded) {
        match what {
            Forwarded::Tcp(token) => drop(self.listeners.remove(token)),
            Forwarded::Udp(token) => self.udp.unforward(token),
        }
    }

    /// Everything ends: sockets are closed, ports of the host's are free.
    pub(super) fn clear(&mut self) {
        self.listeners = Slab::default();
        self.udp.clear();
        self.tcp.clear();
        self.icmp.clear();
    }

    /// One turn: frames, then news of sockets, then what is due.
    pub(super) fn turn(&mut self, events: &[Event], now: Instant) {
        self.link.now = now;
        let mut frame = std::mem::take(&mut self.frame);
        // As many as wait at most: then others have their turn.
        for _ in 0..FRAMES {
            frame.clear();
            let Some(left) = self.link.queues.take(&mut frame, usize::MAX, |_, _| {}) else { break };
            self.frame(&mut frame, left);
        }
        self.frame = frame;
        for event in events {
            let (data, flags) = (event.data, event.flags);
            match Token::of(data) {
                Some((Kind::Kick, _)) => {
                    self.link.queues.clear_kick();
                }
                Some((Kind::Listener, token)) => self.clients(token),
                Some((Kind::Tcp, token)) => self.tcp.event(&mut self.link, token, flags),
                Some((kind @ (Kind::Udp | Kind::Forward), token)) => {
                    self.udp.event(&mut self.link, &self.host, &mut self.scratch, kind, token);
                }
                Some((Kind::Names, token)) => {
                    self.udp.names.event(&mut self.link, &self.host, &mut self.scratch, token);
                }
                Some((Kind::Icmp, token)) => self.icmp.event(&mut self.link, &mut self.scratch, token),
                None => {}
            }
        }
        self.tcp.tick(&mut self.link);
        self.udp.tick(&mut self.link, &self.host, &mut self.scratch);
        self.router.tick(&mut self.link);
        if self.housekeeping.is_none_or(|at| now >= at) {
            for token in std::mem::take(&mut self.crowded) {
                self.clients(token);
            }
            self.udp.expire(now);
            self.icmp.expire(now);
            self.housekeeping = Some(now + HOUSEKEEPING);
        }
    }

    /// How long there is nothing to do. None: until there are news.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let keeps = self.icmp.len() > 0 || !self.crowded.is_empty() || self.udp.any();
        let housekeeping = self.housekeeping.filter(|_| keeps);
        // Sockets that wait for room in its queue are driven by its kick.
        let more = (self.udp.waits() && self.link.queues.room()).then_some(now);
        let due = [self.tcp.due(), self.router.due, self.udp.names.due(), housekeeping, more];
        due.into_iter().flatten().min().map(|at| at.saturating_duration_since(now))
    }

    fn clients(&mut self, token: Token) {
        let Some(listener) = self.listeners.get_mut(token) else { return };
        for _ in 0..CLIENTS {
            match acceptfrom_with(&listener.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((socket, from)) => {
                    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                    let Some(from) = from.map(|from| self.host.client(from)) else { continue };
                    self.tcp.enter(&mut self.link, &self.host, socket, from, listener.guest);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                // No file descriptor is left, or no memory: later.
                Err(_) => break,
            }
        }
        self.crowded.push(token);
    }

    /// A frame, and what the guest has left to be done to it: it need not be cut up, since it goes no further.
    fn frame(&mut self, frame: &mut [u8], left: Offload) {
        if frame.len() < ETHERNET || !Link::ours(frame) {
            return;
        }
        let protocol = if u16_at(frame, 12) == packet::IPV4 { 23 } else { 20 };
        self.unsummed = left.flags & Offload::NEEDS_CSUM != 0 && frame.get(protocol) == Some(&TCP);
        // What is no TCP may go on as it came. Segments of what is none are of no kind that a card may leave.
        if !self.unsummed && (left.gso_type != gso::NONE || !complete(left, frame)) {
            return;
        }
        let mut mac = [0; 6];
        mac.copy_from_slice(&frame[6..12]);
        let body = &frame[ETHERNET..];
        match u16_at(frame, 12) {
            packet::ARP => arp::input(&mut self.link, body),
            packet::IPV4 if self.host.options.ipv4.is_some() => {
                if let Some(ip) = Ip::v4(body) {
                    self.whole(ip, mac);
                }
            }
            packet::IPV6 if self.host.options.ipv6.is_some() => {
                if let Some(ip) = Ip::v6(body) {
                    self.whole(ip, mac);
                }
            }
            _ => {}
        }
    }

    /// Puts pieces together first.
    fn whole(&mut self, ip: Ip<'_>, mac: Mac) {
        if ip.piece.is_none() {
            return self.packet(&ip, mac);
        }
        // A first and last piece at once is whole (RFC 6946).
        if let Some(payload) = self.pieces.add(&ip, self.link.now) {
            self.packet(&Ip { payload: &payload, whole: None, piece: None, ..ip }, mac);
        }
    }

    fn packet(&mut self, ip: &Ip<'_>, mac: Mac) {
        if ip.protocol == ICMPV6 && ip.src.is_ipv6() {
            if !ndp::input(&mut self.link, ip, mac) && self.link.guest_address(ip.src) {
                self.icmp_v6(ip, mac);
            }
            return;
        }
        let known = self.link.guest_address(ip.src);
        if known {
            self.link.learn(ip.src, mac);
        }
        match ip.protocol {
            UDP => self.datagram(ip, known),
            TCP if known => self.segment(ip),
            ICMP if known && ip.src.is_ipv4() => self.icmp.input(&mut self.link, &self.host, ip),
            _ => {}
        }
    }

    fn icmp_v6(&mut self, ip: &Ip<'_>, mac: Mac) {
        self.link.learn(ip.src, mac);
        self.icmp.input(&mut self.link, &self.host, ip);
    }

    fn segment(&mut self, ip: &Ip<'_>) {
        // A pseudo header's sum alone is right by definition: nothing has been on a wire.
        let unsummed = self.unsummed && ip.whole.is_some();
        if packet::forbidden(ip.dst) || !unsummed && checksum_with(ip.src, ip.dst, TCP, ip.payload) != 0 {
            return;
        }
        if let Some(whole) = ip.whole {
            return self.tcp.input(&mut self.link, &self.host, ip, whole);
        }
        // It came in pieces, or behind headers that smoltcp need not see.
        let body = ip.payload;
        let mut whole = Vec::new();
        match (ip.src, ip.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) if body.len() + IPV4_HEADER <= 65_535 => {
                whole.resize(IPV4_HEADER, 0);
                packet::write_v4(&mut whole, (src, dst), TCP, IPV4_HEADER + body.len(), 0, 0);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                whole.resize(IPV6_HEADER, 0);
                packet::write_v6(&mut whole, (src, dst), TCP, body.len(), packet::HOPS);
            }
            _ => return,
        }
        whole.extend_from_slice(body);
        self.tcp.input(&mut self.link, &self.host, ip, &whole);
    }

    /// A datagram. `known`: its sender has an address of the guest's network.
    fn datagram(&mut self, ip: &Ip<'_>, known: bool) {
        let body = ip.payload;
        let length = usize::from(u16_at(body, 4));
        if body.len() < 8 || length < 8 || length > body.len() {
            return;
        }
        let body = &body[..length];
        let summed = u16_at(body, 6) != 0 || ip.src.is_ipv6();
        if summed && checksum_with(ip.src, ip.dst, UDP, body) != 0 {
            return;
        }
        let guest = SocketAddr::new(ip.src, u16_at(body, 0));
        let to = SocketAddr::new(ip.dst, u16_at(body, 2));
        let (payload, options) = (&body[8..], &self.host.options);
        let ours = match ip.dst {
            IpAddr::V4(dst) => options.ipv4.is_some_and(|v4| v4.host == dst),
            IpAddr::V6(dst) => options.ipv6.is_some_and(|v6| v6.host == dst),
        };
        match to {
            SocketAddr::V4(v4) if v4.port() == dhcp::SERVER && (ours || v4.ip().is_broadcast()) => {
                self.leases.input(&mut self.link, payload);
            }
            _ if !known || guest.port() == 0 => {}
            SocketAddr::V6(v6) if v6.port() == dhcp::SERVER_V6 && (ours || v6.ip().is_multicast()) => {
                dhcp::input_v6(&mut self.link, guest, payload);
            }
            _ if ours && to.port() == tftp::PORT => self.tftp.input(&mut self.link, guest, to, payload),
            _ => self.udp.input(&mut self.link, &self.host, guest, to, payload),
        }
    }

    pub(super) fn flows(&self) -> Flows {
        Flows::of(self.tcp.flows(), self.udp.flows(), self.icmp.len(), self.tftp.sessions())
    }
}
