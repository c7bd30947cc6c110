//! Open host controller: QEMU's `pci-ohci`, Apple's by its ids.
//!
//! Specification: "Open Host Controller Interface Specification for USB", release 1.0a. `registers` are what the driver
//! writes, `ports` the root hub, `schedule` the frames and the walk over the lists, `transfers` endpoint and transfer
//! descriptors.
//!
//! **Time.** HcFmNumber and HcFmRemaining follow from guest time; which frames are walked when is told in
//! [`frames`](super::frames). A timer runs for each frame besides only where the driver wants to hear of each
//! (StartOfFrame), until the done queue is due, and for FrameNumberOverflow. Every read of a register sees what has passed,
//! in HCCA too.
//!
//! It may be the **companion** of an EHCI: its ports are sockets of that one's then, as UHCI's.
//!
//! Where it differs from QEMU it follows the specification: an endpoint that nobody answers for has its three attempts,
//! packets do not go through a port that sleeps, which ClearSuspendStatus wakes, toggles are those of packets, and more TDs
//! than fit wait for the next frame. Ports have power always, as the root hub says, so that to switch it does nothing.
//!
//! An error that cannot be recovered from (what is no memory, a TD at address 0, a buffer that ends before it begins, a
//! packet length of 0) stops the frames until the controller is reset, and is told in PCI's status too, as by QEMU.
//!
//! Left out: interrupts by SMI and ownership (HcControl.IR and OCR keep what is written: no firmware here has the
//! controller), over-current, bandwidth (HcPeriodicStart, HcLSThreshold), the length of a frame as FI changes it.

pub mod model;
mod ports;
mod registers;
mod schedule;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;
mod transfers;

use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::{GuestRam, Timer};

use super::frames::{FRAME, Frames};
use super::full_speed::FullSpeedHost;
use super::socket::{Side, Socket};
use super::{Function, PlugError, UsbHost};
use ports::Port;
use spec::{BAR, BAR_LEN, Bus, CommandStatus, Control, Interrupt, td};

/// The controller, for those who put devices on its ports.
pub type Ports = super::bus::Ports<Ohci>;

/// The registers, without the ports.
#[derive(Clone, Copy, Debug)]
struct Registers {
    control: Control,
    status: CommandStatus,
    interrupt: Interrupt,
    enable: Interrupt,
    hcca: u32,
    control_head: u32,
    control_current: u32,
    bulk_head: u32,
    bulk_current: u32,
    interval: u32,
    /// FRT.
    toggle: bool,
    number: u16,
    periodic_start: u16,
    ls_threshold: u16,
    wake_on_connect: bool,
}

/// TDs that are done and not in HCCA yet.
#[derive(Clone, Copy, Debug)]
struct Done {
    /// HcDoneHead.
    head: u32,
    /// Frames until they are; [`td::NEVER`].
    count: u8,
}

/// A controller.
pub struct Ohci {
    name: String,
    pci: PciConfig,
    regions: [Region; 1],
    dma: Dma,
    wiring: Wiring,
    timer: Timer,
    registers: Registers,
    frames: Frames,
    done: Done,
    /// After an error, until it is reset.
    stopped: bool,
    ports: Vec<Port>,
}

impl Registers {
    const RESET: Registers = Registers {
        control: Control::empty(),
        status: CommandStatus::empty(),
        interrupt: Interrupt::empty(),
        enable: Interrupt::empty(),
        hcca: 0,
        control_head: 0,
        control_current: 0,
        bulk_head: 0,
        bulk_current: 0,
        interval: spec::FM_INTERVAL_DEFAULT,
        toggle: false,
        number: 0,
        periodic_start: 0,
        ls_threshold: spec::LS_THRESHOLD_DEFAULT as u16,
        wake_on_connect: false,
    };
}

impl Done {
    const NONE: Done = Done { head: 0, count: td::NEVER };
}

impl Ohci {
    /// A controller with so many ports on that interrupt line.
    pub fn new(name: &str, ports: u8, ram: GuestRam, line: IrqLine, wiring: &Wiring) -> Ohci {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: 0,
            class: spec::CLASS,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(BAR, BarKind::Mem32 { prefetch: false }, BAR_LEN, Window::Region(0));
        pci.connect(1, line);
        let dma = Dma::gated(ram, pci.master());
        let port = |_| Port::new(Socket::new(Side::Companion));
        let mut ohci = Ohci {
            name: name.to_owned(),
            pci,
            regions: [Region::floating("registers", Space::Mmio, BAR_LEN)],
            dma,
            wiring: wiring.clone(),
            timer: wiring.timer(0),
            registers: Registers::RESET,
            frames: Frames::default(),
            done: Done::NONE,
            stopped: false,
            ports: (0..ports.clamp(1, spec::PORTS)).map(port).collect(),
        };
        ohci.reset_controller();
        ohci
    }

    /// The same as a companion, whose ports are those of a master's from `first` on.
    ///
    /// # Errors
    /// The master has no companion there.
    pub fn at(mut self, master: &dyn UsbHost, first: u64) -> Result<Ohci, PlugError> {
        let sockets = master.companion(first, self.ports.len() as u8, self.wiring.timer(1))?;
        self.ports = sockets.into_iter().map(Port::new).collect();
        self.reset_controller();
        Ok(self)
    }

