//! The guest of a Xen host: its devices are ours, its processors are Xen's.
//!
//! Everything is done on the kernel's interfaces, with no C library of Xen's: one program serves all
//! versions from 4.13 on. Linux 4.18 is the oldest kernel that maps an ioreq server's pages.
//!
//! | part | what it does |
//! |---|---|
//! | [`abi`] | numbers and layouts, checked against Xen's headers in tests |
//! | [`kernel`] | the border to the kernel and Xen; [`privcmd`] and [`evtchn`] are the real side of it |
//! | `server` | the ioreq server: shared pages, one or more threads that answer |
//! | `foreign` | guest memory, mapped piece by piece when it is used and let go when the guest gives it away |
//! | `dirty` | what we wrote during a migration |
//! | `claims`, `rom`, `video` | which accesses reach us; ROMs served from here; video memory that follows its BAR |
//! | `irq` | interrupt levels, link routes, messages |
//! | [`Xen`] | all of it as a [`Hypervisor`](hypervisor::Hypervisor) |
//! | [`gntdev`], [`xenstore`] | what PV backends and the toolstack need beside it |
//! | [`footprint`] | what the process keeps in memory |
//!
//! Locks, outer before inner: the video memory's, the claims', the interrupts', a region's holes, the dirty
//! report's, the threads' state. The ring's is held while a device's handler runs and so comes before all of
//! them. No lock of this crate is held while another domain is waited for, but at most 20 ms in a pin.

pub mod abi;
mod claims;
mod dirty;
mod domain;
mod error;
pub mod evtchn;
#[cfg(test)]
mod fake;
pub mod footprint;
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
