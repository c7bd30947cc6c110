mod waiting;

use std::io::{IoSlice, Read};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::super::client::{Client, ClientError};
use super::super::commands::tests::Fake;
use super::super::protocol::LONGEST;
use super::super::run_state::RunState;
use super::*;
use event_manager::{EventManager, MutEventSubscriber, SubscriberOps};

struct Loop {
    server: Server,
    guest: Fake,
}

impl MutEventSubscriber for Loop {
    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        self.server.process(events.data(), ops, &mut self.guest);
        self.server.turn(ops, &mut self.guest);
    }
    fn init(&mut self, ops: &mut EventOps<'_>) {
        self.server.register(ops).unwrap();
    }
}

/// Serves until `quit` is asked, then gives the log.
fn serve(path: &Path) -> std::thread::JoinHandle<Vec<String>> {
    serve_with(Server::bind(path, 16).unwrap(), Fake::default())
}

fn ask_all(path: &Path, lines: &[&str]) -> Vec<Value> {
    let mut client = Libxl::connect(path);
    lines.iter().map(|line| client.ask(line)).collect()
}

fn serve_with(server: Server, guest: Fake) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut manager = EventManager::new().unwrap();
        let id = manager.add_subscriber(Loop { server, guest });
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
        .execute("save", json!({ "filename": "x" }), |name, data| seen.push((name.to_owned(), data.clone())))
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
    raw.write_all(b"{\"execute\":\"quit\"}{\"execute\":\"qmp_capabilities\"}{\"execute\":\"quit\"}").unwrap();
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

/// A raw client as libxl is one: it reads lines that end with CR and LF.
struct Libxl {
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Libxl {
    fn connect(path: &Path) -> Libxl {
        let mut libxl = Libxl { stream: UnixStream::connect(path).unwrap(), bytes: Vec::new() };
        assert!(libxl.line()["QMP"]["version"]["qemu"]["major"].is_u64());
        assert_eq!(
            libxl.ask("{\"execute\":\"qmp_capabilities\",\"id\":2020372737}\r\n")["id"],
            2_020_372_737
        );
        libxl
    }

    fn line(&mut self) -> Value {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.bytes.drain(..end + 2).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let mut chunk = [0; 512];
            let len = self.stream.read(&mut chunk).unwrap();
            assert_ne!(len, 0, "the server hung up after {:?}", String::from_utf8_lossy(&self.bytes));
            self.bytes.extend_from_slice(&chunk[..len]);
        }
    }

    fn ask(&mut self, text: &str) -> Value {
        self.stream.write_all(text.as_bytes()).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Value {
        loop {
            let line = self.line();
            if line.get("event").is_none() {
                return line;
            }
        }
    }

    /// The first byte carries the file, the rest follows.
    fn ask_with(&mut self, text: &str, file: &std::fs::File) -> Value {
        let (first, rest) = text.as_bytes().split_at(1);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [std::os::fd::AsFd::as_fd(file)];
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        sendmsg(&self.stream, &[IoSlice::new(first)], &mut control, SendFlags::empty()).unwrap();
        self.stream.write_all(rest).unwrap();
        self.answer()
    }
}

#[test]
fn libxl_passes_a_file_with_the_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let server = serve(&path);
    let image = folder.path().join("cd.iso");
    std::fs::write(&image, "medium").unwrap();
    let mut libxl = Libxl::connect(&path);
    let add = r#"{"execute":"add-fd","id":2020372739,"arguments":{"opaque":"raw:/srv/linux.iso"}}"#;
    assert_eq!(libxl.ask(add)["error"]["class"], "GenericError");
    let added = libxl.ask_with(add, &std::fs::File::open(&image).unwrap());
    assert_eq!((&added["return"]["fdset-id"], &added["id"]), (&json!(0), &json!(2_020_372_739)));
    let change = r#"{"execute":"blockdev-change-medium","id":1,"arguments":{"id":"ide-5632","filename":"/dev/fdset/0","format":"raw"}}"#;
    assert_eq!(libxl.ask(change), json!({ "return": {}, "id": 1 }));
    drop(libxl);
    // Nobody is connected any more: the sets are empty for the next client.
    let mut libxl = Libxl::connect(&path);
    assert_eq!(libxl.ask("{\"execute\":\"query-fdsets\"}")["return"], json!([]));
    libxl.ask("{\"execute\":\"quit\"}");
    assert_eq!(server.join().unwrap(), ["insert ide-5632 raw medium", "quit"]);
}

#[test]
fn more_files_than_commands_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let server = serve(&path);
    let file = tempfile::tempfile().unwrap();
    let mut libxl = Libxl::connect(&path);
    for _ in 0..RECEIVED + 20 {
        libxl.ask_with("{\"execute\":\"query-name\"}", &file);
    }
    let mut added = 0;
    while libxl.ask("{\"execute\":\"add-fd\"}").get("return").is_some() {
        added += 1;
    }
    assert_eq!(added, RECEIVED);
    libxl.ask("{\"execute\":\"quit\"}");
    server.join().unwrap();
}

