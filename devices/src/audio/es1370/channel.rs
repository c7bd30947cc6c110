//! A channel: a ring of memory, gone through by guest time, and a count of samples that interrupts.

use devices_core::audio::{Format, RATE_MAX, RATE_MIN, Sample};

use super::super::Pace;
use super::spec::{self, ChannelBits, DAC1};

/// A channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Channel {
    /// Address of the ring.
    pub frame: u32,
    /// Longwords of it, less one.
    pub size: u16,
    /// The longword that it is at.
    pub position: u16,
    /// Bytes of that which have gone over.
    pub leftover: u8,
    /// Samples (frames) of a period, less one.
    pub count: u16,
    /// Samples that are left of this one, less one.
    pub left: u16,
    /// A period has ended which interrupts.
    pub pending: bool,
    /// Its count has ended, and it does not loop.
    pub stopped: bool,
    pub pace: Pace,
    /// Its frames, while it moves.
    pub moving: Option<Format>,
}

/// Frames of a channel by the registers.
pub(super) fn format(number: usize, control: u32, serial: u32) -> Option<Format> {
    let rate = match number {
        DAC1 => spec::RATES[(control >> spec::WTSRSEL & 3) as usize],
        _ => spec::CLOCK / ((control >> spec::PCLKDIV & spec::PCLKDIV_MASK) + 2),
    };
    let mode = serial >> spec::BITS[number].mode;
    let sample = if mode & spec::WIDE != 0 { Sample::S16 } else { Sample::U8 };
    // Rates beyond those that anybody hears are the nearest.
    Format::new(rate.clamp(RATE_MIN, RATE_MAX), if mode & spec::STEREO != 0 { 2 } else { 1 }, sample)
}

impl Channel {
    /// Its frames, if it is to move.
    pub fn wanted(&self, number: usize, control: u32, serial: u32) -> Option<Format> {
        let ChannelBits { enable, pause, .. } = spec::BITS[number];
        let runs = control & enable != 0 && serial & pause == 0 && !self.stopped;
        format(number, control, serial).filter(|_| runs)
    }

    /// It begins to move, or stops.
    pub fn turn(&mut self, wanted: Option<Format>, now: u64) {
        self.moving = wanted;
        self.pace = Pace::start(now);
        if let Some(format) = wanted {
            // Frames do not lie across longwords.
            self.leftover -= self.leftover % format.frame() as u8;
        }
    }

    /// Goes on through the ring, moving each piece of `bytes` by `carry`. How much went over, which is less where its
    /// count ends and it stops.
    pub fn carry(
        &mut self,
        bits: &ChannelBits,
        serial: u32,
        bytes: &mut [u8],
        carry: impl Fn(u64, &mut [u8]),
    ) -> usize {
        let Some(format) = self.moving else { return 0 };
        let (frame, mut at) = (format.frame(), 0);
        while at < bytes.len() && !self.stopped {
            let offset = usize::from(self.position) * 4 + usize::from(self.leftover);
            // A position beyond the ring goes on at its beginning.
            let ring = (usize::from(self.size) + 1) * 4;
            let offset = if offset >= ring { 0 } else { offset };
            let period = (usize::from(self.left) + 1) * frame;
            let part = (bytes.len() - at).min(ring - offset).min(period);
            carry(u64::from(self.frame.wrapping_add(offset as u32)), &mut bytes[at..at + part]);
            at += part;
            let offset = (offset + part) % ring;
            (self.position, self.leftover) = ((offset / 4) as u16, (offset % 4) as u8);
            if part < period {
                self.left -= (part / frame) as u16;
                continue;
            }
            self.left = self.count;
            self.pending |= serial & bits.interrupt != 0;
            self.stopped = serial & bits.stops != 0;
        }
        at
    }

    /// When it is to be seen to though nobody asks.
    pub fn alarm(&self) -> Option<u64> {
        Some(self.pace.alarm(u64::from(self.left) + 1, self.moving?.rate()))
    }
}
