#![forbid(unsafe_code)]
//! The host side of devices: sound, disk images, character devices, networks, sockets and the VNC server.

pub mod audio;
pub mod chardev;
pub mod entropy;
pub mod image;
pub mod net;
pub mod socket;
pub mod tls;
pub mod vhost_user;
pub mod vnc;
pub mod vsock;
pub mod web;
