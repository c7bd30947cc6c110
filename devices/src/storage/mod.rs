//! Disk and CD controllers.

pub mod atapi;
pub mod drive;
pub mod geometry;
pub mod ide;
pub mod pflash;
pub mod scsi;
