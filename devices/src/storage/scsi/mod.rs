//! SCSI: commands, and the units that carry them out, whatever brings the commands (SPC-4, SBC-3, MMC-5; QEMU's `scsi-hd`
//! and `scsi-cd` for what they say of themselves).
//!
//! A controller has a [`ScsiBus`]: it [plugs](ScsiBus::plug) units into it, [starts](ScsiBus::start) commands with the guest
//! memory that they move, and takes them [back](ScsiBus::take_ended) when they have ended, in whatever order that is. What the
//! controller needs to answer a command travels with it. [`Unit`] is one disk or CD drive; the ATAPI drive shares
//! [`cd`] alone, since its protocol moves data in blocks of its own.
//!
//! Left out: the order that task attributes ask for (as in QEMU), protection information, persistent reservations, tagged
//! command queues of limited length, read and write errors by address in the sense data.

mod bus;
pub mod cd;
mod cdb;
mod disk;
mod host;
mod inquiry;
mod mode;
pub mod model;
mod select;
pub mod spec;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod unit;
mod work;

pub use bus::{Address, Command, End, LUN_MAX, Outcome, ScsiBus, Taken};
pub use cdb::{Cdb, Expected};
pub use host::{NoPlace, ScsiHost};
pub use mode::{Header, Page, mode_sense};
pub use state::{BusState, TASKS};
pub use unit::{Labels, Medium, Unit, UnitOptions};
