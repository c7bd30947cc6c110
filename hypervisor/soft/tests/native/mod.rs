//! The host's own CPU as the measure of ours: the same bytes, registers and memory on both.

pub mod cases;
pub mod families;
pub mod host;
