//! Voices that play together, and formats.

use std::sync::{Arc, Mutex};

use devices_core::audio::{AudioBackend, Format, Sample, Tone, UNITY};

use super::{Mixer, Sink};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<(Vec<u8>, usize)>>);

impl Sink for Kept {
    fn play(&mut self, frames: &[u8]) {
        self.0.lock().unwrap().0.extend(frames);
    }
    fn rest(&mut self) {
        self.0.lock().unwrap().1 += 1;
    }
}

impl Kept {
    fn samples(&self) -> Vec<i16> {
        let bytes = std::mem::take(&mut self.0.lock().unwrap().0);
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes(pair.try_into().unwrap())).collect()
    }
}

fn format(rate: u32, channels: u8, sample: Sample) -> Format {
    Format::new(rate, channels, sample).unwrap()
}

fn mixer(rate: u32) -> (Mixer, Kept) {
    let kept = Kept::default();
    (Mixer::new(format(rate, 2, Sample::S16), Box::new(kept.clone())), kept)
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

#[test]
fn a_voice_of_the_same_format_goes_through_unchanged() {
    let (mixer, kept) = mixer(44_100);
    let card = mixer.card();
    let samples: Vec<i16> = (0..2000).map(|n: i16| n.wrapping_mul(7919)).collect();
    for part in samples.chunks(46) {
        card.play(0, Tone::plain(format(44_100, 2, Sample::S16)), &bytes(part));
    }
    assert_eq!(kept.samples(), samples);
    card.stop(0);
    assert_eq!(kept.0.lock().unwrap().1, 1, "it rests");
}

#[test]
fn samples_channels_and_loudness_are_converted() {
    let (mixer, kept) = mixer(8000);
    let card = mixer.card();
    let play = |channels, sample, gain, frames: &[u8]| {
        card.play(0, Tone { format: format(8000, channels, sample), gain }, frames);
        kept.samples()
    };
    assert_eq!(play(1, Sample::U8, [UNITY; 2], &[0, 0x80, 0xff]), [-32768, -32768, 0, 0, 0x7f00, 0x7f00]);
    assert_eq!(play(1, Sample::S8, [UNITY; 2], &[0x80, 0, 0x7f]), [-32768, -32768, 0, 0, 0x7f00, 0x7f00]);
    assert_eq!(play(2, Sample::S32, [UNITY; 2], &[1, 2, 3, 4, 5, 6, 7, 0x80]), [0x403, -0x7ff9]);
    assert_eq!(play(4, Sample::S16, [UNITY; 2], &bytes(&[1, 2, 3, 4, 5, 6, 7, 8])), [1, 2, 5, 6]);
    assert_eq!(play(2, Sample::S16, [UNITY / 2, 0], &bytes(&[1000, 1000])), [500, 0]);
    assert_eq!(play(2, Sample::S16, [u32::MAX; 2], &bytes(&[1000, 1000])), [1000, 1000], "no louder");
    assert_eq!(play(2, Sample::S16, [UNITY; 2], &[1, 0, 2]), [], "no whole frame");
}

#[test]
fn one_channel_is_the_mean_of_both() {
    let kept = Kept::default();
    let mixer = Mixer::new(format(8000, 1, Sample::U8), Box::new(kept.clone()));
    mixer.card().play(0, Tone::plain(format(8000, 2, Sample::S16)), &bytes(&[0x4000, 0, -0x8000, -0x8000]));
    assert_eq!(kept.0.lock().unwrap().0, [0xa0, 0]);
}

/// Frames of a tone at one rate become as many as its time has at the other, and the same tone.
#[test]
fn rates_are_converted_exactly_in_time() {
    for (from, to) in [(8000, 44_100), (48_000, 44_100), (96_000, 44_100), (44_100, 48_000), (1000, 192_000)]
    {
        let (mixer, kept) = mixer(to);
        let card = mixer.card();
        let at = |n: u32, rate: u32| {
            (f64::from(n) * 50.0 * std::f64::consts::TAU / f64::from(rate)).sin() * 20_000.0
        };
        let samples: Vec<i16> = (0..from).map(|n| at(n, from) as i16).flat_map(|s| [s, s]).collect();
        for part in samples.chunks(2 * 37) {
            card.play(0, Tone::plain(format(from, 2, Sample::S16)), &bytes(part));
        }
        let heard = kept.samples();
        let (count, most) = (heard.len() as u32 / 2, to.div_ceil(from) + 1);
        assert!(to - count <= most, "{from} to {to}: {count} frames");
        let worst =
            (0..count).map(|n| (f64::from(heard[2 * n as usize]) - at(n, to)).abs()).fold(0.0, f64::max);
        assert!(worst < 300.0, "{from} to {to}: {worst}");
    }
}

#[test]
fn voices_are_mixed_and_what_is_too_loud_is_cut_off() {
    let (mixer, kept) = mixer(8000);
    let (one, other) = (mixer.card(), mixer.card());
    let tone = Tone::plain(format(8000, 2, Sample::S16));
    one.play(0, tone, &bytes(&[1, 2]));
    assert_eq!(kept.samples(), [1, 2], "alone");
    other.play(0, tone, &bytes(&[30_000, -30_000, 5, 6]));
    assert_eq!(kept.samples(), [], "the first has not played that yet");
    one.play(0, tone, &bytes(&[30_000, -30_000]));
    assert_eq!(kept.samples(), [i16::MAX, i16::MIN]);
    one.play(0, tone, &bytes(&[1, 1, 2, 2]));
    assert_eq!(kept.samples(), [6, 7]);
    one.stop(0);
    assert_eq!(kept.samples(), [], "the other was not so far");
    other.play(0, tone, &bytes(&[1, 1, 1, 1]));
    assert_eq!(kept.samples(), [3, 3, 1, 1]);
    drop(one);
    drop(other);
    assert_eq!(kept.0.lock().unwrap().1, 1);
}

#[test]
fn a_voice_that_hangs_is_left_behind() {
    let (mixer, kept) = mixer(8000);
    let card = mixer.card();
    let tone = Tone::plain(format(8000, 2, Sample::S16));
    card.play(0, tone, &bytes(&[1, 1]));
    kept.samples();
    for _ in 0..100 {
        card.play(1, tone, &bytes(&[2; 2000]));
        assert!(mixer.inner().line.len() <= 4000, "what is kept is bounded");
    }
    assert_eq!(kept.samples().len(), 2 * (100_000 - 4000));
    card.play(0, tone, &bytes(&[5, 5]));
    card.stop(1);
    card.stop(0);
    let rest = kept.samples();
    assert_eq!((rest[0], rest[2], rest.len()), (7, 2, 2 * 4000), "it goes on where the line begins");
}
