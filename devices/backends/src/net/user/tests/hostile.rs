//! A guest that sends anything.

use std::net::TcpListener;

use devices_core::rig::Random;

use super::*;

/// Frames that lead deep, to be spoilt.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![arp(1, IP, HOST), echo(HOST.into(), 1, b"x"), echo(HOST6.into(), 1, b"x")];
    for port in [53, 67, 69, 547, 9] {
        seeds.extend(datagrams(
            SocketAddr::new(IP.into(), 68),
            SocketAddr::new(HOST.into(), port),
            &[1; 300],
        ));
        seeds.extend(datagrams(
            SocketAddr::new(IP6.into(), 68),
            SocketAddr::new(HOST6.into(), port),
            &[1; 300],
        ));
    }
    seeds.push(packet(IP.into(), HOST.into(), TCP, &syn(1000, 9, IP)));
    seeds.extend(datagrams(SocketAddr::new(IP.into(), 9), SocketAddr::new(HOST.into(), 9), &[2; 4000]));
    seeds
}

/// A SYN with a right checksum.
fn syn(port: u16, to: u16, from: Ipv4Addr) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&port.to_be_bytes());
    body.extend_from_slice(&to.to_be_bytes());
    body.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let sum = checksum_with(from.into(), HOST.into(), TCP, &body);
    put16(&mut body, 16, sum);
    body
}

#[test]
fn garbage_of_every_layer_is_survived() {
    let mut network = prepared("restrict=on").offline().unwrap();
    let mut random = Random::new(20);
    let seeds = seeds();
    let mut out = Vec::new();
    for round in 0..30_000u32 {
        let mut frame = seeds[random.below(seeds.len() as u64) as usize].clone();
        match round % 4 {
            0 => frame.truncate(random.below(frame.len() as u64 + 1) as usize),
            1 => frame.resize(random.below(2000) as usize, round as u8),
            _ => {}
        }
        for _ in 0..random.below(4) {
            if let Some(at) = frame.len().checked_sub(15) {
                let at = 14 + random.below(at as u64 + 1) as usize;
                if let Some(byte) = frame.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
        }
        while !network.send(&frame) {
            network.turn(Duration::from_millis(10));
        }
        while network.receive(&mut out) {
            assert!(out.len() <= 1514, "a frame of {} bytes", out.len());
        }
    }
    network.turn(Duration::from_secs(1));
    for len in [0, 1, 13, 14, 15, 65_535, 65_553, 70_000] {
        assert!(network.send(&vec![0xff; len]));
    }
    network.turn(Duration::from_secs(600));
    while network.receive(&mut out) {}
    assert!(network.send(&echo(HOST.into(), 5, b"alive")));
    network.turn(Duration::ZERO);
    let mut alive = false;
    while network.receive(&mut out) {
        alive |= echoed(&out, HOST.into()) == Some(b"alive".to_vec());
    }
    assert!(alive);
}

#[test]
fn floods_are_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::new("");
    for number in 0..3000u16 {
        guest.send(&packet(IP.into(), HOST.into(), TCP, &syn(1000 + number, port, IP)));
        guest.udp(1000 + number, SocketAddr::new(HOST.into(), 9), b"flood");
    }
    guest.send(&echo(HOST.into(), 5, b"done"));
    guest.frame("an echo", |frame| echoed(frame, HOST.into()));
    let flows = guest.user.handle().flows().flows;
    let tcp = flows.iter().filter(|flow| flow.kind.starts_with("TCP")).count();
    let udp = flows.len() - tcp;
    assert!((1..=1024).contains(&tcp) && (1..=1024).contains(&udp), "{tcp} {udp}");
    // A connection that is meant finds its place.
    drop(listener);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    guest.connect((HOST, listener.local_addr().unwrap().port()));
}

#[test]
fn a_card_that_takes_nothing_stops_the_network_and_not_the_process() {
    let mut guest = Guest::new("");
    let frame = echo(HOST.into(), 5, &pattern(1000));
    // Answers pile up to their bound, then are dropped; the guest's own frames are still taken.
    for _ in 0..5000 {
        let begun = Instant::now();
        while !guest.user.send(&frame) {
            assert!(begun.elapsed() < PATIENCE);
            guest.wait();
        }
    }
    let mut out = Vec::new();
    let mut count = 0;
    while guest.user.receive(&mut out) {
        count += 1;
    }
    assert!((256..=1024).contains(&count), "{count}");
}

#[test]
fn a_network_that_is_dropped_ends() {
    let guest = Guest::new("hostfwd=tcp:127.0.0.1:0-:22");
    let listening = guest.user.handle().forwards()[0].host;
    let shared = Arc::downgrade(&guest.user.shared);
    let handle = guest.user.handle();
    drop(guest);
    // Its port is free at once.
    assert!(TcpListener::bind(listening).is_ok());
    assert!(handle.hostfwd_add("tcp:127.0.0.1:0-:22").is_err());
    let begun = Instant::now();
    while shared.upgrade().is_some() {
        assert!(begun.elapsed() < PATIENCE, "the thread did not end");
        std::thread::yield_now();
    }
}
