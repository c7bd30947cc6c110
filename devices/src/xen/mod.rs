//! What a guest sees because it runs on Xen.

pub mod platform;
pub mod pvdevice;
