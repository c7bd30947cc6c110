//! Enhanced host controller: QEMU's `usb-ehci` (an ICH4's, 82801D) and the two of the ICH9 (82801I).
//!
//! Specification: "Enhanced Host Controller Interface Specification for Universal Serial Bus", revision 1.0. `registers`
//! are what the guest writes, `ports` the root hub and who owns a port, `schedule` the walk over both lists, `transfers`
//! queue heads and qTDs.
//!
//! **Companions.** A port is a [socket](super::Socket) that a UHCI may share. As long as CONFIGFLAG is 0, and where PORT_OWNER
//! says so, the device is the companion's, at full speed; a device that goes gives its port back (4.2).
//!
//! **Time.** FRINDEX follows from guest time. The lists are walked each microframe for [`BUSY`] walks after something has
//! happened, each frame for [`QUIET`], and then only while somebody may have something to say: with the asynchronous
//! schedule on [once in so many frames](TICK), since a driver puts requests there with no word to the controller; with the
//! periodic one alone not at all, since what is asked there is answered by a device that has news, and that is heard at
//! once. So an idle tablet wakes nobody. Writes of a register, and reads of USBSTS and FRINDEX, see what has passed.
//!
//! What makes no sense (a reserved PID, a length beyond five pages, a sixth page, a packet length of 0) halts its queue;
//! memory that cannot be reached is a host system error and stops the controller. All walks are bounded.
//!
//! Left out: isochronous transfers (iTD, siTD: no device here has such an endpoint, so they are passed over), split
//! transactions and FSTN (they need a hub of high speed), counting of NAKs (a queue that said no is asked again in the next
//! walk), test modes, the SMIs of USBLEGCTLSTS, port power switches, frame lists of another length.

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

use super::Function;
use super::socket::{Side, Socket};
use spec::{
    BAR, BAR_LEN, COMMAND_DEFAULT, Command, FRAME, FRAMES, MICROFRAME, PORTS, PortBits, Status, config,
};

/// What the controllers differ in.
#[derive(Debug)]
pub struct Variant {
    /// Its model.
    pub model: &'static Model,
    /// PCI device id.
    pub device: u16,
    /// PCI revision.
    pub revision: u8,
}

/// The controller, for those who put devices on its ports.
pub type Ports = super::bus::Ports<Ehci>;

/// After so many walks in which nothing happened they are one for each frame.
pub const BUSY: u16 = 32;
/// After so many they are few, or none.
pub const QUIET: u16 = BUSY + 64;
/// In frames, then.
pub const TICK: u64 = 64;

/// A port.
struct Port {
    bits: PortBits,
    socket: Socket,
}

/// The registers, without the ports.
#[derive(Clone, Copy, Debug)]
struct Registers {
    command: Command,
    /// Without the bits that follow from the command.
    status: Status,
    enable: Status,
    /// FRINDEX while the controller stands.
    index: u16,
    periodic: u32,
    next: u32,
    configured: bool,
}

/// A controller.
pub struct Ehci {
    name: String,
    variant: &'static Variant,
    pci: PciConfig,
    regions: [Region; 1],
    dma: Dma,
    wiring: Wiring,
    timer: Timer,
    registers: Registers,
    /// Interrupts that wait for their threshold, and until when.
    pending: Status,
    pending_until: u64,
    /// The frame that is walked next, and when it ends, while the controller runs.
    frame: u16,
    due: u64,
    /// When the asynchronous list is walked next.
    due_async: u64,
    /// Walks in which nothing happened, one after the other, up to [`QUIET`].
    idle: u16,
    /// How many companions there are, and of how many ports.
    companions: (u8, u8),
    ports: [Port; PORTS],
}

impl Registers {
    const RESET: Registers = Registers {
        command: COMMAND_DEFAULT,
        status: Status::empty(),
        enable: Status::empty(),
        index: 0,
        periodic: 0,
        next: 0,
        configured: false,
    };
}

impl Ehci {
    /// A controller on that interrupt line, which is INTD of its slot.
    pub fn new(name: &str, variant: &'static Variant, ram: GuestRam, line: IrqLine, wiring: &Wiring) -> Ehci {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: variant.device,
            revision: variant.revision,
            class: spec::CLASS,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(BAR, BarKind::Mem32 { prefetch: false }, BAR_LEN, Window::Region(0));
        pci.connect(4, line);
        pci.set(config::RELEASE, &[0x20, config::FRAME_LENGTH_DEFAULT]);
        pci.allow(config::FRAME_LENGTH, &[0x3f]);
        pci.allow(config::PORT_WAKE, &0x7f_u16.to_le_bytes());
        pci.set(config::LEGACY, &[config::LEGACY_ID]);
        pci.allow(config::LEGACY + 2, &[config::OWNED, config::OWNED]);
        pci.set(config::LEGACY_CONTROL, &config::LEGACY_CONTROL_DEFAULT.to_le_bytes());
        pci.allow(config::LEGACY_CONTROL, &0xe03f_u32.to_le_bytes());
        pci.allow_clear(config::LEGACY_CONTROL, &0xe000_0000_u32.to_le_bytes());
        let dma = Dma::gated(ram, pci.master());
        let mut ehci = Ehci {
            name: name.to_owned(),
            variant,
            pci,
            regions: [Region::floating("registers", Space::Mmio, BAR_LEN)],
            dma,
            wiring: wiring.clone(),
            timer: wiring.timer(0),
            registers: Registers::RESET,
            pending: Status::empty(),
            pending_until: 0,
            frame: 0,
            due: 0,
            due_async: 0,
            idle: 0,
            companions: (0, 0),
            ports: [(); PORTS].map(|()| Port { bits: PortBits::POWER, socket: Socket::new(Side::Master) }),
        };
        ehci.reset_controller();
        ehci
    }

