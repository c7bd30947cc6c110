//! Devices for those who test machines.

pub mod isa_debug_exit;
pub mod pc_testdev;
pub mod pci_testdev;
