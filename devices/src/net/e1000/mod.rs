//! Intel 82540EM network card, and its kin 82544GC and 82545EM (QEMU's `e1000`).
//!
//! Specification: Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (317453).
//! Received descriptors (`rx`), interrupts and their timers (`irq`) and EEPROM (`eeprom`) each have their file;
//! filters, statistics, the PHY, the link, the transmitter and the receiver's ways are `e1000x`'s.
//!
//! Where it differs from QEMU, it follows the manual: CTRL.RST resets the controller, IOADDR and IODATA reach the
//! registers, received checksums are looked at, the delay timers of both directions count, statistics are all cleared
//! by reading, the PHY answers for all of its registers, the EEPROM can be written.
//!
//! Left out: the option ROM, wake-up (its registers keep what is written), management, flow control frames, flash,
//! GPIO pins, the packet buffer as memory, thresholds of descriptor prefetch and write-back (each descriptor is read
//! when it is needed and written back at once), the check sequence (a received one is not written, one that
//! software sends itself is sent as data), registers at their places in the 82542.

mod eeprom;
mod irq;
pub mod model;
mod registers;
mod rx;
mod state;
#[cfg(test)]
mod tests;

use devices_core::device::Deferred;
use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::net::{Nic, RxFilter};
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window, reg as pci_reg};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::GuestRam;

use eeprom::Eeprom;
use irq::Irq;
use spec::{Cause, ctrl, reg, txd};

use super::e1000x::controller::{Controller, Mac, read_lanes, written_word};
use super::e1000x::phy::Phy;
pub use super::e1000x::spec;
use super::e1000x::stats;
use crate::board::NicConfig;

/// Region numbers.
const MEMORY: usize = 0;

/// What the cards differ in.
#[derive(Debug)]
pub struct Variant {
    /// Its model.
    pub model: &'static Model,
    /// PCI device id.
    pub device: u16,
    /// Lower half of the PHY's id.
    pub phy: u16,
}

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Negotiation takes its time.
    pub autonegotiation: bool,
    /// There are interrupt timers.
    pub mitigation: bool,
    /// There are the registers that QEMU 2.5 came to have.
    pub extra_registers: bool,
    /// VET is 0x8100 after a reset.
    pub init_vet: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { autonegotiation: true, mitigation: true, extra_registers: true, init_vet: true }
    }
}

/// A network card.
pub struct E1000 {
    name: String,
    variant: &'static Variant,
    options: Options,
    pci: PciConfig,
    regions: [Region; 2],
    mac: Mac,
    eeprom: Eeprom,
    phy: Phy,
    irq: Irq,
}

impl E1000 {
    /// A card with that cable and address.
    pub fn new(
        name: &str,
        variant: &'static Variant,
        options: Options,
        cable: NicConfig,
        ram: GuestRam,
        line: IrqLine,
        wiring: &Wiring,
    ) -> E1000 {
        let address = cable.mac;
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: variant.device,
            revision: 3,
            class: 0x02_00_00,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(0, BarKind::Mem32 { prefetch: false }, spec::MEMORY_LEN, Window::Region(MEMORY));
        pci.bar(1, BarKind::Io, spec::PORTS_LEN, Window::Region(1));
        pci.connect(1, line);
        let dma = Dma::gated(ram, pci.master());
        let mut card = E1000 {
            name: name.to_owned(),
            variant,
            options,
            pci,
            regions: [
                Region::floating("registers", Space::Mmio, spec::MEMORY_LEN),
                Region::floating("ports", Space::Pio, spec::PORTS_LEN),
            ],
            mac: Mac::new(cable, dma, registers::empty(), 1, wiring),
            eeprom: Eeprom::new(address, variant.device),
            phy: Phy::new(variant.phy),
            irq: Irq::default(),
        };
        card.reset_controller();
        card
    }

    /// All but the PHY and PCI.
    fn reset_controller(&mut self) {
        let vet = if self.options.init_vet { 0x8100 } else { 0 };
        self.eeprom.reset();
        registers::reset(&mut self.mac.registers, self.eeprom.mac(), vet);
        self.irq = Irq::default();
        self.mac.reset();
    }

    /// What the pin was told last.
    fn pin(&self) -> bool {
        self.pci.u16(pci_reg::STATUS) & 1 << 3 != 0
    }

    /// Whether a register is there at all.
    fn has(&self, offset: u32) -> bool {
        (self.options.mitigation || !registers::is_timer(offset))
            && (self.options.extra_registers || !registers::is_extra(offset))
    }

    fn read_register(&mut self, offset: u32) -> u32 {
        if !self.has(offset) {
            return 0;
        }
        match offset {
            reg::EECD => self.eeprom.read_eecd(),
            reg::EERD => self.eeprom.read,
            reg::ICR => self.irq.take(self.mac.wiring.now()),
            reg::ICS => {
                self.irq.look_at_delays(self.mac.wiring.now());
                self.irq.causes.bits()
            }
            reg::IMS => self.irq.mask.bits(),
            reg::STATISTICS..=reg::STATISTICS_END => stats::read(&mut self.mac.registers, offset),
            _ => self.mac.registers.get(offset),
        }
    }

