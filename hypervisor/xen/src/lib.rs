//! The guest of a Xen host: its devices are ours, its processors are Xen's.
//!
//! Everything is done on the kernel's interfaces, with no C library of Xen's: one program serves all
//! versions from 4.13 on.

pub mod abi;
mod claims;
mod dirty;
mod domain;
mod error;
pub mod evtchn;
#[cfg(test)]
mod fake;
mod foreign;
pub mod gntdev;
mod irq;
pub mod kernel;
pub mod pages;
pub mod privcmd;
mod rom;
mod server;
#[cfg(test)]
mod tests;
mod video;
mod xen;
pub mod xenstore;

pub use abi::dm::ShutdownReason;
pub use error::CallError;
pub use video::Placements;
pub use xen::{MAX_VCPUS, VRAM, Xen, XenConfig};
