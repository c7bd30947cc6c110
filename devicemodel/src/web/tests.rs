//! Pages, and those that are none.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use backends::vnc::{self, Input, Keystroke, PointerEvent, Screen, Share, Vnc};
use devices_core::picture::{DirtyRows, Frame, Picture};
use event_manager::{EventManager, EventOps, Events, MutEventSubscriber, SubscriberOps};
use serde_json::{Value, json};

use super::*;
use crate::monitor::commands::tests::Fake;
use crate::monitor::protocol::Decoder;
use crate::monitor::server::Server;

struct Nothing;

impl Screen for Nothing {
    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        (Box::new(Picture::new(64, 48)), DirtyRows::default())
    }
}

impl Input for Nothing {
    fn key(&self, _key: Keystroke, _down: bool) {}
    fn absolute(&self) -> bool {
        true
    }
    fn pointer(&self, _event: PointerEvent) {}
}

/// The event loop of a process, as far as the monitor needs one.
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

struct Setup {
    address: SocketAddr,
    token: String,
    vnc: Vnc,
    _web: Web,
    /// Ends at `quit`.
    monitor: JoinHandle<()>,
}

fn setup() -> Setup {
    let listener = Listener::bind(&"".parse().unwrap()).unwrap();
    let (address, url) = (*listener.address(), listener.url());
    let token = url.trim_end_matches('/').rsplit_once('/').unwrap().1.to_owned();
    assert_eq!(url, format!("http://{address}/{token}/"));
    let place = vnc::Place::Tcp { host: String::new(), display: 0, to: 0 };
    let options = vnc::Options { share: Share::Ignore, ..vnc::Options::at(place) };
    let behind = vnc::Listener::behind(&address, options);
    let vnc = Vnc::start(behind, "guest", Arc::new(Nothing), Arc::new(Nothing), None).unwrap();
    let mut server = Server::new(16);
    let inside = server.inside().unwrap();
    let monitor = std::thread::spawn(move || {
        let mut manager = EventManager::new().unwrap();
        let id = manager.add_subscriber(Loop { server, guest: Fake::default() });
        loop {
            manager.run().unwrap();
            if manager.subscriber_mut(id).unwrap().guest.log.contains(&"quit".to_owned()) {
                return;
            }
        }
    });
    let web = Web::start(listener, vnc.door(), inside).unwrap();
    Setup { address, token, vnc, _web: web, monitor }
}

impl Setup {
    fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// All that is answered to a request.
    fn ask(&self, text: &str) -> String {
        let mut stream = self.dial();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Of a head that is too long not all was read: what follows the answer may be a reset.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str, more: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.address))
    }

    /// A WebSocket that has been opened.
    fn open(&self, name: &str) -> Page {
        let mut stream = self.dial();
        stream.write_all(self.opening(name, &format!("http://{}", self.address)).as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Page { stream, decoder: Decoder::default() }
    }

    fn opening(&self, name: &str, origin: &str) -> String {
        format!(
            "GET /{}/{name} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: {origin}\r\n\r\n",
            self.token, self.address
        )
    }
}

/// A browser's end of a WebSocket.
struct Page {
    stream: TcpStream,
    decoder: Decoder,
}

impl Page {
    fn send(&mut self, first: u8, data: &[u8]) {
        self.try_send(first, data).unwrap();
    }

    fn try_send(&mut self, first: u8, data: &[u8]) -> std::io::Result<()> {
        let mask = [7, 0, 9, 0xff];
        let mut frame = vec![first, 0xfe];
        if data.len() < 126 {
            frame[1] = 0x80 | data.len() as u8;
        } else {
            frame.extend((data.len() as u16).to_be_bytes());
        }
        frame.extend(mask);
        frame.extend(data.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame)
    }

