#![forbid(unsafe_code)]
//! The host side of devices: disk images and character devices.

pub mod chardev;
pub mod image;
