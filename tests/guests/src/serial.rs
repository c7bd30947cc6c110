//! The guest's serial port: all it said so far, and waiting for it to say something.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Heard {
    text: String,
    ended: bool,
}

/// What a thread reads from the guest's serial port.
#[derive(Clone, Default)]
pub struct Serial(Arc<(Mutex<Heard>, Condvar)>);

/// How a wait ended.
pub enum Waited {
    /// The text ends at this byte.
    Found(usize),
    /// The port was closed first.
    Ended,
    /// The time was up first.
    TimeUp,
}

impl Serial {
    /// Starts to read `from`; every piece is also given to `also`.
    pub fn listen(
        mut from: impl Read + Send + 'static,
        mut also: impl FnMut(&[u8]) + Send + 'static,
    ) -> Serial {
        let serial = Serial::default();
        let ours = serial.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                let len = from.read(&mut chunk).unwrap_or(0);
                let (_, changed) = &*ours.0;
                let mut heard = ours.lock();
                if len == 0 {
                    heard.ended = true;
                    changed.notify_all();
                    return;
                }
                also(&chunk[..len]);
                // The tests look for ASCII only; a character cut in two may be spoiled.
                heard.text.push_str(&String::from_utf8_lossy(&chunk[..len]));
                changed.notify_all();
            }
        });
        serial
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one of `texts` stands after byte `from`.
    pub fn wait(&self, from: usize, texts: &[&str], patience: Duration) -> Waited {
        let until = Instant::now() + patience;
        let mut heard = self.lock();
        loop {
            let rest = heard.text.get(from..).unwrap_or("");
            let found = texts.iter().filter_map(|text| rest.find(text).map(|at| at + text.len())).min();
            if let Some(at) = found {
                return Waited::Found(from + at);
            }
            if heard.ended {
                return Waited::Ended;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::TimeUp;
            }
            heard = self.0.1.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All it said.
    pub fn text(&self) -> String {
        self.lock().text.clone()
    }

    /// The last lines.
    pub fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}
