//! Extensible host controller: QEMU's `qemu-xhci` and the NEC µPD720200 as QEMU has it.
//!
//! Specification: "eXtensible Host Controller Interface for Universal Serial Bus (xHCI)", revision 1.1; ids, ports, slots and
//! capabilities are those of QEMU's controllers. `registers` are what the guest writes, `ring` and `commands` the command
//! ring, `slots` the contexts, `transfers` the transfer rings, `events` the event rings, `ports` the root hub.
//!
//! **Time.** There is no schedule: a driver rings a doorbell, and a device that has no answer leaves its endpoint waiting
//! until it has one. So an idle tablet wakes nobody, ever; a timer runs only where a device repeats itself (a HID idle
//! rate that is not 0), where the driver wants to hear of MFINDEX (EWE), and to go on after a call's bound.
//!
//! Where it differs from QEMU: an event for which the ring has no room is kept, and what would make more waits (QEMU drops
//! it and says so on the ring); Stop Endpoint tells how far a TD came; an endpoint whose TRBs make no sense is in the error
//! state.
//!
//! Left out: streams, isochronous endpoints (no device has any), interrupt moderation, saving and
//! restoring by CSS and CRS (an error, as in QEMU), virtualization, debug ports, NEC's challenge.

mod commands;
mod events;
pub mod model;
mod ports;
mod registers;
mod ring;
mod slots;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;
mod transfers;

use std::sync::Arc;

use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, MsiShape, MsixShape, PciConfig, QEMU_SUBSYSTEM, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::{GuestRam, MsiTarget, Timer};

use super::Function;
use events::Interrupter;
use ports::Port;
use ring::Ring;
use slots::Slot;
use spec::{BAR, BAR_LEN, Command, ENDPOINTS, MICROFRAME, MICROFRAMES, Status, config};
use transfers::Budget;

/// What the controllers differ in.
#[derive(Debug)]
pub struct Variant {
    /// Its model.
    pub model: &'static Model,
    /// PCI vendor and device id, and the revision.
    pub ids: (u16, u16, u8),
    /// It has MSI, too.
    pub msi: bool,
    /// It has NEC's own command.
    pub nec: bool,
}

/// How much of each there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Ports for SuperSpeed, up to 15.
    pub supers: u8,
    /// Ports for other speeds, up to 15.
    pub others: u8,
    /// Slots, up to 64.
    pub slots: u8,
    /// Interrupters, up to 16, a power of two.
    pub interrupters: u8,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout { supers: 4, others: 4, slots: 64, interrupters: 16 }
    }
}

/// The controller, for those who put devices on its ports.
pub type Ports = super::bus::Ports<Xhci>;

/// Guest time until a call's rest is gone on with.
const REST: u64 = 20_000;

/// Registers that only keep what is written.
#[derive(Clone, Copy, Debug, Default)]
struct Registers {
    dnctrl: u32,
    dcbaap: u64,
    config: u32,
    commands: Ring,
    crcr_low: u32,
    crcr_running: bool,
}

/// A controller.
pub struct Xhci {
    name: String,
    variant: &'static Variant,
    pci: PciConfig,
    regions: [Region; 1],
    dma: Dma,
    wiring: Wiring,
    timer: Timer,
    command: Command,
    status: Status,
    registers: Registers,
    /// When it was started last.
    started: u64,
    /// The next wrap of MFINDEX that the driver hears of.
    wrap: u64,
    interrupters: Vec<Interrupter>,
    slots: Vec<Option<Slot>>,
    /// Those for SuperSpeed first.
    ports: Vec<Port>,
    supers: usize,
    sockets: Vec<Option<Function>>,
    /// A call has left something to do.
    more: bool,
    /// There are commands, and the event ring has no room for their ends.
    held: bool,
    /// Before a save: nothing is begun.
    quiet: bool,
}

impl Xhci {
    /// A controller on that interrupt pin.
    pub fn new(
        name: &str,
        variant: &'static Variant,
        layout: Layout,
        (ram, msi): (GuestRam, Arc<dyn MsiTarget>),
        line: IrqLine,
        wiring: &Wiring,
    ) -> Xhci {
        let (vendor, device, revision) = variant.ids;
        let identity = Identity { vendor, device, revision, class: spec::CLASS, subsystem: QEMU_SUBSYSTEM };
        let mut pci = PciConfig::new(identity);
        pci.bar(BAR, BarKind::Mem64 { prefetch: false }, BAR_LEN, Window::Region(0));
        pci.connect(1, line);
        pci.set(config::RELEASE, &[0x30]);
        if variant.msi {
            let shape = MsiShape { vectors: layout.interrupters, wide: true, maskable: false };
            pci.msi(config::MSI, shape, msi.clone());
        }
        let (table, pba) = (config::MSIX_TABLE, config::MSIX_PBA);
        let shape = MsixShape { vectors: layout.interrupters.into(), bar: BAR as u8, table, pba };
        pci.msix(config::MSIX, shape, msi);
        let dma = Dma::gated(ram, pci.master());
        let mut xhci = Xhci {
            name: name.to_owned(),
            variant,
            pci,
            regions: [Region::floating("registers", Space::Mmio, BAR_LEN)],
            dma,
            wiring: wiring.clone(),
            timer: wiring.timer(0),
            command: Command::empty(),
            status: Status::HALTED,
            registers: Registers::default(),
            started: 0,
            wrap: 0,
            interrupters: vec![Interrupter::new(); layout.interrupters.into()],
            slots: vec![None; layout.slots.into()],
            ports: vec![Port::empty(); usize::from(layout.supers) + usize::from(layout.others)],
            supers: layout.supers.into(),
            sockets: (0..layout.supers.max(layout.others)).map(|_| None).collect(),
            more: false,
            held: false,
            quiet: false,
        };
        xhci.reset_controller();
        xhci
    }

