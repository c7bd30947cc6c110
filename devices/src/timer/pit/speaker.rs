//! The PC's speaker: what it sounds like while port 0x61 lets it follow counter 2.
//!
//! Its cone is out while both bit 1 of the port and the counter's output are high, and in otherwise; so it plays what
//! programs make of either. A voice begins when the bit is set, and ends when nothing has moved it for a while.

use std::sync::Arc;

use devices_core::Timer;
use devices_core::audio::{AudioBackend, Format, Sample, Tone};
use serde::{Deserialize, Serialize};

use super::spec::HERTZ;
use super::state::Counter;
use crate::audio::Pace;
use crate::timer::ticks;

/// Samples a second, as in QEMU.
pub const RATE: u32 = 32_000;
/// What a sample is away from silence.
const SWING: u8 = 32;
/// Instants at which each sample is looked at: a tone that nobody hears is no other tone.
const PARTS: u64 = 8;
/// Most samples of one call; of what is more, the time is forgotten.
const MOST: u64 = RATE as u64 / 4;
/// Between two looks.
const TICK: u64 = 10_000_000;
/// After which a speaker that nothing moves is silent.
const REST: u64 = 20_000_000;

const TONE: Tone = match Format::new(RATE, 1, Sample::U8) {
    Some(format) => Tone::plain(format),
    None => unreachable!(),
};

/// Where its sound goes.
pub(super) struct Speaker {
    pub backend: Arc<dyn AudioBackend>,
    pub timer: Timer,
}

/// A voice that plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sound {
    pace: Pace,
    /// When a program last touched what moves the speaker.
    touched: u64,
}

impl Sound {
    /// It begins now.
    pub fn start(now: u64) -> Sound {
        Sound { pace: Pace::start(now), touched: now }
    }

    /// A program touches what moves the speaker.
    pub fn touch(&mut self, now: u64) {
        self.touched = now;
    }

    /// Whether it has ended: nothing moves the speaker.
    pub fn has_ended(&self, now: u64, counter: &Counter, follows: bool) -> bool {
        let moved = follows && counter.gate && matches!(counter.mode, 2 | 3);
        !moved && now.saturating_sub(self.touched) >= REST
    }

    /// When it is to be looked at again.
    pub fn alarm(now: u64) -> u64 {
        now.saturating_add(TICK)
    }
}

impl Speaker {
    /// Plays up to now.
    pub fn play(&self, sound: &mut Sound, now: u64, counter: &Counter, follows: bool) {
        let due = sound.pace.due(now, RATE);
        let mut counter = counter.clone();
        let mut sample = |n: u64| {
            let (from, to) = (sound.pace.when(n, RATE), sound.pace.when(n + 1, RATE));
            let out = |part: u64| {
                let tick = ticks(from + to.saturating_sub(from) * part / PARTS, HERTZ);
                counter.settle(tick);
                follows && counter.out(tick)
            };
            let out = (0..PARTS).map(out).filter(|out| *out).count() as u64;
            (u64::from(0x80 - SWING) + u64::from(2 * SWING) * out / PARTS) as u8
        };
        let samples: Vec<u8> = (0..due.min(MOST)).map(&mut sample).collect();
        sound.pace.advance(due);
        if !samples.is_empty() {
            self.backend.play(0, TONE, &samples);
        }
    }
}
