//! Clients that lie, flood, stall and vanish.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::*;

/// Whether the server still serves.
fn alive(setup: &Setup) {
    let mut client = setup.client();
    client.ask(false);
    client.update();
    client.assert_shows(&setup.screen.now());
}

#[test]
fn messages_that_are_none_end_the_connection() {
    let setup = Setup::new();
    let messages: [&[u8]; 8] = [
        &[1],
        &[7],
        &[150, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        &[255, 1, 0, 0],
        &[255, 77],
        // A format of 24 bits, and one without green.
        &[0, 0, 0, 0, 24, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0],
        &[0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 0, 0, 255, 16, 8, 0, 0, 0, 0],
        // A clipboard of 4 GiB.
        &[6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    ];
    for message in messages {
        let mut client = setup.client();
        client.send(message);
        assert!(client.closed(), "{message:?}");
    }
    alive(&setup);
}

#[test]
fn long_messages_are_taken_piece_by_piece() {
    let setup = Setup::new();
    let mut client = setup.client();
    let mut text = vec![6, 0, 0, 0, 0, 0x10, 0, 0];
    text.resize(8 + (1 << 20), b'x');
    client.send(&text);
    let mut encodings = vec![2, 0, 0x04, 0];
    encodings.extend((0..1024).flat_map(|number: i32| (number + 1000).to_be_bytes()));
    client.send(&encodings);
    let mut wish = vec![251, 0, 4, 0, 3, 0, 255, 0];
    wish.resize(8 + 255 * 16, 0xff);
    client.send(&wish);
    client.ask(false);
    client.update();
    client.assert_shows(&setup.screen.now());
}

#[test]
fn requests_for_what_is_not_there_do_no_harm() {
    let setup = Setup::new();
    let mut client = setup.client();
    for rect in [[0xffff; 4], [0, 0, 0, 0], [199, 99, 0xffff, 0xffff], [0, 0, 0xffff, 0xffff]] {
        client.ask_for(false, rect);
    }
    client.update();
    client.assert_shows(&setup.screen.now());
}

#[test]
fn streams_of_garbage_do_no_harm() {
    let setup = Setup::new();
    let mut noise = 7u64;
    let mut random = move || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise
    };
    for round in 0..300 {
        let mut stream = UnixStream::connect(setup.path()).unwrap();
        // Beyond the handshake in two thirds of the rounds.
        let mut data = if round % 3 > 0 { b"RFB 003.008\n\x01\x01".to_vec() } else { Vec::new() };
        for _ in 0..random() % 200 {
            if random() % 3 > 0 {
                // Something like a message.
                let kinds = [0, 2, 3, 4, 5, 6, 251, 255];
                data.extend([
                    kinds[random() as usize % kinds.len()],
                    random() as u8 & 1,
                    0,
                    random() as u8 & 7,
                ]);
            }
            data.extend((0..random() % 20).map(|_| random() as u8));
        }
        // The server may have hung up already.
        let _ = stream.write_all(&data);
        if round % 5 == 0 {
            let mut answer = [0; 1000];
            let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
            let _ = std::io::Read::read(&mut stream, &mut answer);
        }
    }
    alive(&setup);
}

#[test]
fn a_client_that_reads_nothing_holds_up_nobody() {
    let setup = Setup::with("", picture(800, 600));
    let mut lazy: Vec<_> = (0..10).map(|_| setup.client()).collect();
    for client in &mut lazy {
        for _ in 0..50 {
            client.ask(false);
        }
    }
    let start = Instant::now();
    for round in 0..5 {
        setup.screen.edit(|picture| picture.row_mut(round * 100).fill(round as u8));
        alive(&setup);
    }
    assert!(start.elapsed() < Duration::from_secs(15));
    // They get a whole picture when they come back.
    for client in &mut lazy {
        client.update();
        client.ask(false);
        client.update();
        client.assert_shows(&setup.screen.now());
    }
}

#[test]
fn a_flood_of_keys_is_slowed_down_and_nothing_is_lost() {
    let setup = Setup::new();
    let mut client = setup.client();
    let start = Instant::now();
    let keys = 2000usize;
    let flood: Vec<u8> = (0..keys).flat_map(|at| [4, (at % 2) as u8 ^ 1, 0, 0, 0, 0, 0, 0x61]).collect();
    client.send(&flood);
    alive(&setup);
    assert_eq!(setup.events(keys).len(), keys);
    assert!(start.elapsed() > Duration::from_millis(500), "250 in each tenth of a second");
}

#[test]
fn a_hundred_clients_are_served() {
    let setup = Setup::with("", picture(320, 200));
    let mut clients: Vec<_> = (0..100).map(|_| setup.client()).collect();
    until(|| setup.vnc.facts().clients.len() == 100);
    for (at, client) in clients.iter_mut().enumerate() {
        client.set_encodings(&[[0, 5, 16][at % 3]]);
        client.ask(false);
    }
    for client in &mut clients {
        client.update();
        client.assert_shows(&setup.screen.now());
        client.ask(true);
    }
    setup.screen.edit(|picture| picture.row_mut(7).fill(7));
    for client in &mut clients {
        client.update();
        client.assert_shows(&setup.screen.now());
    }
    drop(clients);
    until(|| setup.vnc.facts().clients.is_empty());
}

#[test]
fn connections_that_say_nothing_do_not_keep_others_out() {
    let setup = Setup::new();
    let mut first = setup.client();
    let silent: Vec<_> = (0..400).map(|_| UnixStream::connect(setup.path()).unwrap()).collect();
    alive(&setup);
    first.ask(false);
    first.update();
    first.assert_shows(&setup.screen.now());
    drop(silent);
}

#[test]
fn clients_that_come_and_go_leave_nothing() {
    let setup = Setup::new();
    let fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = fds();
    for _ in 0..200 {
        let mut client = setup.client();
        client.ask(false);
    }
    until(|| setup.vnc.facts().clients.is_empty());
    // Other tests of this process have their own.
    assert!(fds() < before + 150);
    alive(&setup);
}

#[test]
fn a_server_ends_at_once_with_clients_connected() {
    let setup = Setup::with("", picture(1920, 1080));
    let mut clients: Vec<_> = (0..5).map(|_| setup.client()).collect();
    clients.iter_mut().for_each(|client| client.ask(false));
    let start = Instant::now();
    let Setup { vnc, dir, .. } = setup;
    drop(vnc);
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(clients.iter_mut().all(Client::closed));
    drop(dir);
}
