//! What Intel's 8254x and 82574 have in common: most registers, receive filters, statistics, the PHY's standard
//! registers, the link, rings of descriptors, and how frames go from and to them ([`controller`]).

pub(super) mod controller;
pub(super) mod delay;
pub(super) mod filter;
pub(super) mod phy;
pub(super) mod registers;
pub(super) mod ring;
pub(super) mod rx;
pub mod spec;
pub(super) mod state;
pub(super) mod stats;
#[cfg(test)]
pub(super) mod tests;
pub(super) mod tx;