    /// Everything behind the BAR, and the devices.
    fn reset_controller(&mut self) {
        self.registers = Registers::RESET;
        (self.frames, self.done, self.stopped) = (Frames::default(), Done::NONE, false);
        self.reset_root_hub();
        self.settle();
    }

    /// HcCommandStatus.HCR (7.1.3): all but the root hub, which sleeps then, and who has the interrupts.
    fn reset_by_driver(&mut self) {
        let Registers { control, wake_on_connect, .. } = self.registers;
        let control = (control & Control::ROUTING).with(Bus::Suspend);
        self.registers = Registers { control, wake_on_connect, ..Registers::RESET };
        (self.frames, self.done, self.stopped) = (Frames::default(), Done::NONE, false);
    }

    /// Whether frames pass.
    fn runs(&self) -> bool {
        self.registers.control.bus() == Bus::Operational && !self.stopped
    }

    /// Whether there is something in a list that is processed.
    fn is_listed(&self) -> bool {
        let Registers { control, status, .. } = self.registers;
        let filled = |list, filled| control.contains(list) && status.contains(filled);
        control.contains(Control::PERIODIC)
            || filled(Control::CONTROL, CommandStatus::CONTROL_FILLED)
            || filled(Control::BULK, CommandStatus::BULK_FILLED)
    }

    /// The guest has led it where nobody can go: only a reset helps.
    fn die(&mut self) {
        self.registers.interrupt |= Interrupt::ERROR;
        self.stopped = true;
        self.pci.poke(spec::PCI_STATUS, self.pci.u8(spec::PCI_STATUS) | spec::PARITY);
    }

    /// When something is to be done though nobody asks.
    fn alarm(&self) -> Option<u64> {
        if !self.runs() {
            return None;
        }
        let Registers { interrupt, enable, number, .. } = self.registers;
        let after = |frames: u64| self.frames.due.saturating_add(frames * FRAME);
        let wanted = if enable.contains(Interrupt::MASTER) { enable - interrupt } else { Interrupt::empty() };
        let begins = wanted.contains(Interrupt::FRAME).then_some(self.frames.due);
        let left = u64::from(0x7fff - (number & 0x7fff));
        let overflows = wanted.contains(Interrupt::OVERFLOW).then(|| after(left));
        let is_due =
            self.done.head != 0 && self.done.count < td::NEVER && !interrupt.contains(Interrupt::DONE);
        let done = is_due.then(|| after(self.done.count.into()));
        let waited = self.frames.waited();
        let speaks = |port: &Port| port.socket.with(|function| function.speaks_after(waited))?;
        let walks = self.is_listed().then(|| self.frames.alarm(self.ports.iter().filter_map(speaks)));
        [begins, overflows, done, walks].into_iter().flatten().min()
    }

    /// Frames are walked one by one from here on.
    fn hurry(&mut self) {
        self.frames.hurry();
        self.settle();
    }
}

impl Device for Ohci {
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
        self.look();
        self.catch_up();
        self.settle();
        // Registers are words; one that begins elsewhere is none.
        let word = if at.offset & 3 == 0 { self.read_register(at.offset) } else { spec::ABSENT };
        data.fill(0);
        data.iter_mut().zip(word.to_le_bytes()).for_each(|(byte, from)| *byte = from);
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        self.look();
        self.catch_up();
        if at.offset & 3 == 0 {
            let mut bytes = [0; 4];
            bytes.iter_mut().zip(data).for_each(|(byte, from)| *byte = *from);
            self.write_register(at.offset, u32::from_le_bytes(bytes));
        }
        self.hurry();
        Io::Done
    }

    fn wake(&mut self, why: Wake) {
        if let Wake::Backend(_) = why {
            self.call_devices();
        }
        self.look();
        self.catch_up();
        self.settle();
    }

    fn reset(&mut self) {
        self.pci.reset();
        self.reset_controller();
    }

    fn drained(&self) -> bool {
        self.ports.iter().all(|port| port.socket.with(|function| function.drained()) != Some(false))
    }

    fn quiesce(&mut self) -> bool {
        let quiet = |port: &Port| port.socket.with(|function| function.device().quiesce()) != Some(false);
        self.ports.iter().all(quiet)
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }

    fn config_write(&mut self, reg: u16, data: &[u8]) -> bool {
        // Frames of before are of the bus master bit as it was.
        self.catch_up();
        let moved = self.pci.write(reg, data);
        self.hurry();
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
        let Registers { control, status, interrupt, enable, hcca, number, .. } = self.registers;
        node.value("bus", format_args!("{:?}", control.bus())).hex("control", control.bits());
        node.hex("command status", status.bits()).hex("HCCA", hcca);
        node.hex("interrupts", interrupt.bits()).hex("enabled", enable.bits());
        node.value("frame", number).value("quiet", self.frames.is_quiet()).value("stopped", self.stopped);
        node.hex("done queue", self.done.head);
        for (port, number) in self.ports.iter().zip(1..) {
            let child = node.child(&format!("port {number}"));
            child.hex("status", port.bits.bits());
            port.socket.with(|function: &mut Function| function.inspect(child));
        }
    }
}
