//! Intel 82540EM network card, and its kin 82544GC and 82545EM (QEMU's `e1000`).
//!
//! Specification: Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (317453).
//! Receiver (`rx`), transmitter (`tx`), interrupts and their timers (`irq`) and EEPROM (`eeprom`) each have their file;
//! filters, statistics, the PHY and how packets are put together are `e1000x`'s.
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
mod tx;

use std::sync::Arc;

use devices_core::device::Deferred;
use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::net::{NetBackend, Nic, RxFilter};
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window, reg as pci_reg};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::{GuestRam, Timer};

use eeprom::Eeprom;
use irq::Irq;
use rx::Rx;
use spec::{Cause, ctrl, reg, status};

use super::e1000x::phy::{NEGOTIATION, Phy, Wish};
use super::e1000x::registers::Registers;
pub use super::e1000x::spec;
use super::e1000x::tx::Tx;
use super::e1000x::{filter, stats};
use crate::board::NicConfig;

/// Region numbers.
const MEMORY: usize = 0;

/// The only timer's number.
const TIMER: u32 = 0;
/// When work that was too much for one call goes on, in nanoseconds.
const TURN: u64 = 50_000;

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
    dma: Dma,
    backend: Arc<dyn NetBackend>,
    wiring: Wiring,
    /// The address that it was made with.
    mac: [u8; 6],
    registers: Registers,
    /// IOADDR.
    io_address: u32,
    eeprom: Eeprom,
    phy: Phy,
    irq: Irq,
    rx: Rx,
    tx: Tx,
    /// The cable is in.
    cable: bool,
    /// When negotiation is over.
    negotiated: Option<u64>,
    /// When work goes on that was too much for one call.
    turn: Option<u64>,
    timer: Timer,
    /// When the timer fires; no later than it has to.
    armed: Option<u64>,
    /// Between [`Device::quiesce`] and [`Device::resume`].
    quiet: bool,
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
        let NicConfig { backend, mac } = cable;
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
            dma,
            backend,
            wiring: wiring.clone(),
            mac,
            registers: registers::empty(),
            io_address: 0,
            eeprom: Eeprom::new(mac, variant.device),
            phy: Phy::new(variant.phy),
            irq: Irq::default(),
            rx: Rx::new(),
            tx: Tx::new(),
            cable: true,
            negotiated: None,
            turn: None,
            timer: wiring.timer(TIMER),
            armed: None,
            quiet: false,
        };
        card.reset_controller();
        card
    }

    /// All but the PHY and PCI.
    fn reset_controller(&mut self) {
        let vet = if self.options.init_vet { 0x8100 } else { 0 };
        self.eeprom.reset();
        registers::reset(&mut self.registers, self.eeprom.mac(), vet);
        self.irq = Irq::default();
        self.tx.reset();
        self.turn = None;
        if self.cable && self.negotiated.is_none() {
            self.link_bit(true);
        }
    }

    fn link_bit(&mut self, up: bool) {
        let value = self.registers.get(reg::STATUS) & !status::LU;
        self.registers.set(reg::STATUS, value | if up { status::LU } else { 0 });
    }

    fn link_down(&mut self) {
        self.link_bit(false);
        self.phy.link_down();
    }

    /// Negotiation begins: there is no link till it is over.
    fn negotiate(&mut self) {
        self.link_down();
        self.negotiated = Some(self.wiring.now().saturating_add(NEGOTIATION));
    }

    /// What is sent comes back: by the PHY or by the controller.
    fn loops(&self) -> bool {
        self.phy.loops() || self.registers.get(reg::RCTL) & spec::rctl::LBM != 0
    }

    fn cause(&mut self, cause: Cause) {
        self.irq.causes |= cause;
    }

    /// What could not be done in this call goes on soon.
    fn go_on(&mut self) {
        self.turn = Some(self.wiring.now().saturating_add(TURN));
    }

    /// Whatever can go on goes on.
    fn kick(&mut self) {
        self.transmit();
        self.receive();
    }

    /// After every call: the interrupt pin and the timer as they are to be.
    fn settle(&mut self) {
        let itr = self.registers.get(reg::ITR);
        self.irq.settle(self.wiring.now(), itr);
        if self.irq.level != self.pin() {
            self.pci.set_intx(self.irq.level);
        }
        self.arm();
    }

    /// The timer fires when there is something to do next, or before: then the clock is looked at and it is armed
    /// anew. That is cheaper than moving it with every frame.
    fn arm(&mut self) {
        let next = [self.irq.deadline(), self.negotiated, self.turn].into_iter().flatten().min();
        if let Some(next) = next.filter(|next| self.armed.is_none_or(|armed| *next < armed)) {
            self.armed = Some(next);
            self.timer.arm(next);
        }
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
            reg::ICR => self.irq.take(self.wiring.now()),
            reg::ICS => {
                self.irq.look_at_delays(self.wiring.now());
                self.irq.causes.bits()
            }
            reg::IMS => self.irq.mask.bits(),
            reg::STATISTICS..=reg::STATISTICS_END => stats::read(&mut self.registers, offset),
            _ => self.registers.get(offset),
        }
    }

    fn write_register(&mut self, offset: u32, value: u32) {
        if !self.has(offset) {
            return;
        }
        match offset {
            reg::EECD => self.eeprom.write_eecd(value),
            reg::EERD => self.eeprom.write_eerd(value),
            reg::MDIC => self.write_mdic(value),
            reg::ICR => self.irq.causes &= !Cause::from_bits_retain(value),
            reg::ICS => self.irq.causes |= Cause::from_bits_retain(value),
            reg::IMS => self.irq.mask |= Cause::from_bits_retain(value),
            reg::IMC => self.irq.mask &= !Cause::from_bits_retain(value),
            reg::CTRL => self.write_control(value),
            _ => {
                let writable = registers::writable(offset);
                if writable != 0 {
                    self.registers.set(offset, value & writable);
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
            reg::TDH => self.tx.reset(),
            reg::RDTR if value & spec::RDTR_FPD != 0 => self.irq.flush(),
            reg::CTRL_EXT if value & spec::CTRL_EXT_EE_RST != 0 => {
                let [a, b, c, d, e, f] = self.eeprom.mac();
                self.registers.set(reg::RA, u32::from_le_bytes([a, b, c, d]));
                let high = spec::RAH_AV | u32::from(u16::from_le_bytes([e, f]));
                self.registers.set(reg::RA + 4, high);
            }
            _ => {}
        }
    }

    fn write_control(&mut self, value: u32) {
        let before = self.registers.get(reg::CTRL);
        if value & !before & ctrl::PHY_RST != 0 {
            self.phy.reset();
        }
        if value & ctrl::RST != 0 {
            return self.reset_controller();
        }
        self.registers.set(reg::CTRL, value);
    }

    fn write_mdic(&mut self, value: u32) {
        let (answer, wish) = self.phy.mdic(value);
        self.registers.set(reg::MDIC, answer);
        if wish == Wish::Negotiate && self.options.autonegotiation {
            self.negotiate();
        }
        if value & spec::mdic::INTERRUPT != 0 {
            self.cause(Cause::MDAC);
        }
    }

    /// Negotiation is over, if there was somebody to negotiate with.
    fn negotiation_ends(&mut self) {
        self.negotiated = None;
        if self.cable {
            self.phy.complete();
            self.link_bit(true);
            self.cause(Cause::LSC);
            self.receive();
        }
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
                spec::IOADDR => self.io_address,
                spec::IODATA => self.read_register(self.io_address),
                _ => 0,
            }
        };
        let lanes = value >> (8 * (at.offset as u32 & 3));
        for (byte, value) in data.iter_mut().zip(lanes.to_le_bytes()) {
            *byte = value;
        }
        self.settle();
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        // The registers take 32 bits, whichever of them an access means.
        let value = data.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
        let aligned = at.offset as u32 & !3;
        if at.region == MEMORY {
            self.write_register(aligned, value);
        } else {
            match u64::from(aligned) {
                spec::IOADDR => self.io_address = value & (spec::MEMORY_LEN as u32 - 4),
                spec::IODATA => self.write_register(self.io_address, value),
                _ => {}
            }
        }
        self.settle();
        Io::Done
    }

    fn wake(&mut self, why: Wake) {
        match why {
            Wake::Backend(_) => self.kick(),
            Wake::Timer(_) => {
                // It fires once for each time that it is armed.
                self.armed = None;
                let now = self.wiring.now();
                if self.negotiated.is_some_and(|end| end <= now) {
                    self.negotiation_ends();
                }
                if self.turn.is_some_and(|turn| turn <= now) {
                    self.turn = None;
                    self.kick();
                }
            }
        }
        self.settle();
    }

    fn reset(&mut self) {
        self.pci.reset();
        self.phy.power_on();
        self.negotiated = None;
        self.io_address = 0;
        self.reset_controller();
        if !self.cable {
            self.link_down();
        }
        self.quiet = false;
        self.armed = None;
        self.timer.cancel();
    }

    fn quiesce(&mut self) -> bool {
        self.quiet = true;
        true
    }

    fn resume(&mut self) {
        self.quiet = false;
        self.kick();
        self.settle();
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
        node.value("mac", devices_core::net::format_mac(self.mac));
        node.value("cable", if self.cable { "in" } else { "out" });
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
            node.hex(name, self.registers.get(offset));
        }
        node.value("tx", if self.tx.ready { "waits for the backend" } else { "idle" });
        let phy: Vec<String> = self.phy.registers.iter().map(|value| format!("{value:04x}")).collect();
        node.value("phy", phy.join(" "));
        let counters = node.child("counters");
        let named = [
            ("received", spec::stat::GPRC),
            ("transmitted", spec::stat::GPTC),
            ("missed", spec::stat::MPC),
            ("too_long", spec::stat::ROC),
        ];
        for (name, offset) in named {
            counters.value(name, self.registers.get(offset));
        }
    }
}

impl Nic for E1000 {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }
    fn link(&self) -> bool {
        self.cable
    }
    fn set_link(&mut self, up: bool) {
        if self.cable == up {
            return;
        }
        self.cable = up;
        let before = self.registers.get(reg::STATUS);
        if !up {
            self.link_down();
        } else if self.options.autonegotiation && self.phy.negotiates() && !self.phy.negotiated() {
            self.negotiate();
        } else {
            self.phy.link_up();
            self.link_bit(true);
        }
        if self.registers.get(reg::STATUS) != before {
            self.cause(Cause::LSC);
        }
        self.kick();
        self.settle();
    }
    fn rx_filter(&self) -> RxFilter {
        filter::describe(&self.registers)
    }
}
