//! What a client hears (QEMU's audio extension).

use devices_core::audio::{Format, Sample};

use super::{Hangup, OUTPUT, Session};
use crate::vnc::spec::{audio, server};

/// Most bytes of sound in one message.
const PIECE: usize = 1 << 14;

/// What a client wants to hear, and whether something is to be heard.
#[derive(Debug)]
pub struct Sound {
    enabled: bool,
    format: Format,
    /// The client was told that sound begins, and not that it ends.
    begun: bool,
}

impl Default for Sound {
    /// Nothing; two channels of 16 bits at 44100 Hz, if it does not say what.
    fn default() -> Sound {
        const USUAL: Format = match Format::new(44_100, 2, Sample::S16) {
            Some(format) => format,
            None => unreachable!(),
        };
        Sound { enabled: false, format: USUAL, begun: false }
    }
}

impl Sound {
    /// A message of the client's, of which `rest` follows its operation. Gives how long it is; none: there is more to
    /// come.
    pub(super) fn message(&mut self, operation: u16, rest: &[u8]) -> Result<usize, Hangup> {
        match operation {
            audio::ENABLE => self.enabled = true,
            audio::DISABLE => self.enabled = false,
            audio::SET_FORMAT => {
                let Some(&[sample, channels, a, b, c, d]) = rest.first_chunk() else { return Ok(0) };
                let rate = u32::from_be_bytes([a, b, c, d]);
                // There are numbers for words without a sign, too, which are not made here.
                let sample = match sample {
                    0 => Sample::U8,
                    1 => Sample::S8,
                    3 => Sample::S16,
                    5 => Sample::S32,
                    _ => return Err(Hangup),
                };
                if rate > audio::RATE_MAX || channels > 2 {
                    return Err(Hangup);
                }
                self.format = Format::new(rate, channels, sample).ok_or(Hangup)?;
                return Ok(10);
            }
            _ => return Err(Hangup),
        }
        Ok(4)
    }

    /// In which format it wants to hear; none: it does not.
    pub fn wanted(&self) -> Option<Format> {
        self.enabled.then_some(self.format)
    }
}

impl Session {
    /// Whether a message may be put in that is no part of an update.
    fn is_between(&self) -> bool {
        self.is_up() && self.update.is_empty()
    }

    /// Whether it takes sound now.
    pub fn takes_sound(&self) -> bool {
        self.is_between() && self.sound.enabled && self.output().len() < OUTPUT
    }

    /// Sends frames, of [`Sound::wanted`]'s format.
    pub fn hear(&mut self, frames: &[u8]) {
        for piece in frames.chunks(PIECE) {
            if !self.sound.begun {
                self.sound.begun = true;
                self.say(audio::BEGIN);
            }
            self.say(audio::DATA);
            self.out.extend((piece.len() as u32).to_be_bytes());
            self.out.extend(piece);
        }
    }

    /// Nothing is to be heard any more.
    pub fn end_sound(&mut self) {
        if self.is_between() && std::mem::take(&mut self.sound.begun) {
            self.say(audio::END);
        }
    }

    fn say(&mut self, operation: u16) {
        self.out.extend([server::QEMU, server::QEMU_AUDIO]);
        self.out.extend(operation.to_be_bytes());
    }
}
