//! TCP: each connection of the guest's ends here and goes on as a socket of the host's.
//!
//! smoltcp is the guest's peer. Every flow has a socket set of its own, so that a segment costs the same with one flow and
//! with a thousand. The host is dialled first; the guest's SYN is answered when the host has answered.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{self, Checksum, Device, DeviceCapabilities, Medium, PacketMeta};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as Moment;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint, IpListenEndpoint};

use super::host::{self, Host, Kind, Route, Slab, Token};
use super::icmp;
use super::link::Link;
use super::packet::{Ip, MTU, u16_at};

/// What a flow holds each way.
const BUFFER: usize = 256 << 10;
/// Most bytes of a packet that is more than one frame: an IP packet's length has 16 bits.
const LARGEST: usize = 65_535;
/// Turns that a flow takes before the others have theirs.
const ROUNDS: usize = 4;
/// A guest that does not answer a connection from outside within that time refuses it.
const DIAL: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(75);
/// A guest that does not acknowledge the end within that time is gone.
const LINGER: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(60);
/// An open flow that was quiet for so long may give way to a new one.
const QUIET: Duration = Duration::from_secs(60);
/// As much of a guest's SYN as an ICMP error quotes.
const QUOTE: usize = 60 + 8;
const NEVER: i64 = i64::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    guest: SocketAddr,
    remote: SocketAddr,
}

struct Flow {
    key: Key,
    socket: OwnedFd,
    set: SocketSet<'static>,
    handle: SocketHandle,
    /// The host has not answered yet: the SYN that waits.
    connecting: Option<Vec<u8>>,
    readable: bool,
    writable: bool,
    /// The host has closed: there is no more to read.
    eof: bool,
    /// The guest has closed.
    fin: bool,
    /// The host was told so.
    shut: bool,
    /// One side is gone.
    dead: bool,
    /// It is in the list of those that wait for room.
    stalled: bool,
    /// It is in the list of those that are to be driven.
    queued: bool,
    used: Instant,
    received: u64,
    sent: u64,
}

/// A flow, for a person.
pub(super) struct Seen {
    pub(super) guest: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) state: State,
    pub(super) sent: u64,
    pub(super) received: u64,
}

pub(super) struct Tcp {
    flows: Slab<Flow>,
    keys: HashMap<Key, Token>,
    /// When each flow wants to be driven, in microseconds; by place, so that a look at all is cheap.
    deadlines: Vec<i64>,
    interface: Interface,
    nobody: SocketSet<'static>,
    /// Flows that wait for room in the card's queue.
    stalled: Vec<Token>,
    /// Flows that were sent something, or had their turn and want more.
    more: Vec<Token>,
    start: Instant,
    limit: usize,
}

/// One packet of the guest's, and the way back.
struct Wire<'a> {
    packet: Option<&'a [u8]>,
    link: &'a mut Link,
    guest: IpAddr,
    full: bool,
}

struct Received<'a>(&'a [u8]);

struct Sending<'a> {
    link: &'a mut Link,
    guest: IpAddr,
    /// It is to be cut into segments of so many bytes.
    size: Option<u16>,
}

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.link.segments(self.guest, len, self.size, f)
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.size = meta.segmentation_offload_size.map(NonZeroU16::get);
    }
}

impl Device for Wire<'_> {
    type RxToken<'b>
        = Received<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Sending<'b>
    where
        Self: 'b;

    fn receive(&mut self, _now: Moment) -> Option<(Received<'_>, Sending<'_>)> {
        let packet = self.packet.take()?;
        Some((Received(packet), Sending { link: self.link, guest: self.guest, size: None }))
    }

    fn transmit(&mut self, _now: Moment) -> Option<Sending<'_>> {
        if !self.link.queues.room() {
            self.full = true;
            return None;
        }
        Some(Sending { link: self.link, guest: self.guest, size: None })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        // Looked at before, and made behind, where the card may be left with it.
        capabilities.checksum.tcp = Checksum::None;
        // smoltcp 0.14 drops such packets of IPv6.
        capabilities.segmentation.tcpv4 = NonZeroUsize::new(LARGEST);
        capabilities
    }
}

/// What came of a flow's turn.
enum Turn {
    /// Nothing moved.
    Idle,
    /// Something did: smoltcp has work.
    Moved,
    /// The host has no way there.
    Unreachable(Errno),
}

