//! Frames of a schedule that is in guest memory, as UHCI and OHCI have it.
//!
//! A frame is a millisecond of guest time. A timer for each is what hardware has and what costs an idle guest most: so they
//! are walked when they are due only while something happens in them. After [`QUIET`] frames with nothing but NAKs those
//! that have passed are walked together ([`TICK`]): the timer fires 16 times a second instead of 1000. Frames are walked at
//! once when a device has something to say, and when the guest writes a register or reads one that tells of them. What a
//! driver adds to a quiet schedule with none of these is found within [`TICK`] frames, and what follows at full speed
//! again: drivers give a transfer seconds.

/// Nanoseconds of a frame.
pub const FRAME: u64 = 1_000_000;
/// After so many frames in which nothing happened they are walked together.
pub const QUIET: u16 = 64;
/// So many at once, then.
pub const TICK: u64 = 64;

/// Which frames are to be walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// When the next one is due, while the schedule runs.
    pub due: u64,
    /// In how many of them nothing happened, one after the other, up to [`QUIET`].
    pub quiet: u16,
}

impl Frames {
    /// The schedule begins to run.
    pub fn start(&mut self, now: u64) {
        self.due = now.saturating_add(FRAME);
    }
    /// They are walked one by one from here on.
    pub fn hurry(&mut self) {
        self.quiet = 0;
    }
    /// Nothing has happened in one.
    pub fn nothing(&mut self) {
        self.quiet = (self.quiet + 1).min(QUIET);
    }
    /// Whether they are walked together.
    pub fn is_quiet(&self) -> bool {
        self.quiet >= QUIET
    }
    /// So many are over.
    pub fn pass(&mut self, frames: u64) {
        self.due = self.due.saturating_add(frames.saturating_mul(FRAME));
    }
    /// How many are due; none: the next one is not yet.
    pub fn late(&self, now: u64) -> Option<u64> {
        now.checked_sub(self.due).map(|late| late / FRAME + 1)
    }

    /// What has to be said until then has waited for a guest that did not ask.
    pub fn waited(&self) -> u64 {
        self.due.saturating_sub(FRAME)
    }
    /// When they are walked though nobody asks. `speaks`: when devices have something to say, later than [that](Self::waited).
    pub fn alarm(&self, speaks: impl Iterator<Item = u64>) -> u64 {
        if !self.is_quiet() {
            return self.due;
        }
        let tick = self.due.saturating_add((TICK - 1) * FRAME);
        // A device that repeats itself does so in a frame.
        let heard = |at: u64| {
            let frames = at.saturating_sub(self.due).div_ceil(FRAME);
            self.due.saturating_add(frames.saturating_mul(FRAME))
        };
        speaks.map(heard).chain([tick]).min().unwrap_or(tick)
    }
}
