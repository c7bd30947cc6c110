//! The page's thread: connections, each of which asks for one thing.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use backends::vnc::Door;
use backends::web::http::{self, Refusal, Request};
use hypervisor::thread_role;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::control::Control;
use super::{Listener, Shared, files};
use crate::monitor::server::Inside;

/// Most connections. Who comes after that takes the place of the oldest that has not asked yet.
const CONNECTIONS: usize = 64;
/// Most of them that are lines to the monitor.
const CONTROLS: usize = 8;
/// Connections that are taken in one turn.
const ACCEPTS: usize = 16;
/// Bytes that are read of one in one turn.
const READ: usize = 4096;
/// For a head, an answer, a page that does not read, and the last words.
const PATIENCE: Duration = Duration::from_secs(20);
/// After an error in taking connections: as a rule there are no file descriptors left.
const DEAF: Duration = Duration::from_secs(1);

/// What every answer says: the page is made of its own files alone, is shown in no other, and tells nobody its address,
/// which has the token.
const RULES: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
                     img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                     frame-ancestors 'none'\r\n\
                     X-Frame-Options: DENY\r\n\
                     X-Content-Type-Options: nosniff\r\n\
                     Referrer-Policy: no-referrer\r\n\
                     Cross-Origin-Resource-Policy: same-origin\r\n\
                     Cross-Origin-Opener-Policy: same-origin\r\n\
                     Cache-Control: no-store\r\n";

enum Phase {
    /// It has asked so much.
    Asking(Vec<u8>),
    /// It is answered: a head, a file, and the end.
    Answered { head: Vec<u8>, body: &'static [u8], sent: usize },
    /// A page's line to the monitor.
    Control(Box<Control>),
}

struct Connection {
    stream: TcpStream,
    phase: Phase,
    /// When it must be let go, unless something happens before.
    deadline: Option<Instant>,
    gone: bool,
}

/// The server.
pub(super) struct Server {
    listener: Listener,
    shared: Arc<Shared>,
    screen: Door,
    monitor: Inside,
    connections: Vec<Connection>,
    /// No connections are taken until then.
    deaf: Option<Instant>,
}

/// What became of a socket and of the monitor's end.
type Polled = (PollFlags, PollFlags);

impl Server {
    pub(super) fn new(listener: Listener, shared: Arc<Shared>, screen: Door, monitor: Inside) -> Server {
        Server { listener, shared, screen, monitor, connections: Vec::new(), deaf: None }
    }

    pub(super) fn run(mut self) {
        while !self.shared.stopping.load(Ordering::Acquire) {
            thread_role::at(thread_role::Role::Web);
            let Ok((listening, polled)) = self.poll() else {
                // Only for want of memory.
                std::thread::sleep(DEAF);
                continue;
            };
            let now = Instant::now();
            for (at, (socket, monitor)) in polled.into_iter().enumerate() {
                self.turn(at, socket, monitor, now);
            }
            self.connections.retain(|connection| !connection.gone);
            self.deaf = self.deaf.filter(|until| *until > now);
            if !listening.is_empty() {
                self.accept(now);
            }
        }
    }

    /// Waits for something to do.
    fn poll(&self) -> io::Result<(PollFlags, Vec<Polled>)> {
        let listening = if self.deaf.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut fds = vec![
            PollFd::new(&self.shared.bell, PollFlags::IN),
            PollFd::new(&self.listener.socket, listening),
        ];
        for connection in &self.connections {
            let (page, monitor) = connection.interest();
            fds.push(PollFd::new(&connection.stream, page));
            if let (Phase::Control(control), false) = (&connection.phase, monitor.is_empty()) {
                fds.push(PollFd::new(control.monitor(), monitor));
            }
        }
        let next =
            self.connections.iter().filter_map(|connection| connection.deadline).chain(self.deaf).min();
        let wait = next.map(|next| next.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut polled = fds.iter().skip(1).map(PollFd::revents);
        let mut next = || polled.next().unwrap_or(PollFlags::empty());
        let listening = next();
        let of_connection = |connection: &Connection| {
            let page = next();
            let monitor = if connection.interest().1.is_empty() { PollFlags::empty() } else { next() };
            (page, monitor)
        };
        Ok((listening, self.connections.iter().map(of_connection).collect()))
    }

    fn turn(&mut self, at: usize, socket: PollFlags, monitor: PollFlags, now: Instant) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        if socket.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            connection.read(now);
        }
        if let Phase::Control(control) = &mut connection.phase
            && (!monitor.is_empty() || control.has_unsent())
        {
            control.exchange();
        }
        if let Phase::Asking(bytes) = &connection.phase {
            match http::parse(bytes) {
                Ok(None) => {}
                Ok(Some((request, len))) => self.answer(at, &request, len, now),
                Err(refusal) => connection.refuse(refusal, now),
            }
        }
        if let Some(connection) = self.connections.get_mut(at) {
            connection.write(now);
            connection.gone |= connection.deadline.is_some_and(|deadline| deadline <= now);
        }
    }

    /// Gives a connection what it asks for.
    fn answer(&mut self, at: usize, request: &Request, len: usize, now: Instant) {
        let result = self.serve(at, request, len, now);
        if let (Some(connection), Err(refusal)) = (self.connections.get_mut(at), result) {
            connection.refuse(refusal, now);
        }
    }

