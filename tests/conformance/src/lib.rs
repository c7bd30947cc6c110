//! Device conformance: the same cases run on Debian's QEMU (the oracle) and on Ailurus.
//!
//! A [`Case`](case::Case) talks to a PC through a [`Bench`](bench::Bench): ports, memory, configuration
//! space, guest time. The bench stands on a [`Machine`](machine::Machine), of which there are three kinds
//! ([`drivers`]): the devices in this process with no CPU, the program driven by the qtest protocol, and any
//! PC at all on which our own small guest, the agent, does what it is told over a serial line. Cases know
//! nothing of the kind. What a case checks comes from a datasheet or a specification, which it names; what
//! no document says is noted and compared between the machines.
#![forbid(unsafe_code)]

pub mod agent;
pub mod allowed;
pub mod bench;
pub mod case;
pub mod cases;
pub mod drivers;
pub mod launch;
pub mod machine;
pub mod models;
pub mod page;
pub mod run;
pub mod table;
pub mod verdict;

#[cfg(test)]
mod tests;
