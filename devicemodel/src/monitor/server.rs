//! The monitor's sockets: who is connected, what they said, what they have still to hear.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use event_manager::{EventOps, EventSet, Events};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::commands::{execute, schema};
use super::context::{Context, Later, Session, Shared};
use super::events::{Event, EventSpec};
use super::info::ChardevInfo;
use super::objects::Object;
use super::protocol::{Command, Decoder, Incoming, QmpError, event, failure, greeting, success};
use super::{Guest, human};
use crate::sandbox;

/// Most bytes that wait for a client that does not read: more, and it is disconnected.
const BACKLOG: usize = 4 << 20;
/// Most clients at a time.
const CLIENTS: usize = 16;
/// Most commands of a client that wait for one that is outstanding (QEMU, `QMP_REQ_QUEUE_LEN_MAX`); what comes after
/// them is not read yet.
const WAITING: usize = 8;
/// Most files that came from a client and that no command has taken; more are closed.
const RECEIVED: usize = 8;
/// Most files that come with one piece of a stream (Linux, `SCM_MAX_FD`, is 253; clients send one).
const FILES_A_PIECE: usize = 8;

/// The server on one or more unix sockets. Lives in the event loop of the process; the tokens from
/// `first_token` on are the epoll data of its sources.
pub struct Server {
    listeners: BTreeMap<u32, Listener>,
    /// Where those of this process come in, and its token.
    inside: Option<(u32, Inside)>,
    /// Clients that we have connected to, by token: label and path.
    peers: BTreeMap<u32, (String, PathBuf)>,
    next_token: u32,
    clients: BTreeMap<u32, Connection>,
    shared: Shared,
}

/// A way in for clients that are in this process.
#[derive(Clone)]
pub struct Inside(Arc<Arrivals>);

struct Arrivals {
    bell: EventFd,
    streams: Mutex<Vec<UnixStream>>,
}

impl Inside {
    /// Connects a client; the monitor greets it when its turn comes.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        let mut streams = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.len() >= CLIENTS {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        streams.push(far);
        drop(streams);
        self.0.bell.write(1)?;
        Ok(near)
    }
}

/// A socket that clients connect to.
struct Listener {
    socket: UnixListener,
    label: String,
    path: Option<PathBuf>,
    /// We made the file at `path`, and remove it.
    ours: bool,
}

struct Connection {
    stream: UnixStream,
    /// Which listener it came by.
    listener: u32,
    decoder: Decoder,
    session: Session,
    negotiated: bool,
    unsent: Vec<u8>,
    /// It says nothing any more, but may still be listening.
    ended: bool,
    closing: bool,
    /// Commands that wait for the one that is outstanding.
    waiting: VecDeque<Incoming>,
    /// A command that is not over. What is answered when it is, and to whom.
    outstanding: Option<(Later, Value, Option<Value>)>,
}

impl Connection {
    /// A client that has been greeted. `listener` is what it came by, or its own token.
    fn new(stream: UnixStream, listener: u32) -> Connection {
        let mut client = Connection {
            stream,
            listener,
            decoder: Decoder::default(),
            session: Session::default(),
            negotiated: false,
            unsent: Vec::new(),
            ended: false,
            closing: false,
            waiting: VecDeque::new(),
            outstanding: None,
        };
        client.queue(&greeting());
        client.flush();
        client
    }

    fn queue(&mut self, value: &Value) {
        self.unsent.extend_from_slice(value.to_string().as_bytes());
        self.unsent.extend_from_slice(b"\r\n");
        self.closing |= self.unsent.len() > BACKLOG;
    }

    /// The outstanding command is over.
    fn conclude(&mut self, result: Result<(), QmpError>) {
        let Some((later, answer, id)) = self.outstanding.take() else { return };
        let answer = match result {
            Ok(()) => Ok(answer),
            Err(error) if later.people => Ok(human::failed(&error).into()),
            Err(error) => Err(error),
        };
        self.queue(&finished(answer, id));
        self.flush();
    }

    /// Sends what the socket takes.
    fn flush(&mut self) {
        while !self.unsent.is_empty() && !self.closing {
            match self.stream.write(&self.unsent) {
                Ok(sent) if sent > 0 => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.closing = true,
            }
        }
    }

