//! Back ends in pairs, and peers that do not behave.

mod dgram;
mod hub;
mod options;
mod stream;
mod switch;
mod tap;
mod vhost_user;

use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use devices_core::Waker;

use super::{Around, NetEvent, NetSpec, Netdev, Prepared, parse, prepare};

/// How long something may take that must happen.
const SOON: Duration = Duration::from_secs(20);

/// Options from `kind,key=value,...`.
fn spec(text: &str) -> Result<NetSpec, String> {
    let (kind, rest) = text.split_once(',').unwrap_or((text, ""));
    let options: Vec<(String, String)> = rest
        .split(',')
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    parse(kind, &options)
}

fn opened(text: &str) -> Prepared {
    prepare(&spec(text).unwrap(), &nothing_around()).unwrap()
}

fn nothing_around() -> Around<'static> {
    around(&|_| Err("Bad file descriptor".into()))
}

/// With hubs that no other has.
fn around<'a>(fd: &'a dyn Fn(&str) -> Result<OwnedFd, String>) -> Around<'a> {
    Around { fd, hubs: Box::leak(Box::default()) }
}

/// A card: it takes what is there when it is woken.
struct Card {
    backend: Arc<dyn Netdev>,
    woken: mpsc::Receiver<()>,
    events: mpsc::Receiver<NetEvent>,
}

impl Card {
    fn new(text: &str) -> Card {
        Card::of(opened(text))
    }

    fn of(prepared: Prepared) -> Card {
        let (wake, woken) = mpsc::channel();
        let (tell, events) = mpsc::channel();
        let waker = Waker::calling(move |_| {
            let _ = wake.send(());
        });
        let observer = Arc::new(move |event| {
            let _ = tell.send(event);
        });
        Card { backend: prepared.start(waker, 7, observer).unwrap(), woken, events }
    }

    /// Waits for the next frame.
    fn next(&self) -> Vec<u8> {
        let end = Instant::now() + SOON;
        let mut frame = Vec::new();
        while !self.backend.receive(&mut frame) {
            let left = end.saturating_duration_since(Instant::now());
            self.woken.recv_timeout(left).expect("a frame comes, and the card is told");
        }
        frame
    }

    /// Sends a frame, waiting as a card does while there is no room.
    fn send(&self, frame: &[u8]) {
        let end = Instant::now() + SOON;
        while !self.backend.send(frame) {
            let left = end.saturating_duration_since(Instant::now());
            self.woken.recv_timeout(left).expect("there is room at last, and the card is told");
        }
    }

    fn event(&self) -> NetEvent {
        self.events.recv_timeout(SOON).expect("something happens at the other end")
    }
}

/// A frame that no other is like.
fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> =
        (0..len).map(|at| (at as u32).wrapping_mul(31).wrapping_add(number) as u8).collect();
    let len = len.min(4);
    frame[..len].copy_from_slice(&number.to_le_bytes()[..len]);
    frame
}

/// Many frames of all sizes, in order, from one card to the other, faster than they are taken.
fn pour(from: &Card, to: &mut Card) {
    let lengths = [60, 1514, 1, 9000, 64, 65_553, 590];
    let all = move || (0..700u32).map(move |n| frame(n, lengths[n as usize % lengths.len()]));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for expected in all() {
                assert!(to.next() == expected, "frames come whole and in order");
            }
        });
        for frame in all() {
            from.send(&frame);
        }
    });
}
