//! What lies between a client's socket and its conversation: nothing, or encryption, or a WebSocket with its opening,
//! or both.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use rustls::ServerConnection;

use super::listen::{Address, Connection};
use super::session::Session;
use crate::tls::Credentials;
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
    tls: Option<Box<ServerConnection>>,
    layer: Layer,
    /// What is to be sent before the conversation's, not encrypted yet.
    plain: Vec<u8>,
    /// Bytes for the socket that are no longer the conversation's, from `sent` on.
    out: Vec<u8>,
    sent: usize,
}

impl Wire {
    /// A client that speaks RFB at once.
    pub fn plain(connection: Connection) -> Wire {
        Wire { connection, tls: None, layer: Layer::Plain, plain: Vec::new(), out: Vec::new(), sent: 0 }
    }

    /// A client that opens a WebSocket first.
    pub fn web(connection: Connection, loopback: bool) -> Wire {
        Wire { layer: Layer::Head { bytes: Vec::new(), loopback }, ..Wire::plain(connection) }
    }

    /// A client that has opened it; `out` is what it has still to be sent.
    pub fn opened(connection: Connection, socket: WebSocket, out: Vec<u8>) -> Wire {
        Wire { layer: Layer::Socket(socket), out, ..Wire::plain(connection) }
    }

    /// The same, encrypted from its first byte on; none only for want of memory.
    pub fn secured(mut self, tls: &Credentials) -> Option<Wire> {
        self.secure(tls).then_some(self)
    }

    /// Encrypts from here on. Whether that can be.
    pub fn secure(&mut self, tls: &Credentials) -> bool {
        self.tls = tls.accept();
        self.tls.is_some()
    }

    /// Whether it is encrypted.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
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
        let tls = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        self.sent == self.out.len() && self.plain.is_empty() && !answers && !tls
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

    /// Reads what is there, and gives what of it is the conversation's; none, if nothing was there.
    pub fn read(&mut self, data: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(len) = self.connection.read(data)? else { return Ok(None) };
        let mut came = Vec::new();
        match &mut self.tls {
            None => came.extend(data.get(..len).unwrap_or_default()),
            Some(tls) => {
                if let Err(error) = decrypt(tls, data.get(..len).unwrap_or_default(), &mut came) {
                    // What is wrong is said, if the socket takes it.
                    let _ = tls.write_tls(&mut self.out);
                    let _ = self.connection.write(self.out.get(self.sent..).unwrap_or_default());
                    return Err(error);
                }
            }
        }
        let mut plain = Vec::new();
        match &mut self.layer {
            Layer::Plain => return Ok(Some(came)),
            Layer::Head { bytes, .. } => {
                bytes.extend(came);
                self.open(&mut plain);
            }
            Layer::Socket(socket) => socket.receive(&came, &mut plain),
            Layer::Refused => {}
        }
        Ok(Some(plain))
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
                self.plain.extend(upgrade.answer());
                let mut socket = WebSocket::default();
                // A client that did not wait for our answer.
                socket.receive(bytes.get(len..).unwrap_or_default(), plain);
                self.layer = Layer::Socket(socket);
            }
            Err(refusal) => {
                self.plain.extend(refusal.answer());
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
            let plain = matches!(self.layer, Layer::Plain) && self.tls.is_none() && self.out.is_empty();
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
        if self.plain.is_empty() {
            match &mut self.layer {
                Layer::Socket(socket) => {
                    let used = socket.send(session.output(), &mut self.plain);
                    session.sent(used);
                    socket.answers(&mut self.plain);
                }
                Layer::Plain if self.tls.is_some() => {
                    let data = session.output();
                    let data = data.get(..FRAMED).unwrap_or(data);
                    self.plain.extend(data);
                    session.sent(data.len());
                }
                _ => {}
            }
        }
        match &mut self.tls {
            None => std::mem::swap(&mut self.out, &mut self.plain),
            Some(tls) => encrypt(tls, &mut self.plain, &mut self.out),
        }
    }
}

/// Takes what came encrypted; what it means goes to `clear`: one record at most more than what was taken.
fn decrypt(tls: &mut ServerConnection, mut data: &[u8], clear: &mut Vec<u8>) -> io::Result<()> {
    while !data.is_empty() {
        tls.read_tls(&mut data)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let len = clear.len();
        clear.resize(len + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(clear.get_mut(len..).unwrap_or_default())?;
        if state.peer_has_closed() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Encrypts what there is, or as much as may wait while the two still agree on how.
fn encrypt(tls: &mut ServerConnection, plain: &mut Vec<u8>, out: &mut Vec<u8>) {
    // Neither fails: what they write to is memory.
    loop {
        let used = tls.writer().write(plain).unwrap_or(0);
        plain.drain(..used);
        while tls.wants_write() && tls.write_tls(out).is_ok() {}
        if used == 0 {
            return;
        }
    }
}