    fn write_register(&mut self, offset: u32, value: u32) {
        if !self.has(offset) {
            return;
        }
        match offset {
            reg::EECD => self.eeprom.write_eecd(value),
            reg::EERD => self.eeprom.write_eerd(value),
            reg::MDIC => {
                let answer = self.phy.mdic(value);
                self.mdic_written(value, answer);
            }
            reg::ICR => self.irq.causes &= !Cause::from_bits_retain(value),
            reg::ICS => self.irq.causes |= Cause::from_bits_retain(value),
            reg::IMS => self.irq.mask |= Cause::from_bits_retain(value),
            reg::IMC => self.irq.mask &= !Cause::from_bits_retain(value),
            reg::CTRL => self.write_control(value),
            _ => {
                let writable = registers::writable(offset);
                if writable != 0 {
                    self.mac.registers.set(offset, value & writable);
                    self.written(offset, value);
                }
            }
        }
    }

    /// A register that just keeps its value has got a new one.
    fn written(&mut self, offset: u32, value: u32) {
        match offset {
            reg::TCTL | reg::TDT => self.transmit(),
            reg::RCTL | reg::RDT => self.receive(),
            // The ring begins anew: what was under way is of the old one.
            reg::TDH => self.mac.tx[0].reset(),
            reg::RDTR if value & spec::RDTR_FPD != 0 => self.irq.flush(),
            reg::CTRL_EXT if value & spec::CTRL_EXT_EE_RST != 0 => {
                let [a, b, c, d, e, f] = self.eeprom.mac();
                self.mac.registers.set(reg::RA, u32::from_le_bytes([a, b, c, d]));
                let high = spec::RAH_AV | u32::from(u16::from_le_bytes([e, f]));
                self.mac.registers.set(reg::RA + 4, high);
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
        self.mac.registers.set(reg::CTRL, value);
    }
}

impl Device for E1000 {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(self.variant.model)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let aligned = at.offset as u32 & !3;
        let value = if at.region == MEMORY {
            self.read_register(aligned)
        } else {
            match u64::from(aligned) {
                spec::IOADDR => self.mac.io_address,
                spec::IODATA => self.read_register(self.mac.io_address),
                _ => 0,
            }
        };
        read_lanes(value, at.offset, data);
        self.settle();
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let value = written_word(data);
        let aligned = at.offset as u32 & !3;
        if at.region == MEMORY {
            self.write_register(aligned, value);
        } else {
            match u64::from(aligned) {
                spec::IOADDR => self.mac.io_address = value & (spec::MEMORY_LEN as u32 - 4),
                spec::IODATA => self.write_register(self.mac.io_address, value),
                _ => {}
            }
        }
        self.settle();
        Io::Done
    }

    fn wake(&mut self, why: Wake) {
        self.woken(why);
    }

    fn reset(&mut self) {
        self.pci.reset();
        self.phy.power_on();
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
        // Bus mastering may have come on.
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
        node.hex("causes", self.irq.causes.bits()).hex("mask", self.irq.mask.bits());
        node.value("irq", self.irq.level);
        let named = [
            ("ctrl", reg::CTRL),
            ("status", reg::STATUS),
            ("rctl", reg::RCTL),
            ("tctl", reg::TCTL),
            ("itr", reg::ITR),
            ("rdlen", reg::RDLEN),
            ("rdh", reg::RDH),
            ("rdt", reg::RDT),
            ("tdlen", reg::TDLEN),
            ("tdh", reg::TDH),
            ("tdt", reg::TDT),
        ];
        for (name, offset) in named {
            node.hex(name, self.mac.registers.get(offset));
        }
        self.describe(node);
    }
}

impl Controller for E1000 {
    fn mac(&self) -> &Mac {
        &self.mac
    }
    fn mac_mut(&mut self) -> &mut Mac {
        &mut self.mac
    }
    fn phy(&self) -> &Phy {
        &self.phy
    }
    fn phy_mut(&mut self) -> &mut Phy {
        &mut self.phy
    }
    fn cause(&mut self, cause: Cause) {
        self.irq.causes |= cause;
    }
    fn settle(&mut self) {
        let itr = self.mac.registers.get(reg::ITR);
        self.irq.settle(self.mac.wiring.now(), itr);
        if self.irq.level != self.pin() {
            self.pci.set_intx(self.irq.level);
        }
        self.arm();
    }
    fn interrupt_deadline(&self) -> Option<u64> {
        self.irq.deadline()
    }
    fn negotiates(&self) -> bool {
        self.options.autonegotiation
    }
    fn can_receive(&self) -> bool {
        self.has_room()
    }
    fn store(&mut self, frame: &[u8], tag: Option<u16>) {
        self.store_frame(frame, tag);
    }
    fn writes_back(&self, command: u32) -> bool {
        command & (txd::RS | txd::RPS) != 0
    }
    fn tell_transmitted(&mut self, _: usize, command: u32) {
        let registers = &self.mac.registers;
        if !self.irq.transmit.hold_descriptor(self.mac.wiring.now(), registers, command) {
            self.cause(Cause::TXDW);
        }
    }
}

impl Nic for E1000 {
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
