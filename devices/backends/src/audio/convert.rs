//! From one format of frames to another: samples, channels, rates, loudness.
//!
//! Within a mixer a frame is two samples of 32 bits. Of more than two channels the first two are heard. Rates are
//! converted by straight lines between samples, exactly in time; at equal rates nothing is changed.

use devices_core::audio::{Format, Sample, Tone, UNITY};

/// Left and right.
pub type Frame = [i32; 2];

/// Gives each frame of `bytes` to `then`; half of a frame at the end is none.
pub fn decode(tone: Tone, bytes: &[u8], mut then: impl FnMut(Frame)) {
    let (format, gain) = (tone.format, tone.gain.map(|gain| i64::from(gain.min(UNITY))));
    let len = format.sample().bytes();
    for frame in bytes.chunks_exact(format.frame()) {
        let mut samples = frame.chunks_exact(len).map(|bytes| widen(format.sample(), bytes));
        let left = samples.next().unwrap_or(0);
        let right = samples.next().unwrap_or(left);
        let loud = |sample: i32, gain: i64| (i64::from(sample) * gain / i64::from(UNITY)) as i32;
        then([loud(left, gain[0]), loud(right, gain[1])]);
    }
}

/// A sample as 32 bits.
fn widen(sample: Sample, bytes: &[u8]) -> i32 {
    match (sample, bytes) {
        (Sample::U8, [byte]) => i32::from(byte.wrapping_sub(0x80) as i8) << 24,
        (Sample::S8, [byte]) => i32::from(*byte as i8) << 24,
        (Sample::S16, [a, b]) => i32::from(i16::from_le_bytes([*a, *b])) << 16,
        (Sample::S32, [a, b, c, d]) => i32::from_le_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}

/// Puts a frame in that format behind `bytes`. One channel is the mean of both; those beyond two are silent.
pub fn encode(format: Format, frame: Frame, bytes: &mut Vec<u8>) {
    let both = if format.channels() == 1 { [mean(frame), 0] } else { frame };
    let samples = both.into_iter().chain(std::iter::repeat(0));
    for sample in samples.take(format.channels()) {
        match format.sample() {
            Sample::U8 => bytes.push(((sample >> 24) as u8).wrapping_add(0x80)),
            Sample::S8 => bytes.push((sample >> 24) as u8),
            Sample::S16 => bytes.extend(((sample >> 16) as i16).to_le_bytes()),
            Sample::S32 => bytes.extend(sample.to_le_bytes()),
        }
    }
}

fn mean([left, right]: Frame) -> i32 {
    ((i64::from(left) + i64::from(right)) / 2) as i32
}

/// Both at once. What is too loud is cut off.
pub fn mix(one: Frame, other: Frame) -> Frame {
    [one[0].saturating_add(other[0]), one[1].saturating_add(other[1])]
}

/// Changes the rate of a stream of frames.
#[derive(Clone, Debug)]
pub struct Resampler {
    from: u64,
    to: u64,
    /// The frame before the next one.
    last: Option<Frame>,
    /// How far behind it the next one of the other stream is, in parts of a frame of which there are `to`.
    at: u64,
}

impl Resampler {
    /// From one rate to another. Neither is zero.
    pub fn new(from: u32, to: u32) -> Resampler {
        Resampler { from: from.max(1).into(), to: to.max(1).into(), last: None, at: 0 }
    }

    /// A frame comes, and frames of the other rate up to it go to `then`.
    pub fn push(&mut self, frame: Frame, mut then: impl FnMut(Frame)) {
        if self.from == self.to {
            return then(frame);
        }
        let Some(last) = self.last.replace(frame) else { return };
        while self.at < self.to {
            let between = |last: i32, next: i32| {
                let way = i64::from(next) - i64::from(last);
                (i64::from(last) + way * self.at as i64 / self.to as i64) as i32
            };
            then([between(last[0], frame[0]), between(last[1], frame[1])]);
            self.at += self.from;
        }
        self.at -= self.to;
    }
}