impl Tcp {
    pub(super) fn new(link: &mut Link, seed: u64, limit: usize) -> Tcp {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let options = link.options.clone();
        let guest = IpAddr::from([0, 0, 0, 0]);
        let start = link.now;
        let mut wire = Wire { packet: None, link, guest, full: false };
        let mut interface = Interface::new(config, &mut wire, Moment::ZERO);
        // Takes packets to every address: the default route leads to an address of its own.
        interface.set_any_ip(true);
        let hosts = [options.ipv4.map(|v4| v4.host.into()), options.ipv6.map(|v6| v6.host.into())];
        interface.update_ip_addrs(|addresses| {
            for host in hosts.into_iter().flatten() {
                let host: IpAddr = host;
                let bits = if host.is_ipv4() { 32 } else { 128 };
                // Two addresses fit by smoltcp's own limits.
                let _ = addresses.push(IpCidr::new(host.into(), bits));
            }
        });
        let routes = interface.routes_mut();
        // There is room for two routes, too.
        if let Some(v4) = options.ipv4 {
            let _ = routes.add_default_ipv4_route(v4.host);
        }
        if let Some(v6) = options.ipv6 {
            let _ = routes.add_default_ipv6_route(v6.host);
        }
        Tcp {
            flows: Slab::default(),
            keys: HashMap::new(),
            deadlines: Vec::new(),
            interface,
            nobody: SocketSet::new(Vec::new()),
            stalled: Vec::new(),
            more: Vec::new(),
            start,
            limit,
        }
    }

    fn moment(&self, now: Instant) -> Moment {
        Moment::from_micros(now.duration_since(self.start).as_micros() as i64)
    }

    /// Takes a packet of the guest's, whose checksum is right.
    pub(super) fn input(&mut self, link: &mut Link, host: &Host, ip: &Ip<'_>, whole: &[u8]) {
        let body = ip.payload;
        if body.len() < 20 {
            return;
        }
        let guest = SocketAddr::new(ip.src, u16_at(body, 0));
        let remote = SocketAddr::new(ip.dst, u16_at(body, 2));
        let key = Key { guest, remote };
        if let Some(&token) = self.keys.get(&key) {
            return self.feed(link, token, whole);
        }
        // SYN without ACK or RST.
        if body[13] & 0x16 != 2 || guest.port() == 0 {
            return self.refuse(link, ip, whole);
        }
        let route = host.route_tcp(remote);
        match route {
            Route::Forbidden => return,
            Route::Nobody => return self.refuse(link, ip, whole),
            _ => {}
        }
        if !self.make_room(link.now) {
            return self.refuse(link, ip, whole);
        }
        match host::dial(&route) {
            Ok((socket, there)) => {
                let syn = whole[..whole.len().min(QUOTE)].to_vec();
                let mut flow = Flow::new(key, socket, link.now);
                let listening = IpListenEndpoint { addr: Some(remote.ip().into()), port: remote.port() };
                let tcp = flow.set.get_mut::<Socket<'_>>(flow.handle);
                if tcp.listen(listening).is_err() {
                    return;
                }
                tcp.pause_synack(!there);
                flow.connecting = (!there).then_some(syn);
                flow.writable = there;
                if let Some(token) = self.insert(host, flow) {
                    self.feed(link, token, whole);
                }
            }
            Err(error @ (Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ADDRNOTAVAIL)) => {
                icmp::unreachable(link, whole, error == Errno::HOSTUNREACH);
            }
            Err(_) => self.refuse(link, ip, whole),
        }
    }

    /// Answers a packet that belongs to nothing, as RFC 9293 wants it: by RST unless it is one.
    fn refuse(&mut self, link: &mut Link, ip: &Ip<'_>, whole: &[u8]) {
        let now = self.moment(link.now);
        let mut wire = Wire { packet: Some(whole), link, guest: ip.src, full: false };
        self.interface.poll(now, &mut wire, &mut self.nobody);
    }

    fn insert(&mut self, host: &Host, flow: Flow) -> Option<Token> {
        if host.watch(&flow.socket, Kind::Tcp, self.flows.next()).is_err() {
            return None;
        }
        let key = flow.key;
        let token = self.flows.insert(flow);
        self.keys.insert(key, token);
        if self.deadlines.len() <= token.index {
            self.deadlines.resize(token.index + 1, NEVER);
        }
        Some(token)
    }

    fn remove(&mut self, token: Token) {
        let Some(flow) = self.flows.remove(token) else { return };
        self.keys.remove(&flow.key);
        self.deadlines[token.index] = NEVER;
        if !(flow.eof && flow.fin) {
            // The host's peer sees that it was not an orderly end.
            let _ = sockopt::set_socket_linger(&flow.socket, Some(Duration::ZERO));
        }
    }