#[test]
fn two_sockets_serve_libxl_and_libxenstat() {
    let folder = tempfile::tempdir().unwrap();
    let (commands, statistics) = (folder.path().join("libxl"), folder.path().join("libxenstat"));
    // libxl binds its socket itself for a restricted device model.
    let bound = UnixListener::bind(&commands).unwrap();
    let mut server = Server::new(16);
    server.adopt("libxl-cmd", bound.into()).unwrap();
    server.listen("libxenstat-cmd", &statistics).unwrap();
    let server = serve_with(server, Fake { state: RunState::Prelaunch, ..Fake::default() });

    let mut libxl = Libxl::connect(&commands);
    let status = libxl.ask("{\"execute\":\"query-status\",\"id\":2020372736}\r\n");
    assert_eq!(status["return"]["status"], "prelaunch");
    let lines = libxl.ask("{\"execute\":\"query-chardev\"}");
    let name = |index: usize| lines["return"][index]["filename"].as_str().unwrap().to_owned();
    assert_eq!(name(0), format!("unix:{},server=on", commands.display()));
    assert_eq!(name(1), format!("disconnected:unix:{},server=on", statistics.display()));
    assert_eq!(name(2), "pty:/dev/pts/3");
    drop(libxl);

    // libxenstat ends its commands with nothing and gives them no id.
    let mut statistics_client = Libxl::connect(&statistics);
    let answer = statistics_client.ask("{ \"execute\": \"query-blockstats\" }");
    assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["return"]);
    assert_eq!(answer["return"][0]["stats"]["rd_operations"], 1);

    // Each operation of libxl's is a connection of its own.
    for _ in 0..40 {
        let mut libxl = Libxl::connect(&commands);
        assert_eq!(libxl.ask("\r{\"execute\":\"cont\",\"id\":7}\r\n")["id"], 7);
    }
    statistics_client.ask("{\"execute\":\"quit\"}");
    server.join().unwrap();
    assert!(commands.exists(), "what libxl has made is libxl's");
    assert!(!statistics.exists());
}

/// A client that talks nonsense, one that says nothing, one that does not listen: none of them keeps the
/// others from being served.
#[test]
fn bad_clients_hurt_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let server = serve(&path);
    let silent: Vec<UnixStream> = (0..5).map(|_| UnixStream::connect(&path).unwrap()).collect();
    // Ends with a disconnection when the object gets too long; the rest is not read.
    let mut endless = UnixStream::connect(&path).unwrap();
    let piece = [b' '; 4096];
    let mut sent = 0;
    endless.write_all(b"[0,").unwrap();
    while sent < 8 << 20 && endless.write_all(&piece).is_ok() {
        sent += piece.len();
    }
    assert!(sent < 8 << 20, "the server reads without end");
    // A long string: the reason is told before it is disconnected.
    let mut wordy = Libxl::connect(&path);
    wordy.stream.write_all(b"{\"execute\":\"").unwrap();
    let word = [b'x'; 4096];
    while wordy.stream.write_all(&word).is_ok() {}
    assert_eq!(wordy.answer()["error"]["desc"], "JSON token size limit exceeded");
    // Asks and never reads the answers: they fill its socket, then our bounded queue.
    let mut deaf = Libxl::connect(&path).stream;
    deaf.set_write_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut asked = 0_u64;
    while asked < 1 << 20 && deaf.write_all(b"{\"execute\":\"query-commands\"}").is_ok() {
        asked += 1;
    }
    assert!(asked < 1 << 20, "the answers pile up");
    let mut libxl = Libxl::connect(&path);
    assert_eq!(libxl.ask("nonsense\n")["error"]["class"], "GenericError");
    assert_eq!(libxl.ask("{\"execute\":\"query-name\"}")["return"]["name"], "fake");
    drop(silent);
    libxl.ask("{\"execute\":\"quit\"}");
    server.join().unwrap();
}

