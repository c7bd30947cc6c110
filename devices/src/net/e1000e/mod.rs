//! Intel 82574L network card (QEMU's `e1000e`).
//!
//! Specification: Intel's "82574 GbE Controller Family Datasheet" (revision 3.4). Receiver (`rx`), what frames are
//! (`packet`), transmitter (`tx`), interrupts and their timers (`irq`), NVM (`nvm`) and PHY (`phy`) each have their
//! file; what is as in the 8254x is `e1000x`'s.
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
mod packet;
mod phy;
mod registers;
mod rx;
pub mod spec;
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
use devices_core::pci::{BarKind, Identity, MsiShape, MsixShape, PciConfig, Window, reg as pci_reg};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::{GuestRam, MsiTarget, Timer};

use irq::Irq;
use nvm::Nvm;
use phy::Phy;
use rx::Rx;
use spec::{Cause, QUEUES, ctrl, ctrl_ext, reg, status};

use super::e1000x::phy::{NEGOTIATION, Wish};
use super::e1000x::registers::Registers;
use super::e1000x::tx::Tx;
use super::e1000x::{filter, stats};
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

/// The only timer's number.
const TIMER: u32 = 0;
/// When work that was too much for one call goes on, in nanoseconds.
const TURN: u64 = 50_000;

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
    dma: Dma,
    backend: Arc<dyn NetBackend>,
    wiring: Wiring,
    /// The address that it was made with.
    mac: [u8; 6],
    registers: Registers,
    /// IOADDR.
    io_address: u32,
    nvm: Nvm,
    phy: Phy,
    irq: Irq,
    rx: Rx,
    /// Each queue's.
    tx: [Tx; QUEUES],
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
        let NicConfig { backend, mac } = cable;
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
            dma,
            backend,
            wiring: wiring.clone(),
            mac,
            registers: registers::empty(),
            io_address: 0,
            nvm: Nvm::new(mac),
            phy: Phy::new(),
            irq: Irq::default(),
            rx: Rx::new(),
            tx: [Tx::new(), Tx::new()],
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
        self.nvm.reset();
        registers::reset(&mut self.registers, self.nvm.mac(), vet);
        self.irq = Irq::default();
        self.tx.iter_mut().for_each(Tx::reset);
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
        self.phy.main.link_down();
    }

    /// Negotiation begins: there is no link till it is over.
    fn negotiate(&mut self) {
        self.link_down();
        self.negotiated = Some(self.wiring.now().saturating_add(NEGOTIATION));
    }

    /// Negotiation is over, if there was somebody to negotiate with.
    fn negotiation_ends(&mut self) {
        self.negotiated = None;
        if self.cable {
            self.phy.main.complete();
            self.link_bit(true);
            self.cause(Cause::LSC);
            self.receive();
        }
    }

    /// What is sent comes back: by the PHY or by the controller.
    fn loops(&self) -> bool {
        self.phy.main.loops() || self.registers.get(reg::RCTL) & spec::rctl::LBM != 0
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

    /// The timer fires when there is something to do next, or before: then the clock is looked at and it is armed
    /// anew. That is cheaper than moving it with every frame.
    fn arm(&mut self) {
        let next = [self.interrupt_deadline(), self.negotiated, self.turn].into_iter().flatten().min();
        if let Some(next) = next.filter(|next| self.armed.is_none_or(|armed| *next < armed)) {
            self.armed = Some(next);
            self.timer.arm(next);
        }
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
                let value = self.registers.get(offset);
                self.registers.set(offset, value | 1);
                value
            }
            reg::STATISTICS..=reg::IAC => stats::read(&mut self.registers, offset),
            _ => self.registers.get(offset),
        }
    }

    /// STATUS: the link, and what CTRL says of it and of the bus.
    fn status(&self) -> u32 {
        let [value, control, extended] =
            [reg::STATUS, reg::CTRL, reg::CTRL_EXT].map(|at| self.registers.get(at));
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
                let before = self.registers.get(offset);
                self.registers.set(offset, before & (value | !status::PHYRA));
            }
            reg::EECD => self.nvm.write_eecd(value),
            reg::EERD => self.nvm.write_eerd(value),
            reg::EEWR => self.nvm.write_eewr(value),
            reg::MDIC => self.write_mdic(value),
            reg::ICR => self.write_icr(value),
            reg::ICS => self.cause(Cause::from_bits_retain(value)),
            reg::IMS => self.write_ims(value),
            reg::IMC => self.irq.mask = self.irq.mask.difference(Cause::from_bits_retain(value)),
            _ => {
                let writable = registers::writable(offset);
                if writable != 0 {
                    let kept = self.registers.get(offset) & if offset == reg::GCR { !writable } else { 0 };
                    self.registers.set(offset, kept | value & writable);
                    self.written(offset, value);
                }
            }
        }
    }

    /// A register that just keeps its value has got a new one.
    fn written(&mut self, offset: u32, value: u32) {
        match offset {
            reg::TCTL | reg::TDT | reg::TARC0 | reg::TARC1 => self.transmit(),
            reg::RCTL | reg::RDT => self.receive(),
            // The ring begins anew: what was under way is of the old one.
            _ if tx::queue_of_head(offset).is_some() => {
                tx::queue_of_head(offset).into_iter().for_each(|queue| self.tx[queue].reset());
            }
            _ if offset == reg::TDBAL1 + 0x18 => self.transmit(),
            _ if offset == reg::RDBAL1 + 0x18 => self.receive(),
            reg::RDTR | reg::TIDV if value & spec::RDTR_FPD != 0 => {
                let held = self.irq.flush();
                self.cause(held);
            }
            reg::PBACLR => {
                let vectors = (0..spec::VECTORS as u16).filter(|vector| value >> vector & 1 != 0);
                vectors.for_each(|vector| self.pci.clear_msix_pending(vector));
            }
            reg::CTRL_EXT if value & ctrl_ext::EE_RST != 0 => {
                registers::set_station(&mut self.registers, self.nvm.mac());
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
        if value & ctrl::PHY_RST != 0 {
            self.registers.set(reg::STATUS, self.registers.get(reg::STATUS) | status::PHYRA);
        }
        self.registers.set(reg::CTRL, value);
    }

    fn write_mdic(&mut self, value: u32) {
        let (answer, wish) = self.phy.mdic(value);
        self.registers.set(reg::MDIC, answer);
        if wish == Wish::Negotiate {
            self.negotiate();
        }
        if value & spec::mdic::INTERRUPT != 0 {
            self.cause(Cause::MDAC);
        }
    }

    /// The register that IOADDR names, if it names one.
    fn io_register(&self) -> Option<u32> {
        Some(self.io_address & !3).filter(|offset| u64::from(*offset) < spec::MEMORY_LEN)
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
            (PORTS, spec::IOADDR) => self.io_address,
            (PORTS, spec::IODATA) => self.io_register().map_or(0, |offset| self.read_register(offset)),
            (FLASH, _) => u32::MAX,
            _ => 0,
        };
        let lanes = value >> (8 * (at.offset as u32 & 3));
        for (byte, value) in data.iter_mut().zip(lanes.to_le_bytes()) {
            *byte = value;
        }
        self.settle();
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if at.region == MSIX {
            self.pci.msix_write(MSIX as u8, at.offset, data);
            return Io::Done;
        }
        // The registers take 32 bits, whichever of them an access means.
        let value = data.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
        let aligned = at.offset as u32 & !3;
        match (at.region, u64::from(aligned)) {
            (MEMORY, _) => self.write_register(aligned, value),
            (PORTS, spec::IOADDR) => self.io_address = value,
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
        self.phy = Phy::new();
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
        node.value("mac", devices_core::net::format_mac(self.mac));
        node.value("cable", if self.cable { "in" } else { "out" });
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
            node.hex(name, self.registers.get(offset));
        }
        for (name, ring) in [
            ("rx queue 0", reg::RDBAL),
            ("rx queue 1", reg::RDBAL1),
            ("tx queue 0", reg::TDBAL),
            ("tx queue 1", reg::TDBAL1),
        ] {
            let node = node.child(name);
            for (name, offset) in [("length", 8), ("head", 0x10), ("tail", 0x18)] {
                node.hex(name, self.registers.get(ring + offset));
            }
        }
        let waits = self.tx.iter().any(|tx| tx.ready);
        node.value("tx", if waits { "waits for the backend" } else { "idle" });
        let phy: Vec<String> = self.phy.main.registers.iter().map(|value| format!("{value:04x}")).collect();
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

impl Nic for E1000e {
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
        } else if self.phy.main.negotiates() && !self.phy.main.negotiated() {
            self.negotiate();
        } else {
            self.phy.main.link_up();
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
