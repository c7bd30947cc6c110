//! The monitor's socket: who is connected, what they said, what they have still to hear.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use event_manager::{EventOps, EventSet, Events};
use serde_json::{Value, json};

use super::Guest;
use super::commands::execute;
use super::protocol::{Command, Decoder, Incoming, QmpError, event, failure, greeting, success};

/// Most bytes that wait for a client that does not read: more, and it is disconnected.
const BACKLOG: usize = 4 << 20;
/// Most clients at a time.
const CLIENTS: usize = 16;

/// The server on one unix socket. Lives in the event loop of the process; `tokens` are the epoll data of
/// its sources.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    first_token: u32,
    next_token: u32,
    clients: BTreeMap<u32, Connection>,
}

struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    negotiated: bool,
    unsent: Vec<u8>,
    closing: bool,
}

impl Connection {
    fn queue(&mut self, value: &Value) {
        self.unsent.extend_from_slice(value.to_string().as_bytes());
        self.unsent.extend_from_slice(b"\r\n");
        self.closing |= self.unsent.len() > BACKLOG;
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
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(len) if !self.decoder.push(&chunk[..len]) => return false,
                // One piece a turn: level-triggered polling brings the rest, and nobody starves.
                Ok(_) => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    fn interest(&self) -> EventSet {
        let base = EventSet::IN | EventSet::READ_HANG_UP;
        if self.unsent.is_empty() { base } else { base | EventSet::OUT }
    }
}

impl Server {
    /// Listens at `path`. A socket that nobody serves any more is replaced; anything else there is left
    /// alone and is an error. Tokens from `first_token` on are the server's.
    pub fn bind(path: &Path, first_token: u32) -> io::Result<Server> {
        // A plain file refuses connections too, but is somebody's.
        let is_socket = path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket());
        let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
        if is_socket && UnixStream::connect(path).is_err_and(refused) {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let path = path.to_owned();
        Ok(Server { listener, path, first_token, next_token: first_token + 1, clients: BTreeMap::new() })
    }

    /// Joins the event loop.
    pub fn register(&self, ops: &mut EventOps<'_>) -> Result<(), event_manager::Error> {
        ops.add(Events::with_data(&self.listener, self.first_token, EventSet::IN))
    }

    /// Handles a source of the server's.
    pub fn process(&mut self, token: u32, ops: &mut EventOps<'_>, guest: &mut dyn Guest) {
        if token == self.first_token {
            self.accept(ops);
            return;
        }
        let Some(client) = self.clients.get_mut(&token) else { return };
        client.closing |= !client.fill();
        while let Some(incoming) =
            self.clients.get_mut(&token).filter(|c| !c.closing).and_then(|c| c.decoder.next_command())
        {
            let answer = match incoming {
                Incoming::Bad(answer) => answer,
                Incoming::Command(command) => self.command(token, &command, guest),
            };
            if let Some(client) = self.clients.get_mut(&token) {
                client.queue(&answer);
                client.flush();
            }
        }
        self.settle(ops);
    }

    /// Tells every client that has negotiated.
    pub fn broadcast(&mut self, name: &str, data: Value, ops: &mut EventOps<'_>) {
        tell(&mut self.clients, name, data);
        self.settle(ops);
    }

    fn accept(&mut self, ops: &mut EventOps<'_>) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if self.clients.len() >= CLIENTS || stream.set_nonblocking(true).is_err() {
            return;
        }
        let token = self.next_token;
        self.next_token = self.next_token.checked_add(1).unwrap_or(self.first_token + 1);
        let mut client = Connection {
            stream,
            decoder: Decoder::default(),
            negotiated: false,
            unsent: Vec::new(),
            closing: false,
        };
        client.queue(&greeting());
        client.flush();
        if ops.add(Events::with_data(&client.stream, token, client.interest())).is_ok() {
            self.clients.insert(token, client);
        }
    }