    /// Room for one more flow. One that never came up gives way, or one that is quiet.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.flows.len() < self.limit {
            return true;
        }
        let rank = |(token, flow): (Token, &Flow)| {
            let tcp = flow.set.get::<Socket<'_>>(flow.handle);
            (tcp.state() == State::Established, flow.used, token)
        };
        let oldest = self.flows.iter().map(rank).min_by_key(|rank| (rank.0, rank.1));
        let Some((open, used, token)) = oldest else { return false };
        if open && now.duration_since(used) < QUIET {
            return false;
        }
        self.remove(token);
        true
    }

    /// A client of the host's that wants in: `remote` is its name for the guest.
    pub(super) fn enter(
        &mut self,
        link: &mut Link,
        host: &Host,
        socket: OwnedFd,
        remote: SocketAddr,
        guest: SocketAddr,
    ) {
        let mut key = Key { guest, remote };
        // Two clients of different addresses may have one name.
        while self.keys.contains_key(&key) {
            key.remote.set_port(key.remote.port().wrapping_add(1).max(1024));
        }
        if !self.make_room(link.now) {
            return;
        }
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        let mut flow = Flow::new(key, socket, link.now);
        let tcp = flow.set.get_mut::<Socket<'_>>(flow.handle);
        let local = IpListenEndpoint { addr: Some(key.remote.ip().into()), port: key.remote.port() };
        tcp.set_timeout(Some(DIAL));
        if tcp.connect(self.interface.context(), IpEndpoint::from(key.guest), local).is_err() {
            return;
        }
        flow.writable = true;
        if let Some(token) = self.insert(host, flow) {
            self.drive(link, token);
        }
    }

    /// A packet for a flow. What came together is acknowledged and handed to the host together, so that a frame costs
    /// no system call.
    fn feed(&mut self, link: &mut Link, token: Token, packet: &[u8]) {
        let now = self.moment(link.now);
        let Some(flow) = self.flows.get_mut(token) else { return };
        let mut wire = Wire { packet: Some(packet), link, guest: flow.key.guest.ip(), full: false };
        self.interface.poll_ingress_single(now, &mut wire, &mut flow.set);
        if !std::mem::replace(&mut flow.queued, true) {
            self.more.push(token);
        }
    }

    /// The host's socket has news.
    pub(super) fn event(&mut self, link: &mut Link, token: Token, flags: EventFlags) {
        let Some(flow) = self.flows.get_mut(token) else { return };
        let ended = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        flow.readable |= ended || flags.intersects(EventFlags::IN | EventFlags::RDHUP);
        flow.writable |= ended || flags.contains(EventFlags::OUT);
        self.drive(link, token);
    }

    /// Lets smoltcp and the host's socket work until neither has anything to do, or others must have their turn.
    fn drive(&mut self, link: &mut Link, token: Token) {
        let now = self.moment(link.now);
        let Some(flow) = self.flows.get_mut(token) else { return };
        flow.used = link.now;
        flow.queued = false;
        let mut wire = Wire { packet: None, link, guest: flow.key.guest.ip(), full: false };
        let mut rounds = 0;
        loop {
            wire.full = false;
            self.interface.poll(now, &mut wire, &mut flow.set);
            match flow.turn() {
                Turn::Idle => break,
                Turn::Moved if rounds == ROUNDS => {
                    flow.queued = true;
                    self.more.push(token);
                    break;
                }
                Turn::Moved => rounds += 1,
                Turn::Unreachable(error) => {
                    let syn = flow.connecting.take().unwrap_or_default();
                    icmp::unreachable(wire.link, &syn, error == Errno::HOSTUNREACH);
                    return self.remove(token);
                }
            }
        }
        if wire.full {
            self.deadlines[token.index] = NEVER;
            if !std::mem::replace(&mut flow.stalled, true) {
                self.stalled.push(token);
            }
            return;
        }
        if flow.over() {
            return self.remove(token);
        }
        let at = self.interface.poll_at(now, &flow.set);
        self.deadlines[token.index] = at.map_or(NEVER, |at| at.total_micros());
    }

    /// Flows that wait for room in the card's queue, for their turn, or for a moment that has come.
    pub(super) fn tick(&mut self, link: &mut Link) {
        for token in std::mem::take(&mut self.more) {
            self.drive(link, token);
        }
        if !self.stalled.is_empty() && link.queues.room() {
            for token in std::mem::take(&mut self.stalled) {
                if let Some(flow) = self.flows.get_mut(token) {
                    flow.stalled = false;
                    self.drive(link, token);
                }
            }
        }
        let now = self.moment(link.now).total_micros();
        for index in 0..self.deadlines.len() {
            if self.deadlines[index] <= now {
                // smoltcp asks for now, again and again, only while it can do something.
                self.deadlines[index] = NEVER;
                let token = self.flows.token(index);
                self.drive(link, token);
            }
        }
    }

    /// When [`Tcp::tick`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        if !self.more.is_empty() {
            return Some(self.start);
        }
        let first = self.deadlines.iter().copied().min().filter(|at| *at != NEVER)?;
        Some(self.start + Duration::from_micros(first.max(0) as u64))
    }

    pub(super) fn clear(&mut self) {
        for token in self.flows.iter().map(|(token, _)| token).collect::<Vec<_>>() {
            self.remove(token);
        }
    }

    pub(super) fn flows(&self) -> impl Iterator<Item = Seen> {
        self.flows.iter().map(|(_, flow)| Seen {
            guest: flow.key.guest,
            remote: flow.key.remote,
            state: flow.set.get::<Socket<'_>>(flow.handle).state(),
            sent: flow.sent,
            received: flow.received,
        })
    }
}

