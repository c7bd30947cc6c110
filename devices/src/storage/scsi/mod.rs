//! SCSI: commands, and the units that carry them out, whatever brings the commands (SPC-4, SBC-3, MMC-5).

pub mod cd;
mod cdb;
mod mode;
pub mod spec;

pub use cdb::Cdb;
pub use mode::{Header, Page, mode_sense};
