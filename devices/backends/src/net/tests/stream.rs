//! Streams, between two of ours and with peers that do not behave.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use super::super::{Address, NetEvent};
use super::{Card, around, frame, opened, pour, prepare, spec};

/// A free TCP port of this host's; it may be taken again before it is used, which nothing here prevents.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server on a Unix socket, and a peer that does as it likes.
fn server(dir: &tempfile::TempDir) -> (Card, impl Fn() -> UnixStream + use<>) {
    let path = dir.path().join("s");
    let card = Card::new(&format!("stream,server=on,addr.type=unix,addr.path={}", path.display()));
    (card, move || UnixStream::connect(&path).unwrap())
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    bytes
}

#[test]
fn two_of_ours_exchange_frames_over_unix_and_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let unix = format!("addr.type=unix,addr.path={}/s", dir.path().display());
    let name = format!("addr.type=unix,addr.abstract=on,addr.path=ailurus-test-{}", std::process::id());
    let tcp = format!("addr.type=inet,addr.host=127.0.0.1,addr.port={}", port());
    for address in [unix, name, tcp] {
        let mut server = Card::new(&format!("stream,server=on,{address}"));
        assert_eq!(server.backend.info(), "index=0,type=stream,");
        let mut client = Card::new(&format!("stream,{address}"));
        assert!(matches!(client.event(), NetEvent::Connected(_)));
        assert!(matches!(server.event(), NetEvent::Connected(_)));
        let (before, _) = address.split_once(",addr.host=").unwrap_or((&address, ""));
        let kind = if before.contains("inet") { "tcp:127.0.0.1:" } else { "unix:" };
        for card in [&server, &client] {
            let info = card.backend.info();
            assert!(info.starts_with(&format!("index=0,type=stream,{kind}")), "{info}");
        }
        pour(&client, &mut server);
        pour(&server, &mut client);
        drop(client);
        assert_eq!(server.event(), NetEvent::Disconnected);
        assert_eq!(server.backend.info(), "index=0,type=stream,");
    }
}

#[test]
fn a_socket_that_we_were_given_is_a_stream() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let fd = |fd: &str| if fd == "9" { Ok(ours.try_clone().unwrap().into()) } else { Err("none".into()) };
    let around = around(&fd);
    let text = "stream,addr.type=fd,addr.str=9";
    let card = Card::of(prepare(&spec(text).unwrap(), &around).unwrap());
    theirs.write_all(&framed(&frame(1, 60))).unwrap();
    assert_eq!(card.next(), frame(1, 60));
    assert_eq!(card.event(), NetEvent::Connected(Address::Fd("9".into())));
    card.send(&frame(2, 61));
    let mut bytes = vec![0; 65];
    theirs.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, framed(&frame(2, 61)));
    // A socket that listens is no connection, and the other way round.
    let listens = spec("stream,server=on,addr.type=fd,addr.str=9").unwrap();
    assert!(prepare(&listens, &around).is_err());
}

#[test]
fn half_a_frame_is_waited_for_and_one_cut_off_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (card, connect) = server(&dir);
    let mut peer = connect();
    let bytes = framed(&frame(1, 1000));
    for piece in bytes.chunks(7) {
        peer.write_all(piece).unwrap();
    }
    assert_eq!(card.next(), frame(1, 1000));
    peer.write_all(&framed(&frame(2, 1000))[..500]).unwrap();
    drop(peer);
    assert!(matches!(card.event(), NetEvent::Connected(_)));
    assert_eq!(card.event(), NetEvent::Disconnected);
    // The next one begins anew.
    connect().write_all(&framed(&frame(3, 70))).unwrap();
    assert_eq!(card.next(), frame(3, 70));
}

#[test]
fn a_peer_that_lies_about_a_length_is_closed_and_the_next_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let (card, connect) = server(&dir);
    for lie in [(68 << 10) + 1u32, 0x8000_0000, u32::MAX] {
        let mut peer = connect();
        peer.write_all(&framed(&frame(lie, 60))).unwrap();
        peer.write_all(&lie.to_be_bytes()).unwrap();
        // Reading says so, unless bytes of ours were on their way.
        assert!(matches!(peer.read(&mut [0; 16]), Ok(0) | Err(_)), "it is closed");
        assert_eq!(card.next(), frame(lie, 60), "what came before the lie counts");
    }
    // Too long for a network, not for a stream; and nothing at all.
    let mut peer = connect();
    peer.write_all(&framed(&vec![0; 68 << 10])).unwrap();
    peer.write_all(&framed(&[])).unwrap();
    peer.write_all(&framed(&frame(5, 60))).unwrap();
    assert_eq!(card.next(), frame(5, 60));
}

