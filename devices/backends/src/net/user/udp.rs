//! UDP: each of the guest's ports that sends becomes a socket of the host's. As by libslirp, one port of the guest's is one
//! port of the host's whatever it sends to, and anybody may answer: what peer-to-peer programs need.
//!
//! What is for the name server is [`names`](super::names)'s. A forwarded port answers those who asked it from the socket
//! that they asked.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType, recvfrom, sendto};

use super::dhcp::udp;
use super::host::{self, Host, Kind, Route, Slab, Token};
use super::link::Link;
use super::names::Names;

/// libslirp's times: a flow is forgotten after so long, one that only asks for names sooner.
const IDLE: Duration = Duration::from_secs(240);
const IDLE_NAMES: Duration = Duration::from_secs(10);
/// Datagrams that are read in one go.
const BURST: usize = 64;
/// Clients of a forwarded port that are remembered; the one heard longest ago gives way.
const PEERS: usize = 64;

struct Flow {
    guest: SocketAddr,
    /// It sent to port 53 only.
    brief: bool,
    socket: OwnedFd,
    used: Instant,
    sent: u64,
    received: u64,
}

struct Forward {
    guest: SocketAddr,
    socket: OwnedFd,
    /// Clients: the guest's name for each, and its address.
    peers: VecDeque<(SocketAddr, SocketAddr)>,
    sent: u64,
    received: u64,
}

/// A flow, for a person.
pub(super) struct Seen {
    pub(super) guest: SocketAddr,
    pub(super) names: bool,
    pub(super) forward: bool,
    pub(super) sent: u64,
    pub(super) received: u64,
}

pub(super) struct Udp {
    pub(super) names: Names,
    flows: Slab<Flow>,
    keys: HashMap<SocketAddr, Token>,
    forwards: Slab<Forward>,
    /// Sockets that have more, when there is room in the card's queue or after others had their turn.
    more: Vec<(Kind, Token)>,
    limit: usize,
}

impl Udp {
    pub(super) fn new(limit: usize) -> Udp {
        Udp {
            names: Names::new(limit),
            flows: Slab::default(),
            keys: HashMap::new(),
            forwards: Slab::default(),
            more: Vec::new(),
            limit,
        }
    }

    /// A datagram of the guest's that is not for one of our own servers.
    pub(super) fn input(
        &mut self,
        link: &mut Link,
        host: &Host,
        guest: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) {
        if self.answer(guest, to, payload) || host.options.restrict {
            return;
        }
        let address = match host.route(to) {
            Route::Address(address) => address,
            Route::Names(_) => return self.names.input(link, host, guest, to, payload),
            _ => return,
        };
        let Some(token) = self.flow(link, host, guest) else { return };
        let Some(flow) = self.flows.get_mut(token) else { return };
        flow.used = link.now;
        flow.brief &= to.port() == 53;
        flow.sent += payload.len() as u64;
        // What the host does not take is lost, as on any network.
        let _ = sendto(&flow.socket, payload, SendFlags::NOSIGNAL, &address);
    }

    /// An answer of a forwarded port to one of its clients.
    fn answer(&mut self, guest: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        for (_, forward) in self.forwards.iter_mut() {
            let client = forward.peers.iter().find(|peer| forward.guest == guest && peer.0 == to);
            if let Some((_, client)) = client {
                forward.sent += payload.len() as u64;
                let _ = sendto(&forward.socket, payload, SendFlags::NOSIGNAL, client);
                return true;
            }
        }
        false
    }

