//! Xen.

pub mod abi;
