//! What Intel's 8254x and 82574 have in common: most registers, receive filters, statistics, the PHY's standard
//! registers, rings of descriptors, and how a packet is put together from transmit descriptors.

pub(super) mod delay;
pub(super) mod filter;
pub(super) mod phy;
pub(super) mod registers;
pub(super) mod ring;
pub mod spec;
pub(super) mod state;
pub(super) mod stats;
pub(super) mod tx;
