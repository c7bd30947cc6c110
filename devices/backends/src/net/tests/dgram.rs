//! Datagrams, between two of ours, in a group, and with strangers.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use super::{Card, around, frame, prepare, spec};

/// Two free UDP ports of this host's.
fn ports() -> (u16, u16) {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [one, other] = sockets.map(|socket| socket.local_addr().unwrap().port());
    (one, other)
}

/// Frames both ways, never more under way than a socket keeps.
fn back_and_forth(one: &Card, other: &Card) {
    // What was sent before the other was there may reach it yet.
    one.send(&frame(77_777, 61));
    while other.next() != frame(77_777, 61) {}
    for n in 0..200 {
        let len = [60, 1514, 9000, 1, 40_000][n as usize % 5];
        for (from, to) in [(one, other), (other, one)] {
            from.send(&frame(n, len));
            assert!(to.next() == frame(n, len));
        }
    }
}

#[test]
fn two_of_ours_exchange_frames_by_udp_and_unix_datagrams() {
    let dir = tempfile::tempdir().unwrap();
    let at = |side: &str, port: u16| format!("{side}.type=inet,{side}.host=127.0.0.1,{side}.port={port}");
    let (a, b) = ports();
    let one = Card::new(&format!("dgram,{},{}", at("local", a), at("remote", b)));
    assert_eq!(one.backend.info(), format!("index=0,type=dgram,udp=127.0.0.1:{a}/127.0.0.1:{b}"));
    // Nobody is there yet.
    (0..100).for_each(|n| one.send(&frame(n, 60)));
    let other = Card::new(&format!("dgram,{},{}", at("local", b), at("remote", a)));
    back_and_forth(&one, &other);
    // A stranger's frames are not taken.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(&frame(9, 60), ("127.0.0.1", b)).unwrap();
    one.send(&frame(10, 60));
    assert_eq!(other.next(), frame(10, 60));

    let (a, b) = ports();
    let one = Card::new(&format!("socket,udp=127.0.0.1:{b},localaddr=127.0.0.1:{a}"));
    assert_eq!(one.backend.info(), format!("index=0,type=socket,socket: udp=127.0.0.1:{b}"));
    let other = Card::new(&format!("socket,udp=127.0.0.1:{a},localaddr=127.0.0.1:{b}"));
    back_and_forth(&one, &other);

    let at = |side: &str, name: &str| format!("{side}.type=unix,{side}.path={}/{name}", dir.path().display());
    let one = Card::new(&format!("dgram,{},{}", at("local", "a"), at("remote", "b")));
    (0..100).for_each(|n| one.send(&frame(n, 60)));
    for _ in 0..2 {
        // The second finds the first one's socket left over, as after a crash.
        let other = Card::new(&format!("dgram,{},{}", at("local", "b"), at("remote", "a")));
        back_and_forth(&one, &other);
        let left = UnixDatagram::bind(dir.path().join("left")).unwrap();
        drop(other);
        std::fs::rename(dir.path().join("left"), dir.path().join("b")).unwrap();
        drop(left);
    }
}

#[test]
fn a_unix_peer_that_does_not_read_holds_the_guest_back_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let peer = UnixDatagram::bind(dir.path().join("b")).unwrap();
    let at = |side: &str, name: &str| format!("{side}.type=unix,{side}.path={}/{name}", dir.path().display());
    let card = Card::new(&format!("dgram,{},{}", at("local", "a"), at("remote", "b")));
    let mut sent = 0;
    let mut refused = 0;
    while refused < 3 {
        if card.backend.send(&frame(sent, 1000)) {
            (sent, refused) = (sent + 1, 0);
        } else {
            refused += 1;
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        assert!(sent < 20_000, "20 MB went out");
    }
    let mut buffer = [0; 2000];
    for n in 0..sent {
        let len = peer.recv(&mut buffer).unwrap();
        assert!(buffer[..len] == frame(n, 1000));
    }
    card.send(&frame(1, 60));
}

#[test]
fn what_a_group_member_sends_reaches_all_others_and_not_itself() {
    let (port, _) = ports();
    let text = format!("socket,mcast=239.77.0.1:{port},localaddr=127.0.0.1");
    let cards: Vec<_> = (0..3).map(|_| Card::new(&text)).collect();
    assert_eq!(cards[0].backend.info(), format!("index=0,type=socket,socket: mcast=239.77.0.1:{port}"));
    for round in 0..50 {
        for (sender, card) in cards.iter().enumerate() {
            let sent = frame(round * 10 + sender as u32, 700);
            card.send(&sent);
            for (n, other) in cards.iter().enumerate() {
                // Had it got its own frame, it would be the next that it takes.
                if n != sender {
                    assert!(other.next() == sent);
                }
            }
        }
    }
    let text = format!("dgram,remote.type=inet,remote.host=239.77.0.1,remote.port={port}");
    let text = format!("{text},local.type=inet,local.host=127.0.0.1,local.port=0");
    let newer = Card::new(&text);
    assert_eq!(newer.backend.info(), format!("index=0,type=dgram,mcast=239.77.0.1:{port}"));
    newer.send(&frame(7, 90));
    for card in &cards {
        assert!(card.next() == frame(7, 90));
    }
}

#[test]
fn a_socket_that_we_were_given_tells_what_it_is() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let fd = |_: &str| Ok(ours.try_clone().unwrap().into());
    let around = around(&fd);
    let card = Card::of(prepare(&spec("socket,fd=5").unwrap(), &around).unwrap());
    assert_eq!(card.backend.info(), "index=0,type=socket,socket: fd=5");
    theirs.send(&frame(1, 60)).unwrap();
    assert_eq!(card.next(), frame(1, 60));
    card.send(&frame(2, 60));
    let mut buffer = [0; 100];
    assert_eq!(theirs.recv(&mut buffer).unwrap(), 60);
    // More than a frame: dropped. Nothing: dropped.
    theirs.send(&vec![0; 65_560]).unwrap();
    theirs.send(&[]).unwrap();
    theirs.send(&frame(3, 60)).unwrap();
    assert_eq!(card.next(), frame(3, 60));
    let stream = spec("stream,addr.type=fd,addr.str=5").unwrap();
    assert!(prepare(&stream, &around).is_err(), "it is no stream");
}