    /// The next frame: its first byte, and what it carries.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        let mut long = [0; 2];
        let len = match head[1] {
            126 => {
                self.stream.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        let mut data = vec![0; len];
        self.stream.read_exact(&mut data).unwrap();
        (head[0], data)
    }

    fn hear(&mut self) -> Value {
        loop {
            if let Some(value) = self.decoder.next_value() {
                return value.unwrap();
            }
            let (kind, data) = self.frame();
            assert_eq!(kind, 0x82);
            assert!(self.decoder.push(&data));
        }
    }

    fn run(&mut self, name: &str) -> Value {
        self.send(0x82, json!({ "execute": name, "id": name }).to_string().as_bytes());
        loop {
            let value = self.hear();
            if value.get("event").is_none() {
                return value;
            }
        }
    }
}

#[test]
fn where_a_page_is_served() {
    let place = |text: &str| text.parse::<Place>().map(|place| place.to_string());
    assert_eq!(place(""), Ok("127.0.0.1:5800-5899".into()));
    assert_eq!(place("8080"), Ok("127.0.0.1:8080".into()));
    assert_eq!(place("[::1]:8080"), Ok("::1:8080".into()));
    assert_eq!(place("0.0.0.0:80"), Ok("0.0.0.0:80".into()));
    for wrong in ["x", "0", ":80", "host:", "host:x", "65536"] {
        assert!(place(wrong).is_err(), "{wrong}");
    }
    let [one, other] = [(); 2].map(|()| Listener::bind(&"".parse().unwrap()).unwrap());
    assert!(one.address().ip().is_loopback() && one.address() != other.address());
    let tokens = [&one, &other].map(|listener| listener.url().split('/').nth(3).unwrap().to_owned());
    assert!(tokens[0] != tokens[1] && tokens[0].len() == 22, "{tokens:?}");
}

#[test]
fn only_who_knows_the_token_gets_the_page() {
    let setup = setup();
    let page = format!("/{}/", setup.token);
    let status = |answer: String| answer[9..12].parse::<u16>().unwrap();
    let answer = setup.get(&page, "");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html"), "{answer}");
    for rule in
        ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "no-referrer", "nosniff"]
    {
        assert!(answer.contains(rule), "{rule}");
    }
    assert!(!answer.contains("unsafe") && answer.ends_with("</html>\n"));
    assert!(setup.get(&format!("{page}novnc/core/rfb.js"), "").contains("class RFB"));
    let wrong = page.replace(&setup.token, &format!("{}x", &setup.token[1..]));
    for path in ["/", "/index.html", "/page.js", "//", &page[..page.len() - 1], &wrong, "/../x/", "*"] {
        assert_eq!(status(setup.get(path, "")), 403, "{path}");
    }
    for path in ["nothing", "../Cargo.toml", "novnc/", "page.js?x"] {
        assert_eq!(status(setup.get(&format!("{page}{path}"), "")), 404, "{path}");
    }
    assert_eq!(status(setup.get(&page, "Origin: http://evil.example\r\n")), 403);
    assert_eq!(status(setup.get(&page, "Origin: http://127.0.0.1:1\r\n")), 403);
    assert_eq!(status(setup.ask(&format!("GET {page} HTTP/1.1\r\nHost: evil.example\r\n\r\n"))), 403);
    assert_eq!(status(setup.ask(&format!("POST {page} HTTP/1.1\r\nHost: localhost\r\n\r\n"))), 405);
    assert_eq!(status(setup.ask(&format!("GET /{}", "x".repeat(9000)))), 431);
    for name in ["screen", "monitor"] {
        assert_eq!(status(setup.get(&format!("{page}{name}"), "")), 426);
        for origin in ["http://evil.example", "http://127.0.0.1", "null"] {
            assert_eq!(status(setup.ask(&setup.opening(name, origin))), 403, "{origin}");
        }
    }
}

#[test]
fn what_the_page_is_made_of_is_there() {
    let mut seen = vec!["index.html".to_owned()];
    let mut next = 0;
    while let Some(name) = seen.get(next).cloned() {
        next += 1;
        let (_, content) = files::find(&name).unwrap_or_else(|| panic!("{name} is missing"));
        let text = std::str::from_utf8(content).unwrap();
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let quoted = |mark: &str| {
            let after = text.split(mark).skip(1);
            after.filter_map(|rest| rest.split(['"', '\'']).next()).map(str::to_owned).collect::<Vec<_>>()
        };
        let named = match name.ends_with(".html") {
            true => [quoted("src=\""), quoted("href=\"")].concat(),
            false => [quoted("from \""), quoted("from '"), quoted("import \""), quoted("import '")].concat(),
        };
        for other in named.iter().filter(|other| name.ends_with(".html") || other.starts_with('.')) {
            let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
            for part in other.split('/') {
                match part {
                    "." => {}
                    ".." => drop(parts.pop()),
                    part => parts.push(part),
                }
            }
            let path = parts.join("/");
            if !seen.contains(&path) {
                seen.push(path);
            }
        }
    }
    assert!(seen.len() > 50 && seen.iter().any(|name| name.ends_with("inflate.js")), "{seen:?}");
}

