//! The socket on which qtest is spoken.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Instant;

use backends::socket;
use event_manager::{EventOps, EventSet, Events};

use super::command::{LINE_MOST, Reply, Session};

/// Token of the socket that clients come to.
const LISTENER: u32 = 2;
/// Token of the interrupt wires' bell.
const BELL: u32 = 3;
/// Token of the client.
const CLIENT: u32 = 4;
/// A client that does not read so much is not heard any more until it does.
const BACKLOG: usize = 1 << 20;
/// Most bytes that are read in one turn.
const PIECE: usize = 64 << 10;

/// Where the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QtestSocket {
    /// It listens there, and we connect.
    Connect(PathBuf),
    /// We listen there; one client at a time.
    Listen(PathBuf),
    /// Our standard input and output.
    Stdio,
}

/// Where what is said is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Nowhere.
    Nothing,
    /// Standard error, as QEMU does when nobody says.
    Stderr,
    /// A file.
    File(PathBuf),
}

/// Somebody who is there.
struct Client {
    input: OwnedFd,
    output: OwnedFd,
    since: Instant,
    unread: Vec<u8>,
    /// So many bytes of it have no end of a line.
    scanned: usize,
    unsent: Vec<u8>,
    /// What the event loop waits for on its input.
    awaited: EventSet,
    /// The line that is coming is too long and is dropped up to its end.
    dropping: bool,
}

/// The protocol on its socket. Lives in the event loop of the process.
pub struct Server {
    session: Session,
    listener: Option<UnixListener>,
    unlink: Option<socket::Unlink>,
    client: Option<Client>,
    log: Option<Box<dyn Write + Send>>,
}

/// What the event loop does between two commands.
pub trait Between {
    /// Carries out what the devices have asked for, such as a reset.
    fn settle(&mut self);
}

