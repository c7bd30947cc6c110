#![forbid(unsafe_code)]
//! What the guest sees: the emulated PC's devices, one folder each.
//!
//! Every device is a [`devices_core::Device`]: see there for the manners. The machine that they make
//! up together follows QEMU's `pc-i440fx`.

pub mod audio;
pub mod board;
pub mod chipset;
pub mod display;
pub mod input;
pub mod interrupt;
mod lines;
pub mod models;
pub mod net;
pub mod serial;
pub mod storage;
pub mod testing;
pub mod timer;
pub mod usb;
pub mod virtio;
pub mod watchdog;
pub mod xen;