    /// Takes in what is there; false when the peer is gone or sends nonsense without end.
    fn fill(&mut self) -> bool {
        if !self.is_heard() {
            self.flush();
            // It is woken for what it can still be sent, and else for its end.
            return !self.unsent.is_empty();
        }
        let mut chunk = [0; 4096];
        loop {
            match self.receive(&mut chunk) {
                Ok(0) if self.outstanding.is_some() => {
                    self.ended = true;
                    return true;
                }
                Ok(0) => return false,
                // One piece a turn: level-triggered polling brings the rest, and nobody starves.
                Ok(len) => return self.take(chunk.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Whether what it says is read now.
    fn is_heard(&self) -> bool {
        !self.ended && self.waiting.len() < WAITING
    }

    /// The next command, if none is outstanding. Else what comes waits, and `quit` among it is told.
    fn next_command(&mut self, quits: &mut bool) -> Option<Incoming> {
        if self.closing {
            return None;
        }
        if self.outstanding.is_none() {
            return self.waiting.pop_front().or_else(|| self.decoder.next_command());
        }
        while self.waiting.len() < WAITING
            && let Some(incoming) = self.decoder.next_command()
        {
            *quits |= matches!(&incoming, Incoming::Command(command) if command.name == "quit");
            self.waiting.push_back(incoming);
        }
        None
    }

    /// Takes in bytes; false when they go on without end, which the client is told.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let fits = self.decoder.push(bytes);
        if !fits {
            let error = QmpError::generic("JSON token size limit exceeded");
            self.queue(&failure(&error, None));
            self.flush();
        }
        fits
    }

    /// Reads bytes and the files that come with them.
    fn receive(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_A_PIECE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let message = recvmsg(&self.stream, &mut [IoSliceMut::new(chunk)], &mut control, flags)?;
        for extra in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = extra {
                let received = &mut self.session.received;
                let room = RECEIVED.saturating_sub(received.len());
                received.extend(files.take(room));
            }
        }
        Ok(message.bytes)
    }

    fn interest(&self) -> EventSet {
        let heard = EventSet::IN | EventSet::READ_HANG_UP;
        let base = if self.is_heard() { heard } else { EventSet::empty() };
        if self.unsent.is_empty() { base } else { base | EventSet::OUT }
    }
}

impl Server {
    /// A server on no socket yet. Tokens from `first_token` on are the server's.
    pub fn new(first_token: u32) -> Server {
        Server {
            listeners: BTreeMap::new(),
            inside: None,
            peers: BTreeMap::new(),
            next_token: first_token,
            clients: BTreeMap::new(),
            shared: Shared::default(),
        }
    }

    /// Its clients find that object.
    pub(crate) fn add_object(&mut self, id: &str, object: Object) -> Result<(), QmpError> {
        self.shared.objects.add(id.to_owned(), object)
    }

    /// A server that listens at `path`.
    pub fn bind(path: &Path, first_token: u32) -> io::Result<Server> {
        let mut server = Server::new(first_token);
        server.listen("compat_monitor0", path)?;
        Ok(server)
    }

    /// Listens at `path`. A socket that nobody serves any more is replaced; anything else there is left
    /// alone and is an error. `label` is its name in `query-chardev`.
    pub fn listen(&mut self, label: &str, path: &Path) -> io::Result<()> {
        // A plain file refuses connections too, but is somebody's.
        let is_socket = path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket());
        let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
        if is_socket && UnixStream::connect(path).is_err_and(refused) {
            std::fs::remove_file(path)?;
        }
        let socket = UnixListener::bind(path)?;
        self.add(Listener { socket, label: label.into(), path: Some(path.to_owned()), ours: true })
    }

    /// Serves a unix socket that somebody else has bound to its path. That path is not removed at the end.
    pub fn adopt(&mut self, label: &str, socket: OwnedFd) -> io::Result<()> {
        // It listens already when libxl has made it; to say so again changes only the length of the queue.
        rustix::net::listen(&socket, CLIENTS as i32)?;
        let socket = UnixListener::from(socket);
        let path = socket.local_addr()?.as_pathname().map(Path::to_owned);
        self.add(Listener { socket, label: label.into(), path, ours: false })
    }

    /// Connects to a client that listens at `path`. There is no second time when it goes.
    pub fn connect(&mut self, label: &str, path: &Path) -> io::Result<()> {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        let token = self.token();
        self.peers.insert(token, (label.into(), path.to_owned()));
        self.clients.insert(token, Connection::new(stream, token));
        Ok(())
    }

    /// Opens a way in for clients of this process, before the server joins the event loop.
    pub fn inside(&mut self) -> io::Result<Inside> {
        let arrivals = Arrivals { bell: EventFd::new(EFD_NONBLOCK)?, streams: Mutex::default() };
        let inside = Inside(Arc::new(arrivals));
        self.inside = Some((self.token(), inside.clone()));
        Ok(inside)
    }

    fn add(&mut self, listener: Listener) -> io::Result<()> {
        listener.socket.set_nonblocking(true)?;
        let token = self.token();
        self.listeners.insert(token, listener);
        Ok(())
    }

    /// A token that no source has. They are counted up: one of a client that has just gone must not mean
    /// another one, since its last events may still be on their way.
    fn token(&mut self) -> u32 {
        let token = self.next_token;
        self.next_token = self.next_token.saturating_add(1);
        token
    }

    /// Joins the event loop.
    pub fn register(&self, ops: &mut EventOps<'_>) -> Result<(), event_manager::Error> {
        for (token, listener) in &self.listeners {
            ops.add(Events::with_data(&listener.socket, *token, EventSet::IN))?;
        }
        if let Some((token, Inside(arrivals))) = &self.inside {
            ops.add(Events::with_data(&arrivals.bell, *token, EventSet::IN))?;
        }
        for (token, client) in &self.clients {
            ops.add(Events::with_data(&client.stream, *token, client.interest()))?;
        }
        Ok(())
    }

    /// Handles a source of the server's.
    pub fn process(&mut self, token: u32, ops: &mut EventOps<'_>, guest: &mut dyn Guest) {
        if self.listeners.contains_key(&token) {
            self.accept(token, ops);
            return;
        }
        if self.inside.as_ref().is_some_and(|(inside, _)| *inside == token) {
            self.welcome(token, ops);
            return;
        }
        let Some(client) = self.clients.get_mut(&token) else { return };
        client.closing |= !client.fill();
        self.serve(token, guest);
        self.answer(guest);
        self.settle(ops);
    }

    /// Once a turn of the loop: answers commands that are over by now, and goes on with those after them.
    pub fn turn(&mut self, ops: &mut EventOps<'_>, guest: &mut dyn Guest) {
        if self.answer(guest) {
            self.settle(ops);
        }
    }

    /// The same when there is no further turn.
    pub fn last_turn(&mut self, guest: &mut dyn Guest) {
        self.answer(guest);
    }

    /// Carries out what a client has asked for, up to a command that is not over at once.
    fn serve(&mut self, token: u32, guest: &mut dyn Guest) {
        let mut quits = false;
        while let Some(incoming) =
            self.clients.get_mut(&token).and_then(|client| client.next_command(&mut quits))
        {
            let answer = match incoming {
                Incoming::Bad(answer) => Some(answer),
                Incoming::Command(command) => self.command(token, &command, guest),
            };
            if let Some((client, answer)) = self.clients.get_mut(&token).zip(answer) {
                client.queue(&answer);
                client.flush();
            }
        }
        if quits {
            guest.give_up();
        }
        if let Some(client) = self.clients.get_mut(&token) {
            client.closing |= client.ended && client.outstanding.is_none() && client.unsent.is_empty();
        }
    }

    /// Answers commands that are over; whether there was one.
    fn answer(&mut self, guest: &mut dyn Guest) -> bool {
        let mut any = false;
        loop {
            let answers = guest.take_answers();
            if answers.is_empty() {
                return any;
            }
            any = true;
            for (spec, data) in guest.take_events() {
                tell(&mut self.clients, spec, data);
            }
            for (job, result) in answers {
                let asked = |client: &Connection| {
                    client.outstanding.as_ref().is_some_and(|(later, ..)| later.job == job)
                };
                // Who asked may be gone.
                let client = self.clients.iter_mut().find(|(_, client)| asked(client));
                if let Some((&token, client)) = client {
                    client.conclude(result);
                    self.serve(token, guest);
                }
            }
        }
    }

    /// Tells every client that has negotiated.
    pub fn broadcast(&mut self, (spec, data): Event, ops: &mut EventOps<'_>) {
        tell(&mut self.clients, spec, data);
        self.settle(ops);
    }

    /// The lines that the server's sockets are, for `query-chardev`.
    fn lines(&self) -> Vec<ChardevInfo> {
        let line = |(token, listener): (&u32, &Listener)| {
            let connected = self.clients.values().any(|client| client.listener == *token);
            let before = if connected { "" } else { "disconnected:" };
            let path = listener.path.as_deref().unwrap_or("".as_ref()).display();
            ChardevInfo {
                label: listener.label.clone(),
                filename: format!("{before}unix:{path},server=on"),
                frontend_open: true,
            }
        };
        let peer = |(token, (label, path)): (&u32, &(String, PathBuf))| {
            let before = if self.clients.contains_key(token) { "" } else { "disconnected:" };
            let filename = format!("{before}unix:{}", path.display());
            ChardevInfo { label: label.clone(), filename, frontend_open: true }
        };
        self.listeners.iter().map(line).chain(self.peers.iter().map(peer)).collect()
    }

    fn accept(&mut self, listener: u32, ops: &mut EventOps<'_>) {
        let Some(Ok((stream, _))) = self.listeners.get(&listener).map(|at| at.socket.accept()) else {
            return;
        };
        self.greet(stream, listener, ops);
    }

    /// Takes clients of this process.
    fn welcome(&mut self, from: u32, ops: &mut EventOps<'_>) {
        let Some((_, Inside(arrivals))) = self.inside.clone() else { return };
        // How often it was rung is no matter.
        let _ = arrivals.bell.read();
        let streams = std::mem::take(&mut *arrivals.streams.lock().unwrap_or_else(PoisonError::into_inner));
        for stream in streams {
            self.greet(stream, from, ops);
        }
    }

    fn greet(&mut self, stream: UnixStream, listener: u32, ops: &mut EventOps<'_>) {
        if self.clients.len() >= CLIENTS || stream.set_nonblocking(true).is_err() {
            return;
        }
        let token = self.token();
        let client = Connection::new(stream, listener);
        if ops.add(Events::with_data(&client.stream, token, client.interest())).is_ok() {
            self.clients.insert(token, client);
        }
    }

    /// The answer of a command, if it is over.
    fn command(&mut self, token: u32, command: &Command, guest: &mut dyn Guest) -> Option<Value> {
        let monitors = self.lines();
        let clients = &mut self.clients;
        let client = clients.get_mut(&token)?;
        let mut later = None;
        let result = if client.negotiated {
            let mut session = std::mem::take(&mut client.session);
            let mut context = Context {
                guest: &mut *guest,
                shared: &mut self.shared,
                session: &mut session,
                monitors: &monitors,
                notify: &mut |spec, data| tell(clients, spec, data),
                later: None,
            };
            let result = execute(command, &mut context);
            later = context.later;
            // What a command has brought about is told before it is answered.
            for (spec, data) in guest.take_events() {
                tell(clients, spec, data);
            }
            if let Some(client) = clients.get_mut(&token) {
                client.session = session;
            }
            result
        } else {
            let result = negotiate(command);
            client.negotiated = result.is_ok();
            result
        };
        let id = command.id.clone();
        match (result, later) {
            (Ok(answer), Some(later)) => {
                clients.get_mut(&token)?.outstanding = Some((later, answer, id));
                None
            }
            (result, _) => Some(finished(result, id)),
        }
    }

    /// Drops clients that are done for and tells the loop what the others wait for.
    fn settle(&mut self, ops: &mut EventOps<'_>) {
        self.clients.retain(|token, client| {
            client.flush();
            let events = Events::with_data(&client.stream, *token, client.interest());
            if client.closing {
                // The only way to fail is that it is not there any more.
                let _ = ops.remove(events);
                return false;
            }
            ops.modify(events).is_ok()
        });
        if self.clients.is_empty() {
            self.shared.fdsets.clear();
        }
    }
}

/// The answer of a command that is over.
fn finished(result: Result<Value, QmpError>, id: Option<Value>) -> Value {
    match result {
        Ok(result) => success(result, id),
        Err(mut error) => {
            sandbox::explain(&mut error.desc);
            failure(&error, id)
        }
    }
}

/// The first command. There is no capability that could be switched on.
fn negotiate(command: &Command) -> Result<Value, QmpError> {
    if command.name != "qmp_capabilities" {
        let desc = "Expecting capabilities negotiation with 'qmp_capabilities'";
        return Err(QmpError::command_not_found(desc));
    }
    schema().check(command)?;
    match command.arguments.get("enable").and_then(Value::as_array) {
        Some(names) if !names.is_empty() => {
            Err(QmpError::generic("This monitor does not support capabilities: oob"))
        }
        _ => Ok(json!({})),
    }
}

fn tell(clients: &mut BTreeMap<u32, Connection>, spec: &EventSpec, data: Value) {
    debug_assert_eq!(schema().check_event(spec.name, &data), Ok(()), "{} {data}", spec.name);
    let event = event(spec.name, data);
    for client in clients.values_mut().filter(|client| client.negotiated) {
        client.queue(&event);
        client.flush();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for client in self.clients.values_mut() {
            client.flush();
        }
        for listener in self.listeners.values().filter(|listener| listener.ours) {
            if let Some(path) = &listener.path {
                // Gone already is as good.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests;
