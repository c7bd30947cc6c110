//! The server's thread: sockets, clocks, and whose turn it is.

mod client;
mod password;

use std::collections::BTreeSet;
use std::io;
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devices_core::picture::{Frame, Pointer};
use hypervisor::thread_role;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::listen::{Address, Connection, Listener};
use super::options::Share;
use super::session::{Hangup, Host, News, size_of};
use super::tiles::{Seen, TILE, Tiles, size};
use super::wire::Wire;
use super::{Input, Screen, VncError};
use crate::audio::{Mixer, Nudge};
use crate::web::websocket::WebSocket;
use client::{ALLOWANCE, Client, MESSAGES};
use password::Password;

/// Most connections. Who comes after that takes the place of who has been in the handshake longest.
const CLIENTS: usize = 256;
/// Connections that are taken in one turn.
const ACCEPTS: usize = 16;
/// Bytes that are read of a client in one turn.
const READ: usize = 4096;
/// Between two looks at the screen while it changes: 30 a second.
const BUSY: Duration = Duration::from_nanos(33_333_334);
/// Between two looks at a screen that has not changed for some time.
const IDLE: Duration = Duration::from_millis(200);
/// Pixels that are looked at in one turn, or a row of tiles if that is more.
const PIXELS: u32 = 1 << 19;
/// Between two looks: so many times as long as the last one took.
const REST: u32 = 2;
/// Connections that somebody else has taken and that wait for a turn.
const ARRIVALS: usize = 16;
/// After an error in taking connections: as a rule there are no file descriptors left.
const DEAF: Duration = Duration::from_secs(1);

/// What is known of a server, for `query-vnc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VncInfo {
    /// Where it listens.
    pub address: Address,
    /// `none` or `vnc`, with `vencrypt+x509+` before it if clients must encrypt.
    pub auth: &'static str,
    /// Clients need a password.
    pub needs_password: bool,
    /// Clients must encrypt.
    pub encrypts: bool,
    /// Where browsers come in (WebSocket), if there is such a place.
    pub websocket: Option<Address>,
    /// Those who see the screen.
    pub clients: Vec<ClientInfo>,
}

/// Somebody who sees the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Where from.
    pub address: Address,
    /// By a WebSocket.
    pub websocket: bool,
}

struct Shared {
    password: Mutex<Password>,
    /// What clients call the screen.
    name: Mutex<Arc<str>>,
    clients: Mutex<Vec<ClientInfo>>,
    /// Clients that others have let in.
    arrivals: Mutex<Vec<Arrival>>,
    /// Wakes the thread: it is to stop, or somebody has arrived.
    bell: OwnedFd,
    stopping: AtomicBool,
}