#[test]
fn broken_commands_are_answered_in_the_words_that_clients_know() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let server = serve(&path);
    let deep = "[".repeat(130) + "\n";
    let cases = [
        ("{\"execute\":5}", "QMP input member 'execute' must be a string"),
        ("{}", "QMP input lacks member 'execute'"),
        ("{\"foo\":1}", "QMP input member 'foo' is unexpected"),
        ("{\"exec-oob\":\"stop\"}", "QMP input member 'exec-oob' is unexpected"),
        ("{\"execute\":\"stop\",\"arguments\":[]}", "QMP input member 'arguments' must be an object"),
        ("[1]", "QMP input must be a JSON object"),
        ("3\n", "QMP input must be a JSON object"),
        (&deep, "JSON nesting depth limit exceeded"),
        (
            "{\"execute\":\"balloon\",\"arguments\":{\"value\":99999999999999999999999}}",
            "Invalid parameter type for 'value', expected: integer",
        ),
    ];
    // What was left over of the nesting is nonsense of its own: each case has its own connection.
    for (line, words) in cases {
        let answer = &ask_all(&path, &[line])[0];
        assert_eq!(
            (&answer["error"]["class"], &answer["error"]["desc"]),
            (&json!("GenericError"), &json!(words))
        );
    }
    for line in ["{\"execute\":\"query-status\",}", "{\"a\":nonsense}", "{\"id\":1e999}", "{\"a\":\"\u{1}\"}"]
    {
        let answer = &ask_all(&path, &[line])[0];
        assert!(answer["error"]["desc"].as_str().unwrap().starts_with("JSON parse error, "), "{answer}");
    }
    let id = "{\"execute\":\"query-name\",\"id\":{\"a\":[18446744073709551615,2.5,\"x\",null]}}";
    assert_eq!(ask_all(&path, &[id])[0]["id"], json!({ "a": [u64::MAX, 2.5, "x", null] }));
    ask_all(&path, &["{\"execute\":\"quit\"}"]);
    server.join().unwrap();
}

#[test]
fn capabilities_come_first_and_none_can_be_switched_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let server = serve(&path);
    let mut raw = Libxl { stream: UnixStream::connect(&path).unwrap(), bytes: Vec::new() };
    assert_eq!(raw.line()["QMP"]["capabilities"], json!([]));
    let early = raw.ask("{\"execute\":\"query-status\",\"id\":3}");
    assert_eq!(
        early,
        json!({ "id": 3, "error": { "class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'" } })
    );
    let enable = |what| format!("{{\"execute\":\"qmp_capabilities\",\"arguments\":{{\"enable\":[{what}]}}}}");
    assert_eq!(raw.ask(&enable("\"oob\""))["error"]["class"], "GenericError");
    assert_eq!(raw.ask(&enable("\"frob\""))["error"]["class"], "GenericError");
    assert_eq!(raw.ask(&enable("3"))["error"]["class"], "GenericError");
    assert_eq!(raw.ask(&enable(""))["return"], json!({}));
    assert_eq!(
        raw.ask("{\"execute\":\"qmp_capabilities\"}")["error"]["desc"],
        "Capabilities negotiation is already complete, command ignored"
    );
    raw.ask("{\"execute\":\"quit\"}");
    server.join().unwrap();
}

/// Both monitors hear of what one of them did, before the answer to it; and neither is hurt by clients of the
/// other that go in the middle of a command.
#[test]
fn two_clients_on_two_monitors() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().join("a"), folder.path().join("b")];
    let mut server = Server::new(16);
    server.listen("a", &paths[0]).unwrap();
    server.listen("b", &paths[1]).unwrap();
    let server = serve_with(server, Fake::default());
    let (mut one, mut other) = (Libxl::connect(&paths[0]), Libxl::connect(&paths[1]));
    one.stream.write_all(b"{\"execute\":\"stop\"}{\"execute\":\"query-status\"}").unwrap();
    let heard = one.line();
    assert_eq!(heard["event"], "STOP");
    assert!(heard["timestamp"]["seconds"].is_u64() && heard["timestamp"]["microseconds"].is_u64());
    assert_eq!(one.line()["return"], json!({}));
    assert_eq!(one.line()["return"]["status"], "paused");
    assert_eq!(other.line()["event"], "STOP");
    for cut in [1, 5, 12, 25] {
        let mut gone = Libxl::connect(&paths[0]).stream;
        gone.write_all(&b"{\"execute\":\"query-commands\"}"[..cut]).unwrap();
    }
    // Gone before the answer is there.
    for _ in 0..30 {
        let mut gone = Libxl::connect(&paths[0]).stream;
        gone.write_all(b"{\"execute\":\"query-qmp-schema\"}{\"execute\":\"stop\"}").unwrap();
    }
    let (end, _other_end) = UnixStream::pair().unwrap();
    let end = std::fs::File::from(OwnedFd::from(end));
    assert_eq!(other.ask_with("{\"execute\":\"add-fd\"}", &end)["return"]["fdset-id"], 0);
    other.ask_with("{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"x\"}}", &end);
    assert_eq!(
        one.ask("{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"x\"}}")["error"]["class"],
        "GenericError"
    );
    assert_eq!(other.ask("{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"x\"}}")["return"], json!({}));
    assert_eq!(one.ask("{\"execute\":\"query-name\"}")["return"]["name"], "fake");
    one.ask("{\"execute\":\"quit\"}");
    server.join().unwrap();
}
