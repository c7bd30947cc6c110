//! Where a stream is, by guest time.

use devices_core::audio::Format;
use serde::{Deserialize, Serialize};

/// Most bytes that one call moves: a third of a second of what drivers play usually. Of what is more, the time is
/// forgotten: the stream is slower than it should be, and nothing of it is lost.
pub(super) const MOST: usize = 64 << 10;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// A stream that moves at a steady rate, and what of it has been moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// When it started, in guest time.
    since: u64,
    /// Frames that were moved since.
    done: u64,
}

impl Pace {
    /// Starts now.
    pub const fn start(now: u64) -> Pace {
        Pace { since: now, done: 0 }
    }

    /// Frames that are due and were not moved.
    pub fn due(self, now: u64, rate: u32) -> u64 {
        let passed = u128::from(now.saturating_sub(self.since)) * u128::from(rate) / u128::from(SECOND);
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_sub(self.done)
    }

    /// So many frames are done with.
    pub fn advance(&mut self, frames: u64) {
        self.done = self.done.saturating_add(frames);
    }

    /// Moves on to now: what is due, as bytes of silence.
    pub fn frames(&mut self, now: u64, format: Format) -> Vec<u8> {
        let due = self.due(now, format.rate());
        self.advance(due);
        let most = MOST / format.frame();
        let silence = format.sample().silence();
        vec![silence; usize::try_from(due).unwrap_or(most).min(most) * format.frame()]
    }

    /// When a card is to be woken that has so many frames left to its next event: then, or in 10 ms, so that what the
    /// driver writes behind it is not missed, and never within 1 ms.
    pub fn alarm(self, left: u64, rate: u32) -> u64 {
        let rate_of = u64::from(rate);
        self.when(left.min(rate_of / 100).max(rate_of / 1000), rate)
    }

    /// When so many frames more are due.
    pub fn when(self, frames: u64, rate: u32) -> u64 {
        let passed = (u128::from(self.done) + u128::from(frames)) * u128::from(SECOND);
        let passed = passed.div_ceil(u128::from(rate.max(1)));
        self.since.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_due_when_their_time_has_come_and_none_is_lost() {
        let mut pace = Pace::start(1000);
        let (mut now, mut moved) = (1000, 0);
        for step in 1..5000 {
            let at = pace.when(step % 7 + 1, 44_100);
            assert_eq!(pace.due(at - 1, 44_100), step % 7);
            now = at;
            let due = pace.due(now, 44_100);
            assert_eq!(due, step % 7 + 1);
            pace.advance(due);
            moved += due;
        }
        assert_eq!(moved, (now - 1000) * 44_100 / SECOND);
    }

    #[test]
    fn what_cannot_be_does_no_harm() {
        let pace = Pace { since: u64::MAX, done: u64::MAX };
        assert_eq!(pace.due(0, 48_000), 0);
        assert_eq!(pace.when(u64::MAX, 0), u64::MAX);
        assert_eq!(Pace::start(0).due(u64::MAX, u32::MAX), u64::MAX);
    }
}
