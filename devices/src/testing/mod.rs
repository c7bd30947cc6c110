//! Devices for those who test machines.

pub mod pci_testdev;
