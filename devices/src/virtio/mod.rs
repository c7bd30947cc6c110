//! Virtio devices (Virtual I/O Device, version 1.3; drafts before 1.0 for legacy drivers).
//!
//! A [device](device::VirtioDevice) knows no transport, and a transport no device: between them are
//! [status, features](common::Common) and [queues](queue::Queue), split or packed.

pub mod balloon;
pub mod blk;
pub mod common;
pub mod device;
#[cfg(test)]
mod driver;
pub mod gpu;
pub mod input;
pub mod net;
pub mod pci;
pub mod queue;
pub mod rng;
pub mod scsi;
pub mod serial;
pub mod spec;
pub mod vhost_user;
pub mod vsock;