#[test]
fn a_flood_waits_outside_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (card, connect) = server(&dir);
    let mut peer = connect();
    peer.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    // The card takes nothing: what we keep is bounded, so at some point the peer cannot write on.
    let (bytes, mut sent) = (framed(&frame(1, 1514)), 0u64);
    let mut rest = 0;
    while let Ok(len) = peer.write(&bytes[rest..]) {
        rest = (rest + len) % bytes.len();
        sent += u64::from(rest == 0);
        assert!(sent < 20_000, "30 MB went in");
    }
    // Then it takes all.
    for _ in 0..sent {
        assert_eq!(card.next(), frame(1, 1514));
    }
    peer.write_all(&bytes[rest..]).unwrap();
    assert_eq!(card.next(), frame(1, 1514));
}

#[test]
fn a_peer_that_does_not_read_holds_the_guest_back_and_then_frees_it() {
    let dir = tempfile::tempdir().unwrap();
    let (card, connect) = server(&dir);
    let mut peer = connect();
    assert!(matches!(card.event(), NetEvent::Connected(_)));
    let mut sent = 0u32;
    let mut refused = 0;
    while refused < 3 {
        // Refused for good: not just until the thread has come round.
        if card.backend.send(&frame(sent, 1514)) {
            (sent, refused) = (sent + 1, 0);
        } else {
            refused += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(sent < 20_000, "30 MB went out");
    }
    while card.woken.try_recv().is_ok() {}
    let mut bytes = vec![0; 1518];
    for n in 0..sent {
        peer.read_exact(&mut bytes).unwrap();
        assert!(bytes == framed(&frame(n, 1514)), "nothing that was taken is lost: {n}");
    }
    card.woken.recv_timeout(super::SOON).expect("the card is told of the room");
    // When it has gone the guest sends into nothing.
    drop(peer);
    assert_eq!(card.event(), NetEvent::Disconnected);
    assert!((0..2000).all(|n| card.backend.send(&frame(n, 1514))));
}

#[test]
fn a_card_that_was_refused_is_freed_when_the_peer_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (card, connect) = server(&dir);
    let peer = connect();
    assert!(matches!(card.event(), NetEvent::Connected(_)));
    while card.backend.send(&frame(0, 65_000)) {}
    drop(peer);
    card.send(&frame(1, 60));
}

#[test]
fn a_client_tries_again_until_there_is_a_server_and_after_it_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let unix = format!("addr.type=unix,addr.path={}", path.display());
    let tcp = format!("addr.type=inet,addr.host=127.0.0.1,addr.port={}", port());
    for address in [unix, tcp] {
        let client = Card::new(&format!("stream,{address},reconnect-ms=20"));
        for round in 0..3 {
            // Nobody takes frames meanwhile.
            assert!(client.backend.send(&frame(0, 60)));
            let server = Card::new(&format!("stream,server=on,{address}"));
            assert!(matches!(client.event(), NetEvent::Connected(_)));
            client.send(&frame(round, 60));
            assert_eq!(server.next(), frame(round, 60));
            drop(server);
            assert_eq!(client.event(), NetEvent::Disconnected);
        }
    }
}

#[test]
fn a_second_client_waits_until_the_first_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (card, connect) = server(&dir);
    let mut first = connect();
    let mut second = connect();
    second.write_all(&framed(&frame(2, 60))).unwrap();
    first.write_all(&framed(&frame(1, 60))).unwrap();
    assert_eq!(card.next(), frame(1, 60));
    assert!(matches!(card.event(), NetEvent::Connected(_)));
    drop(first);
    assert_eq!(card.event(), NetEvent::Disconnected);
    assert_eq!(card.next(), frame(2, 60));
}

#[test]
fn an_end_while_the_guest_takes_nothing_is_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let card = Card::of(opened(&format!("stream,addr.type=unix,addr.path={}", path.display())));
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while peer.write(&framed(&frame(1, 1514))).is_ok() {}
    // Its thread neither waits for the guest nor for the peer.
    drop(card);
    assert!(peer.write_all(&[0]).is_err(), "the socket is closed");
}
