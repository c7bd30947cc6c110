//! All connections of a guest's: who has which ports, whose turn it is, and who has waited too long.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices_core::vsock::{HOST_CID, Header, kind, op};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, connect, socket_with,
};

use super::Options;
use super::client::{Client, Said};
use super::connection::{Connection, Fate, Ports};
use super::shared::{PACKETS, Shared};

/// Most events of one turn.
pub(super) const EVENTS: usize = 64;
/// Most refusals that wait for the guest before it is not listened to any more.
const RESETS: usize = 256;
/// Most programs that have not said what they want, and how long they may take.
const CLIENTS: usize = 128;
const LISTENS: Duration = Duration::from_secs(10);
/// Most programs that are let in at a time, and when those that were not are looked at again.
const ACCEPTS: usize = 64;
const AGAIN: Duration = Duration::from_millis(10);
/// The first port of those that programs of the host's get, as in Firecracker.
const FIRST_PORT: u32 = 1 << 30;

/// What an event is of: these, or a program by its number.
const KICK: u64 = 0;
const LISTENER: u64 = 1;

pub(super) struct Mux {
    options: Options,
    shared: Arc<Shared>,
    epoll: OwnedFd,
    listener: UnixListener,
    /// Programs may wait to be let in.
    accepts: bool,
    /// Numbers of programs, which are not used again.
    next: u64,
    next_port: u32,
    clients: BTreeMap<u64, Client>,
    connections: BTreeMap<u64, Connection>,
    ids: BTreeMap<Ports, u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Connections that may have something to say, each once.
    ready: VecDeque<u64>,
    /// What is to be refused.
    resets: VecDeque<Vec<u8>>,
    /// The driver's life to which all that belongs.
    life: u64,
}

