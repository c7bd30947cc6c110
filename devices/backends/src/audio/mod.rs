//! Where a guest's sound goes: voices of all its cards, mixed to one stream in one format.
//!
//! A [`Mixer`] has no clock. Devices play by guest time, each voice at its own rate, and what all of them have played
//! goes on to the [`Sink`] at once. So a file has what the guest played, without gaps of the host's making, however
//! long the guest was paused meanwhile; what nobody plays is not in it. A voice that says neither that it goes on nor
//! that it ended holds the others back for half a second of theirs, and is left behind then.
//!
//! Left out: recording from the host. Whoever records hears silence.

pub mod convert;
mod ear;
#[cfg(test)]
mod tests;
pub mod wav;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use devices_core::audio::{AudioBackend, Format, Tone};

use convert::{Frame, Resampler};
use ear::Heard;
pub use ear::{Ear, Nudge};

/// Most that listen at once.
const EARS: usize = 256;

/// What gets the mixed stream. It does not block.
pub trait Sink: Send {
    /// The next frames, in the mixer's format.
    fn play(&mut self, frames: &[u8]);
    /// No voice plays now: what was kept back goes on.
    fn rest(&mut self);
    /// Whether nothing comes of what it gets.
    fn is_deaf(&self) -> bool {
        false
    }
}

/// Nowhere.
pub struct Nowhere;

impl Sink for Nowhere {
    fn play(&mut self, _frames: &[u8]) {}
    fn rest(&mut self) {}
    fn is_deaf(&self) -> bool {
        true
    }
}

/// Mixes voices.
#[derive(Clone)]
pub struct Mixer(Arc<Mutex<Inner>>);

struct Inner {
    format: Format,
    sink: Box<dyn Sink>,
    /// Those who hear it, too.
    ears: Vec<Weak<Heard>>,
    cards: u64,
    /// Those that play, by their card and number.
    voices: BTreeMap<(u64, u32), Voice>,
    /// What some voices have played and others have not, and the number of its first frame.
    line: VecDeque<Frame>,
    first: u64,
}

struct Voice {
    format: Format,
    resampler: Resampler,
    /// The frame that it plays next.
    at: u64,
}

impl Mixer {
    /// One without voices, whose stream is of that format.
    pub fn new(format: Format, sink: Box<dyn Sink>) -> Mixer {
        let (voices, line) = (BTreeMap::new(), VecDeque::new());
        let ears = Vec::new();
        Mixer(Arc::new(Mutex::new(Inner { format, sink, ears, cards: 0, voices, line, first: 0 })))
    }

    /// For one more device, until it is dropped.
    pub fn card(&self) -> Card {
        let mut inner = self.inner();
        inner.cards += 1;
        Card { mixer: self.clone(), number: inner.cards }
    }

    /// Lets somebody hear it from now on, in that format; none: too many do. `nudge` is called when there is more.
    pub fn listen(&self, format: Format, nudge: Nudge) -> Option<Ear> {
        let mut inner = self.inner();
        inner.ears.retain(|ear| ear.strong_count() > 0);
        if inner.ears.len() >= EARS {
            return None;
        }
        let heard = Arc::new(Heard::new(inner.format, format, nudge));
        inner.ears.push(Arc::downgrade(&heard));
        Some(Ear(heard))
    }

    /// From now on the stream goes to that one. Gives the one that had it.
    pub fn replace(&self, sink: Box<dyn Sink>) -> Box<dyn Sink> {
        std::mem::replace(&mut self.inner().sink, sink)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn end(&self) -> u64 {
        self.first + self.line.len() as u64
    }

    /// Those who hear it now.
    fn ears(&self) -> impl Iterator<Item = Arc<Heard>> {
        self.ears.iter().filter_map(Weak::upgrade)
    }

    fn play(&mut self, key: (u64, u32), tone: Tone, bytes: &[u8]) {
        if self.sink.is_deaf() && self.ears().next().is_none() {
            // Nobody would hear it.
            self.voices.clear();
            self.line.clear();
            return;
        }
        let (first, rate) = (self.first, self.format.rate());
        let made =
            || Voice { format: tone.format, resampler: Resampler::new(tone.format.rate(), rate), at: first };
        let voice = self.voices.entry(key).or_insert_with(made);
        if voice.format != tone.format {
            *voice = Voice { at: voice.at, ..made() };
        }
        let (line, at, resampler) = (&mut self.line, &mut voice.at, &mut voice.resampler);
        convert::decode(tone, bytes, |frame| {
            resampler.push(frame, |frame| {
                let place = (*at - first) as usize;
                match line.get_mut(place) {
                    Some(mixed) => *mixed = convert::mix(*mixed, frame),
                    None => line.push_back(frame),
                }
                *at += 1;
            });
        });
        self.settle();
    }

    /// What every voice has played goes on.
    fn settle(&mut self) {
        let end = self.end();
        let all = self.voices.values().map(|voice| voice.at).min();
        let window = u64::from(self.format.rate() / 2);
        let done = all.unwrap_or(end).max(end.saturating_sub(window));
        let count = (done - self.first) as usize;
        let frames: Vec<Frame> = self.line.drain(..count).collect();
        let mut bytes = Vec::with_capacity(count * self.format.frame());
        frames.iter().for_each(|frame| convert::encode(self.format, *frame, &mut bytes));
        self.first = done;
        self.voices.values_mut().for_each(|voice| voice.at = voice.at.max(done));
        if !bytes.is_empty() {
            self.sink.play(&bytes);
            self.ears().for_each(|ear| ear.play(&frames));
        }
        if all.is_none() {
            self.sink.rest();
            self.ears().for_each(|ear| ear.rest());
        }
    }

    fn stop(&mut self, key: (u64, u32)) {
        if self.voices.remove(&key).is_some() {
            self.settle();
        }
    }
}

/// A mixer, as one device has it.
pub struct Card {
    mixer: Mixer,
    number: u64,
}

impl AudioBackend for Card {
    fn play(&self, voice: u32, tone: Tone, frames: &[u8]) {
        self.mixer.inner().play((self.number, voice), tone, frames);
    }
    fn record(&self, _voice: u32, tone: Tone, frames: &mut [u8]) {
        frames.fill(tone.format.sample().silence());
    }
    fn stop(&self, voice: u32) {
        self.mixer.inner().stop((self.number, voice));
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let mut inner = self.mixer.inner();
        inner.voices.retain(|(card, _), _| *card != self.number);
        inner.settle();
    }
}
