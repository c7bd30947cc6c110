//! Intel 82574L network card (QEMU's `e1000e`).
//!
//! Specification: Intel's "82574 GbE Controller Family Datasheet" (revision 3.4). Received descriptors (`rx`), what
//! frames are (`packet`), interrupts and their timers (`irq`), NVM (`nvm`) and PHY (`phy`) each have their file; what is
//! as in the 8254x is `e1000x`'s.
//!
//! Where it differs from QEMU, it follows the datasheet: CTRL.RST resets the controller, an interval of 0 throttles
//! nothing, reading ICR under automatic masking clears it and masks, EIAME masks what a message tells, a descriptor
//! without a buffer takes nothing of a frame, the PHY answers for all of its registers.
//!
//! Left out: the flash (its BAR reads as erased), wake-up and power states (their registers keep what is written),
//! management, flow control frames, GPIO pins, the packet buffer as memory, time stamps (system time stands still),
//! thresholds of descriptor prefetch and write-back (each descriptor is read when it is needed and written back at
//! once), the check sequence (a received one is not written), capabilities beyond 256 bytes of configuration space,
//! which a conventional bus does not reach. Addresses in IPv6 extension headers do not enter the hash.

mod irq;
pub mod model;
mod nvm;
mod phy;
mod registers;
mod rx;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::device::Deferred;
use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::net::{Nic, RxFilter};
use devices_core::pci::{BarKind, Identity, MsiShape, MsixShape, PciConfig, Window, reg as pci_reg};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::{GuestRam, MsiTarget};

use irq::Irq;
use nvm::Nvm;
use phy::Phy;
use spec::{Cause, QUEUES, TARC_ENABLE, ctrl, ctrl_ext, ivar, reg, status, txd};

use super::e1000x::controller::{Controller, Mac, read_lanes, written_word};
use super::e1000x::phy::Phy as StandardPhy;
use super::e1000x::stats;
use crate::board::NicConfig;

/// Region numbers, which are the BARs'.
const MEMORY: usize = 0;
const FLASH: usize = 1;
const PORTS: usize = 2;
const MSIX: usize = 3;

/// Capabilities, and where they are in configuration space.
const MSIX_AT: u16 = 0xa0;
const PM_AT: u16 = 0xc8;
const MSI_AT: u16 = 0xd0;
const EXPRESS_AT: u16 = 0xe0;

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Subsystem vendor and id.
    pub subsystem: (u16, u16),
    /// VET is 0x8100 after a reset.
    pub init_vet: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { subsystem: (spec::VENDOR, 0), init_vet: true }
    }
}

/// A network card.
pub struct E1000e {
    name: String,
    options: Options,
    pci: PciConfig,
    regions: [Region; 4],
    mac: Mac,
    nvm: Nvm,
    phy: Phy,
    irq: Irq,
}

/// The configuration space, with the capabilities in QEMU's places.
fn configuration(options: &Options, line: IrqLine, msi: Arc<dyn MsiTarget>) -> PciConfig {
    let mut pci = PciConfig::new(Identity {
        vendor: spec::VENDOR,
        device: spec::DEVICE,
        revision: 0,
        class: 0x02_00_00,
        subsystem: options.subsystem,
    });
    let memory = BarKind::Mem32 { prefetch: false };
    pci.bar(MEMORY, memory, spec::MEMORY_LEN, Window::Region(MEMORY));
    pci.bar(FLASH, memory, spec::FLASH_LEN, Window::Region(FLASH));
    pci.bar(PORTS, BarKind::Io, spec::PORTS_LEN, Window::Region(PORTS));
    pci.bar(MSIX, memory, spec::MSIX_LEN, Window::Region(MSIX));
    pci.connect(1, line);
    let table = MsixShape { vectors: spec::VECTORS as u16, bar: MSIX as u8, table: 0, pba: 0x2000 };
    pci.msix(MSIX_AT, table, msi.clone());
    // A PCI Express endpoint of version 1: errors are reported by role; a link of one lane of 2.5 GT/s, with L0s.
    pci.capability(EXPRESS_AT, 0x10, 0x14);
    pci.set_u16(EXPRESS_AT + 2, 1);
    pci.set(EXPRESS_AT + 4, &(1u32 << 15).to_le_bytes());
    pci.set(EXPRESS_AT + 0xc, &0x411u32.to_le_bytes());
    pci.set_u16(EXPRESS_AT + 0x12, 0x11);
    pci.msi(MSI_AT, MsiShape { vectors: 1, wide: true, maskable: false }, msi);
    // Power management 1.1, to be initialized by a driver: power state, PME enable, data select; PME status.
    pci.capability(PM_AT, 1, 8);
    pci.set_u16(PM_AT + 2, 1 << 5 | 2);
    pci.allow(PM_AT + 4, &0x1f03u16.to_le_bytes());
    pci.allow_clear(PM_AT + 4, &0x8000u16.to_le_bytes());
    pci
}

