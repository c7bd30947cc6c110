//! The software CPU: runs the guest's vCPUs in this process, on any host.
//!
//! Tier 1 is an interpreter of decoded blocks. See [`cpu`] for the state, [`op`] for what an operation is,
//! [`block`] for where decoded code is kept, [`mem`] and [`tlb`] for memory.

pub mod block;
pub mod cpu;
pub mod exec;
pub mod flags;
pub mod fp;
pub mod int;
pub mod lower;
pub mod machine;
pub mod mem;
pub mod op;
pub mod paging;
pub mod physical;
pub mod sse;
pub mod system;
pub mod tlb;