impl Client {
    fn new(input: OwnedFd, output: OwnedFd) -> io::Result<Client> {
        rustix::io::ioctl_fionbio(&input, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let (unread, unsent) = (Vec::new(), Vec::new());
        let since = Instant::now();
        let awaited = EventSet::IN;
        Ok(Client { input, output, since, unread, scanned: 0, unsent, awaited, dropping: false })
    }

    fn of(stream: UnixStream) -> io::Result<Client> {
        let output = stream.as_fd().try_clone_to_owned()?;
        Client::new(stream.into(), output)
    }

    /// Takes in what is there; false when the peer is gone.
    fn fill(&mut self) -> bool {
        let mut piece = [0; PIECE];
        match rustix::io::read(&self.input, &mut piece) {
            Ok(0) => false,
            Ok(len) => {
                self.take_in(piece.get(..len).unwrap_or(&[]));
                true
            }
            Err(error) => {
                matches!(io::Error::from(error).kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
            }
        }
    }

    fn take_in(&mut self, mut bytes: &[u8]) {
        if self.dropping {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
            self.dropping = false;
            bytes = bytes.get(end..).unwrap_or(&[]);
        }
        self.unread.extend_from_slice(bytes);
    }

    /// The next whole line. One that is too long is an error, and its bytes are dropped.
    fn line(&mut self) -> Option<Result<String, &'static str>> {
        let new = self.unread.get(self.scanned..).unwrap_or(&[]);
        let Some(end) = new.iter().position(|byte| *byte == b'\n').map(|at| self.scanned + at) else {
            self.scanned = self.unread.len();
            if self.unread.len() <= LINE_MOST {
                return None;
            }
            (self.unread, self.scanned) = (Vec::new(), 0);
            self.dropping = true;
            return Some(Err("the line is too long"));
        };
        self.scanned = 0;
        let line: Vec<u8> = self.unread.drain(..=end).collect();
        let text = String::from_utf8(line).map_err(|_| "the line is not UTF-8");
        Some(text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Sends what the peer takes; false when it is gone.
    fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match rustix::io::write(&self.output, &self.unsent) {
                Ok(sent) if sent > 0 => drop(self.unsent.drain(..sent)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return true,
                _ => return false,
            }
        }
        true
    }

    fn interest(&self) -> EventSet {
        match (self.unsent.is_empty(), self.is_heard()) {
            (true, _) => EventSet::IN,
            (false, true) => EventSet::IN | EventSet::OUT,
            (false, false) => EventSet::OUT,
        }
    }

    /// Whether it may say more.
    fn is_heard(&self) -> bool {
        self.unsent.len() < BACKLOG
    }
}

impl Server {
    /// Opens the place. A client that we are to connect to is there when this returns.
    pub fn open(session: Session, place: &QtestSocket, log: &LogTo) -> io::Result<Server> {
        let log: Option<Box<dyn Write + Send>> = match log {
            LogTo::Nothing => None,
            LogTo::Stderr => Some(Box::new(io::stderr())),
            LogTo::File(path) => Some(Box::new(File::create(path)?)),
        };
        let mut server = Server { session, listener: None, unlink: None, client: None, log };
        match place {
            QtestSocket::Connect(path) => server.meet(Client::of(UnixStream::connect(path)?)?),
            QtestSocket::Stdio => {
                let (input, output) = (io::stdin().as_fd().try_clone_to_owned()?, io::stdout());
                server.meet(Client::new(input, output.as_fd().try_clone_to_owned()?)?);
            }
            QtestSocket::Listen(path) => {
                let (listener, unlink) = socket::listen(path)?;
                (server.listener, server.unlink) = (Some(listener), Some(unlink));
            }
        }
        Ok(server)
    }

    fn meet(&mut self, client: Client) {
        self.note("I", &client, "OPENED");
        self.client = Some(client);
    }

    fn note(&mut self, mark: &str, client: &Client, text: &str) {
        if let Some(log) = &mut self.log {
            // The log is a help.
            let _ = writeln!(log, "[{mark} +{:.6}] {text}", client.since.elapsed().as_secs_f64());
        }
    }

    /// Joins the event loop.
    pub fn register(&self, ops: &mut EventOps<'_>) -> Result<(), event_manager::Error> {
        if let Some(listener) = &self.listener {
            ops.add(Events::with_data(listener, LISTENER, EventSet::IN))?;
        }
        if let Some(client) = &self.client {
            ops.add(Events::with_data(&client.input, CLIENT, client.awaited))?;
        }
        ops.add(Events::with_data(self.session.taps().bell(), BELL, EventSet::IN))
    }

    /// Whether a source of the event loop is this server's.
    pub fn owns(token: u32) -> bool {
        (LISTENER..=CLIENT).contains(&token)
    }

    /// Handles a source of the server's.
    pub fn process(&mut self, token: u32, ops: &mut EventOps<'_>, between: &mut dyn Between) {
        match token {
            LISTENER => self.accept(ops),
            BELL => self.session.taps().hear(),
            _ => {}
        }
        let Some(mut client) = self.client.take() else {
            // Changes that nobody is told of.
            self.session.changes();
            return;
        };
        let mut there = token != CLIENT || !client.is_heard() || client.fill();
        if let Some(line) = self.session.go_on() {
            between.settle();
            self.answer(&mut client, &line);
        }
        while there && client.is_heard() && !self.session.is_stepping() {
            let Some(line) = client.line() else { break };
            self.carry_out(&mut client, line, between);
            there = client.flush();
        }
        let changes = self.session.changes();
        client.unsent.extend_from_slice(changes.as_bytes());
        there &= client.flush();
        if self.session.is_stepping() {
            // Time goes on in the next turn; others have theirs meanwhile.
            self.session.taps().ring();
        }
        let (before, now) = (client.awaited, client.interest());
        client.awaited = now;
        let events = Events::with_data(&client.input, CLIENT, now);
        if there && (now == before || ops.modify(events).is_ok()) {
            self.client = Some(client);
        } else {
            let _ = ops.remove(Events::empty(&client.input));
            self.note("I", &client, "CLOSED");
            self.session.forget();
        }
    }

    fn carry_out(
        &mut self,
        client: &mut Client,
        line: Result<String, &'static str>,
        between: &mut dyn Between,
    ) {
        let reply = match line {
            Ok(line) => {
                self.note("R", client, &line);
                self.session.execute(&line)
            }
            Err(why) => Reply::Line(format!("FAIL {why}")),
        };
        between.settle();
        if let Reply::Line(text) = reply {
            self.answer(client, &text);
        }
    }

    /// A reply, after what happened on the wires meanwhile.
    fn answer(&mut self, client: &mut Client, text: &str) {
        let changes = self.session.changes();
        client.unsent.extend_from_slice(changes.as_bytes());
        self.note("S", client, text);
        client.unsent.extend_from_slice(text.as_bytes());
        client.unsent.push(b'\n');
    }

    /// A second client is turned away while the first is there.
    fn accept(&mut self, ops: &mut EventOps<'_>) {
        let Some(Ok((mut stream, _))) = self.listener.as_ref().map(UnixListener::accept) else { return };
        if self.client.is_some() {
            // It may be gone already.
            let _ = stream.write_all(b"FAIL another client is served\n");
            return;
        }
        let Ok(client) = Client::of(stream) else { return };
        if ops.add(Events::with_data(&client.input, CLIENT, client.awaited)).is_ok() {
            self.meet(client);
        }
    }
}