impl E1000e {
    /// A card with that cable and address.
    pub fn new(
        name: &str,
        options: Options,
        cable: NicConfig,
        ram: GuestRam,
        line: IrqLine,
        msi: Arc<dyn MsiTarget>,
        wiring: &Wiring,
    ) -> E1000e {
        let address = cable.mac;
        let pci = configuration(&options, line, msi);
        let dma = Dma::gated(ram, pci.master());
        let mut card = E1000e {
            name: name.to_owned(),
            options,
            pci,
            regions: [
                Region::floating("registers", Space::Mmio, spec::MEMORY_LEN),
                Region::floating("flash", Space::Mmio, spec::FLASH_LEN),
                Region::floating("ports", Space::Pio, spec::PORTS_LEN),
                Region::floating("msix", Space::Mmio, spec::MSIX_LEN),
            ],
            mac: Mac::new(cable, dma, registers::empty(), QUEUES, wiring),
            nvm: Nvm::new(address),
            phy: Phy::new(),
            irq: Irq::default(),
        };
        card.reset_controller();
        card
    }

    /// All but the PHY and PCI.
    fn reset_controller(&mut self) {
        let vet = if self.options.init_vet { 0x8100 } else { 0 };
        self.nvm.reset();
        registers::reset(&mut self.mac.registers, self.nvm.mac(), vet);
        self.irq = Irq::default();
        self.mac.reset();
    }

    /// What the pin was told last.
    fn pin(&self) -> bool {
        self.pci.u16(pci_reg::STATUS) & 1 << 3 != 0
    }

    fn read_register(&mut self, offset: u32) -> u32 {
        let offset = registers::place(offset);
        match offset {
            reg::STATUS => self.status(),
            reg::EECD => self.nvm.read_eecd(),
            reg::EERD | reg::EEWR => self.nvm.read,
            reg::ICR => self.read_icr(),
            reg::ICS => self.read_ics(),
            reg::IMS => self.irq.mask.bits(),
            // Whoever reads it holds it, if nobody did.
            reg::SWSM => {
                let value = self.mac.registers.get(offset);
                self.mac.registers.set(offset, value | 1);
                value
            }
            reg::STATISTICS..=reg::IAC => stats::read(&mut self.mac.registers, offset),
            _ => self.mac.registers.get(offset),
        }
    }

    /// STATUS: the link, and what CTRL says of it and of the bus.
    fn status(&self) -> u32 {
        let [value, control, extended] =
            [reg::STATUS, reg::CTRL, reg::CTRL_EXT].map(|at| self.mac.registers.get(at));
        let forced = control & ctrl::FRCSPD != 0 || extended & ctrl_ext::SPD_BYPS != 0;
        let speed = if forced { (control & ctrl::SPEED) >> 8 } else { 2 };
        let full = control & ctrl::FRCDPX == 0 || control & ctrl::FD != 0;
        let master = control & ctrl::GIO_MASTER_DISABLE == 0;
        value
            | speed << status::SPEED_SHIFT
            | if full { status::FD } else { 0 }
            | if master { status::GIO_MASTER } else { 0 }
    }

