//! Browsers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::*;
use crate::vnc::ClientInfo;

/// A server for viewers and for browsers.
fn setup() -> Setup {
    let spec = "127.0.0.1:1000,to=9999,websocket=on";
    Setup::at(spec, picture(200, 100), tempfile::tempdir().unwrap())
}

fn dial(setup: &Setup) -> TcpStream {
    let at = setup.vnc.info().websocket.unwrap();
    let stream = TcpStream::connect((at.host, at.service.parse().unwrap())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn opening(host: &str, origin: &str) -> String {
    format!(
        "GET /websockify HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: {origin}\r\n\r\n"
    )
}

/// What is answered up to the end of its head.
fn head(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// A frame of a client's.
fn frame(first: u8, data: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 0x80];
    let mut bytes = vec![first];
    match data.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len => {
            bytes.push(0xfe);
            bytes.extend((len as u16).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(data.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Hands what the server's frames carry to `to`, to the end of the connection.
fn unframe(mut from: TcpStream, mut to: UnixStream) -> std::io::Result<()> {
    loop {
        let mut head = [0; 2];
        from.read_exact(&mut head)?;
        let mut len = usize::from(head[1]);
        if len == 126 {
            let mut long = [0; 2];
            from.read_exact(&mut long)?;
            len = usize::from(u16::from_be_bytes(long));
        } else if len == 127 {
            let mut long = [0; 8];
            from.read_exact(&mut long)?;
            len = u64::from_be_bytes(long) as usize;
        }
        let mut data = vec![0; len];
        from.read_exact(&mut data)?;
        match head[0] {
            0x82 => to.write_all(&data)?,
            0x8a => assert_eq!(data, b"?"),
            0x88 => return to.shutdown(std::net::Shutdown::Write),
            other => panic!("a frame of {other:#x}"),
        }
    }
}

/// A viewer's stream in frames as a browser might cut them, with pings between.
fn through(stream: TcpStream) -> UnixStream {
    let (near, far) = UnixStream::pair().unwrap();
    let (down, from) = (far.try_clone().unwrap(), stream.try_clone().unwrap());
    // They end with the connection, in whatever way.
    std::thread::spawn(move || drop(unframe(from, down)));
    std::thread::spawn(move || {
        let (mut far, mut stream, mut data) = (far, stream, [0; 300]);
        while let Ok(len @ 1..) = far.read(&mut data) {
            let (one, other) = data[..len].split_at(len / 3);
            let frames = [frame(0x02, one), frame(0x89, b"?"), frame(0x80, other)].concat();
            if stream.write_all(&frames).is_err() {
                return;
            }
        }
        let _ = stream.write_all(&frame(0x88, &[0x03, 0xe8]));
    });
    near
}

#[test]
fn a_browser_sees_what_a_viewer_sees() {
    let setup = setup();
    let mut stream = dial(&setup);
    let host = setup.vnc.info().websocket.unwrap();
    assert_eq!(host.family, "ipv4");
    stream
        .write_all(opening(&format!("127.0.0.1:{}", host.service), "http://127.0.0.1:1").as_bytes())
        .unwrap();
    let answer = head(&mut stream);
    assert!(
        answer.starts_with("HTTP/1.1 101 ") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{answer}"
    );
    let mut client = Client::over(through(stream));
    client.shake(b"RFB 003.008\n", None).unwrap();
    client.init(true);
    for encoding in [0, 5, 16, 7] {
        client.set_encodings(&[encoding]);
        client.ask(false);
        client.update();
        client.assert_shows(&setup.screen.now());
        setup.screen.show(picture(200, 100));
    }
    client.send(&[4, 1, 0, 0, 0, 0, 0, 0x61]);
    assert!(matches!(setup.events(1)[0], Event::Key(Keystroke { keysym: 0x61, .. }, true)));
    let [ClientInfo { address, websocket: true }] = &setup.vnc.info().clients[..] else {
        panic!("{:?}", setup.vnc.info())
    };
    assert_eq!(address.host, "127.0.0.1");
    // A screen that is much larger than a frame.
    client.set_encodings(&[0, -223]);
    setup.screen.show(picture(1000, 700));
    client.ask(true);
    client.update();
    client.ask(false);
    client.update();
    client.assert_shows(&setup.screen.now());
    drop(client);
    until(|| setup.vnc.info().clients.is_empty());
}

#[test]
fn what_a_client_sends_with_its_opening_counts() {
    let setup = setup();
    let mut stream = dial(&setup);
    let early = [frame(0x82, b"RFB 003.008\n"), frame(0x82, &[1, 1])].concat();
    stream.write_all(&[opening("localhost", "http://localhost").as_bytes(), &early].concat()).unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
    until(|| setup.vnc.info().clients.len() == 1);
}

#[test]
fn pages_of_others_and_other_requests_are_refused() {
    let setup = setup();
    for (text, status) in [
        (opening("localhost", "http://evil.example"), "403"),
        (opening("evil.example", "http://evil.example"), "403"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), "426"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), "405"),
        ("RFB 003.008\n".into(), "400"),
        (format!("GET /{}", "x".repeat(10_000)), "431"),
    ] {
        let mut stream = dial(&setup);
        stream.write_all(text.as_bytes()).unwrap();
        let answer = head(&mut stream);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{text}: {answer}");
        // Nothing follows but the connection's end.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 100, "{rest:?}");
    }
    let mut stream = dial(&setup);
    stream.write_all(opening("localhost", "http://localhost").as_bytes()).unwrap();
    head(&mut stream);
    // Text, which RFB is not.
    stream.write_all(&frame(0x81, b"hello")).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    assert!(all.ends_with(&[0x88, 2, 0x03, 0xeb]), "{all:x?}");
}

#[test]
fn whoever_is_turned_away_is_told_before_the_close() {
    let spec = "127.0.0.1:1000,to=9999,websocket=on,password=on";
    let setup = Setup::at(spec, picture(20, 10), tempfile::tempdir().unwrap());
    setup.vnc.set_password(Some("secret")).unwrap();
    let mut stream = dial(&setup);
    stream.write_all(opening("localhost", "http://localhost").as_bytes()).unwrap();
    head(&mut stream);
    let mut client = Client::over(through(stream));
    assert_eq!(client.shake(b"RFB 003.008\n", Some("wrong")), Err("authentication failed".to_owned()));
    assert!(client.closed());
}

#[test]
fn a_client_comes_by_the_door() {
    let setup = Setup::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    let early = frame(0x82, b"RFB 003.008\n");
    assert!(setup.vnc.door().enter(far, &early[..7], b"HTTP/1.1 101 here\r\n\r\n".to_vec()));
    assert_eq!(head(&mut near), "HTTP/1.1 101 here\r\n\r\n");
    near.write_all(&early[7..]).unwrap();
    near.write_all(&frame(0x82, &[1, 1])).unwrap();
    until(|| setup.vnc.info().clients.iter().any(|client| client.websocket));
}
