//! Those who hear what a guest plays while it plays: viewers.
//!
//! An ear has the last half second at most. Who does not fetch it in time has lost what is older: neither the guest nor
//! the other ears wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices_core::audio::Format;

use super::convert::{self, Frame, Resampler};

/// Has news for who listens. Called from the thread that plays; it does not block.
pub type Nudge = Box<dyn Fn() + Send + Sync>;

/// Somebody who listens, as long as it is not dropped.
pub struct Ear(pub(super) Arc<Heard>);

/// What one hears.
pub(super) struct Heard {
    kept: Mutex<Kept>,
    nudge: Nudge,
}

struct Kept {
    format: Format,
    resampler: Resampler,
    bytes: VecDeque<u8>,
    /// Nothing is played after them.
    ended: bool,
}

impl Heard {
    pub(super) fn new(from: Format, format: Format, nudge: Nudge) -> Heard {
        let resampler = Resampler::new(from.rate(), format.rate());
        Heard { kept: Mutex::new(Kept { format, resampler, bytes: VecDeque::new(), ended: false }), nudge }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is played next.
    pub(super) fn play(&self, frames: &[Frame]) {
        let mut kept = self.kept();
        let Kept { format, resampler, bytes, ended } = &mut *kept;
        let mut more = Vec::new();
        for frame in frames {
            resampler.push(*frame, |frame| convert::encode(*format, frame, &mut more));
        }
        bytes.extend(more);
        let most = format.rate() as usize / 2 * format.frame();
        let old = bytes.len().saturating_sub(most);
        bytes.drain(..old);
        *ended = false;
        drop(kept);
        (self.nudge)();
    }

    /// No voice plays now.
    pub(super) fn rest(&self) {
        self.kept().ended = true;
        (self.nudge)();
    }
}

impl Ear {
    /// What was played since this was last asked, whole frames; and whether nothing is played after it.
    pub fn take(&self) -> (Vec<u8>, bool) {
        let mut kept = self.0.kept();
        (std::mem::take(&mut kept.bytes).into(), kept.ended)
    }
}
