//! Sound, as a device that makes or takes it sees its host.
//!
//! **Time is the guest's.** A device plays and records at its rate by guest time, whoever listens; the host's side takes
//! what comes and gives what is asked for, at once. So nobody at the other end can make a guest wait, or hurry it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Default as Usually, Kind, Property};
use crate::port::Port;

/// The back end of a device that makes sound. Put among a model's own properties.
pub const AUDIODEV: Property = Property {
    name: "audiodev",
    kind: Kind::Text,
    default: Usually::None,
    help: "id of an -audiodev: where its sound goes; the first one if nobody says, and nowhere if there is none",
};

/// How a sample lies in memory. Words are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sample {
    /// A byte; 0x80 is silence.
    U8,
    /// A signed byte.
    S8,
    /// 16 bits, signed.
    S16,
    /// 32 bits, signed. Samples of fewer bits stand in the upper ones.
    S32,
}

impl Sample {
    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self {
            Sample::U8 | Sample::S8 => 1,
            Sample::S16 => 2,
            Sample::S32 => 4,
        }
    }
    /// A byte of silence.
    pub const fn silence(self) -> u8 {
        match self {
            Sample::U8 => 0x80,
            _ => 0,
        }
    }
}

/// Lowest rate of a voice. Slower ones are a guest's mistake, and cost a mixer much.
pub const RATE_MIN: u32 = 1000;
/// Highest rate.
pub const RATE_MAX: u32 = 192_000;
/// Most channels: those of HDA.
pub const CHANNELS_MAX: u8 = 16;

/// What frames of sound are like. Rate and channels are within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    rate: u32,
    channels: u8,
    sample: Sample,
}

impl Format {
    /// None: there are no such frames.
    pub const fn new(rate: u32, channels: u8, sample: Sample) -> Option<Format> {
        if rate < RATE_MIN || rate > RATE_MAX || channels == 0 || channels > CHANNELS_MAX {
            return None;
        }
        Some(Format { rate, channels, sample })
    }
    /// Frames a second.
    pub const fn rate(self) -> u32 {
        self.rate
    }
    /// Samples of a frame.
    pub const fn channels(self) -> usize {
        self.channels as usize
    }
    /// How each lies in memory.
    pub const fn sample(self) -> Sample {
        self.sample
    }
    /// Bytes of a frame.
    pub const fn frame(self) -> usize {
        self.channels() * self.sample.bytes()
    }
}

/// As loud as it is, in [`Tone::gain`].
pub const UNITY: u32 = 1 << 16;

/// How a voice sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// Its frames.
    pub format: Format,
    /// How loud it is, left and right: [`UNITY`] is as it was sampled, which nothing exceeds; 0 is mute.
    pub gain: [u32; 2],
}

impl Tone {
    /// As loud as it is.
    pub const fn plain(format: Format) -> Tone {
        Tone { format, gain: [UNITY; 2] }
    }
}

/// The host's end of a device's sound. Nothing here blocks. Voices are numbers of the device's own, few.
pub trait AudioBackend: Send + Sync {
    /// What a voice plays next: whole frames. The first of them begin it.
    fn play(&self, voice: u32, tone: Tone, frames: &[u8]);
    /// What is heard: fills whole frames, with silence where nothing is.
    fn record(&self, voice: u32, tone: Tone, frames: &mut [u8]);
    /// A voice has ended, or pauses.
    fn stop(&self, voice: u32);
}

/// Nobody listens, and nothing is heard.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullAudio;

impl AudioBackend for NullAudio {
    fn play(&self, _voice: u32, _tone: Tone, _frames: &[u8]) {}
    fn record(&self, _voice: u32, tone: Tone, frames: &mut [u8]) {
        frames.fill(tone.format.sample.silence());
    }
    fn stop(&self, _voice: u32) {}
}

/// A back end whose calls go over a port: `r`, the voice, rate, channels, bytes of a sample and how many bytes are wanted
/// (four bytes each, the lowest first), answered by what is heard. What is played has no answer, and is told to the host
/// alone.
pub struct Ported {
    port: Arc<dyn Port>,
    inner: Arc<dyn AudioBackend>,
}

impl Ported {
    /// `inner` is behind the port; in a replay nobody asks it.
    pub fn new(port: Arc<dyn Port>, inner: Arc<dyn AudioBackend>) -> Ported {
        Ported { port, inner }
    }
}

