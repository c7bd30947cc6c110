//! Timers and clocks.
//!
//! All count guest time and compute what they show from it, so that nothing drifts; timers of the queue
//! are armed only for what raises an interrupt. A guest that asks for faster interrupts than
//! `SHORTEST` gets them that far apart: the host's thread must not starve.

pub mod hpet;
pub mod pit;
pub mod rtc;

/// Least time between two periodic interrupts in nanoseconds.
const SHORTEST: u64 = 10_000;

/// Clock ticks of a counter that runs at `hertz` in `nanoseconds`.
fn ticks(nanoseconds: u64, hertz: u64) -> u64 {
    (u128::from(nanoseconds) * u128::from(hertz) / 1_000_000_000) as u64
}

/// The first nanosecond of tick `tick`: the inverse of [`ticks`].
fn nanoseconds(tick: u64, hertz: u64) -> u64 {
    let nanoseconds = (u128::from(tick) * 1_000_000_000).div_ceil(u128::from(hertz.max(1)));
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}
