//! Recordings of what went on between a guest's devices and everything else (`--record-io`), and their replay.
//!
//! A recording is a file of the same framing as a saved guest ([`crate::stream`]) with another magic: the header
//! (what the machine was built from), the state of each device at the beginning, then pieces of records
//! ([`codec`]), then the end. A file that was cut is good up to the cut.
//!
//! **What is recorded.** [`Entry`](record::Entry): whatever reaches the devices (accesses, interrupt acknowledges
//! and ends, timers, answers of media, bytes of serial ports, keys, resets), with guest time. Between two entries
//! nothing in a device changes, and within one guest time stands. [`Effect`](record::Effect): what the devices do
//! because of it, in order (answers, interrupt pins and messages, guest memory read and written, requests to
//! media, what serial ports send, timers armed).
//!
//! **What is guaranteed.** Entries are carried out one at a time while recording is on, whichever threads they
//! come from: the order in the file is the order in which they happened, with any number of vCPUs and by either
//! clock. A replay gives the devices the same entries at the same guest times and the same answers of the host, so
//! a device that does something else is another device than the recorded one. What the guest's CPU did to memory
//! that devices only look at (video memory through its PCI window) is not recorded.
//!
//! **What a replay needs** beside the file: the kernel and the initial RAM disk of a guest that was booted by
//! `--kernel` (the same, which is checked), and any firmware. Disk images, the guest's RAM and its saved file are
//! not needed: what devices read of memory is in the file, data that media move by themselves is not looked at.

mod border;
pub mod codec;
pub mod header;
mod hypervisor;
pub mod record;
mod recorder;
mod taps;
#[cfg(test)]
mod tests;

pub(crate) use border::medium_info;
pub use border::{Border, Opened};
pub use hypervisor::Watched;
pub use recorder::Recorder;
pub(crate) use taps::submitted;
