//! Guest time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Guest time in nanoseconds since the machine was switched on. It stands while the guest is paused,
/// and is part of the saved state.
pub trait Clock: Send + Sync {
    /// Now. Never goes back, but by [`set`](Clock::set).
    fn now(&self) -> u64;
    /// Stops the clock. Stopping a stopped clock does nothing.
    fn stop(&self);
    /// Lets it go on from where it stopped.
    fn start(&self);
    /// Sets it, for a restored guest. Only while stopped.
    fn set(&self, now: u64);
    /// Whether it does not move before somebody calls [`start`](Clock::start).
    fn is_stopped(&self) -> bool {
        false
    }
}

/// A clock that stands until it is set.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
    fn stop(&self) {}
    fn start(&self) {}
    fn set(&self, now: u64) {
        self.0.store(now, Ordering::Release);
    }
}

/// Guest time that follows the host's monotonic clock while it runs. Made stopped, at zero.
#[derive(Debug, Default)]
pub struct HostClock {
    state: Mutex<HostState>,
}

#[derive(Debug, Default, Clone, Copy)]
struct HostState {
    base: u64,
    since: Option<Instant>,
}

impl HostState {
    fn now(&self) -> u64 {
        let run = self.since.map_or(0, |since| since.elapsed().as_nanos() as u64);
        self.base.wrapping_add(run)
    }
}

impl HostClock {
    /// A stopped clock at zero.
    pub fn new() -> HostClock {
        HostClock::default()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Clock for HostClock {
    fn now(&self) -> u64 {
        self.state().now()
    }
    fn stop(&self) {
        let mut state = self.state();
        *state = HostState { base: state.now(), since: None };
    }
    fn start(&self) {
        let mut state = self.state();
        if state.since.is_none() {
            state.since = Some(Instant::now());
        }
    }
    fn set(&self, now: u64) {
        let mut state = self.state();
        let since = state.since.map(|_| Instant::now());
        *state = HostState { base: now, since };
    }
    fn is_stopped(&self) -> bool {
        self.state().since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn stands_while_stopped_and_goes_on_after() {
        let clock = HostClock::new();
        assert_eq!(clock.now(), 0);
        clock.set(1_000_000);
        assert_eq!(clock.now(), 1_000_000);
        clock.start();
        std::thread::sleep(Duration::from_millis(2));
        clock.stop();
        let stopped = clock.now();
        assert!(stopped >= 3_000_000, "{stopped}");
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(clock.now(), stopped);
    }
}