    /// Everything behind the BAR, and the devices.
    fn reset_controller(&mut self) {
        self.registers = Registers::RESET;
        (self.pending, self.pending_until) = (Status::empty(), 0);
        (self.frame, self.due, self.due_async, self.idle) = (0, 0, 0, 0);
        self.reset_ports();
        self.settle();
    }

    fn runs(&self) -> bool {
        self.registers.command.contains(Command::RUN)
    }
    fn is_on(&self, schedule: Command) -> bool {
        self.registers.command.contains(Command::RUN | schedule)
    }

    /// The interrupt and the timer as they are to be now.
    fn settle(&mut self) {
        self.pci.set_intx(self.registers.status.intersects(self.registers.enable & Status::CLEARED));
        match self.alarm() {
            Some(at) => self.timer.arm(at),
            None => self.timer.cancel(),
        }
    }

    /// When something is to be done though nobody asks.
    fn alarm(&self) -> Option<u64> {
        let pending = (!self.pending.is_empty()).then_some(self.pending_until);
        if !self.runs() {
            return pending;
        }
        let rolls = self.registers.enable.contains(Status::ROLLOVER).then(|| {
            let left = FRAMES - self.frame % FRAMES;
            self.due.saturating_add((u64::from(left) - 1) * FRAME)
        });
        self.walks_at().into_iter().chain(rolls).chain(pending).min()
    }

    /// When the lists are walked next.
    fn walks_at(&self) -> Option<u64> {
        let (periodic, is_async) = (self.is_on(Command::PERIODIC), self.is_on(Command::ASYNC));
        if !periodic && !is_async {
            return None;
        }
        match self.idle {
            ..BUSY if is_async => return Some(self.due_async.min(self.due)),
            ..QUIET => return Some(self.due),
            _ => {}
        }
        let tick = self.due.saturating_add((TICK - 1) * FRAME);
        if is_async {
            return Some(tick);
        }
        // A device that repeats itself is asked in the frame in which it does; news that nobody has asked for so far may be
        // asked for now.
        let heard = |at: u64| match at.checked_sub(self.due) {
            Some(later) => self.due.saturating_add(later.div_ceil(FRAME).saturating_mul(FRAME)),
            None => tick,
        };
        let mut first: Option<u64> = None;
        let mut hear = |at| first = first.into_iter().chain([heard(at)]).min();
        self.ports.iter().for_each(|port| {
            port.socket.with(|function| function.speeches(&mut hear));
        });
        first
    }

    /// What has become due is done.
    fn catch_up(&mut self) {
        let now = self.wiring.now();
        if self.runs() {
            schedule::walk(self, now);
        }
        if !self.pending.is_empty() && (self.pending_until <= now || !self.runs()) {
            self.registers.status |= std::mem::take(&mut self.pending);
        }
    }

    /// Interrupts of transfers come at their threshold (4.15); walks are no finer than a frame, so shorter ones are none.
    fn raise(&mut self, status: Status, now: u64) {
        let threshold = u64::from(self.registers.command.bits() >> 16 & 0xff);
        if status.is_empty() {
            return;
        }
        if threshold <= 8 {
            self.registers.status |= status;
            return;
        }
        if self.pending.is_empty() {
            let period = threshold * MICROFRAME;
            self.pending_until = (now / period + 1) * period;
        }
        self.pending |= status;
    }

    /// The lists are walked often from here on.
    fn hurry(&mut self) {
        self.idle = 0;
        self.settle();
    }

    /// FRINDEX.
    fn index(&self) -> u16 {
        if !self.runs() {
            return self.registers.index;
        }
        let left = self.due.saturating_sub(self.wiring.now()).div_ceil(MICROFRAME);
        self.frame << 3 | 8 - left.clamp(1, 8) as u16
    }
}

impl Device for Ehci {
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
        let word = self.read_register(at.offset & !3).to_le_bytes();
        data.fill(0);
        for (byte, from) in data.iter_mut().zip(word.iter().skip((at.offset & 3) as usize)) {
            *byte = *from;
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        self.catch_up();
        self.write_bytes(at.offset, data);
        self.hurry();
        Io::Done
    }

    fn wake(&mut self, why: Wake) {
        if let Wake::Backend(_) = why {
            self.call_devices();
        }
        self.catch_up();
        self.settle();
    }

    fn reset(&mut self) {
        self.pci.reset();
        self.reset_controller();
    }

    fn drained(&self) -> bool {
        self.ports.iter().all(|port| port.socket.with_any(|function| function.drained()) != Some(false))
    }

    fn quiesce(&mut self) -> bool {
        let quiet = |port: &Port| port.socket.with_any(|function| function.device().quiesce()) != Some(false);
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
        let Registers { command, status, enable, periodic, next, configured, .. } = self.registers;
        node.hex("command", command.bits()).hex("status", status.bits()).hex("enable", enable.bits());
        node.hex("frame list", periodic).hex("asynchronous list", next).value("configured", configured);
        node.value("frame", self.frame).value("quiet", self.idle >= QUIET);
        for (port, number) in self.ports.iter().zip(1..) {
            let child = node.child(&format!("port {number}"));
            child.hex("status", port.bits.bits());
            child.value("companion's", port.socket.owner() == Side::Companion);
            port.socket.with_any(|function: &mut Function| function.inspect(child));
        }
    }
}