impl AudioBackend for Ported {
    fn play(&self, voice: u32, tone: Tone, frames: &[u8]) {
        self.inner.play(voice, tone, frames);
    }
    fn record(&self, voice: u32, tone: Tone, frames: &mut [u8]) {
        let Format { rate, channels, sample } = tone.format;
        let words = [voice, rate, channels.into(), sample.bytes() as u32, frames.len() as u32];
        let call = [b"r".as_slice(), words.map(u32::to_le_bytes).as_flattened()].concat();
        let heard = self.port.call(call, &mut || {
            let mut heard = vec![sample.silence(); frames.len()];
            self.inner.record(voice, tone, &mut heard);
            heard
        });
        frames.fill(sample.silence());
        frames.iter_mut().zip(heard).for_each(|(to, from)| *to = from);
    }
    fn stop(&self, voice: u32) {
        self.inner.stop(voice);
    }
}

/// Most bytes that a [`TestAudio`] keeps: a fuzzed device must not grow the test.
const KEPT: usize = 4 << 20;

/// A back end for tests: keeps what is played, and lets a device hear what a test gives.
#[derive(Debug, Default)]
pub struct TestAudio(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    played: Vec<u8>,
    tone: Option<Tone>,
    heard: VecDeque<u8>,
    stops: usize,
}

impl TestAudio {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What was played since last asked.
    pub fn played(&self) -> Vec<u8> {
        std::mem::take(&mut self.kept().played)
    }
    /// How it sounded last.
    pub fn tone(&self) -> Option<Tone> {
        self.kept().tone
    }
    /// What the device is to hear.
    pub fn give(&self, frames: &[u8]) {
        self.kept().heard.extend(frames);
    }
    /// How often a voice ended.
    pub fn stops(&self) -> usize {
        self.kept().stops
    }
}

impl AudioBackend for TestAudio {
    fn play(&self, _voice: u32, tone: Tone, frames: &[u8]) {
        let mut kept = self.kept();
        kept.tone = Some(tone);
        let room = KEPT.saturating_sub(kept.played.len());
        kept.played.extend(frames.iter().take(room));
    }
    fn record(&self, _voice: u32, tone: Tone, frames: &mut [u8]) {
        let mut kept = self.kept();
        frames.iter_mut().for_each(|to| *to = kept.heard.pop_front().unwrap_or(tone.format.sample.silence()));
    }
    fn stop(&self, _voice: u32) {
        self.kept().stops += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_frames_beyond_the_bounds() {
        let frames = |rate, channels| Format::new(rate, channels, Sample::S16).map(Format::frame);
        assert_eq!(frames(44_100, 2), Some(4));
        assert_eq!(frames(RATE_MAX, CHANNELS_MAX), Some(32));
        for (rate, channels) in [(0, 2), (RATE_MIN - 1, 2), (RATE_MAX + 1, 2), (44_100, 0), (44_100, 17)] {
            assert_eq!(frames(rate, channels), None);
        }
    }

    /// A recorder, and then a replay: calls and answers.
    #[derive(Default)]
    struct Tape {
        calls: Mutex<VecDeque<(Vec<u8>, Vec<u8>)>>,
        replays: bool,
    }

    impl Port for Tape {
        fn call(&self, call: Vec<u8>, host: &mut dyn FnMut() -> Vec<u8>) -> Vec<u8> {
            let mut calls = self.calls.lock().unwrap();
            if self.replays {
                let (was, answer) = calls.pop_front().expect("it was recorded");
                assert_eq!(call, was);
                return answer;
            }
            calls.push_back((call, host()));
            calls.back().unwrap().1.clone()
        }
    }

    #[test]
    fn a_replay_hears_what_was_heard() {
        let tone = Tone::plain(Format::new(8000, 1, Sample::U8).unwrap());
        let hear = |audio: &dyn AudioBackend| {
            let mut frames = [1; 6];
            audio.play(0, tone, &[9; 3]);
            audio.record(1, tone, &mut frames);
            frames
        };
        let (tape, host) = (Arc::<Tape>::default(), Arc::<TestAudio>::default());
        host.give(&[5; 4]);
        let recorded = hear(&Ported::new(tape.clone(), host.clone()));
        assert_eq!((recorded, host.played()), ([5, 5, 5, 5, 0x80, 0x80], vec![9; 3]));
        let calls = std::mem::take(&mut *tape.calls.lock().unwrap());
        let replay = Arc::new(Tape { calls: Mutex::new(calls), replays: true });
        assert_eq!(hear(&Ported::new(replay, Arc::new(NullAudio))), recorded);
    }
}
