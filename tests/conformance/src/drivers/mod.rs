//! The kinds of machines.

pub mod agent;
mod process;
