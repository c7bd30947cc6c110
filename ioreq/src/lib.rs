#![forbid(unsafe_code)]
//! What an I/O request of a guest is.
//!
//! [`Request`] is the owned form that every hypervisor produces and the bus consumes. No I/O
//! happens in this crate.

mod request;

pub use request::{Data, Dir, Request, Sbdf, Size, Target};
