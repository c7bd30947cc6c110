//! Against a small xenstored of our own, and against one that lies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use super::wire::{Message, kind, strings};
use super::*;

/// What a server does with a message: the messages that it sends back.
type Serve = Box<dyn FnMut(Message) -> Vec<Message> + Send>;

fn serve(mut with: Serve) -> (XenStore, JoinHandle<()>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let server = std::thread::spawn(move || {
        let (mut received, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(got) = theirs.read(&mut bytes)
            && got > 0
        {
            received.extend_from_slice(&bytes[..got]);
            while let Ok(Some(message)) = Message::take(&mut received) {
                let stream: Vec<u8> = with(message).iter().flat_map(Message::encode).collect();
                // In small pieces: a message may arrive in any number of them.
                for piece in stream.chunks(7) {
                    let _ = theirs.write_all(piece);
                }
            }
        }
    });
    (XenStore::over(ours.into()).unwrap(), server)
}

fn reply(to: &Message, payload: &[u8]) -> Message {
    Message { payload: payload.to_vec(), ..to.clone() }
}

fn refusal(to: &Message, name: &str) -> Message {
    Message { kind: kind::ERROR, payload: format!("{name}\0").into_bytes(), ..to.clone() }
}

fn event(path: &str, token: &str) -> Message {
    let payload = format!("{path}\0{token}\0").into_bytes();
    Message { kind: kind::WATCH_EVENT, request: 0, transaction: 0, payload }
}

/// A store: nodes, watches, and a transaction that fails a number of times.
#[derive(Default)]
struct Store {
    nodes: BTreeMap<String, Vec<u8>>,
    watches: Vec<(String, String)>,
    permissions: BTreeMap<String, Vec<u8>>,
    conflicts: usize,
}

impl Store {
    fn fire(&self, path: &str) -> Vec<Message> {
        let hit = self.watches.iter().filter(|(watched, _)| path.starts_with(watched.as_str()));
        hit.map(|(_, token)| event(path, token)).collect()
    }

    fn answer(&mut self, message: Message) -> Vec<Message> {
        let parts: Vec<String> =
            strings(&message.payload).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        let path = parts.first().cloned().unwrap_or_default();
        let ok = reply(&message, b"OK\0");
        match message.kind {
            kind::READ => match self.nodes.get(&path) {
                Some(value) => vec![reply(&message, value)],
                None => vec![refusal(&message, "ENOENT")],
            },
            kind::WRITE => {
                let value = message.payload[path.len() + 1..].to_vec();
                self.nodes.insert(path.clone(), value);
                // The event comes before the reply.
                self.fire(&path).into_iter().chain([ok]).collect()
            }
            kind::MKDIR => {
                self.nodes.entry(path.clone()).or_default();
                std::iter::once(ok).chain(self.fire(&path)).collect()
            }
            kind::RM => {
                let before = self.nodes.len();
                self.nodes.retain(|node, _| *node != path && !node.starts_with(&format!("{path}/")));
                vec![if self.nodes.len() < before { ok } else { refusal(&message, "ENOENT") }]
            }
            kind::DIRECTORY => {
                let below = format!("{path}/");
                let names = self.nodes.keys().filter_map(|node| node.strip_prefix(&below));
                let list: String = names.map(|name| format!("{name}\0")).collect();
                vec![reply(&message, list.as_bytes())]
            }
            kind::SET_PERMS => {
                self.permissions.insert(path.clone(), message.payload[path.len() + 1..].to_vec());
                vec![ok]
            }
            kind::GET_DOMAIN_PATH => vec![reply(&message, format!("/local/domain/{path}\0").as_bytes())],
            kind::WATCH => {
                self.watches.push((path.clone(), parts[1].clone()));
                vec![ok, event(&path, &parts[1])]
            }
            kind::UNWATCH => {
                self.watches.retain(|(_, token)| *token != parts[1]);
                vec![ok]
            }
            kind::TRANSACTION_START => vec![reply(&message, b"7\0")],
            kind::TRANSACTION_END if self.conflicts > 0 => {
                self.conflicts -= 1;
                vec![refusal(&message, "EAGAIN")]
            }
            kind::TRANSACTION_END => vec![ok],
            _ => vec![refusal(&message, "ENOSYS")],
        }
    }
}

fn store(conflicts: usize) -> (XenStore, JoinHandle<()>) {
    let mut store = Store { conflicts, ..Store::default() };
    serve(Box::new(move |message| store.answer(message)))
}

fn events(xs: &XenStore) -> Vec<(String, String)> {
    let mut all = Vec::new();
    // The server may still be writing: wait until a while passes with nothing new.
    for _ in 0..20 {
        while let Some(event) = xs.next_event().unwrap() {
            let Event::Changed { path, token } = event else { panic!("nothing was lost") };
            all.push((path, token));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    all
}

#[test]
fn nodes_are_written_read_listed_and_removed() {
    let (xs, server) = store(0);
    assert_eq!(xs.find("domid").unwrap(), None);
    xs.write("device-model/5/state", "running").unwrap();
    xs.write("binary", [0u8, 255, 0]).unwrap();
    assert_eq!(xs.find("device-model/5/state").unwrap().as_deref(), Some("running"));
    assert_eq!(xs.read("binary").unwrap(), [0, 255, 0]);
    xs.mkdir("device-model/5/backends").unwrap();
    assert_eq!(xs.directory("device-model/5").unwrap(), ["backends", "state"]);
    assert!(xs.directory("nowhere").unwrap().is_empty());
    let nobody = Permission { access: Access::None, domid: 0 };
    xs.set_permissions("binary", &[nobody, Permission { access: Access::Read, domid: 5 }]).unwrap();
    assert_eq!(xs.domain_path(5).unwrap(), "/local/domain/5");
    xs.rm("device-model").unwrap();
    xs.rm("device-model").unwrap();
    assert_eq!(xs.find("device-model/5/state").unwrap(), None);
    let refused = xs.read("gone").unwrap_err();
    assert_eq!(refused.to_string(), "xenstore read gone: ENOENT");
    drop(xs);
    server.join().unwrap();
}

#[test]
fn watches_fire_at_once_and_on_change_wherever_the_event_comes() {
    let (xs, _server) = store(0);
    xs.watch("backend/qdisk/5", "disks").unwrap();
    xs.write("backend/qdisk/5/768/state", "1").unwrap();
    xs.mkdir("backend/qdisk/5/832").unwrap();
    xs.write("elsewhere", "1").unwrap();
    let own = |path: &str| (path.to_owned(), "disks".to_owned());
    let expected = ["backend/qdisk/5", "backend/qdisk/5/768/state", "backend/qdisk/5/832"].map(own);
    assert_eq!(events(&xs), expected);
    xs.write("backend/qdisk/5/768/state", "2").unwrap();
    xs.unwatch("backend/qdisk/5", "disks").unwrap();
    xs.write("backend/qdisk/5/768/state", "3").unwrap();
    assert!(events(&xs).is_empty(), "what was queued went with the watch");
}

#[test]
fn a_transaction_is_done_again_until_it_gets_through() {
    let (xs, _server) = store(2);
    let mut tries = 0;
    let done = xs.transaction(|tx| {
        tries += 1;
        tx.write("a", "1")?;
        tx.find("a")
    });
    assert_eq!((done.unwrap().as_deref(), tries), (Some("1"), 3));
    let failed = xs.transaction(|tx| tx.read("missing"));
    assert!(failed.unwrap_err().is("ENOENT"));
    let (xs, _server) = store(usize::MAX);
    assert!(matches!(xs.transaction(|_| Ok(())), Err(StoreError::Contended)));
}

#[test]
fn paths_that_are_none_are_not_sent() {
    let (xs, _server) = serve(Box::new(|_| panic!("nothing may be sent")));
    for path in ["", "a\0b", &"x".repeat(4000)] {
        assert!(matches!(xs.read(path), Err(StoreError::Argument(..))));
    }
    assert!(matches!(xs.write("a", vec![0; 4095]), Err(StoreError::Argument(..))));
    assert!(matches!(xs.watch("a", "b\0c"), Err(StoreError::Argument(..))));
}

#[test]
fn a_flood_of_events_is_bounded_and_said_so() {
    let mut n = 0;
    let (xs, _server) = serve(Box::new(move |message| {
        let flood = (0..3000).map(|_| {
            n += 1;
            event(&format!("a/{n}"), "t")
        });
        flood.chain([reply(&message, b"x")]).collect()
    }));
    xs.read("a").unwrap();
    let mut seen = Vec::new();
    while let Some(event) = xs.next_event().unwrap() {
        seen.push(event);
    }
    assert!(seen.len() <= 1024 && seen.contains(&Event::Lost));
    // The same again and again is one event.
    let (xs, _server) = serve(Box::new(|message| {
        (0..3000).map(|_| event("a", "t")).chain([reply(&message, b"x")]).collect()
    }));
    xs.read("a").unwrap();
    assert!(matches!(xs.next_event().unwrap(), Some(Event::Changed { .. })));
    assert_eq!(xs.next_event().unwrap(), None);
}

/// Replies that no xenstored gives: an error each, never a hang or a panic, and the connection is given up.
#[test]
fn a_lying_server_is_not_believed() {
    type Lie = fn(Message) -> Vec<Message>;
    let lies: [(&str, Lie); 5] = [
        ("another request's reply", |m| vec![Message { request: m.request + 1, ..reply(&m, b"x") }]),
        ("another type's reply", |m| vec![Message { kind: kind::WRITE, ..reply(&m, b"x") }]),
        ("a type that does not exist", |m| vec![Message { kind: 999, ..reply(&m, b"x") }]),
        ("too long", |m| vec![reply(&m, &[0; 5000])]),
        ("events without end or sense", |m| {
            let odd = Message { payload: b"no token".to_vec(), ..event("", "") };
            vec![odd, Message { payload: Vec::new(), ..event("", "") }, Message { kind: 0, ..m }]
        }),
    ];
    for (what, lie) in lies {
        let (xs, _server) = serve(Box::new(lie));
        assert!(matches!(xs.read("a"), Err(StoreError::Protocol { .. })), "{what}");
        let after = xs.read("a").unwrap_err();
        assert!(after.to_string().contains("broke before"), "{what}: {after}");
        assert!(xs.next_event().is_err(), "{what}");
    }
}

#[test]
fn silence_and_a_closed_connection_are_errors() {
    let (xs, _server) = serve(Box::new(|_| Vec::new()));
    xs.connection().set_patience(Duration::from_millis(20));
    assert!(
        matches!(xs.read("a"), Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::TimedOut)
    );
    let (ours, theirs) = UnixStream::pair().unwrap();
    let xs = XenStore::over(ours.into()).unwrap();
    assert_eq!(xs.next_event().unwrap(), None);
    drop(theirs);
    assert!(xs.read("a").is_err());
    assert!(xs.next_event().is_err());
    // A reply that nobody asked for.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let xs = XenStore::over(ours.into()).unwrap();
    let stray = Message { kind: kind::READ, request: 1, transaction: 0, payload: Vec::new() };
    theirs.write_all(&stray.encode()).unwrap();
    assert!(matches!(xs.next_event(), Err(StoreError::Protocol { .. })));
}

/// Random bytes instead of replies.
#[test]
fn noise_never_hangs_or_panics() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..300 {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut noise = Vec::new();
        for _ in 0..40 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Often a plausible header, so that more than the length check is reached.
            noise.extend_from_slice(&((seed >> 33) as u32 % 24).to_ne_bytes());
        }
        theirs.write_all(&noise).unwrap();
        let xs = XenStore::over(ours.into()).unwrap();
        xs.connection().set_patience(Duration::from_millis(1));
        for _ in 0..3 {
            let _ = xs.next_event();
            let _ = xs.read("a");
        }
    }
}
