//! The Xen PV device: a PCI function that does nothing. Windows Update finds the PV drivers of a vendor by
//! its ids.
//!
//! Specification: Xen's `docs/man/xl.cfg.5` (`vendor_device`) and `docs/misc/pci-device-reservations.txt`;
//! QEMU's `xen-pvdevice`.
//!
//! Nothing is left out: the memory of BAR 1 reads as ones and swallows writes, and the interrupt pin is
//! never driven. Beside its configuration there is no state.

pub mod model;
#[cfg(test)]
mod tests;

use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError};

use super::platform::XEN_VENDOR;

const KIND: &str = "xen-pvdevice";
const VERSION: u16 = 1;

/// The device id that libxl asks for (`vendor_device = "xenserver"`).
pub const XENSERVER: u16 = 0xc000;
/// Length of BAR 1 in bytes.
const MEMORY: u64 = 4 << 20;

/// The PV device.
pub struct PvDevice {
    pci: PciConfig,
    regions: [Region; 1],
}

impl PvDevice {
    /// A device with Xen's vendor id and this device id ([`XENSERVER`] is the usual one).
    pub fn new(device_id: u16) -> PvDevice {
        let mut pci = PciConfig::new(Identity {
            vendor: XEN_VENDOR,
            device: device_id,
            revision: 1,
            class: 0x08_80_00,
            subsystem: (XEN_VENDOR, device_id),
        });
        pci.connect(1, IrqLine::unconnected());
        pci.bar(1, BarKind::Mem32 { prefetch: true }, MEMORY, Window::Region(0));
        PvDevice { pci, regions: [Region::floating("memory", Space::Mmio, MEMORY)] }
    }
}

impl Device for PvDevice {
    fn name(&self) -> &str {
        "xen-pvdevice"
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, _at: At, data: &mut [u8]) -> Io {
        data.fill(0xff);
        Io::Done
    }
    fn write(&mut self, _at: At, _data: &[u8]) -> Io {
        Io::Done
    }
    fn reset(&mut self) {
        self.pci.reset();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        let PvDevice { pci, regions: _ } = self;
        pci.save_alone(KIND, VERSION)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        self.pci.load_alone(saved, KIND, VERSION)
    }
    fn inspect(&self, _node: &mut Node) {}
}
