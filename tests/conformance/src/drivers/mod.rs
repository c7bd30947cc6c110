//! The kinds of machines.

pub mod agent;
mod process;
pub mod qtest;
pub mod rig;
