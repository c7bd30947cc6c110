#![forbid(unsafe_code)]
//! The host side of devices: disk images, character devices and the VNC server.

pub mod chardev;
pub mod image;
pub mod socket;
pub mod vnc;
