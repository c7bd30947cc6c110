//! Watchdog timers: a guest that does not feed one in time hangs, and the machine's owner has said what happens then
//! (`-action watchdog=`).

pub mod i6300esb;
pub mod ib700;
