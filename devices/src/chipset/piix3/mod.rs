//! Intel 82371SB (PIIX3), function 0: the PCI to ISA bridge at 00:01.0.
//!
//! Datasheet: Intel 82371FB/82371SB PCI ISA IDE Xcelerator, order 290550. What a guest can tell: the PCI
//! header, the four PIRQ route control registers and the reset control register at port 0xcf9. The rest
//! of the configuration space is storage with QEMU's reset values.
//!
//! Left out: chip selects, positive decode and ISA timing (XBCS and the recovery registers are storage),
//! the motherboard device's interrupt and DMA routes, SMI sources and the fast-off timer. The legacy
//! devices of the chip (8259, 8254, 8237, RTC) are devices of their own.

pub mod model;
mod router;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::model::Model;
use devices_core::pci::{Identity, PciConfig, QEMU_SUBSYSTEM};
use devices_core::power::{Power, PowerEvent};
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

pub use router::{LINKS, Links, PirqRouter, link_of};

/// The ISA bridge.
pub struct Piix3 {
    pci: PciConfig,
    reset_control: u8,
    regions: [Region; 1],
    links: Arc<dyn Links>,
    power: Arc<dyn Power>,
}

impl Piix3 {
    /// A bridge that tells `links` the routes: a [`PirqRouter`], or whatever tells a hypervisor that routes
    /// by itself.
    pub fn new(links: Arc<dyn Links>, power: Arc<dyn Power>) -> Piix3 {
        let mut pci = PciConfig::new(Identity {
            vendor: 0x8086,
            device: 0x7000,
            revision: 0,
            class: 0x06_01_00,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.multifunction();
        pci.allow(0x40, &[0xff; 0xc0]);
        for (register, values) in spec::RESET {
            pci.set(register, values);
        }
        let regions = [Region::pio("reset", spec::RCR, 1)];
        let bridge = Piix3 { pci, reset_control: 0, regions, links, power };
        bridge.route();
        bridge
    }

    /// ISA interrupt of a link. QEMU takes the whole byte for a number and ignores what is above 15.
    fn irq(&self, link: u8) -> Option<u8> {
        Some(self.pci.u8(spec::PIRQ_ROUTE + u16::from(link))).filter(|&route| route < 16)
    }

    fn route(&self) {
        for link in 0..LINKS as u8 {
            self.links.route(link, self.irq(link));
        }
    }
}

impl Device for Piix3 {
    fn name(&self) -> &str {
        "piix3"
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, _at: At, data: &mut [u8]) -> Io {
        data.fill(self.reset_control);
        Io::Done
    }
    fn write(&mut self, _at: At, data: &[u8]) -> Io {
        let Some(&value) = data.first() else { return Io::Done };
        if value & spec::RCR_NOW != 0 {
            self.power.request(PowerEvent::Reset);
        } else {
            self.reset_control = value & spec::RCR_HARD;
        }
        Io::Done
    }
    fn reset(&mut self) {
        self.pci.reset();
        self.reset_control = 0;
        self.route();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn config_write(&mut self, reg: u16, data: &[u8]) -> bool {
        let moved = self.pci.write(reg, data);
        self.route();
        moved
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        for (link, name) in (0..).zip(["pirqa", "pirqb", "pirqc", "pirqd"]) {
            match self.irq(link) {
                Some(irq) => node.value(name, format_args!("IRQ {irq}")),
                None => node.value(name, "nowhere"),
            };
        }
        node.hex("reset control", self.reset_control);
    }
}