impl Mux {
    pub(super) fn new(options: Options, listener: UnixListener, shared: Arc<Shared>) -> io::Result<Mux> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, shared.kicked(), EventData::new_u64(KICK), EventFlags::IN)?;
        let news = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, listener.as_fd(), EventData::new_u64(LISTENER), news)?;
        Ok(Mux {
            options,
            shared,
            epoll,
            listener,
            accepts: true,
            next: LISTENER + 1,
            next_port: FIRST_PORT,
            clients: BTreeMap::new(),
            connections: BTreeMap::new(),
            ids: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            ready: VecDeque::new(),
            resets: VecDeque::new(),
            life: 0,
        })
    }

    pub(super) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Connections, and programs that have said nothing yet.
    #[cfg(test)]
    pub(super) fn count(&self) -> (usize, usize) {
        (self.connections.len(), self.clients.len())
    }

    /// Does what there is to do, and says how long there is nothing more. None: until there are news.
    pub(super) fn turn(&mut self, events: &[Event], now: Instant) -> Option<Duration> {
        // A life that has ended takes nobody with it who comes now.
        self.look(self.shared.take(0).life);
        for event in events {
            self.event(event.data.u64(), event.flags, now);
        }
        self.expire(now);
        if self.accepts {
            self.accept(now);
        }
        let more = self.hear();
        let room = self.speak(now);
        if more || room {
            return Some(Duration::ZERO);
        }
        let deadline = self.deadlines.first().map(|(deadline, _)| deadline.saturating_duration_since(now));
        deadline.into_iter().chain(self.accepts.then_some(AGAIN)).min()
    }

    fn event(&mut self, of: u64, flags: EventFlags, now: Instant) {
        match of {
            KICK => {
                let _ = rustix::io::read(self.shared.kicked(), &mut [0; 8]);
            }
            LISTENER => self.accepts = true,
            id => {
                if let Some(client) = self.clients.get(&id) {
                    match client.said() {
                        Said::Nothing => {}
                        Said::Port(port) => self.ask(id, port, now),
                        Said::Nonsense => drop(self.forget_client(id)),
                    }
                } else if let Some(connection) = self.connections.get_mut(&id) {
                    let fate = connection.event(flags);
                    self.settle(id, fate);
                }
            }
        }
    }

    /// Those who have waited too long.
    fn expire(&mut self, now: Instant) {
        while let Some(&(deadline, id)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.remove(&(deadline, id));
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.deadline = None;
                let fate = connection.expired();
                self.settle(id, fate);
            }
            self.clients.remove(&id);
        }
    }

    fn is_full(&self) -> bool {
        self.connections.len() + self.clients.len() >= self.options.connections
    }

    fn watch(&self, socket: &OwnedFd, id: u64) -> Result<(), Errno> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, socket.as_fd(), EventData::new_u64(id), flags)
    }

    /// A number for one more program.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Lets programs in. One that is too much is shut out.
    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS {
            let socket = match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => socket,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    self.accepts = false;
                    return;
                }
                Err(error) => {
                    tracing::debug!("a program cannot reach the guest: {error}");
                    return;
                }
            };
            let id = self.number();
            if self.is_full() || self.clients.len() >= CLIENTS || self.watch(&socket, id).is_err() {
                continue;
            }
            let deadline = now + LISTENS;
            self.deadlines.insert((deadline, id));
            self.clients.insert(id, Client { socket, deadline });
        }
    }

    fn forget_client(&mut self, id: u64) -> Option<Client> {
        let client = self.clients.remove(&id)?;
        self.deadlines.remove(&(client.deadline, id));
        Some(client)
    }

    /// A program wants that port of the guest's.
    fn ask(&mut self, id: u64, guest: u32, now: Instant) {
        let Some(Client { socket, .. }) = self.forget_client(id) else { return };
        if self.resets.len() >= RESETS {
            return;
        }
        let mut ports = Ports { host: self.next_port, guest };
        while self.ids.contains_key(&ports) {
            ports.host = following(ports.host);
        }
        self.next_port = following(ports.host);
        self.add(id, Connection::wanted(self.options.cid, ports, socket, now));
    }

    fn add(&mut self, id: u64, connection: Connection) {
        self.ids.insert(connection.ports, id);
        self.deadlines.extend(connection.deadline.map(|deadline| (deadline, id)));
        self.connections.insert(id, connection);
        self.mark(id);
    }

    /// It may have something to say.
    fn mark(&mut self, id: u64) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.ready.push_back(id);
        }
    }

    /// What became of a connection.
    fn settle(&mut self, id: u64, fate: Fate) {
        if fate == Fate::Lives {
            return self.mark(id);
        }
        let Some(mut connection) = self.connections.remove(&id) else { return };
        self.ids.remove(&connection.ports);
        if let Some(deadline) = connection.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        if fate == Fate::Reset {
            self.resets.push_back(connection.header(op::RST).bytes().to_vec());
        }
    }

    /// Takes what the guest has sent. True: there is more.
    fn hear(&mut self) -> bool {
        // Each may have to be refused.
        let batch = self.shared.take(RESETS.saturating_sub(self.resets.len()).min(PACKETS));
        self.look(batch.life);
        for packet in batch.packets {
            if let Some((header, payload)) = Header::split(&packet) {
                self.packet(&header, payload);
            }
        }
        self.resets.len() < RESETS && self.shared.has_packets()
    }

    /// In another life the guest knows of no connection any more.
    fn look(&mut self, life: u64) {
        if std::mem::replace(&mut self.life, life) == life {
            return;
        }
        self.connections.clear();
        self.ids.clear();
        self.ready.clear();
        self.resets.clear();
        let clients = &self.clients;
        self.deadlines.retain(|(_, id)| clients.contains_key(id));
    }

    fn packet(&mut self, header: &Header, payload: &[u8]) {
        // From somebody else, or to somebody else.
        if header.src_cid != self.options.cid || header.dst_cid != HOST_CID {
            return;
        }
        let ports = Ports { host: header.dst_port, guest: header.src_port };
        let id = if header.kind == kind::STREAM { self.ids.get(&ports).copied() } else { None };
        match id {
            Some(id) => {
                let Some(connection) = self.connections.get_mut(&id) else { return };
                let before = connection.deadline;
                let fate = connection.heard(header, payload);
                self.rearm(id, before);
                self.settle(id, fate);
            }
            None if header.kind == kind::STREAM && header.op == op::REQUEST => self.open(header, ports),
            None => self.refuse(header),
        }
    }

    /// The deadline of a connection may have changed.
    fn rearm(&mut self, id: u64, before: Option<Instant>) {
        let after = self.connections.get(&id).and_then(|connection| connection.deadline);
        if before != after {
            if let Some(before) = before {
                self.deadlines.remove(&(before, id));
            }
            self.deadlines.extend(after.map(|after| (after, id)));
        }
    }

    /// The guest wants to connect to one of the host's ports.
    fn open(&mut self, header: &Header, ports: Ports) {
        let id = self.number();
        let name = format!("{}_{}", self.options.path.display(), ports.host);
        let socket = if self.is_full() { Err(Errno::CONNREFUSED) } else { dial(&name) };
        match socket.and_then(|socket| self.watch(&socket, id).map(|()| socket)) {
            Ok(socket) => self.add(id, Connection::accepted(self.options.cid, ports, socket, header)),
            Err(error) => {
                tracing::debug!("the guest's connection to {name} is refused: {error}");
                self.refuse(header);
            }
        }
    }

    /// There is no such connection. One that says so itself gets no answer.
    fn refuse(&mut self, header: &Header) {
        if header.op != op::RST {
            let refusal = Header {
                src_cid: HOST_CID,
                dst_cid: self.options.cid,
                src_port: header.dst_port,
                dst_port: header.src_port,
                kind: header.kind,
                op: op::RST,
                ..Header::default()
            };
            self.resets.push_back(refusal.bytes().to_vec());
        }
    }

    /// Gives the guest what there is, each connection one packet in turn. True: there is more, and room.
    fn speak(&mut self, now: Instant) -> bool {
        let room = self.shared.room();
        let mut packets = Vec::new();
        while packets.len() < room {
            if let Some(reset) = self.resets.pop_front() {
                packets.push(reset);
                continue;
            }
            let Some(id) = self.ready.pop_front() else { break };
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.queued = false;
            let before = connection.deadline;
            if let Some(packet) = connection.say(now) {
                packets.push(packet);
                self.mark(id);
            }
            self.rearm(id, before);
        }
        let waits = !self.ready.is_empty() || !self.resets.is_empty();
        self.shared.give(self.life, packets, waits)
    }
}

/// The port after that one.
fn following(port: u32) -> u32 {
    port.checked_add(1).unwrap_or(FIRST_PORT)
}

/// Connects to a program of the host's, which does not wait: it is there or not.
fn dial(path: &str) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
