//! The software CPU: runs the guest's vCPUs in this process, on any host.
//!
//! Tier 1 is an interpreter of decoded blocks; [`tier2`] translates those that run often. See [`cpu`] for the state, [`op`] for what an operation is,
//! [`block`] for where decoded code is kept, [`mem`] and [`tlb`] for memory, [`soft`] for the machine around.

pub mod apic;
pub(crate) mod avx;
pub mod bare;
pub mod block;
pub mod cpu;
mod debug;
pub mod exec;
pub mod flags;
pub mod fp;
mod host;
pub mod int;
pub mod lower;
pub mod machine;
pub mod mem;
pub mod model;
pub mod observe;
pub mod op;
pub mod paging;
pub mod physical;
pub mod place;
pub mod soft;
pub mod sse;
pub mod state;
pub mod system;
pub mod tier2;
pub mod tlb;
pub mod wild;

#[cfg(test)]
pub(crate) mod tests;

pub use model::CpuModel;
pub use soft::{ClockKind, Soft, SoftConfig, Tier};
