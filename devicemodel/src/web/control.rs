//! What a page says to the monitor and hears of it: QMP, as a stream in a WebSocket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use backends::web::websocket::{WebSocket, status};
use serde_json::Value;

use crate::monitor::protocol::{Decoder, QmpError, failure};

/// Commands that the page has something for. Others are refused, whatever the monitor would say.
const ALLOWED: &[&str] = &[
    "qmp_capabilities",
    "query-status",
    "query-name",
    "query-block",
    "inspect",
    "stop",
    "cont",
    "system_reset",
    "system_powerdown",
    "quit",
    "send-key",
    "blockdev-change-medium",
    "eject",
    "save",
];
/// Most bytes that wait for the monitor before the page is not read any more.
const UNSENT: usize = 1 << 16;
/// Most bytes that wait for the page before the monitor is not read any more.
const UNREAD: usize = 1 << 16;
/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// One page's line to the monitor.
pub(crate) struct Control {
    socket: WebSocket,
    /// A client of the monitor's.
    monitor: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
    /// Bytes for the page, in frames.
    out: Vec<u8>,
}

impl Control {
    /// A line whose opening is answered by `answer`.
    pub(crate) fn new(monitor: UnixStream, answer: Vec<u8>) -> Control {
        let socket = WebSocket::default();
        Control { socket, monitor, decoder: Decoder::default(), unsent: Vec::new(), out: answer }
    }

    /// The monitor's end.
    pub(super) fn monitor(&self) -> &UnixStream {
        &self.monitor
    }

    /// Whether what the page says is read.
    pub(super) fn hears_page(&self) -> bool {
        self.unsent.len() < UNSENT && self.out.len() < UNREAD && !self.socket.is_closing()
    }

    /// Whether what the monitor says is read.
    pub(super) fn hears_monitor(&self) -> bool {
        self.out.len() < UNREAD && !self.socket.is_closing()
    }

    /// Whether something waits for the monitor.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether something waits for the page.
    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty() || self.socket.has_answers()
    }

    /// What is to be sent to the page.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        self.socket.answers(&mut self.out);
        &mut self.out
    }

    /// Whether the connection ends when all is sent.
    pub(super) fn is_closing(&self) -> bool {
        self.socket.is_closing()
    }

    /// Takes what the page sent.
    pub(crate) fn said(&mut self, data: &[u8]) {
        let mut plain = Vec::new();
        self.socket.receive(data, &mut plain);
        if !self.decoder.push(&plain) {
            self.socket.close(status::PROTOCOL);
        }
        while let Some(value) = self.decoder.next_value() {
            match value {
                Ok(value) if is_allowed(&value) => {
                    self.unsent.extend_from_slice(value.to_string().as_bytes());
                    self.unsent.push(b'\n');
                }
                Ok(value) => self.refuse("the page has no such command", value.get("id").cloned()),
                Err(why) => self.refuse(&why, None),
            }
        }
    }

    fn refuse(&mut self, why: &str, id: Option<Value>) {
        let text = failure(&QmpError::command_not_found(why), id).to_string() + "\r\n";
        self.tell(text.as_bytes());
    }

    fn tell(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let used = self.socket.send(data, &mut self.out);
            data = data.get(used..).unwrap_or_default();
        }
    }

    /// Moves what there is to and from the monitor.
    pub(super) fn exchange(&mut self) {
        if self.send().and_then(|()| self.hear()).is_err() {
            self.socket.close(status::AWAY);
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.monitor.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> io::Result<()> {
        let mut data = [0; PIECE];
        while self.hears_monitor() {
            match self.monitor.read(&mut data) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.tell(data.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_allowed(command: &Value) -> bool {
    command.get("execute").and_then(Value::as_str).is_some_and(|name| ALLOWED.contains(&name))
}
