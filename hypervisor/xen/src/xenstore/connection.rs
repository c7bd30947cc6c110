//! One stream to xenstored: requests, replies, and the events between them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::Event;
use super::wire::{HEADER, Message, PAYLOAD_MAX, WireError, kind, strings};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most events that wait to be asked for.
const MOST_EVENTS: usize = 1024;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The other side gave an error's name.
    Refused(String),
    /// The stream.
    Io(io::Error),
    /// What came out of it.
    Wire(WireError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// The stream.
pub struct Connection {
    stream: File,
    received: Vec<u8>,
    events: VecDeque<Event>,
    last: u32,
    patience: Duration,
    /// The stream is out of step and not used any more.
    broken: bool,
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Connection {
    /// Speaks over a connected stream, which is made not to block.
    pub fn new(stream: File) -> io::Result<Connection> {
        let fd = stream.as_raw_fd();
        // SAFETY: reads flags of a descriptor that we own.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        // SAFETY: sets flags of a descriptor that we own.
        if flags < 0 || unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Connection {
            stream,
            received: Vec::new(),
            events: VecDeque::new(),
            last: 0,
            patience: PATIENCE,
            broken: false,
        })
    }

    #[cfg(test)]
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sends a request and waits for its reply. The stream is given up when that goes wrong.
    pub fn request(&mut self, asked: u32, transaction: u32, payload: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self.usable()?;
        self.last = self.last.wrapping_add(1).max(1);
        let expected = self.last;
        let message = Message { kind: asked, request: expected, transaction, payload };
        let deadline = Instant::now() + self.patience;
        let result = self.exchange(&message, deadline);
        let reply = result.inspect_err(|_| self.broken = true)?;
        match reply.kind {
            kind::ERROR => {
                let name = strings(&reply.payload).next().unwrap_or_default();
                Err(Failure::Refused(String::from_utf8_lossy(name).into_owned()))
            }
            _ => Ok(reply.payload),
        }
    }

    fn usable(&self) -> Result<(), Failure> {
        match self.broken {
            true => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the connection broke before").into()),
            false => Ok(()),
        }
    }

    fn exchange(&mut self, message: &Message, deadline: Instant) -> Result<Message, Failure> {
        self.send(&message.encode(), deadline)?;
        loop {
            while let Some(reply) = Message::take(&mut self.received).map_err(Failure::Wire)? {
                if reply.kind == kind::WATCH_EVENT {
                    self.queue(&reply);
                    continue;
                }
                let fits = reply.request == message.request
                    && (reply.kind == message.kind || reply.kind == kind::ERROR);
                return if fits { Ok(reply) } else { Err(Failure::Wire(unexpected(&reply, message))) };
            }
            if !self.receive()? {
                self.await_ready(libc::POLLIN, deadline)?;
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.await_ready(libc::POLLOUT, deadline)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes what is there, at most a message's worth; false if nothing is.
    fn receive(&mut self) -> Result<bool, Failure> {
        let mut bytes = [0; HEADER + PAYLOAD_MAX];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "xenstored is gone").into()),
            Ok(got) => {
                self.received.extend_from_slice(&bytes[..got]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn await_ready(&self, events: libc::c_short, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        let mut polled = libc::pollfd { fd: self.stream.as_raw_fd(), events, revents: 0 };
        let wait = left.as_millis().min(1 << 30) as i32 + 1;
        // SAFETY: one entry of our own. Whatever it says, the stream is tried again.
        unsafe { libc::poll(&mut polled, 1, wait) };
        Ok(())
    }

    fn queue(&mut self, message: &Message) {
        let mut parts = strings(&message.payload);
        let (Some(path), Some(token)) = (parts.next(), parts.next()) else { return };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let event = Event::Changed { path: text(path), token: text(token) };
        if self.events.contains(&event) {
            return;
        }
        if self.events.len() >= MOST_EVENTS {
            self.events.clear();
            self.events.push_back(Event::Lost);
            return;
        }
        self.events.push_back(event);
    }

    /// The oldest event, after a look at the stream if none is queued.
    pub fn next_event(&mut self) -> Result<Option<Event>, Failure> {
        if self.events.is_empty() {
            self.usable()?;
            self.look().inspect_err(|_| self.broken = true)?;
        }
        Ok(self.events.pop_front())
    }

    /// Queues events that are there.
    fn look(&mut self) -> Result<(), Failure> {
        self.receive()?;
        while let Some(message) = Message::take(&mut self.received).map_err(Failure::Wire)? {
            if message.kind != kind::WATCH_EVENT {
                let nothing = Message { kind: 0, request: 0, transaction: 0, payload: Vec::new() };
                return Err(Failure::Wire(unexpected(&message, &nothing)));
            }
            self.queue(&message);
        }
        Ok(())
    }

    /// Drops the events of a watch.
    pub fn forget(&mut self, token: &str) {
        self.events.retain(|event| !matches!(event, Event::Changed { token: of, .. } if of == token));
    }
}

fn unexpected(reply: &Message, asked: &Message) -> WireError {
    WireError::Unexpected {
        kind: reply.kind,
        request: reply.request,
        asked: asked.kind,
        expected: asked.request,
    }
}
