//! Guest memory as a bus master sees it.
//!
//! [`Dma`] is vm-memory's [`GuestMemory`], so that what is written for that runs on it as it is: virtio-queue's rings,
//! chains, readers and writers, and all of [`Bytes`](vm_memory::Bytes). What a device may not reach is an error there
//! too, and [`GuestMemory::physical_memory`] is nothing: no way leads around the bus master bit.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hypervisor::memory::{Region, slices};
use hypervisor::{GuestRam, memory};
use thiserror::Error;
use vm_memory::bitmap::BS;
use vm_memory::guest_memory::GuestMemorySliceIterator;
use vm_memory::{
    GuestAddress, GuestMemory, GuestMemoryBackend, GuestMemoryError, GuestMemoryRegion, Permissions,
};

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

impl From<DmaError> for GuestMemoryError {
    fn from(error: DmaError) -> GuestMemoryError {
        match error {
            DmaError::NotMaster => GuestMemoryError::IOError(std::io::ErrorKind::PermissionDenied.into()),
            DmaError::NotRam(at) => GuestMemoryError::InvalidGuestAddress(GuestAddress(at)),
        }
    }
}

/// Guest memory for one device. Refuses while bus mastering is off.
///
/// A slice that a device has taken while it was on stays good, as does a request in flight: it keeps its pages. A
/// virtqueue's chain that outlives a call holds an `Arc<Dma>`, which is an address space to vm-memory.
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

impl GuestMemory for Dma {
    type PhysicalMemory = GuestRam;
    type Bitmap = Region;

    /// Like [`Dma::validate`], it looks at no page: one that the guest has given away is found out when it is used.
    fn check_range(&self, addr: GuestAddress, count: usize, _access: Permissions) -> bool {
        self.validate(addr.0, count as u64).is_ok()
    }

    fn get_slices<'a>(
        &'a self,
        addr: GuestAddress,
        count: usize,
        access: Permissions,
    ) -> Result<impl GuestMemorySliceIterator<'a, BS<'a, Region>>, GuestMemoryError> {
        self.check()?;
        Ok(slices(&self.ram, addr, count, access))
    }
}
