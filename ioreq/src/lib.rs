#![forbid(unsafe_code)]
//! What an I/O request of a guest is.
//!
//! [`Request`] is the owned form that every hypervisor produces and the bus consumes. [`page`] and [`ring`]
//! are the pages that Xen shares with a device model. No I/O happens in this crate.

pub mod page;
mod request;
pub mod ring;

pub use request::{Data, Dir, Item, Request, Sbdf, Size, Target};
