//! Guest memory as a bus master sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hypervisor::{GuestRam, memory};
use thiserror::Error;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

/// Why guest memory could not be reached.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DmaError {
    /// The function's bus master bit is off.
    #[error("bus mastering is off")]
    NotMaster,
    /// The range, or part of it, is not RAM.
    #[error("no RAM at {0:#x}")]
    NotRam(u64),
}

/// Guest memory for one device. Refuses while bus mastering is off.
#[derive(Clone)]
pub struct Dma {
    ram: GuestRam,
    master: Arc<AtomicBool>,
}

impl Dma {
    /// For a device that may always: an ISA DMA controller, fw_cfg.
    pub fn always(ram: GuestRam) -> Dma {
        Dma { ram, master: Arc::new(AtomicBool::new(true)) }
    }

    /// For a PCI function: `master` follows its command register, see [`crate::pci::PciConfig::master`].
    pub fn gated(ram: GuestRam, master: Arc<AtomicBool>) -> Dma {
        Dma { ram, master }
    }

    /// Whether bus mastering is on.
    pub fn enabled(&self) -> bool {
        self.master.load(Ordering::Acquire)
    }

    fn check(&self) -> Result<(), DmaError> {
        if self.enabled() { Ok(()) } else { Err(DmaError::NotMaster) }
    }

    /// Fills `data` from guest-physical `gpa`. On an error part of it may have been filled.
    pub fn read(&self, gpa: u64, data: &mut [u8]) -> Result<(), DmaError> {
        self.check()?;
        memory::read(&self.ram, gpa, data).then_some(()).ok_or(DmaError::NotRam(gpa))
    }

    /// Writes `data` to guest-physical `gpa`. On an error part of it may have been written.
    pub fn write(&self, gpa: u64, data: &[u8]) -> Result<(), DmaError> {
        self.check()?;
        memory::write(&self.ram, gpa, data).then_some(()).ok_or(DmaError::NotRam(gpa))
    }

    /// A little-endian 32-bit word.
    pub fn read_u32(&self, gpa: u64) -> Result<u32, DmaError> {
        let mut bytes = [0; 4];
        self.read(gpa, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// A little-endian 64-bit word.
    pub fn read_u64(&self, gpa: u64) -> Result<u64, DmaError> {
        let mut bytes = [0; 8];
        self.read(gpa, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Whether the whole range is RAM (and bus mastering is on), before a request is built on it.
    pub fn validate(&self, gpa: u64, len: u64) -> Result<(), DmaError> {
        self.check()?;
        let mut at = gpa;
        let end = gpa.checked_add(len).ok_or(DmaError::NotRam(gpa))?;
        while at < end {
            let region = self.ram.find_region(GuestAddress(at)).ok_or(DmaError::NotRam(at))?;
            at = region.start_addr().0 + region.len();
        }
        Ok(())
    }

    /// The memory itself, for a backend's worker that moves data straight into it. The device has
    /// validated the ranges and is master.
    pub fn ram(&self) -> &GuestRam {
        &self.ram
    }
}
