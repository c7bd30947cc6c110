//! The client that the subcommands use.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use thiserror::Error;

use super::protocol::Decoder;

/// Why a command did not succeed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("cannot reach the monitor at {path}: {source}")]
    Connect {
        /// The socket.
        path: String,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the monitor's connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The other end ended.
    #[error("the guest's process ended before it answered")]
    Closed,
    /// The other end does not speak QMP.
    #[error("the other end does not speak QMP: {0}")]
    Protocol(String),
    /// The guest refused.
    #[error("{0}")]
    Refused(String),
}

/// A connection that has negotiated its capabilities.
pub struct Client {
    stream: UnixStream,
    decoder: Decoder,
}

impl Client {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let connect = |source| ClientError::Connect { path: path.display().to_string(), source };
        let stream = UnixStream::connect(path).map_err(connect)?;
        let mut client = Client { stream, decoder: Decoder::default() };
        let greeting = client.receive()?;
        if greeting.get("QMP").is_none() {
            return Err(ClientError::Protocol(format!("it said {greeting}")));
        }
        client.execute("qmp_capabilities", json!({}), |_, _| ())?;
        Ok(client)
    }

    /// Runs a command; `event` sees what happens meanwhile.
    pub fn execute(
        &mut self,
        name: &str,
        arguments: Value,
        event: impl FnMut(&str, &Value),
    ) -> Result<Value, ClientError> {
        let mut text = json!({ "execute": name, "arguments": arguments }).to_string();
        text.push('\n');
        self.stream.write_all(text.as_bytes())?;
        self.answer(event)
    }

    fn answer(&mut self, mut event: impl FnMut(&str, &Value)) -> Result<Value, ClientError> {
        loop {
            let mut answer = self.receive()?;
            if let Some(name) = answer.get("event").and_then(Value::as_str) {
                event(name, &answer["data"]);
            } else if let Some(error) = answer.get("error") {
                return Err(ClientError::Refused(error["desc"].as_str().unwrap_or("no reason given").into()));
            } else if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
        }
    }

    /// Hands an open file over (`add-fd`); gives the name that means it, and the number of its set.
    pub fn hand_over(&mut self, file: &File) -> Result<(String, i64), ClientError> {
        let text = json!({ "execute": "add-fd" }).to_string();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(ClientError::Io(std::io::ErrorKind::OutOfMemory.into()));
        }
        let sent = sendmsg(&self.stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL);
        let sent = sent.map_err(std::io::Error::from)?;
        self.stream.write_all(text.as_bytes().get(sent..).unwrap_or_default())?;
        self.stream.write_all(b"\n")?;
        let added = self.answer(|_, _| ())?;
        let set = added["fdset-id"].as_i64();
        let set = set.ok_or_else(|| ClientError::Protocol(format!("it answered add-fd with {added}")))?;
        Ok((format!("/dev/fdset/{set}"), set))
    }

    fn receive(&mut self) -> Result<Value, ClientError> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(value) = self.decoder.next_value() {
                return value.map_err(ClientError::Protocol);
            }
            let len = self.stream.read(&mut chunk)?;
            if len == 0 {
                return Err(ClientError::Closed);
            }
            if !self.decoder.push(&chunk[..len]) {
                return Err(ClientError::Protocol("an answer is too long".into()));
            }
        }
    }
}
