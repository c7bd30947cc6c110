//! Clients that lie, flood, stall and vanish.

use std::io::Write;
use std::os::unix::net::UnixStream;

use devices_core::picture::PointerShape;

use super::*;
use crate::vnc::session::{Host, News, Session, size_of};
use crate::vnc::tiles::{Seen, Tiles};

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
    let messages: [&[u8]; 9] = [
        &[1],
        &[7],
        // What was not agreed on.
        &[150, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        &[248, 0, 0, 0, 0x80, 0, 0, 0, 0],
        &[255, 2, 0, 0],
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

fn random() -> impl FnMut() -> u64 {
    let mut noise = 7u64;
    move || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise
    }
}

/// Something like a message: a kind that there is, and often what may follow it.
fn message(random: &mut impl FnMut() -> u64) -> Vec<u8> {
    let kinds = [0u8, 2, 2, 3, 3, 3, 3, 4, 5, 5, 6, 251, 255];
    let kind = kinds[random() as usize % kinds.len()];
    let mut data = vec![kind, random() as u8 & 1, 0, 0];
    match kind {
        0 => {
            let bits = [8, 8, 16, 16, 32, 32, 24][random() as usize % 7];
            data.extend([bits, 24, random() as u8 & 1, u8::from(bits > 8 || random() & 7 > 0)]);
            data.extend([0, 1 << (random() % 8), 0, 31, 0, 255]);
            data.extend([random() as u8 % 8, random() as u8 % 8, random() as u8 % 9, 0, 0, 0]);
        }
        2 => {
            let known = [0i32, 5, 16, -223, -257, -258, -308, 7, -239, -259, -261, -307, -314];
            let count = random() as usize % 8;
            data[3] = count as u8;
            data.extend((0..count).flat_map(|_| known[random() as usize % known.len()].to_be_bytes()));
        }
        3 => {
            // x, y, width, height: the bytes before it are the first of x.
            data.extend([0, 0]);
            data.extend([random() as u8 & 1, random() as u8, random() as u8 & 1, random() as u8]);
        }
        4 => data.extend((random() as u32).to_be_bytes()),
        5 => data.extend([random() as u8 & 1, random() as u8]),
        6 => data.extend([0, 0, 0, random() as u8 & 15]),
        251 => data.extend([0, 0, random() as u8 & 1, 0]),
        _ if random() & 7 == 0 => {
            (data[1], data[3]) = (1, random() as u8 & 1);
        }
        _ => {
            data[1] = 0;
            data.extend((0..8).map(|_| random() as u8));
        }
    }
    data
}

/// Conversations that go wrong at some point, without sockets: what is kept for a client is bounded.
#[test]
fn a_session_keeps_a_bounded_amount_whatever_comes() {
    let mut random = random();
    let input = FakeInput::default();
    let host = Host {
        input: &input,
        resizes: true,
        has_sound: true,
        needs_password: false,
        needs_tls: false,
        password: None,
    };
    let pictures = [picture(300, 200), picture(64, 300), picture(1, 1), Picture::new(0, 7)];
    let mut seen = Seen::new((300, 200));
    let shape =
        Arc::new(PointerShape { size: (64, 64), hot: (63, 0), pixels: vec![[9, 8, 7, 200]; 64 * 64] });
    let (mut most, mut updates, mut sessions) = (0, 0, 0);
    while updates < 5_000 {
        let mut session = Session::new();
        sessions += 1;
        session.allow(1000);
        session.feed(b"RFB 003.008\n\x01\x01", &host).unwrap();
        assert_eq!(session.waits_for_size(), Some(true));
        let mut shown = &pictures[0];
        session.begin(size_of(shown), "guest", false);
        for _ in 0..500 {
            session.allow(30);
            let mut data = message(&mut random);
            if random() & 0xff == 0 {
                let at = random() as usize % data.len();
                data[at] = random() as u8;
            }
            if session.feed(&data, &host).is_err() {
                break;
            }
            if random() & 15 == 0 {
                shown = &pictures[random() as usize % pictures.len()];
                session.damage_all();
            }
            let mut tiles = Tiles::none(300, 200);
            tiles.set(random() as u32 % 30, random() as u32 % 30);
            session.damage(&tiles);
            let at = (random() as i32 % 400, random() as i32 % 400);
            let pointer = (random() & 3 != 0).then(|| Pointer { shape: shape.clone(), at });
            let frame = Pointed(shown.clone(), pointer);
            let (absolute, lights) = (random() & 31 == 0, random() as u8 & 7);
            let news = News { frame: &frame, absolute, lights, name: ["guest", "other"][at.0 as usize & 1] };
            updates += usize::from(session.begin_update(news));
            if session.takes_sound() {
                session.hear(&[7; 20_000]);
            }
            session.encode(&frame, &mut seen);
            most = most.max(session.output().len());
            // It reads all, or some, or nothing.
            let len = session.output().len();
            session.sent(match random() % 4 {
                0 => 0,
                1 => len / 2,
                _ => len,
            });
        }
        session.release(&input);
        input.events.lock().unwrap().clear();
    }
    assert!(most < (64 << 10) + (300 << 10), "{most} bytes of output");
    assert!(sessions < updates, "{sessions} conversations of {updates} updates");
}

#[test]
fn streams_of_garbage_do_no_harm() {
    let setup = Setup::new();
    let mut random = random();
    for round in 0..300 {
        let mut stream = UnixStream::connect(setup.path()).unwrap();
        // Beyond the handshake in two thirds of the rounds.
        let mut data = if round % 3 > 0 { b"RFB 003.008\n\x01\x01".to_vec() } else { Vec::new() };
        for _ in 0..random() % 200 {
            if random() & 3 > 0 {
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
    until(|| setup.vnc.info().clients.len() == 100);
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
    until(|| setup.vnc.info().clients.is_empty());
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
    until(|| setup.vnc.info().clients.is_empty());
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

#[test]
fn fences_are_bounded() {
    let setup = Setup::new();
    let with = |fence: Vec<u8>, count| {
        let mut client = setup.client();
        client.set_encodings(&[-312]);
        client.send(&fence.repeat(count));
        client
    };
    let fence = |len: u8| [&[248, 0, 0, 0, 0x80, 0, 0, 1, len][..], &vec![b'x'; usize::from(len)]].concat();
    assert!(with(fence(65), 1).closed());
    // A flood either ends the connection or is answered, and nobody else waits.
    let _flood = with(fence(64), 200);
    alive(&setup);
}