impl Flow {
    fn new(key: Key, socket: OwnedFd, now: Instant) -> Flow {
        let mut set = SocketSet::new(vec![SocketStorage::EMPTY]);
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut tcp = Socket::new(buffer(), buffer());
        // The host's side has gathered what it wanted to gather.
        tcp.set_nagle_enabled(false);
        let handle = set.add(tcp);
        Flow {
            key,
            socket,
            set,
            handle,
            connecting: None,
            readable: false,
            writable: false,
            eof: false,
            fin: false,
            shut: false,
            dead: false,
            stalled: false,
            queued: false,
            used: now,
            received: 0,
            sent: 0,
        }
    }

    /// Moves bytes between smoltcp and the host's socket.
    fn turn(&mut self) -> Turn {
        let tcp = self.set.get_mut::<Socket<'_>>(self.handle);
        if self.connecting.is_some() {
            if !self.writable {
                return Turn::Idle;
            }
            return match sockopt::socket_error(&self.socket) {
                Ok(Ok(())) => {
                    self.connecting = None;
                    tcp.pause_synack(false);
                    Turn::Moved
                }
                Ok(Err(Errno::CONNREFUSED | Errno::CONNRESET)) => {
                    self.connecting = None;
                    self.dead = true;
                    tcp.abort();
                    Turn::Moved
                }
                Ok(Err(error)) | Err(error) => Turn::Unreachable(error),
            };
        }
        if self.dead {
            return Turn::Idle;
        }
        match tcp.state() {
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait => self.fin = true,
            State::Established if tcp.timeout().is_some() => tcp.set_timeout(None),
            _ => {}
        }
        let mut moved = self.out();
        moved |= self.back();
        if self.dead {
            self.set.get_mut::<Socket<'_>>(self.handle).abort();
            moved = true;
        }
        if moved { Turn::Moved } else { Turn::Idle }
    }

    /// From the guest to the host.
    fn out(&mut self) -> bool {
        let tcp = self.set.get_mut::<Socket<'_>>(self.handle);
        let mut moved = false;
        while self.writable && tcp.can_recv() {
            let result = tcp.recv(|bytes| match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => (sent, Ok(sent)),
                Err(error) => (0, Err(error)),
            });
            match result {
                Ok(Ok(sent)) => {
                    self.sent += sent as u64;
                    moved = true;
                }
                Ok(Err(Errno::AGAIN)) => self.writable = false,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(_)) => {
                    self.dead = true;
                    return true;
                }
                Err(_) => break,
            }
        }
        if self.fin && !self.shut && !tcp.can_recv() {
            self.shut = true;
            let _ = shutdown(&self.socket, Shutdown::Write);
        }
        moved
    }

    /// From the host to the guest.
    fn back(&mut self) -> bool {
        let tcp = self.set.get_mut::<Socket<'_>>(self.handle);
        let mut moved = false;
        while self.readable && !self.eof && !self.dead && tcp.can_send() {
            let result = tcp.send(|room| match recv(&self.socket, &mut *room, RecvFlags::empty()) {
                Ok((read, _)) => (read, Ok(read)),
                Err(error) => (0, Err(error)),
            });
            match result {
                Ok(Ok(0)) => {
                    self.eof = true;
                    tcp.close();
                    if self.fin {
                        tcp.set_timeout(Some(LINGER));
                    }
                    moved = true;
                }
                Ok(Ok(read)) => {
                    self.received += read as u64;
                    moved = true;
                }
                Ok(Err(Errno::AGAIN)) => self.readable = false,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(_)) => self.dead = true,
                Err(_) => break,
            }
        }
        moved
    }

    /// Whether nothing is left to do.
    fn over(&self) -> bool {
        let tcp = self.set.get::<Socket<'_>>(self.handle);
        match tcp.state() {
            // A SYN was taken back.
            State::Listen => true,
            // Both sides have closed. What the guest sends again is answered by RST, which it no longer cares about.
            State::TimeWait => self.shut,
            // An abort sends its RST first.
            State::Closed if tcp.remote_endpoint().is_some() => false,
            // The guest's last bytes still go out, unless it aborted.
            State::Closed => !(self.eof && self.fin) || self.shut,
            _ => false,
        }
    }
}
