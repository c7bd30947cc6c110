//! Disk and CD controllers.

pub mod atapi;
pub mod geometry;
pub mod ide;