    fn serve(&mut self, at: usize, request: &Request, len: usize, now: Instant) -> Result<(), Refusal> {
        let loopback = self.listener.address.ip().to_canonical().is_loopback();
        let same_origin = request
            .origin
            .as_deref()
            .is_none_or(|origin| origin.strip_prefix("http://") == Some(&request.host));
        if !same_origin || !request.is_from_here(loopback) {
            return Err(Refusal::Forbidden);
        }
        let name = self.listener.token.below(&request.path).ok_or(Refusal::Forbidden)?;
        let controls =
            self.connections.iter().filter(|other| matches!(other.phase, Phase::Control(_))).count();
        let connection = self.connections.get_mut(at).ok_or(Refusal::Busy)?;
        let Phase::Asking(bytes) = &connection.phase else { return Ok(()) };
        let early = bytes.get(len..).unwrap_or_default();
        match (name, &request.upgrade) {
            ("screen", Some(upgrade)) => {
                let stream = connection.stream.try_clone().map_err(|_| Refusal::Busy)?;
                if !self.screen.enter(stream, early, upgrade.answer()) {
                    return Err(Refusal::Busy);
                }
                // It is the VNC server's from now on.
                connection.gone = true;
            }
            ("monitor", Some(upgrade)) if controls < CONTROLS => {
                let monitor = self.monitor.connect().map_err(|_| Refusal::Busy)?;
                let mut control = Control::new(monitor, upgrade.answer());
                control.said(early);
                connection.phase = Phase::Control(Box::new(control));
                connection.deadline = None;
            }
            ("monitor", Some(_)) => return Err(Refusal::Busy),
            ("screen" | "monitor", None) => return Err(Refusal::UpgradeRequired),
            (name, _) => {
                let (kind, body) = files::find(name).ok_or(Refusal::NotFound)?;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{RULES}Connection: close\r\n\r\n",
                    body.len()
                );
                connection.reply(head.into_bytes(), body, now);
            }
        }
        Ok(())
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS {
            match self.listener.socket.accept() {
                Ok((stream, _)) => self.add(stream, now),
                Err(error) if is_nothing(&error) => return,
                Err(error) => {
                    tracing::warn!("the page takes no connections for a second: {error}");
                    self.deaf = Some(now + DEAF);
                    return;
                }
            }
        }
    }

    fn add(&mut self, stream: TcpStream, now: Instant) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        // Without it, it works as well, only later.
        let _ = stream.set_nodelay(true);
        if self.connections.len() >= CONNECTIONS {
            let waiting = |connection: &Connection| !matches!(connection.phase, Phase::Control(_));
            let Some(oldest) = self.connections.iter().position(waiting) else { return };
            self.connections.remove(oldest);
        }
        let phase = Phase::Asking(Vec::new());
        self.connections.push(Connection { stream, phase, deadline: Some(now + PATIENCE), gone: false });
    }
}

fn is_nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted | ConnectionReset)
}

impl Connection {
    /// What is waited for on its socket, and at the monitor.
    fn interest(&self) -> (PollFlags, PollFlags) {
        let when = |on: bool, flag| if on { flag } else { PollFlags::empty() };
        match &self.phase {
            Phase::Asking(_) => (PollFlags::IN, PollFlags::empty()),
            Phase::Answered { .. } => (PollFlags::OUT, PollFlags::empty()),
            Phase::Control(control) => (
                when(control.hears_page(), PollFlags::IN) | when(control.has_output(), PollFlags::OUT),
                when(control.hears_monitor(), PollFlags::IN) | when(control.has_unsent(), PollFlags::OUT),
            ),
        }
    }

    fn read(&mut self, now: Instant) {
        let mut data = [0; READ];
        match self.stream.read(&mut data) {
            Ok(0) => self.gone = true,
            Ok(len) => {
                let data = data.get(..len).unwrap_or_default();
                match &mut self.phase {
                    Phase::Asking(bytes) => bytes.extend(data),
                    // It need not say anything.
                    Phase::Answered { .. } => {}
                    Phase::Control(control) => control.said(data),
                }
                if let Phase::Control(_) = self.phase {
                    self.deadline = self.deadline.map(|_| now + PATIENCE);
                }
            }
            Err(error) => self.gone |= !is_nothing(&error) || error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn reply(&mut self, head: Vec<u8>, body: &'static [u8], now: Instant) {
        self.phase = Phase::Answered { head, body, sent: 0 };
        self.deadline = Some(now + PATIENCE);
    }

    fn refuse(&mut self, refusal: Refusal, now: Instant) {
        self.reply(refusal.answer(), &[], now);
    }

    /// Sends what the socket takes.
    fn write(&mut self, now: Instant) {
        match self.send() {
            Ok(any) => {
                if let Phase::Control(control) = &self.phase {
                    // A page that reads has time again.
                    let waits = control.has_output() || control.is_closing();
                    self.deadline = match (waits, self.deadline) {
                        (false, _) => None,
                        (true, Some(deadline)) if !any => Some(deadline),
                        (true, _) => Some(now + PATIENCE),
                    };
                    self.gone |= control.is_closing() && !control.has_output();
                }
            }
            Err(_) => self.gone = true,
        }
    }

    /// Whether something was sent.
    fn send(&mut self) -> io::Result<bool> {
        let mut any = false;
        loop {
            let data = match &mut self.phase {
                Phase::Asking(_) => return Ok(any),
                Phase::Answered { head, body, sent } => match sent.checked_sub(head.len()) {
                    None => head.get(*sent..).unwrap_or_default(),
                    Some(at) => body.get(at..).unwrap_or_default(),
                },
                Phase::Control(control) => control.output().as_slice(),
            };
            if data.is_empty() {
                if let Phase::Answered { .. } = self.phase {
                    self.gone = true;
                }
                return Ok(any);
            }
            let len = match self.stream.write(data) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                Err(error) => return Err(error),
            };
            any = true;
            match &mut self.phase {
                Phase::Answered { sent, .. } => *sent += len,
                Phase::Control(control) => drop(control.output().drain(..len)),
                Phase::Asking(_) => {}
            }
        }
    }
}