#[test]
fn buttons_are_commands_of_the_monitor() {
    let setup = setup();
    let mut page = setup.open("monitor");
    assert!(page.hear().get("QMP").is_some());
    assert_eq!(page.run("qmp_capabilities")["return"], json!({}));
    assert_eq!(page.run("query-status")["return"]["status"], "running");
    // In pieces, and with the end of one and the beginning of the next in a frame.
    page.send(0x02, b"{\"execute\": \"st");
    page.send(0x00, b"op\"}{\"execute\"");
    page.send(0x80, b": \"cont\"}");
    let (mut answers, mut stopped) = (0, false);
    while answers < 2 {
        let heard = page.hear();
        answers += usize::from(heard.get("return").is_some());
        stopped |= heard["event"] == "STOP";
    }
    assert!(stopped);
    // What the page has no button for.
    for name in ["screendump", "device_add", "human-monitor-command", "chardev-add", "add-fd", "nonsense"] {
        let answer = page.run(name);
        assert_eq!((&answer["error"]["class"], &answer["id"]), (&json!("CommandNotFound"), &json!(name)));
    }
    page.send(0x82, b"[1, 2]\n\xff\n");
    assert_eq!(page.hear()["error"]["class"], "CommandNotFound");
    page.send(0x82, &[&[b' '; 60_000][..], b"{\"execute\": \"quit\"}"].concat());
    setup.monitor.join().unwrap();
    // The monitor is gone: so is the line, with a word.
    loop {
        let (kind, data) = page.frame();
        if kind == 0x88 {
            assert_eq!(data, 1001u16.to_be_bytes());
            break;
        }
    }
}

#[test]
fn the_screen_is_the_vnc_servers() {
    let setup = setup();
    let mut page = setup.open("screen");
    let mut said = Vec::new();
    while said.len() < 12 {
        said.extend(page.frame().1);
    }
    assert_eq!(said, b"RFB 003.008\n");
    page.send(0x82, b"RFB 003.008\n");
    page.send(0x82, &[1, 1]);
    while said.len() < 12 + 2 + 4 + 24 {
        said.extend(page.frame().1);
    }
    assert_eq!(said[18..22], [0, 64, 0, 48]);
    assert_eq!(setup.vnc.info().address.service, setup.address.port().to_string());
    // It is told of a turn after it is served.
    while setup.vnc.info().clients.len() != 1 {
        std::thread::yield_now();
    }
}

#[test]
fn who_says_nothing_is_in_nobodys_way() {
    let setup = setup();
    let silent: Vec<_> = (0..200).map(|_| setup.dial()).collect();
    let mut half = setup.dial();
    half.write_all(b"GET / HTT").unwrap();
    assert!(setup.get(&format!("/{}/", setup.token), "").starts_with("HTTP/1.1 200 "));
    let lines: Vec<_> = (0..8).map(|_| setup.open("monitor")).collect();
    let answer = setup.ask(&setup.opening("monitor", &format!("http://{}", setup.address)));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // Lines to the monitor are not pushed out by those who come and say nothing.
    let more: Vec<_> = (0..200).map(|_| setup.dial()).collect();
    for mut page in lines {
        assert!(page.hear().get("QMP").is_some());
        assert_eq!(page.run("qmp_capabilities")["return"], json!({}));
    }
    drop((silent, more));
    // One that shuts its side, and one that breaks the protocol.
    let page = setup.open("monitor");
    page.stream.shutdown(Shutdown::Write).unwrap();
    let mut page = setup.open("monitor");
    page.hear();
    page.send(0x81, b"text");
    assert_eq!(page.frame(), (0x88, 1003u16.to_be_bytes().to_vec()));
    // An object without an end.
    let mut page = setup.open("monitor");
    page.hear();
    // Until it is thrown out.
    while page.try_send(0x82, &[&[b'['; 1][..], &[b'1'; 40_000]].concat()).is_ok() {}
    assert!(setup.get(&format!("/{}/", setup.token), "").starts_with("HTTP/1.1 200 "));
}
