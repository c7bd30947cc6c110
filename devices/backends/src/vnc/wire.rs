//! What lies between a client's socket and its conversation: nothing, or a WebSocket with its opening.

use std::io;
use std::os::fd::BorrowedFd;

use super::listen::{Address, Connection};
use super::session::Session;
use crate::web::http::{self, Refusal, Request};
use crate::web::websocket::{WebSocket, status};

/// Most bytes of a conversation that are put into frames before they are sent.
const FRAMED: usize = 1 << 16;

enum Layer {
    /// The conversation itself.
    Plain,
    /// The head of a request for a WebSocket, so far. `loopback`: nobody but this machine can reach us.
    Head { bytes: Vec<u8>, loopback: bool },
    /// The conversation is the WebSocket's stream.
    Socket(WebSocket),
    /// What there is is sent, and that is the end.
    Refused,
}

/// A client's connection, as the server sees it.
pub(super) struct Wire {
    connection: Connection,
    layer: Layer,
    /// Bytes for the socket that are no longer the conversation's, from `sent` on.
    out: Vec<u8>,
    sent: usize,
}

impl Wire {
    /// A client that speaks RFB at once.
    pub fn plain(connection: Connection) -> Wire {
        Wire { connection, layer: Layer::Plain, out: Vec::new(), sent: 0 }
    }

    /// A client that opens a WebSocket first.
    pub fn web(connection: Connection, loopback: bool) -> Wire {
        Wire { layer: Layer::Head { bytes: Vec::new(), loopback }, ..Wire::plain(connection) }
    }

    /// A client that has opened it; `out` is what it has still to be sent.
    pub fn opened(connection: Connection, socket: WebSocket, out: Vec<u8>) -> Wire {
        Wire { layer: Layer::Socket(socket), out, ..Wire::plain(connection) }
    }

    pub fn address(&self) -> &Address {
        self.connection.address()
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.connection.fd()
    }

    /// Whether it speaks RFB in a WebSocket.
    pub fn is_websocket(&self) -> bool {
        matches!(self.layer, Layer::Head { .. } | Layer::Socket(_))
    }

    /// Whether nothing waits here to be sent.
    pub fn is_clear(&self) -> bool {
        let answers = matches!(&self.layer, Layer::Socket(socket) if socket.has_answers());
        self.sent == self.out.len() && !answers
    }

    /// Whether the connection ends when all is sent.
    pub fn is_closing(&self) -> bool {
        match &self.layer {
            Layer::Plain | Layer::Head { .. } => false,
            Layer::Socket(socket) => socket.is_closing(),
            Layer::Refused => true,
        }
    }

    /// The conversation is over: says so where that can be said.
    pub fn close(&mut self) {
        if let Layer::Socket(socket) = &mut self.layer {
            socket.close(status::NORMAL);
        }
    }

    /// Reads what is there. What is the conversation's is in `data` after that, or in `more`: so many bytes, or none
    /// for now.
    pub fn read<'a>(&mut self, data: &'a mut [u8], more: &'a mut Vec<u8>) -> io::Result<Option<&'a [u8]>> {
        let Some(len) = self.connection.read(data)? else { return Ok(None) };
        let data = data.get(..len).unwrap_or_default();
        Ok(match &mut self.layer {
            Layer::Plain => Some(data),
            Layer::Head { bytes, .. } => {
                bytes.extend(data);
                self.open(more);
                Some(more)
            }
            Layer::Socket(socket) => {
                socket.receive(data, more);
                Some(more)
            }
            Layer::Refused => None,
        })
    }

    /// Opens the WebSocket when its head is whole.
    fn open(&mut self, plain: &mut Vec<u8>) {
        let Layer::Head { bytes, loopback } = &self.layer else { return };
        let opened = |(request, len): (Request, usize)| {
            if !request.is_from_here(*loopback) {
                return Err(Refusal::Forbidden);
            }
            request.upgrade.map(|upgrade| (upgrade, len)).ok_or(Refusal::UpgradeRequired)
        };
        match http::parse(bytes).and_then(|parsed| parsed.map(opened).transpose()) {
            Ok(None) => {}
            Ok(Some((upgrade, len))) => {
                self.out.extend(upgrade.answer());
                let mut socket = WebSocket::default();
                // A client that did not wait for our answer.
                socket.receive(bytes.get(len..).unwrap_or_default(), plain);
                self.layer = Layer::Socket(socket);
            }
            Err(refusal) => {
                self.out.extend(refusal.answer());
                self.layer = Layer::Refused;
            }
        }
    }

    /// Sends what the socket takes of what is here and of what the conversation has to say. Whether it took
    /// something.
    pub fn flush(&mut self, session: &mut Session) -> io::Result<bool> {
        let mut any = false;
        loop {
            self.fill(session);
            let plain = matches!(self.layer, Layer::Plain) && self.out.is_empty();
            let data = if plain { session.output() } else { self.out.get(self.sent..).unwrap_or_default() };
            if data.is_empty() {
                return Ok(any);
            }
            let Some(len) = self.connection.write(data)? else { return Ok(any) };
            any = true;
            if plain {
                session.sent(len);
            } else {
                self.sent += len;
            }
        }
    }

    /// Puts more into frames, if all that was has been sent.
    fn fill(&mut self, session: &mut Session) {
        if self.sent < self.out.len() {
            return;
        }
        self.sent = 0;
        self.out.clear();
        self.out.shrink_to(FRAMED);
        if let Layer::Socket(socket) = &mut self.layer {
            let used = socket.send(session.output(), &mut self.out);
            session.sent(used);
            socket.answers(&mut self.out);
        }
    }
}
