//! Tells switches where a guest's network cards are now, a few times, as QEMU's `announce-self` does.

use std::time::{Duration, Instant};

use super::Runner;
use crate::monitor::info::AnnounceParameters;
use crate::monitor::run_state::RunState;

/// Rounds that are left.
pub(super) struct Announce {
    how: AnnounceParameters,
    /// The cards; none: all.
    names: Option<Vec<String>>,
    done: u64,
    /// When the next round is; none: at once.
    next: Option<Instant>,
}

impl Announce {
    pub(super) fn new(how: AnnounceParameters, names: Option<Vec<String>>) -> Announce {
        Announce { how, names, done: 0, next: None }
    }

    /// As after a migration, with QEMU's defaults.
    pub(super) fn usual() -> Announce {
        Announce::new(AnnounceParameters { initial: 50, max: 550, rounds: 5, step: 100 }, None)
    }

    /// Milliseconds from a round, counted from 1, to the next.
    fn pause(&self, round: u64) -> u64 {
        let grown = self.how.step.saturating_mul(round.saturating_sub(1));
        self.how.initial.saturating_add(grown).min(self.how.max)
    }
}

impl Runner {
    /// Does the round that is due. When the next one is, if there is one.
    pub(super) fn announcement(&mut self, now: Instant) -> Option<Instant> {
        if self.state != RunState::Running {
            return None;
        }
        let announce = self.announce.as_mut()?;
        if announce.next.is_none_or(|next| next <= now) {
            if announce.done >= announce.how.rounds {
                self.announce = None;
                return None;
            }
            self.machine.announce(announce.names.as_deref());
            announce.done += 1;
            announce.next = Some(now + Duration::from_millis(announce.pause(announce.done)));
        }
        announce.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_rounds_grows_up_to_a_bound() {
        let usual = Announce::usual();
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(|round| usual.pause(round)), [50, 150, 250, 350, 450, 550, 550]);
    }
}
