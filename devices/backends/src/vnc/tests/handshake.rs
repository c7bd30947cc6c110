//! Versions, passwords, sharing, addresses.

use std::net::TcpListener;
use std::sync::Arc;

use super::*;
use crate::vnc::{Address, FIRST_PORT, VncError};

const VERSIONS: [&[u8; 12]; 3] = [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"];

#[test]
fn every_version_gets_in_without_a_password() {
    let setup = Setup::new();
    for version in VERSIONS {
        let mut client = setup.dial();
        client.shake(version, None).unwrap();
        client.init(true);
        assert_eq!((client.width, client.height, &client.name[..]), (200, 100, "guest"));
        client.ask(false);
        client.update();
        client.assert_shows(&setup.screen.now());
    }
}

#[test]
fn every_version_needs_the_right_password() {
    let setup = Setup::with(",password=on", picture(32, 32));
    let refused = |password: &str| {
        for version in VERSIONS {
            let mut client = setup.dial();
            let why = client.shake(version, Some(password)).unwrap_err();
            let expected = if version == VERSIONS[2] { "authentication failed" } else { "" };
            assert_eq!(why, expected);
            assert!(client.closed());
        }
    };
    refused("");
    setup.vnc.set_password(Some("secret")).unwrap();
    refused("secreT");
    refused("");
    for version in VERSIONS {
        let mut client = setup.dial();
        client.shake(version, Some("secret")).unwrap();
        client.init(true);
    }
    setup.vnc.set_password(Some("12345678")).unwrap();
    refused("secret");
    setup.dial().shake(VERSIONS[2], Some("123456789")).unwrap();
    setup.vnc.set_password(None).unwrap();
    refused("12345678");
}

#[test]
fn a_server_without_a_password_takes_none() {
    let setup = Setup::new();
    assert!(matches!(setup.vnc.set_password(Some("x")), Err(VncError::NoPassword)));
}

#[test]
fn a_security_type_that_was_not_offered_is_refused() {
    for (options, choice) in [("", 2), (",password=on", 1), (",password=on", 0)] {
        let setup = Setup::with(options, picture(32, 32));
        let mut client = setup.dial();
        client.take::<12>();
        client.send(VERSIONS[2]);
        client.take::<2>();
        client.send(&[choice]);
        assert_eq!(client.u32(), 1);
        assert!(client.closed());
    }
}

#[test]
fn versions_that_are_none_end_the_connection() {
    let setup = Setup::new();
    for version in [
        b"RFB 004.001\n",
        b"RFB 003.00a\n",
        b"RFB 003.+08\n",
        b"GET / HTTP/1",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut client = setup.dial();
        client.take::<12>();
        client.send(version);
        assert!(client.closed(), "{version:?}");
    }
    let mut client = setup.dial();
    client.take::<12>();
    client.send(b"RFB 003.889\n");
    assert_eq!(client.take::<2>(), [1, 1], "later than what there is");
    let mut client = setup.dial();
    client.take::<12>();
    client.send(b"RFB 003.005\n");
    assert_eq!(client.u32(), 1, "never published: means 3.3");
}

#[test]
fn the_handshake_comes_in_single_bytes() {
    let setup = Setup::new();
    let mut client = setup.dial();
    client.take::<12>();
    for byte in b"RFB 003.008\n\x01\x01" {
        client.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((client.take::<2>(), client.u32(), client.u16(), client.u16()), ([1, 1], 0, 200, 100));
}

#[test]
fn a_client_may_want_to_be_alone() {
    let setup = Setup::new();
    let mut first = setup.client();
    let mut second = setup.client();
    until(|| setup.vnc.info().clients.len() == 2);
    let mut alone = setup.dial();
    alone.shake(VERSIONS[2], None).unwrap();
    alone.init(false);
    assert!(first.closed() && second.closed());
    until(|| setup.vnc.info().clients.len() == 1);
    let mut late = setup.dial();
    late.shake(VERSIONS[2], None).unwrap();
    late.send(&[1]);
    assert!(late.closed(), "a shared client does not disturb one that is alone");
    drop(alone);
    until(|| setup.vnc.info().clients.is_empty());
    setup.client();

    let setup = Setup::with(",share=force-shared", picture(8, 8));
    let mut first = setup.client();
    let mut alone = setup.dial();
    alone.shake(VERSIONS[2], None).unwrap();
    alone.send(&[0]);
    assert!(alone.closed());
    first.ask(false);
    first.update();
}

#[test]
fn the_facts_say_who_and_where() {
    let setup = Setup::new();
    let info = setup.vnc.info();
    let service = setup.path().display().to_string();
    assert_eq!(info.address, Address { host: String::new(), service, family: "unix" });
    assert_eq!((info.auth, info.clients.len()), ("none", 0));
    let _client = setup.client();
    until(|| setup.vnc.info().clients.len() == 1);
    let secret = Setup::with(",password", picture(8, 8));
    assert_eq!(secret.vnc.info().auth, "vnc");
}

/// The end may be told while the thread has just begun a turn: it must not read the bell, and wait for another.
#[test]
fn a_server_that_has_just_begun_ends() {
    for _ in 0..1000 {
        drop(Setup::new());
    }
}

fn listen(spec: &str) -> Result<Listener, VncError> {
    let VncSpec::Server(options) = spec.parse().unwrap() else { panic!("{spec}") };
    Listener::bind(options)
}

#[test]
fn a_free_display_is_found() {
    // Whatever else runs on this machine: a display that is free now, below the range of passing ports.
    let taken = (20_000u16..26_000).find_map(|port| {
        let socket = TcpListener::bind(("127.0.0.1", port)).ok()?;
        TcpListener::bind(("127.0.0.1", port + 1)).ok()?;
        Some((socket, port - FIRST_PORT))
    });
    let (socket, display) = taken.unwrap();
    let error = listen(&format!("127.0.0.1:{display}")).err().unwrap();
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    let listener = listen(&format!("127.0.0.1:{display},to={}", display + 50)).unwrap();
    let found = listener.display().unwrap();
    assert!(found > display && found <= display + 50);
    let service = (FIRST_PORT + found).to_string();
    assert_eq!(listener.address(), &Address { host: "127.0.0.1".into(), service, family: "ipv4" });
    drop(socket);

    let screen = Setup::new().screen;
    let vnc = Vnc::start(listener, "tcp", screen, Arc::new(FakeInput::default()), None).unwrap();
    let port = FIRST_PORT + found;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut hello = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut hello).unwrap();
    assert_eq!(&hello, b"RFB 003.008\n");
    drop(vnc);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_socket_goes_with_its_server_and_is_not_taken_from_another() {
    let setup = Setup::new();
    let path = setup.path();
    assert!(listen(&format!("unix:{}", path.display())).is_err(), "it is served");
    let Setup { dir, vnc, .. } = setup;
    drop(vnc);
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left over");
    drop(listen(&format!("unix:{}", path.display())).unwrap());
    std::fs::write(&path, "precious").unwrap();
    assert!(listen(&format!("unix:{}", path.display())).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    drop(dir);
}