impl Shared {
    fn ring(&self) {
        // An eventfd that has a count already is as good.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// A client with an open WebSocket.
struct Arrival {
    connection: Connection,
    socket: WebSocket,
    /// What it said already.
    said: Vec<u8>,
    /// What it has still to be sent.
    unsent: Vec<u8>,
}

/// Lets clients in whose WebSockets somebody else has opened.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

impl Door {
    /// Takes a client that has said (so far) `said` after the opening, whose answer is `unsent`. False: there are too
    /// many at the door.
    pub fn enter(&self, stream: TcpStream, said: &[u8], unsent: Vec<u8>) -> bool {
        let Ok(connection) = stream.peer_addr().and_then(|from| Connection::tcp(stream, &from)) else {
            return false;
        };
        let (mut socket, mut plain) = (WebSocket::default(), Vec::new());
        socket.receive(said, &mut plain);
        let mut arrivals = lock(&self.0.arrivals);
        if arrivals.len() >= ARRIVALS {
            return false;
        }
        arrivals.push(Arrival { connection, socket, said: plain, unsent });
        drop(arrivals);
        self.0.ring();
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server that runs. Dropping it closes all connections.
pub struct Vnc {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    address: Address,
    websocket: Option<Address>,
    needs_password: bool,
    encrypts: bool,
    auth: &'static str,
}

impl Vnc {
    /// Serves the clients of `listener`. `name` is what they call the screen; `sound` is what they can hear.
    pub fn start(
        listener: Listener,
        name: &str,
        screen: Arc<dyn Screen>,
        input: Arc<dyn Input>,
        sound: Option<Mixer>,
    ) -> Result<Vnc, VncError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = eventfd(0, flags).map_err(|e| VncError::System { what: "eventfd", source: e.into() })?;
        let shared = Arc::new(Shared {
            password: Mutex::default(),
            name: Mutex::new(name.into()),
            clients: Mutex::default(),
            arrivals: Mutex::default(),
            bell,
            stopping: AtomicBool::new(false),
        });
        let (address, needs_password) = (listener.address().clone(), listener.password());
        let websocket = listener.websocket().cloned();
        let encrypts = listener.tls().is_some();
        let auth = match (listener.tls(), needs_password) {
            (Some(_), true) => "vencrypt+x509+vnc",
            (Some(_), false) => "vencrypt+x509+none",
            (None, true) => "vnc",
            (None, false) => "none",
        };
        let server = Server {
            listener,
            shared: shared.clone(),
            screen,
            input,
            sound,
            pointer: None,
            clients: Vec::new(),
            frame: None,
            seen: Seen::new((0, 0)),
            unseen: BTreeSet::new(),
            changed: false,
            looked: None,
            interval: BUSY,
            deaf: None,
        };
        let started = std::thread::Builder::new().name("vnc".to_owned()).spawn(move || server.run());
        let thread = started.map_err(|source| VncError::System { what: "thread", source })?;
        let thread = Some(thread);
        Ok(Vnc { shared, thread, address, websocket, needs_password, encrypts, auth })
    }

    /// Changes the password, of which the first eight bytes count; None lets nobody in. Those who are in
    /// stay in.
    pub fn set_password(&self, password: Option<&str>) -> Result<(), VncError> {
        if !self.needs_password {
            return Err(VncError::NoPassword);
        }
        lock(&self.shared.password).set(password);
        Ok(())
    }

    /// From that second of the Unix epoch on the password is right no more; none: it stays right. Those who are in
    /// stay in.
    pub fn expire_password(&self, at: Option<u64>) {
        lock(&self.shared.password).expires = at;
    }

    /// Clients call the screen that from now on.
    pub fn set_name(&self, name: &str) {
        *lock(&self.shared.name) = name.into();
        self.shared.ring();
    }

    /// Where clients are let in that have come another way.
    pub fn door(&self) -> Door {
        Door(self.shared.clone())
    }

    /// What is known of it.
    pub fn info(&self) -> VncInfo {
        VncInfo {
            address: self.address.clone(),
            auth: self.auth,
            needs_password: self.needs_password,
            encrypts: self.encrypts,
            websocket: self.websocket.clone(),
            clients: lock(&self.shared.clients).clone(),
        }
    }
}

impl Drop for Vnc {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.ring();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

struct Server {
    listener: Listener,
    shared: Arc<Shared>,
    screen: Arc<dyn Screen>,
    input: Arc<dyn Input>,
    /// What clients can hear.
    sound: Option<Mixer>,
    /// The pointer at the last look.
    pointer: Option<Pointer>,
    clients: Vec<Client>,
    /// The screen as it was last looked at. Its pixels are where the guest has them.
    frame: Option<Box<dyn Frame>>,
    /// What was seen of it.
    seen: Seen,
    /// Rows of tiles that the last look has not come to yet.
    unseen: BTreeSet<u32>,
    /// It has found a change.
    changed: bool,
    /// When it began.
    looked: Option<Instant>,
    /// How long until it is looked at again.
    interval: Duration,
    /// No connections are taken until then.
    deaf: Option<Instant>,
}

impl Server {
    fn run(mut self) {
        if let Some(wire) = self.listener.take_dialed() {
            self.add(Client::new(wire, Instant::now()));
        }
        loop {
            // Rung once or often, it is the same. First of all: what is said before it rings again is heeded below, the
            // end too, and what is said later ends the wait.
            let _ = rustix::io::read(&self.shared.bell, &mut [0; 8]);
            if self.shared.stopping.load(Ordering::Acquire) {
                break;
            }
            let now = Instant::now();
            thread_role::at(thread_role::Role::Viewer);
            self.welcome(now);
            self.refill(now);
            let fresh = self.look(now);
            self.admit();
            self.update(now, fresh);
            self.bury(now);
            let wait = self.wait(now);
            let Ok(events) = self.poll(wait) else {
                // Only for want of memory.
                std::thread::sleep(DEAF);
                continue;
            };
            self.serve(&events);
        }
        for client in &mut self.clients {
            client.session.release(&*self.input);
        }
    }

    /// Gives those who used up what they may send something new.
    fn refill(&mut self, now: Instant) {
        for at in 0..self.clients.len() {
            let Some(client) = self.clients.get_mut(at).filter(|client| client.refill <= now) else {
                continue;
            };
            let exhausted = client.session.exhausted();
            client.refill = now + ALLOWANCE;
            client.session.allow(MESSAGES);
            if exhausted {
                self.feed(at, &[]);
            }
        }
    }

    fn feed(&mut self, at: usize, data: &[u8]) {
        let password = lock(&self.shared.password).now();
        let client_is_secure = self.clients.get(at).is_some_and(|client| client.wire.is_secure());
        let host = Host {
            input: &*self.input,
            resizes: self.screen.resizes(),
            has_sound: self.sound.is_some(),
            needs_password: self.listener.password(),
            needs_tls: self.listener.tls().is_some() && !client_is_secure,
            password: password.as_deref(),
        };
        if let Some(client) = self.clients.get_mut(at)
            && let Err(Hangup) = client.session.feed(data, &host)
        {
            client.gone = true;
        }
    }

    /// When the screen may be looked at next.
    fn next_look(&self, now: Instant) -> Instant {
        self.looked.map_or(now, |looked| looked + self.interval)
    }

    /// Whether anybody wants to know what the screen shows.
    fn asked(&self) -> bool {
        let waits =
            |client: &Client| client.session.waits_for_update() || client.session.waits_for_size().is_some();
        self.clients.iter().any(waits)
    }

    /// Looks at the screen, if it is time, a part of it a turn. Whether a look ends with this.
    fn look(&mut self, now: Instant) -> bool {
        if self.unseen.is_empty() {
            if !self.asked() || self.next_look(now) > now {
                return false;
            }
            self.begin_look(now);
        }
        let Some(frame) = &self.frame else { return false };
        let (width, height) = self.seen.size();
        let mut tiles = Tiles::none(width, height);
        let rows = (PIXELS / (u32::from(width) * TILE).max(1)).max(1);
        for _ in 0..rows {
            let Some(row) = self.unseen.pop_first() else { break };
            self.seen.look(&**frame, row, &mut tiles);
        }
        if !tiles.is_empty() {
            self.changed = true;
            self.clients.iter_mut().for_each(|client| client.session.damage(&tiles));
        }
        if !self.unseen.is_empty() {
            return false;
        }
        self.interval = if self.changed { BUSY } else { (self.interval * 3 / 2).min(IDLE) };
        // A guest that changes all of a huge picture all the time does not keep us from everything else.
        let took = self.looked.map_or(Duration::ZERO, |looked| looked.elapsed());
        self.interval = self.interval.max(took * REST);
        true
    }

    fn begin_look(&mut self, now: Instant) {
        self.looked = Some(now);
        self.changed = false;
        let (frame, lines) = self.screen.look();
        if self.frame.is_none() || self.seen.size() != size(&*frame) {
            self.seen = Seen::new(size(&*frame));
            self.unseen = (0..self.seen.rows()).collect();
            self.changed = true;
            self.clients.iter_mut().for_each(|client| client.session.damage_all());
        } else {
            let rows = self.seen.rows();
            let touched = |lines: &Range<u32>| lines.start / TILE..lines.end.div_ceil(TILE).min(rows);
            self.unseen = lines.ranges().iter().flat_map(touched).collect();
        }
        let pointer = frame.pointer();
        self.changed |= pointer != self.pointer;
        self.pointer = pointer;
        self.frame = Some(frame);
    }

    /// Lets in those who have said all that is needed.
    fn admit(&mut self) {
        let Some(size) = self.frame.as_deref().map(size_of) else { return };
        let name = lock(&self.shared.name).clone();
        for at in 0..self.clients.len() {
            let waiting = self.clients.get(at).filter(|client| !client.gone);
            let Some(shared) = waiting.and_then(|client| client.session.waits_for_size()) else { continue };
            let exclusive = match self.listener.share() {
                Share::AllowExclusive => !shared,
                Share::ForceShared | Share::Ignore => false,
            };
            let others = |client: &&mut Client| client.session.is_up() && !client.gone;
            let mut refused = self.listener.share() == Share::ForceShared && !shared;
            for other in self.clients.iter_mut().filter(others) {
                other.gone |= exclusive;
                refused |= !exclusive && other.session.is_exclusive();
            }
            if let Some(client) = self.clients.get_mut(at) {
                match refused {
                    true => client.gone = true,
                    false => client.session.begin(size, &name, exclusive),
                }
            }
        }
    }

    /// Gives each client what it waits for: a rectangle, and as much output as its socket takes. An update
    /// begins only when the screen has just been looked at: who asks is told what is there now, and nobody
    /// is told more often than that.
    fn update(&mut self, now: Instant, fresh: bool) {
        let (absolute, lights) = (self.input.absolute(), self.input.lights());
        let name = lock(&self.shared.name).clone();
        let nudge = || -> Nudge {
            let shared = self.shared.clone();
            Box::new(move || shared.ring())
        };
        let tls = self.listener.tls().cloned();
        for client in &mut self.clients {
            if let Some(frame) = self.frame.as_deref() {
                client.session.interject();
                if fresh {
                    client.session.begin_update(News { frame, absolute, lights, name: &name });
                    client.session.take_resize().into_iter().for_each(|size| self.screen.resize(size));
                }
                client.listen(self.sound.as_ref(), nudge);
                // What is on its way comes first.
                if client.can_encode() {
                    client.session.encode(frame, &mut self.seen);
                }
            }
            client.flush(now);
            if let Some(tls) = &tls {
                client.secure(tls, now);
            }
        }
    }

    /// Lets go of those who are gone or too late.
    fn bury(&mut self, now: Instant) {
        for client in &mut self.clients {
            client.settle(now);
            if client.gone {
                client.session.release(&*self.input);
            }
        }
        self.clients.retain(|client| !client.gone);
        if self.clients.is_empty() {
            self.frame = None;
            self.seen = Seen::new((0, 0));
            self.unseen.clear();
        }
        let up = self.clients.iter().filter(|client| client.session.is_up());
        let info = |client: &Client| ClientInfo {
            address: client.wire.address().clone(),
            websocket: client.wire.is_websocket(),
        };
        let up: Vec<_> = up.map(info).collect();
        let mut known = lock(&self.shared.clients);
        if *known != up {
            *known = up;
        }
    }

    /// How long nothing will happen by itself. None: for ever.
    fn wait(&self, now: Instant) -> Option<Duration> {
        if !self.unseen.is_empty() || self.clients.iter().any(Client::can_encode) {
            return Some(Duration::ZERO);
        }
        let look = self.asked().then(|| self.next_look(now));
        let alarms = self.clients.iter().filter_map(Client::alarm);
        let next = alarms.chain(look).chain(self.deaf).min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Waits. Gives what became of the listening sockets, then of each client.
    fn poll(&self, wait: Option<Duration>) -> io::Result<Vec<PollFlags>> {
        let mut fds = vec![PollFd::new(&self.shared.bell, PollFlags::IN)];
        let listening = if self.deaf.is_some() { PollFlags::empty() } else { PollFlags::IN };
        fds.extend(self.listener.sockets().map(|fd| PollFd::from_borrowed_fd(fd, listening)));
        let clients = fds.len();
        // One that waits for nothing is left out, or its hanging up would not let us wait.
        let waiting = || self.clients.iter().filter(|client| !client.interest().is_empty());
        fds.extend(waiting().map(|c| PollFd::from_borrowed_fd(c.wire.fd(), c.interest())));
        // A little longer rather than a moment too short, which would be a turn for nothing.
        let wait = wait.map(|wait| wait + Duration::from_micros(u64::from(!wait.is_zero())));
        let timeout = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let listening = fds.get(1..clients).unwrap_or_default().iter();
        let any = listening.fold(PollFlags::empty(), |all, fd| all | fd.revents());
        let mut polled = fds.get(clients..).unwrap_or_default().iter().map(PollFd::revents);
        let of_client = |client: &Client| match client.interest().is_empty() {
            true => PollFlags::empty(),
            false => polled.next().unwrap_or(PollFlags::empty()),
        };
        Ok(std::iter::once(any).chain(self.clients.iter().map(of_client)).collect())
    }

    fn serve(&mut self, events: &[PollFlags]) {
        let Some((listening, events)) = events.split_first() else { return };
        for (at, events) in events.iter().enumerate() {
            if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                self.read(at);
            }
        }
        let now = Instant::now();
        if self.deaf.is_some_and(|until| until <= now) {
            self.deaf = None;
        }
        if !listening.is_empty() {
            self.accept(now);
        }
    }

    fn read(&mut self, at: usize) {
        let mut data = [0; READ];
        let Some(client) = self.clients.get_mut(at) else { return };
        if !client.wants_input() {
            // It hung up, and what it sent before does not matter: nobody is there for the answer.
            client.gone = true;
            return;
        }
        match client.wire.read(&mut data) {
            Ok(Some(said)) => {
                // What the guest does with a key is to be seen soon.
                self.interval = BUSY;
                self.feed(at, &said);
            }
            Ok(None) => {}
            Err(_) => client.gone = true,
        }
    }

    /// Takes those who have come another way.
    fn welcome(&mut self, now: Instant) {
        let arrivals = std::mem::take(&mut *lock(&self.shared.arrivals));
        for Arrival { connection, socket, said, unsent } in arrivals {
            if self.add(Client::new(Wire::opened(connection, socket, unsent), now)) {
                self.feed(self.clients.len() - 1, &said);
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS {
            match self.listener.accept() {
                Ok(Some(wire)) => {
                    self.add(Client::new(wire, now));
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!("VNC takes no connections for a second: {error}");
                    self.deaf = Some(now + DEAF);
                    return;
                }
            }
        }
    }

    /// Adds a client. With too many, or too many in the handshake, the one that has been in it longest goes; the new
    /// one, if there is none. Whether it is there.
    fn add(&mut self, client: Client) -> bool {
        let shaking = |client: &&Client| !client.session.is_up();
        let count = self.clients.iter().filter(shaking).count();
        if self.clients.len() >= CLIENTS || count >= self.listener.options.connections {
            let Some(oldest) = self.clients.iter().position(|client| shaking(&client)) else {
                return false;
            };
            self.clients.remove(oldest);
        }
        self.clients.push(client);
        true
    }
}
