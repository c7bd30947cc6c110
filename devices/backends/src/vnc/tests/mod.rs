//! Scenarios with a real client over real sockets.

mod client;
mod desk;
mod handshake;
mod hostile;
mod inflate;
mod input;
mod noise;
mod screen;
mod tls;
mod websocket;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use devices_core::audio::{Format as Frames, Sample};
use devices_core::picture::{DirtyRows, Frame, Picture, Pointer};
use tempfile::TempDir;

use super::{Input, Keystroke, Listener, PointerEvent, Screen, Vnc, VncSpec};
use crate::audio::{Mixer, Nowhere};
use crate::tls::Credentials;
use client::Client;

/// A screen that tests draw on.
pub struct FakeScreen {
    picture: Mutex<Picture>,
    pointer: Mutex<Option<Pointer>>,
    changed: AtomicBool,
    asked: AtomicUsize,
    resizes: AtomicBool,
    resized: Mutex<Vec<(u16, u16)>>,
}

/// The picture, with a pointer that lies over it.
struct Pointed(Picture, Option<Pointer>);

impl Frame for Pointed {
    fn size(&self) -> (u32, u32) {
        self.0.size()
    }
    fn line(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        self.0.line(x, y, out);
        self.1.iter().for_each(|pointer| pointer.draw(x, y, out));
    }
    fn pointer(&self) -> Option<Pointer> {
        self.1.clone()
    }
    fn line_below(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        self.0.line(x, y, out);
    }
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

    /// The pointer is another, or elsewhere.
    fn point(&self, pointer: Option<Pointer>) {
        *self.pointer.lock().unwrap() = pointer;
    }

    /// The picture with its pointer.
    fn pointed(&self) -> Picture {
        Picture::of(&Pointed(self.now(), self.pointer.lock().unwrap().clone()))
    }
}

impl Screen for FakeScreen {
    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let changed = self.changed.swap(false, Ordering::SeqCst);
        let now = self.now();
        let lines = if changed { (0..now.height()).into() } else { DirtyRows::default() };
        (Box::new(Pointed(now, self.pointer.lock().unwrap().clone())), lines)
    }
    fn resizes(&self) -> bool {
        self.resizes.load(Ordering::SeqCst)
    }
    fn resize(&self, size: (u16, u16)) {
        self.resized.lock().unwrap().push(size);
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
    lights: AtomicU8,
}

impl Input for FakeInput {
    fn key(&self, key: Keystroke, down: bool) {
        self.events.lock().unwrap().push(Event::Key(key, down));
    }
    fn absolute(&self) -> bool {
        self.absolute.load(Ordering::SeqCst)
    }
    fn lights(&self) -> u8 {
        self.lights.load(Ordering::SeqCst)
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
    sound: Mixer,
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
            pointer: Mutex::default(),
            changed: AtomicBool::new(true),
            asked: AtomicUsize::new(0),
            resizes: AtomicBool::new(false),
            resized: Mutex::default(),
        });
        let input = Arc::new(FakeInput::default());
        let listener = Listener::bind(spec).unwrap();
        let listener = match tls {
            Some(tls) => listener.encrypted(tls),
            None => listener,
        };
        let sound = Mixer::new(Frames::new(44_100, 2, Sample::S16).unwrap(), Box::new(Nowhere));
        let heard = Some(sound.clone());
        let vnc = Vnc::start(listener, "guest", screen.clone(), input.clone(), heard).unwrap();
        Setup { dir, screen, input, sound, vnc }
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
