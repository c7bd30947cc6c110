//! What a guest sees because it runs on Xen.

pub mod blkback;
pub mod platform;
pub mod pvdevice;
