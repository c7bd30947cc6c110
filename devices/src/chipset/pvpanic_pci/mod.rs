//! The panic notifier as a PCI function, for guests that look for no ISA device: what a kernel writes into the first
//! bytes of its BAR is what it writes to [the other's](super::pvpanic) port.
//!
//! Specification: QEMU documentation, "PVPANIC device", "PCI". What `events` does not offer does nothing.

pub mod model;
mod spec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window};
use devices_core::power::Power;
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError};

use super::pvpanic::{spec::SUPPORTED, tell};

const KIND: &str = "pvpanic-pci";
const VERSION: u16 = 1;

/// The panic notifier.
pub struct PvpanicPci {
    name: String,
    pci: PciConfig,
    regions: [Region; 1],
    events: u8,
    power: Arc<dyn Power>,
}

impl PvpanicPci {
    /// A notifier of that name that takes `events`.
    pub fn new(name: &str, events: u8, power: Arc<dyn Power>) -> PvpanicPci {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: 1,
            class: 0x08_80_00,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(0, BarKind::Mem32 { prefetch: false }, spec::LEN, Window::Region(0));
        let regions = [Region::floating("events", Space::Mmio, spec::LEN).widest(1)];
        PvpanicPci { name: name.to_owned(), pci, regions, events, power }
    }
}

impl Device for PvpanicPci {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        data.fill(if at.offset < spec::REGISTER { self.events } else { 0xff });
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if at.offset < spec::REGISTER {
            tell(&*self.power, data.first().copied().unwrap_or(0), self.events & SUPPORTED);
        }
        Io::Done
    }
    fn reset(&mut self) {
        self.pci.reset();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        self.pci.save_alone(KIND, VERSION)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        self.pci.load_alone(saved, KIND, VERSION)
    }
    fn inspect(&self, node: &mut Node) {
        node.hex("events", self.events);
    }
}
