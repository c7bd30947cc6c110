//! Disk and CD controllers.

pub mod atapi;
pub mod ide;