    fn write_register(&mut self, offset: u32, value: u32) {
        let offset = registers::place(offset);
        match offset {
            reg::CTRL => self.write_control(value),
            reg::STATUS => {
                let before = self.mac.registers.get(offset);
                self.mac.registers.set(offset, before & (value | !status::PHYRA));
            }
            reg::EECD => self.nvm.write_eecd(value),
            reg::EERD => self.nvm.write_eerd(value),
            reg::EEWR => self.nvm.write_eewr(value),
            reg::MDIC => {
                let answer = self.phy.mdic(value);
                self.mdic_written(value, answer);
            }
            reg::ICR => self.write_icr(value),
            reg::ICS => self.cause(Cause::from_bits_retain(value)),
            reg::IMS => self.write_ims(value),
            reg::IMC => self.irq.mask = self.irq.mask.difference(Cause::from_bits_retain(value)),
            _ => {
                let writable = registers::writable(offset);
                if writable != 0 {
                    let kept =
                        self.mac.registers.get(offset) & if offset == reg::GCR { !writable } else { 0 };
                    self.mac.registers.set(offset, kept | value & writable);
                    self.written(offset, value);
                }
            }
        }
    }

    /// A register that just keeps its value has got a new one.
    fn written(&mut self, offset: u32, value: u32) {
        match offset {
            reg::TCTL | reg::TDT | reg::TDT1 | reg::TARC0 | reg::TARC1 => self.transmit(),
            reg::RCTL | reg::RDT | reg::RDT1 => self.receive(),
            // The ring begins anew: what was under way is of the old one.
            reg::TDH => self.mac.tx[0].reset(),
            reg::TDH1 => self.mac.tx[1].reset(),
            reg::RDTR | reg::TIDV if value & spec::RDTR_FPD != 0 => {
                let held = self.irq.flush();
                self.cause(held);
            }
            reg::PBACLR => {
                let vectors = (0..spec::VECTORS as u16).filter(|vector| value >> vector & 1 != 0);
                vectors.for_each(|vector| self.pci.clear_msix_pending(vector));
            }
            reg::CTRL_EXT if value & ctrl_ext::EE_RST != 0 => {
                registers::set_station(&mut self.mac.registers, self.nvm.mac());
            }
            _ => {}
        }
    }

    fn write_control(&mut self, value: u32) {
        let before = self.mac.registers.get(reg::CTRL);
        if value & !before & ctrl::PHY_RST != 0 {
            self.phy.reset();
        }
        if value & ctrl::RST != 0 {
            return self.reset_controller();
        }
        if value & ctrl::PHY_RST != 0 {
            self.mac.registers.set(reg::STATUS, self.mac.registers.get(reg::STATUS) | status::PHYRA);
        }
        self.mac.registers.set(reg::CTRL, value);
    }

    /// The register that IOADDR names, if it names one.
    fn io_register(&self) -> Option<u32> {
        Some(self.mac.io_address & !3).filter(|offset| u64::from(*offset) < spec::MEMORY_LEN)
    }
}

