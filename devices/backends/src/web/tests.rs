//! Browsers, and clients that lie.

use super::http::{self, LONGEST, Refusal, is_loopback, parse};
use super::websocket::{WebSocket, status};

fn head(lines: &[&str]) -> String {
    let mut text = lines.join("\r\n");
    text.push_str("\r\n\r\n");
    text
}

/// The request of RFC 6455, 1.3.
const OPENING: [&str; 7] = [
    "GET /chat HTTP/1.1",
    "Host: localhost:5700",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    "Origin: http://localhost:8000",
];

/// The opening with line `at` as `with`.
fn opening(at: usize, with: &str) -> String {
    let mut lines = OPENING;
    lines[at] = with;
    head(&lines)
}

#[test]
fn a_websocket_is_opened_as_the_rfc_has_it() {
    let text = head(&OPENING) + "RFB";
    let (request, len) = parse(text.as_bytes()).unwrap().unwrap();
    assert_eq!((request.path.as_str(), len), ("/chat", text.len() - 3));
    let answer = String::from_utf8(request.upgrade.unwrap().answer()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    assert!(!answer.contains("Protocol:"), "{answer}");
    let old = head(&[&OPENING[..], &["Sec-WebSocket-Protocol: base64, binary"]].concat());
    let (request, _) = parse(old.as_bytes()).unwrap().unwrap();
    let answer = String::from_utf8(request.upgrade.unwrap().answer()).unwrap();
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: binary\r\n"), "{answer}");
}

#[test]
fn a_head_may_come_byte_by_byte_and_not_for_ever() {
    let text = head(&OPENING);
    for len in 0..text.len() {
        assert_eq!(parse(&text.as_bytes()[..len]), Ok(None), "{len}");
    }
    let endless = format!("GET / HTTP/1.1\r\nHost: {}", "x".repeat(LONGEST));
    assert_eq!(parse(endless.as_bytes()), Err(Refusal::TooLong));
    let whole = head(&["GET / HTTP/1.1", &endless[16..]]);
    assert_eq!(parse(whole.as_bytes()), Err(Refusal::TooLong));
    let many = vec!["X: y"; 60];
    assert_eq!(parse(head(&[&["GET / HTTP/1.1"], &many[..]].concat()).as_bytes()), Err(Refusal::TooLong));
}

#[test]
fn requests_that_are_none_are_refused() {
    let cases = [
        (opening(0, "POST /chat HTTP/1.1"), Refusal::Method),
        (opening(0, "GET /ch at HTTP/1.1"), Refusal::Bad),
        (opening(0, "GET /chat HTTP/9"), Refusal::Bad),
        (opening(1, "X: y"), Refusal::Bad),
        (opening(3, "Connection: close"), Refusal::Bad),
        (opening(4, "X: y"), Refusal::Bad),
        (opening(4, "Sec-WebSocket-Key: c2hvcnQ="), Refusal::Bad),
        (opening(4, "Sec-WebSocket-Key: ?"), Refusal::Bad),
        (opening(5, "Sec-WebSocket-Version: 8"), Refusal::UpgradeRequired),
        (opening(6, "Host: twice"), Refusal::Bad),
        (opening(6, "Content-Length: 5"), Refusal::Bad),
        (opening(6, "Transfer-Encoding: chunked"), Refusal::Bad),
        ("\0\0\0\0".to_owned(), Refusal::Bad),
        ("RFB 003.008\n\x01\x01".to_owned(), Refusal::Bad),
    ];
    for (text, refusal) in cases {
        assert_eq!(parse(text.as_bytes()), Err(refusal), "{text}");
        let answer = String::from_utf8(refusal.answer()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    }
}

#[test]
fn pages_of_other_sites_are_told_apart() {
    let from = |host: &str, origin: Option<&str>, loopback| {
        let request =
            http::Request { host: host.into(), origin: origin.map(str::to_owned), ..Default::default() };
        request.is_from_here(loopback)
    };
    assert!(from("127.0.0.1:5700", None, true));
    assert!(from("localhost:5700", Some("http://localhost:8000"), true));
    assert!(from("LOCALHOST", Some("https://localhost"), true));
    assert!(from("[::1]:5700", Some("http://[::1]"), true));
    assert!(!from("127.0.0.1:5700", Some("http://evil.example"), true));
    assert!(!from("127.0.0.1:5700", Some("null"), true));
    assert!(!from("127.0.0.1:5700", Some("file://"), true));
    assert!(!from("127.0.0.1:5700", Some("http://127.0.0.1.evil.example"), true));
    // A name of somebody else's that means this machine.
    assert!(!from("evil.example:5700", Some("http://evil.example:5700"), true));
    assert!(from("host.example:5700", Some("http://host.example"), false));
    assert!(!from("host.example:5700", Some("http://evil.example"), false));
    for (name, ours) in
        [("::1", true), ("[::1]", true), ("127.9.9.9", true), ("10.0.0.1", false), ("", false)]
    {
        assert_eq!(is_loopback(name), ours, "{name}");
    }
}

/// A frame of a client's.
fn frame(first: u8, data: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match data.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(0xfe);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(data.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What the frames mean, taken in pieces of that size, and what is answered.
fn take(frames: &[Vec<u8>], piece: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut socket, mut plain, mut answers) = (WebSocket::default(), Vec::new(), Vec::new());
    for bytes in frames.concat().chunks(piece) {
        socket.receive(bytes, &mut plain);
    }
    socket.answers(&mut answers);
    assert!(!socket.has_answers());
    (plain, answers)
}

#[test]
fn frames_become_a_stream_however_they_are_cut() {
    let long: Vec<u8> = (0..70_000u32).map(|at| at as u8).collect();
    let frames = [
        frame(0x82, b"Hello"),
        frame(0x82, &long[..300]),
        frame(0x02, b""),
        frame(0x00, b"frag"),
        frame(0x89, b"are you there"),
        frame(0x80, b"ment"),
        frame(0x8a, b"a pong of its own accord"),
        frame(0x82, &long),
    ];
    let expected = [b"Hello", &long[..300], b"fragment", &long].concat();
    for piece in [1, 2, 3, 7, 4096, 1 << 20] {
        let (plain, answers) = take(&frames, piece);
        assert!(plain == expected, "pieces of {piece}");
        assert_eq!(answers, b"\x8a\x0dare you there");
    }
}

#[test]
fn only_the_last_ping_is_answered() {
    let mut frames = vec![frame(0x89, &[b'x'; 125]); 10_000];
    frames.push(frame(0x89, b"last"));
    assert_eq!(take(&frames, 4096), (Vec::new(), b"\x8a\x04last".to_vec()));
}

#[test]
fn a_close_is_answered_and_ends_it() {
    let close = |data: &[u8]| take(&[frame(0x88, data), frame(0x82, b"late")], 5);
    let said = |status: u16| (Vec::new(), [&[0x88, 2][..], &status.to_be_bytes()].concat());
    assert_eq!(close(&[]), said(status::NORMAL));
    assert_eq!(close(&[0x03, 0xe9]), said(1001));
    assert_eq!(close(&[0xff, 0xff]), said(status::NORMAL));
    let mut socket = WebSocket::default();
    socket.close(status::AWAY);
    socket.close(status::NORMAL);
    let mut out = Vec::new();
    socket.answers(&mut out);
    assert_eq!(socket.send(b"more", &mut out), 4);
    assert_eq!((out, socket.is_closing()), (said(status::AWAY).1, true));
}

#[test]
fn frames_that_there_are_not_end_it() {
    let unmasked = vec![0x82, 2, b'n', b'o'];
    let wrong = [
        (unmasked, status::PROTOCOL),
        (frame(0xc2, b"an extension"), status::PROTOCOL),
        (frame(0x83, b"no such thing"), status::PROTOCOL),
        (frame(0x8b, b"no such thing"), status::PROTOCOL),
        (frame(0x80, b"goes on with nothing"), status::PROTOCOL),
        (frame(0x09, b"a ping in parts"), status::PROTOCOL),
        (frame(0x89, &[0; 126]), status::PROTOCOL),
        ([frame(0x02, b"begun"), frame(0x82, b"begun anew")].concat(), status::PROTOCOL),
        (frame(0x81, b"text"), status::UNSUPPORTED),
        (vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0], status::PROTOCOL),
        (vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], status::PROTOCOL),
        ([vec![0x82, 0xff], vec![0xff; 8], vec![0; 4]].concat(), status::PROTOCOL),
    ];
    for (bytes, expected) in wrong {
        let (_, answers) = take(&[bytes.clone(), frame(0x82, b"late")], 1);
        assert_eq!(answers, [&[0x88, 2][..], &expected.to_be_bytes()].concat(), "{bytes:x?}");
    }
    // A frame may say that it is huge: what comes of it is handed on.
    let huge = [vec![0x82, 0xff, 0x7f], vec![0xff; 7], vec![0; 4], vec![b'z'; 1000]].concat();
    assert_eq!(take(&[huge], 100), (vec![b'z'; 1000], Vec::new()));
}

#[test]
fn what_is_sent_has_its_length_before_it() {
    let socket = WebSocket::default();
    for (len, head) in [
        (5usize, vec![0x82, 5]),
        (126, vec![0x82, 126, 0, 126]),
        (0xffff, vec![0x82, 126, 0xff, 0xff]),
        (0x1_0000, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let (data, mut out) = (vec![b'a'; len], Vec::new());
        assert_eq!(socket.send(&data, &mut out), len);
        assert!(out.starts_with(&head) && out.len() == head.len() + len, "{len}");
    }
    let (mut out, data) = (Vec::new(), vec![0; 100_000]);
    assert_eq!(socket.send(&data, &mut out), 1 << 16);
    out.clear();
    assert_eq!((socket.send(&[], &mut out), out.len()), (0, 0));
}