    fn flow(&mut self, link: &Link, host: &Host, guest: SocketAddr) -> Option<Token> {
        if let Some(token) = self.keys.get(&guest) {
            return Some(*token);
        }
        if self.flows.len() >= self.limit {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(token, _)| token);
            self.remove(oldest?);
        }
        let socket = host::socket(host::family(guest.ip()), SocketType::DGRAM, None).ok()?;
        host.watch(&socket, Kind::Udp, self.flows.next()).ok()?;
        let token =
            self.flows.insert(Flow { guest, brief: true, socket, used: link.now, sent: 0, received: 0 });
        self.keys.insert(guest, token);
        Some(token)
    }

    fn remove(&mut self, token: Token) {
        if let Some(flow) = self.flows.remove(token) {
            self.keys.remove(&flow.guest);
        }
    }

    /// A port of the host's that leads to one of the guest's.
    pub(super) fn forward(
        &mut self,
        host: &Host,
        socket: OwnedFd,
        guest: SocketAddr,
    ) -> Result<Token, Errno> {
        host.watch(&socket, Kind::Forward, self.forwards.next())?;
        let peers = VecDeque::new();
        Ok(self.forwards.insert(Forward { guest, socket, peers, sent: 0, received: 0 }))
    }

    pub(super) fn unforward(&mut self, token: Token) {
        self.forwards.remove(token);
    }

    /// The host's socket has news.
    pub(super) fn event(
        &mut self,
        link: &mut Link,
        host: &Host,
        scratch: &mut [u8],
        kind: Kind,
        token: Token,
    ) {
        for _ in 0..BURST {
            if !link.queues.room() {
                break;
            }
            let read = match kind {
                Kind::Forward => self.client_says(link, host, scratch, token),
                _ => self.peer_says(link, host, scratch, token),
            };
            match read {
                Some(true) => {}
                Some(false) => return,
                None => return self.remove(token),
            }
        }
        self.more.push((kind, token));
    }

    /// A datagram for a flow. False: there is none; None: the flow is useless.
    fn peer_says(&mut self, link: &mut Link, host: &Host, scratch: &mut [u8], token: Token) -> Option<bool> {
        let Some(flow) = self.flows.get_mut(token) else { return Some(false) };
        match recvfrom(&flow.socket, &mut *scratch, RecvFlags::empty()) {
            Ok((read, _, from)) => {
                let from = from.and_then(|from| SocketAddr::try_from(from).ok())?;
                flow.used = link.now;
                flow.received += read as u64;
                udp(link, host.name(from), flow.guest, &scratch[..read]);
                Some(true)
            }
            Err(Errno::AGAIN) => Some(false),
            Err(Errno::CONNREFUSED) => Some(true),
            Err(Errno::INTR) => Some(true),
            Err(_) => None,
        }
    }

    fn client_says(
        &mut self,
        link: &mut Link,
        host: &Host,
        scratch: &mut [u8],
        token: Token,
    ) -> Option<bool> {
        let Some(forward) = self.forwards.get_mut(token) else { return Some(false) };
        match recvfrom(&forward.socket, &mut *scratch, RecvFlags::empty()) {
            Ok((read, _, from)) => {
                let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) else {
                    return Some(true);
                };
                let name = host.client(from);
                forward.peers.retain(|peer| peer.0 != name);
                if forward.peers.len() == PEERS {
                    forward.peers.pop_front();
                }
                forward.peers.push_back((name, from));
                forward.received += read as u64;
                udp(link, name, forward.guest, &scratch[..read]);
                Some(true)
            }
            Err(Errno::INTR) => Some(true),
            Err(_) => Some(false),
        }
    }

    /// Sockets that had to wait.
    pub(super) fn tick(&mut self, link: &mut Link, host: &Host, scratch: &mut [u8]) {
        self.names.tick(link, host, scratch);
        if !self.more.is_empty() && link.queues.room() {
            for (kind, token) in std::mem::take(&mut self.more) {
                self.event(link, host, scratch, kind, token);
            }
        }
    }

    /// Whether sockets wait for others that had their turn.
    pub(super) fn waits(&self) -> bool {
        !self.more.is_empty() || self.names.waits()
    }

    /// Whether there are flows that will be forgotten.
    pub(super) fn any(&self) -> bool {
        self.flows.len() > 0 || self.names.any()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let old = |flow: &Flow| now.duration_since(flow.used) >= if flow.brief { IDLE_NAMES } else { IDLE };
        let tokens = self.flows.iter().filter(|(_, flow)| old(flow)).map(|(token, _)| token);
        for token in tokens.collect::<Vec<_>>() {
            self.remove(token);
        }
        self.names.expire(now);
    }

    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.flows = Slab::default();
        self.keys.clear();
        self.forwards = Slab::default();
    }

    pub(super) fn flows(&self) -> impl Iterator<Item = Seen> {
        let flows = self.flows.iter().map(|(_, flow)| Seen {
            guest: flow.guest,
            names: false,
            forward: false,
            sent: flow.sent,
            received: flow.received,
        });
        let names = self.names.flows().map(|seen| Seen {
            guest: seen.guest,
            names: true,
            forward: false,
            sent: seen.sent,
            received: seen.received,
        });
        flows.chain(names).chain(self.forwards.iter().map(|(_, forward)| Seen {
            guest: forward.guest,
            names: false,
            forward: true,
            sent: forward.sent,
            received: forward.received,
        }))
    }
}
