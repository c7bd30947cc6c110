//! Scenarios with a frontend whose rings lie in ordinary memory.

mod bus;
mod fake;
mod hostile;
mod rings;
