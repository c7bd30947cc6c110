//! Timers and clocks.
