//! The user network's name server between a guest that asks and resolvers that say anything, late, or are gone.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use backends::net::user::{Offline, UserOptions, prepare};

use super::outcome;
use super::usernet::datagram;

/// Resolvers that the host names.
const RESOLVERS: usize = 3;
/// Most steps of one run.
const STEPS: usize = 400;
/// Ports of the guest's that ask begin here.
const PORTS: u16 = 1024;
/// The name server, as the guest knows it.
const SERVER: [u8; 4] = [10, 0, 2, 3];
/// More than are kept of all ports.
const MOST_FLOWS: usize = 256;

/// A resolver of the host's, and who asked it.
struct Resolver {
    socket: Option<UdpSocket>,
    asked: Vec<SocketAddr>,
}

impl Resolver {
    fn new() -> Resolver {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("the host has a loopback");
        socket.set_nonblocking(true).expect("a socket can be told not to wait");
        Resolver { socket: Some(socket), asked: Vec::new() }
    }

    fn address(&self) -> SocketAddr {
        self.socket.as_ref().and_then(|socket| socket.local_addr().ok()).expect("it is bound")
    }

    /// Reads what it was asked; how often.
    fn hear(&mut self) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        let mut text = [0; 2048];
        let mut heard = 0;
        while let Ok((_, from)) = socket.recv_from(&mut text) {
            heard += 1;
            self.asked.retain(|who| *who != from);
            self.asked.push(from);
        }
        heard
    }

    /// Says something to one of those that asked, the last ones first.
    fn say(&self, who: usize, text: &[u8]) {
        if let (Some(socket), Some(to)) = (&self.socket, self.asked.iter().rev().nth(who)) {
            // Who asked may be gone.
            let _ = socket.send_to(text, to);
        }
    }
}

/// What came to the guest: answers, and failures that are the network's own.
#[derive(Default)]
struct Came {
    frames: usize,
    failures: usize,
}

impl Came {
    fn take(&mut self, network: &mut Offline) {
        let mut frame = Vec::new();
        while network.receive(&mut frame) {
            assert!((14..=1514).contains(&frame.len()), "a frame of {} bytes", frame.len());
            self.frames += 1;
            // UDP over IPv4 with no options, unfragmented.
            let head = frame.get(12..42).filter(|head| head[..3] == [8, 0, 0x45] && head[11] == 17);
            let Some(head) = head.filter(|head| head[8] & 0x3f == 0 && head[9] == 0) else { continue };
            assert_eq!((&head[14..18], &head[22..24]), (&SERVER[..], &[0, 53][..]), "who answers");
            let port = u16::from_be_bytes([head[24], head[25]]);
            assert!((PORTS..PORTS + 16).contains(&port), "port {port} has asked nothing");
            self.failures += usize::from(frame.get(45).is_some_and(|code| code & 15 == 2));
        }
    }
}

/// Steps: a byte of what happens (bits 1:0), to whom (bits 5:2) and whether it is seen to at once (bit 7); for a question or
/// an answer one byte of length and the text. A length beyond the input takes what is there.
pub fn run(bytes: &[u8]) -> u64 {
    let mut resolvers: [Resolver; RESOLVERS] = std::array::from_fn(|_| Resolver::new());
    let addresses = resolvers.each_ref().map(Resolver::address);
    let options = UserOptions::parse(&[]).expect("no words are right");
    let prepared = prepare(&options).expect("there is nothing to bind").with_resolvers(&addresses);
    let mut network = prepared.offline().expect("the host has an eventfd");
    let (mut rest, mut came, mut heard) = (bytes, Came::default(), 0);
    for _ in 0..STEPS {
        let Some((&step, after)) = rest.split_first() else { break };
        rest = after;
        let who = usize::from(step >> 2 & 15);
        let mut passed = Duration::ZERO;
        match step & 3 {
            2 if who & 8 != 0 => resolvers[who % RESOLVERS].socket = None,
            // From nothing to half an hour.
            2 | 3 => passed = Duration::from_millis(1 << who) * 50,
            what => {
                let Some((&length, after)) = rest.split_first() else { break };
                let (text, after) = after.split_at(usize::from(length).min(after.len()));
                rest = after;
                match what {
                    0 => assert!(network.send(&datagram(PORTS + who as u16, SERVER, 53, text)), "refused"),
                    _ => resolvers[who % RESOLVERS].say(who / RESOLVERS, text),
                }
            }
        }
        if step & 0x80 != 0 || !passed.is_zero() {
            network.turn(passed);
            heard += resolvers.iter_mut().map(Resolver::hear).sum::<usize>();
            came.take(&mut network);
        }
        assert!(network.flows().flows.len() <= MOST_FLOWS, "too many flows");
    }
    // All is forgotten in the end.
    for _ in 0..3 {
        network.turn(Duration::from_secs(60));
        came.take(&mut network);
    }
    assert_eq!(network.flows().flows.len(), 0, "who asks nothing any more is kept");
    outcome((came.frames.min(20), came.failures.min(8), heard.min(20)), "")
}

pub fn seeds() -> Vec<Vec<u8>> {
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04name\x04test\0\0\x01\0\x01";
    let answer = |code: u8| {
        let mut text = question.to_vec();
        text[2..4].copy_from_slice(&[0x81, 0x80 | code]);
        text
    };
    let ask = |port: u8| [&[0x80 | port << 2, question.len() as u8][..], question].concat();
    let say = |who: u8, code: u8| [&[0x81 | who << 2, question.len() as u8][..], &answer(code)].concat();
    let second = vec![0x83 | 5 << 2];
    let gone = |who: u8| vec![0x82 | (8 | who) << 2];
    let stories: [&[Vec<u8>]; 5] = [
        &[ask(0), say(0, 0)],
        &[ask(0), say(0, 2), say(1, 5), say(2, 4)],
        &[ask(1), second.clone(), second.clone(), second.clone(), say(0, 0), say(1, 0)],
        &[gone(1), gone(2), gone(0), ask(2), ask(2), second.clone()],
        &[ask(0), ask(1), ask(0), say(0, 0), say(3, 0), second, ask(3)],
    ];
    stories.iter().map(|story| story.concat()).collect()
}
