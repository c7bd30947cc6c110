//! The host's side: its sockets, what they lead to, and the tokens that tell their news apart.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol as Number, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
};

use super::options::{Target, UserOptions};
use super::packet::forbidden;

/// What of ours has news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Kick,
    Listener,
    Tcp,
    Udp,
    Forward,
    Icmp,
    Names,
}

/// Which one: its place and how often the place was used before, so that news of one that is gone reach nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) index: usize,
    pub(super) generation: u32,
}

impl Token {
    pub(super) const ZERO: Token = Token { index: 0, generation: 0 };

    fn data(self, kind: Kind) -> EventData {
        let generation = u64::from(self.generation & 0xff_ffff);
        EventData::new_u64((kind as u64) << 56 | generation << 32 | (self.index as u64 & 0xffff_ffff))
    }
    pub(super) fn of(data: EventData) -> Option<(Kind, Token)> {
        let word = data.u64();
        let kinds =
            [Kind::Kick, Kind::Listener, Kind::Tcp, Kind::Udp, Kind::Forward, Kind::Icmp, Kind::Names];
        let kind = *kinds.get((word >> 56) as usize)?;
        let generation = (word >> 32) as u32 & 0xff_ffff;
        Some((kind, Token { index: word as u32 as usize, generation }))
    }
}

/// Things with a place each.
pub(super) struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
    /// Where the next one will be.
    pub(super) fn next(&self) -> Token {
        match self.free.last() {
            Some(&index) => Token { index, generation: self.places[index].0 },
            None => Token { index: self.places.len(), generation: 0 },
        }
    }
    pub(super) fn insert(&mut self, value: T) -> Token {
        let token = self.next();
        match self.free.pop() {
            Some(index) => self.places[index].1 = Some(value),
            None => self.places.push((0, Some(value))),
        }
        token
    }
    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let (generation, value) = self.places.get_mut(token.index)?;
        if *generation == token.generation { value.as_mut() } else { None }
    }
    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        self.get_mut(token)?;
        let place = &mut self.places[token.index];
        place.0 = (place.0 + 1) & 0xff_ffff;
        self.free.push(token.index);
        place.1.take()
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.places.iter().enumerate().filter_map(|(index, (generation, value))| {
            value.as_ref().map(|value| (Token { index, generation: *generation }, value))
        })
    }
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(index, (generation, value))| {
            let token = Token { index, generation: *generation };
            value.as_mut().map(|value| (token, value))
        })
    }
    /// How many places there are, with the empty ones.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }
    pub(super) fn token(&self, index: usize) -> Token {
        Token { index, generation: self.places.get(index).map_or(0, |place| place.0) }
    }
}

/// Where a packet of the guest's leads.
pub(super) enum Route {
    Address(SocketAddr),
    Unix(Arc<Path>),
    /// The host's resolver.
    Names(SocketAddr),
    /// There is nobody.
    Nobody,
    /// It must not be, and nobody says so.
    Forbidden,
}

/// The host's network.
pub(super) struct Host {
    pub(super) epoll: OwnedFd,
    pub(super) options: Arc<UserOptions>,
    /// Those whom names are asked of, in order.
    pub(super) resolvers: Vec<SocketAddr>,
    /// The one that is asked first: it has answered last, or those before it have not.
    pub(super) first: Cell<usize>,
}

impl Host {
    /// Watches a socket for every change. News come once, so what has them is read until there is no more.
    pub(super) fn watch(&self, socket: &OwnedFd, kind: Kind, token: Token) -> Result<(), Errno> {
        let flags = match kind {
            Kind::Tcp => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
            Kind::Kick => EventFlags::IN,
            _ => EventFlags::IN | EventFlags::ET,
        };
        epoll::add(&self.epoll, socket.as_fd(), token.data(kind), flags)
    }

    /// Where an address leads that is not the guest's own business.
    pub(super) fn route(&self, to: SocketAddr) -> Route {
        if forbidden(to.ip()) || to.port() == 0 {
            return Route::Forbidden;
        }
        let (host, dns, inside, loopback) = match (to.ip(), self.options.ipv4, self.options.ipv6) {
            (IpAddr::V4(ip), Some(v4), _) => {
                (ip == v4.host, ip == v4.dns, v4.contains(ip), IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
            (IpAddr::V6(ip), _, Some(v6)) => {
                (ip == v6.host, ip == v6.dns, v6.contains(ip), IpAddr::V6(Ipv6Addr::LOCALHOST))
            }
            _ => return Route::Forbidden,
        };
        if host {
            return Route::Address(SocketAddr::new(loopback, to.port()));
        }
        match (dns, self.resolvers.get(self.first.get())) {
            (true, Some(&resolver)) if to.port() == 53 => Route::Names(resolver),
            _ if dns || inside => Route::Nobody,
            _ => Route::Address(to),
        }
    }

    /// Where a connection of the guest's leads.
    pub(super) fn route_tcp(&self, to: SocketAddr) -> Route {
        let forward = self.options.guestfwd.iter().find(|forward| SocketAddr::V4(forward.server) == to);
        match forward.map(|forward| &forward.target) {
            Some(Target::Unix(path)) => Route::Unix(Arc::from(path.as_path())),
            Some(Target::Tcp(address)) => Route::Address(*address),
            None if self.options.restrict => Route::Nobody,
            None => self.route(to),
        }
    }

    /// The guest's name for one of the host's addresses.
    pub(super) fn name(&self, from: SocketAddr) -> SocketAddr {
        match (from.ip(), self.options.ipv4, self.options.ipv6) {
            (IpAddr::V4(ip), Some(v4), _) if ip.is_loopback() => SocketAddr::new(v4.host.into(), from.port()),
            (IpAddr::V6(ip), _, Some(v6)) if ip.is_loopback() => SocketAddr::new(v6.host.into(), from.port()),
            _ => from,
        }
    }

    /// The name of a client that comes in by a forwarded port, which leads to IPv4. One that the guest could not
    /// answer, by its family or because its address is of the guest's own network, has the host's.
    pub(super) fn client(&self, from: SocketAddr) -> SocketAddr {
        match (from.ip(), self.options.ipv4) {
            (IpAddr::V4(ip), Some(v4)) if !ip.is_loopback() && !v4.contains(ip) => from,
            (_, Some(v4)) => SocketAddr::new(v4.host.into(), from.port()),
            _ => from,
        }
    }
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

pub(super) fn socket(
    family: AddressFamily,
    kind: SocketType,
    number: Option<Number>,
) -> Result<OwnedFd, Errno> {
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, number)
}

/// Begins a connection. True: it is there.
pub(super) fn dial(route: &Route) -> Result<(OwnedFd, bool), Errno> {
    let (socket, result) = match route {
        Route::Address(to) | Route::Names(to) => {
            let socket = socket(family(to.ip()), SocketType::STREAM, None)?;
            // The guest has done what Nagle's algorithm does.
            let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
            let result = connect(&socket, to);
            (socket, result)
        }
        Route::Unix(path) => {
            let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
            let result = connect(&socket, &SocketAddrUnix::new(path.as_ref())?);
            (socket, result)
        }
        Route::Nobody | Route::Forbidden => return Err(Errno::CONNREFUSED),
    };
    match result {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS) => Ok((socket, false)),
        // A Unix socket without a listener, or with too many that wait.
        Err(Errno::NOENT | Errno::AGAIN | Errno::ACCESS) => Err(Errno::CONNREFUSED),
        Err(error) => Err(error),
    }
}
