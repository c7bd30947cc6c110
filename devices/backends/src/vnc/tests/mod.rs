//! Scenarios with a real client over real sockets.

mod client;
mod handshake;
mod hostile;
mod inflate;
mod input;
mod noise;
mod screen;
mod tls;
mod websocket;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use devices_core::picture::{DirtyRows, Frame, Picture};
use tempfile::TempDir;

use super::{Input, Keystroke, Listener, PointerEvent, Screen, Vnc, VncSpec};
use crate::tls::Credentials;
use client::Client;

/// A screen that tests draw on.
pub struct FakeScreen {
    picture: Mutex<Picture>,
    changed: AtomicBool,
    asked: AtomicUsize,
}

impl FakeScreen {
    fn show(&self, picture: Picture) {
        *self.picture.lock().unwrap() = picture;
        self.changed.store(true, Ordering::SeqCst);
    }

    fn edit(&self, change: impl FnOnce(&mut Picture)) {
        change(&mut self.picture.lock().unwrap());
        self.changed.store(true, Ordering::SeqCst);
    }

    fn now(&self) -> Picture {
        self.picture.lock().unwrap().clone()
    }
}

impl Screen for FakeScreen {
    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let changed = self.changed.swap(false, Ordering::SeqCst);
        let now = self.now();
        let lines = if changed { (0..now.height()).into() } else { DirtyRows::default() };
        (Box::new(now), lines)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Key(Keystroke, bool),
    Pointer(PointerEvent),
}

#[derive(Default)]
pub struct FakeInput {
    events: Mutex<Vec<Event>>,
    absolute: AtomicBool,
}

impl Input for FakeInput {
    fn key(&self, key: Keystroke, down: bool) {
        self.events.lock().unwrap().push(Event::Key(key, down));
    }
    fn absolute(&self) -> bool {
        self.absolute.load(Ordering::SeqCst)
    }
    fn pointer(&self, event: PointerEvent) {
        self.events.lock().unwrap().push(Event::Pointer(event));
    }
}

/// A server on a Unix socket.
pub struct Setup {
    dir: TempDir,
    screen: Arc<FakeScreen>,
    input: Arc<FakeInput>,
    vnc: Vnc,
}

impl Setup {
    fn new() -> Setup {
        Setup::with("", picture(200, 100))
    }

    fn with(options: &str, picture: Picture) -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let spec = format!("unix:{}{options}", dir.path().join("vnc").display());
        Setup::at(&spec, picture, dir)
    }

    fn at(spec: &str, picture: Picture, dir: TempDir) -> Setup {
        Setup::encrypted(spec, picture, dir, None)
    }

    fn encrypted(spec: &str, picture: Picture, dir: TempDir, tls: Option<Credentials>) -> Setup {
        let VncSpec::Server(spec) = spec.parse().unwrap() else { panic!("{spec}") };
        let screen = Arc::new(FakeScreen {
            picture: Mutex::new(picture),
            changed: AtomicBool::new(true),
            asked: AtomicUsize::new(0),
        });
        let input = Arc::new(FakeInput::default());
        let listener = Listener::bind(spec).unwrap();
        let listener = match tls {
            Some(tls) => listener.encrypted(tls),
            None => listener,
        };
        let vnc = Vnc::start(listener, "guest", screen.clone(), input.clone()).unwrap();
        Setup { dir, screen, input, vnc }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("vnc")
    }

    /// A client that has not said anything.
    fn dial(&self) -> Client {
        Client::dial(&self.path())
    }

    /// A client that shares the screen.
    fn client(&self) -> Client {
        let mut client = self.dial();
        client.shake(b"RFB 003.008\n", None).unwrap();
        client.init(true);
        client
    }

    /// The next `count` events.
    fn events(&self, count: usize) -> Vec<Event> {
        until(|| self.input.events.lock().unwrap().len() >= count);
        std::mem::take(&mut self.input.events.lock().unwrap())
    }
}

/// Waits for something that comes soon.
fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Flat parts, text-like parts, gradients and noise, so that each way to encode a tile is used.
fn picture(width: u32, height: u32) -> Picture {
    let mut picture = Picture::new(width, height);
    let mut noise = 1u32;
    for y in 0..height {
        let row = picture.row_mut(y);
        for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let x = x as u32;
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *pixel = match (x / 64 + y / 64 * 3) % 6 {
                0 => [0, 0, 0xaa],
                1 => [if noise >> 30 == 0 { 0xff } else { 0 }; 3],
                2 => [(x * 4) as u8, (y * 4) as u8, 7],
                3 => (noise >> 8).to_le_bytes().first_chunk().copied().unwrap(),
                4 => [(x / 8 % 4 * 80) as u8, (y / 4 % 3 * 100) as u8, 0],
                _ => [(y / 5 * 20) as u8, (x / 9 * 30) as u8, (y / 3 * 7) as u8],
            };
        }
    }
    picture
}