    /// Everything behind the BAR, and the devices.
    fn reset_controller(&mut self) {
        (self.command, self.status) = (Command::empty(), Status::HALTED);
        self.registers = Registers::default();
        (self.started, self.wrap) = (0, 0);
        (self.more, self.held) = (false, false);
        self.interrupters.fill(Interrupter::new());
        self.slots.fill(None);
        self.reset_ports();
        self.pci.set_intx(false);
        self.settle();
    }

    fn runs(&self) -> bool {
        self.command.contains(Command::RUN) && !self.status.contains(Status::CONTROLLER_ERROR)
    }

    /// What the guest has set up cannot be used: only a reset helps.
    fn fail(&mut self) {
        self.status |= Status::CONTROLLER_ERROR | Status::HALTED;
        self.command -= Command::RUN;
    }

    /// The host's side has news: devices may have answers now.
    fn call_devices(&mut self) {
        for function in self.sockets.iter_mut().flatten() {
            function.device().woken();
        }
    }

    /// Goes on with everything that waits.
    fn go_on(&mut self) {
        if (std::mem::take(&mut self.more) | std::mem::take(&mut self.held)) && self.registers.crcr_running {
            self.run_commands();
        }
        self.serve(&mut Budget::default());
        self.settle();
    }

    /// The timer as it is to be now.
    fn settle(&mut self) {
        let now = self.wiring.now();
        if !self.runs() || self.quiet {
            return self.timer.cancel();
        }
        if self.command.contains(Command::WRAP_EVENT) {
            self.follow_wrap(now);
        } else {
            self.wrap = 0;
        }
        let rest = self.more.then(|| now.saturating_add(REST));
        let wrap = (self.wrap != 0).then_some(self.wrap);
        let alarm = self.repeats(now).into_iter().chain(rest).chain(wrap).min();
        match alarm {
            Some(at) => self.timer.arm(at),
            None => self.timer.cancel(),
        }
    }

    /// When a device says something by itself to an endpoint that waits.
    fn repeats(&self, now: u64) -> Option<u64> {
        let waits = |slot: &&Slot| slot.endpoints.range(2..=ENDPOINTS).any(|(_, at)| at.waiting);
        if !self.slots.iter().flatten().any(|slot| waits(&slot)) {
            return None;
        }
        self.sockets.iter().flatten().filter_map(|function| function.speaks_after(now)).min()
    }

    /// MFINDEX wraps every two seconds.
    fn follow_wrap(&mut self, now: u64) {
        let period = MICROFRAME * MICROFRAMES;
        let passed = now.saturating_sub(self.started) / period;
        let next = self.started.saturating_add((passed + 1).saturating_mul(period));
        if self.wrap != 0 && self.wrap <= now {
            self.tell_wrap();
        }
        self.wrap = next;
    }
}

impl Device for Xhci {
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
        self.read_bar(at, data)
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        self.write_bar(at, data);
        self.settle();
        Io::Done
    }

    fn wake(&mut self, why: Wake) {
        if let Wake::Backend(_) = why {
            self.call_devices();
        }
        self.go_on();
    }

    fn reset(&mut self) {
        self.pci.reset();
        self.quiet = false;
        self.reset_controller();
    }

    fn drained(&self) -> bool {
        self.sockets.iter().flatten().all(Function::drained)
    }

    fn quiesce(&mut self) -> bool {
        self.quiet = true;
        self.timer.cancel();
        self.sockets.iter_mut().flatten().all(|function| function.device().quiesce())
    }

    fn resume(&mut self) {
        self.quiet = false;
        self.go_on();
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }

    fn config_write(&mut self, reg: u16, data: &[u8]) -> bool {
        let moved = self.pci.write(reg, data);
        self.settle_interrupt(0);
        moved
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)?;
        self.settle();
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        node.hex("command", self.command.bits()).hex("status", self.status.bits());
        node.hex("contexts", self.registers.dcbaap).hex("commands", self.registers.commands.at);
        for (slot, number) in self.slots.iter().zip(1..) {
            let Some(Slot { state, port, route, endpoints, .. }) = slot else { continue };
            let child = node.child(&format!("slot {number}"));
            child.value("state", format_args!("{state:?}")).value("port", port).hex("route", *route);
            for (number, endpoint) in endpoints {
                let state = endpoint.state;
                let waits = if endpoint.waiting { ", waits" } else { "" };
                let line = format_args!("{state:?} at {:#x}{waits}", endpoint.ring.at);
                child.value(&format!("endpoint {number}"), line);
            }
        }
        for (port, number) in self.ports.iter().zip(1..) {
            node.child(&format!("port {number}")).hex("status", port.bits.bits()).value("link", port.link);
        }
        for (function, number) in self.sockets.iter().zip(1..) {
            if let Some(function) = function {
                function.inspect(node.child(&format!("socket {number}")));
            }
        }
    }
}