impl Device for E1000e {
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
        if at.region == MSIX {
            if !self.pci.msix_read(MSIX as u8, at.offset, data) {
                data.fill(0);
            }
            return Io::Done;
        }
        let aligned = at.offset as u32 & !3;
        let value = match (at.region, u64::from(aligned)) {
            (MEMORY, _) => self.read_register(aligned),
            (PORTS, spec::IOADDR) => self.mac.io_address,
            (PORTS, spec::IODATA) => self.io_register().map_or(0, |offset| self.read_register(offset)),
            (FLASH, _) => u32::MAX,
            _ => 0,
        };
        read_lanes(value, at.offset, data);
        self.settle();
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if at.region == MSIX {
            self.pci.msix_write(MSIX as u8, at.offset, data);
            return Io::Done;
        }
        let value = written_word(data);
        let aligned = at.offset as u32 & !3;
        match (at.region, u64::from(aligned)) {
            (MEMORY, _) => self.write_register(aligned, value),
            (PORTS, spec::IOADDR) => self.mac.io_address = value,
            (PORTS, spec::IODATA) => {
                if let Some(offset) = self.io_register() {
                    self.write_register(offset, value);
                }
            }
            _ => {}
        }
        self.settle();
        Io::Done
    }

    fn wake(&mut self, why: Wake) {
        self.woken(why);
    }

    fn reset(&mut self) {
        self.pci.reset();
        self.phy = Phy::new();
        self.mac.negotiated = None;
        self.reset_controller();
        self.power_on();
    }

    fn quiesce(&mut self) -> bool {
        self.mac.quiet = true;
        true
    }

    fn resume(&mut self) {
        self.go_on_again();
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }

    fn config_written(&mut self) -> Vec<Deferred> {
        // Bus mastering may have come on, or messages.
        self.kick();
        self.settle();
        Vec::new()
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)?;
        self.arm();
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        node.value("mac", devices_core::net::format_mac(self.mac.address));
        node.value("cable", if self.mac.cable { "in" } else { "out" });
        node.hex("causes", self.irq.icr()).hex("mask", self.irq.mask.bits());
        node.hex("told", self.irq.told.bits()).value("irq", self.irq.level);
        let named = [
            ("ctrl", reg::CTRL),
            ("ctrl_ext", reg::CTRL_EXT),
            ("rctl", reg::RCTL),
            ("rfctl", reg::RFCTL),
            ("rxcsum", reg::RXCSUM),
            ("mrqc", reg::MRQC),
            ("tctl", reg::TCTL),
            ("ivar", reg::IVAR),
            ("itr", reg::ITR),
        ];
        node.hex("status", self.status());
        for (name, offset) in named {
            node.hex(name, self.mac.registers.get(offset));
        }
        for (name, ring) in [
            ("rx queue 0", reg::RDBAL),
            ("rx queue 1", reg::RDBAL1),
            ("tx queue 0", reg::TDBAL),
            ("tx queue 1", reg::TDBAL1),
        ] {
            let node = node.child(name);
            for (name, offset) in [("length", 8), ("head", 0x10), ("tail", 0x18)] {
                node.hex(name, self.mac.registers.get(ring + offset));
            }
        }
        self.describe(node);
    }
}

impl Controller for E1000e {
    fn mac(&self) -> &Mac {
        &self.mac
    }
    fn mac_mut(&mut self) -> &mut Mac {
        &mut self.mac
    }
    fn phy(&self) -> &StandardPhy {
        &self.phy.main
    }
    fn phy_mut(&mut self) -> &mut StandardPhy {
        &mut self.phy.main
    }
    fn cause(&mut self, cause: Cause) {
        self.happened(cause);
    }
    fn settle(&mut self) {
        self.settle_interrupts();
        self.arm();
    }
    fn interrupt_deadline(&self) -> Option<u64> {
        self.irq_deadline()
    }
    fn can_receive(&self) -> bool {
        self.has_room()
    }
    fn store(&mut self, frame: &[u8], tag: Option<u16>) {
        self.store_frame(frame, tag);
    }
    fn sends(&self, queue: usize) -> bool {
        self.mac.registers.get([reg::TARC0, reg::TARC1][queue]) & TARC_ENABLE != 0
    }
    fn writes_back(&self, command: u32) -> bool {
        self.mac.registers.get(reg::IVAR) & ivar::EVERY != 0 || command & txd::RS != 0
    }
    fn tell_transmitted(&mut self, queue: usize, command: u32) {
        if self.is_msix() {
            return self.cause([Cause::TXQ0, Cause::TXQ1][queue]);
        }
        let registers = &self.mac.registers;
        if !self.irq.transmit.hold_descriptor(self.mac.wiring.now(), registers, command) {
            self.cause(Cause::TXDW);
        }
    }
}

impl Nic for E1000e {
    fn mac(&self) -> [u8; 6] {
        self.mac.address
    }
    fn link(&self) -> bool {
        self.mac.cable
    }
    fn set_link(&mut self, up: bool) {
        self.plug_cable(up);
    }
    fn rx_filter(&self) -> RxFilter {
        self.filter()
    }
}