    fn command(&mut self, token: u32, command: &Command, guest: &mut dyn Guest) -> Value {
        let id = command.id.clone();
        let clients = &mut self.clients;
        let negotiated = clients.get(&token).is_some_and(|client| client.negotiated);
        if negotiated {
            let result = execute(command, guest, &mut |name, data| tell(clients, name, data));
            return result
                .map_or_else(|error| failure(&error, id.clone()), |result| success(result, id.clone()));
        }
        if command.name != "qmp_capabilities" {
            let desc =
                format!("Expecting capabilities negotiation with 'qmp_capabilities', not {}", command.name);
            return failure(&QmpError::command_not_found(desc), id);
        }
        if let Some(client) = clients.get_mut(&token) {
            client.negotiated = true;
        }
        success(json!({}), id)
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
    }
}

fn tell(clients: &mut BTreeMap<u32, Connection>, name: &str, data: Value) {
    let event = event(name, data);
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
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::{Client, ClientError};
    use super::super::commands::tests::Fake;
    use super::*;
    use event_manager::{EventManager, MutEventSubscriber, SubscriberOps};

    struct Loop {
        server: Server,
        guest: Fake,
    }

    impl MutEventSubscriber for Loop {
        fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
            self.server.process(events.data(), ops, &mut self.guest);
        }
        fn init(&mut self, ops: &mut EventOps<'_>) {
            self.server.register(ops).unwrap();
        }
    }

    /// Serves until `quit` is asked, then gives the log.
    fn serve(path: &Path) -> std::thread::JoinHandle<Vec<String>> {
        let server = Server::bind(path, 16).unwrap();
        std::thread::spawn(move || {
            let mut manager = EventManager::new().unwrap();
            let id = manager.add_subscriber(Loop { server, guest: Fake::default() });
            loop {
                manager.run().unwrap();
                let done = manager.subscriber_mut(id).unwrap().guest.log.contains(&"quit".to_owned());
                if done {
                    return std::mem::take(&mut manager.subscriber_mut(id).unwrap().guest.log);
                }
            }
        })
    }

    #[test]
    fn a_client_talks_to_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        let server = serve(&path);
        let mut client = Client::connect(&path).unwrap();
        let status = client.execute("query-status", json!({}), |_, _| ()).unwrap();
        assert_eq!(status["status"], "running");
        let refused = client.execute("inspect", json!({ "path": "no" }), |_, _| ()).unwrap_err();
        assert!(matches!(refused, ClientError::Refused(why) if why == "nothing there"));
        let mut seen = Vec::new();
        client
            .execute("save", json!({ "filename": "x" }), |name, data| {
                seen.push((name.to_owned(), data.clone()))
            })
            .unwrap();
        assert_eq!(seen, [("SAVE_PROGRESS".to_owned(), json!({ "transferred": 1, "total": 2 }))]);
        let mut other = Client::connect(&path).unwrap();
        other.execute("quit", json!({}), |_, _| ()).unwrap();
        assert_eq!(server.join().unwrap(), ["quit"]);
        assert!(!path.exists(), "the socket is removed");
        assert!(matches!(Client::connect(&path), Err(ClientError::Connect { .. })));
    }

    #[test]
    fn nothing_is_done_before_negotiation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        let server = serve(&path);
        let mut raw = UnixStream::connect(&path).unwrap();
        raw.write_all(b"{\"execute\":\"quit\"}{\"execute\":\"qmp_capabilities\"}{\"execute\":\"quit\"}")
            .unwrap();
        let mut text = String::new();
        raw.read_to_string(&mut text).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines[0].get("QMP").is_some());
        assert_eq!(lines[1]["error"]["class"], "CommandNotFound");
        assert_eq!(lines[2]["return"], json!({}));
        assert_eq!(server.join().unwrap(), ["quit"]);
    }

    #[test]
    fn a_file_in_the_way_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(Server::bind(&path, 16).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }
}
