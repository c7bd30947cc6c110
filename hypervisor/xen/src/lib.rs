//! The guest of a Xen host: its devices are ours, its processors are Xen's.
//!
//! Everything is done on the kernel's interfaces, with no C library of Xen's: one program serves all
//! versions from 4.13 on.

pub mod abi;
mod dirty;
mod domain;
mod error;
pub mod evtchn;
#[cfg(test)]
mod fake;
mod foreign;
pub mod gntdev;
pub mod kernel;
pub mod pages;
pub mod privcmd;
pub mod xenstore;

pub use error::CallError;
