//! Universal host controller of the PIIX3 (82371SB, function 2), the PIIX4 (82371AB) and the ICH9 (82801I).
//!
//! Specification: Intel's "Universal Host Controller Interface (UHCI) Design Guide", revision 1.1, and the datasheets
//! 290550 and 290562. `schedule` walks the frame list.
//!
//! **Time.** FRNUM follows from guest time when it is read; which frames are walked when is told in
//! [`frames`](super::frames). Reads of USBSTS and FRNUM see what has passed.
//!
//! Where it differs from QEMU it follows the guide: FRNUM is 0 after a reset, a TD without an answer has its count of
//! errors, memory that cannot be reached is a host system error, lengths that are reserved are a process error. QEMU is
//! followed where drivers have come to rely on it: a global reset ends by itself, a change of connection is seen after
//! each reset, LEGSUP holds back no interrupt.
//!
//! A controller of the ICH9's may be the **companion** of an EHCI: its ports are sockets of that one's, which hands it the
//! devices that are not for itself. What comes and goes there is seen when the guest looks, or by a timer.
//!
//! Left out: single steps (SWDBG), the line status bits, overcurrent, low speed, legacy keyboard support by SMI, the length
//! of a frame as SOFMOD changes it.

pub mod model;
mod schedule;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::{GuestRam, Timer};

use super::frames::Frames;
use super::full_speed::FullSpeedHost;
use super::socket::{Side, Socket};
use super::{Function, PlugError, UsbHost};
use spec::{Command, Enable, FRAME_MASK, PortBits, Status, config, reg};

/// Ports of a controller.
const PORTS: usize = 2;
/// What the controllers differ in.
#[derive(Debug)]
pub struct Variant {
    /// Its model.
    pub model: &'static Model,
    /// PCI device id.
    pub device: u16,
    /// PCI revision.
    pub revision: u8,
    /// Its interrupt pin, from 1.
    pub pin: u8,
}

/// The controller, for those who put devices on its ports.
pub type Ports = super::bus::Ports<Uhci>;

/// A port.
struct Port {
    bits: PortBits,
    socket: Socket,
}

/// The registers, without the ports.
#[derive(Clone, Copy, Debug, Default)]
struct Registers {
    command: Command,
    status: Status,
    /// A TD asked for the interrupt in the status.
    complete: bool,
    /// A short packet did.
    short: bool,
    enable: Enable,
    base: u32,
    sof: u8,
}

/// A controller.
pub struct Uhci {
    name: String,
    variant: &'static Variant,
    pci: PciConfig,
    regions: [Region; 1],
    dma: Dma,
    wiring: Wiring,
    timer: Timer,
    registers: Registers,
    /// The frame that is walked next.
    frame: u16,
    frames: Frames,
    ports: [Port; PORTS],
}

impl Port {
    /// After a reset: whoever is there has just come.
    fn reset(&mut self) {
        self.bits = PortBits::ALWAYS;
        self.socket.take_notes();
        if self.socket.with(Function::reset).is_some() {
            self.bits |= PortBits::CONNECTED | PortBits::CONNECT_CHANGE;
        }
    }

    /// Whether packets go through.
    fn is_open(&self) -> bool {
        self.bits.contains(PortBits::ENABLED) && !self.bits.intersects(PortBits::RESET | PortBits::SUSPEND)
    }
}

impl Uhci {
    /// A controller on that interrupt line.
    pub fn new(
        name: &str,
        variant: &'static Variant,
        subsystem: (u16, u16),
        ram: GuestRam,
        line: IrqLine,
        wiring: &Wiring,
    ) -> Uhci {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: variant.device,
            revision: variant.revision,
            class: spec::CLASS,
            subsystem,
        });
        pci.bar(spec::BAR, BarKind::Io, spec::PORTS_LEN, Window::Region(0));
        pci.connect(variant.pin, line);
        pci.set(config::RELEASE, &[0x10]);
        pci.set_u16(config::LEGSUP, config::LEGSUP_DEFAULT);
        pci.allow(config::LEGSUP, &config::LEGSUP_WRITABLE.to_le_bytes());
        pci.allow_clear(config::LEGSUP, &config::LEGSUP_CLEARED.to_le_bytes());
        let dma = Dma::gated(ram, pci.master());
        let mut uhci = Uhci {
            name: name.to_owned(),
            variant,
            pci,
            regions: [Region::floating("ports", Space::Pio, spec::PORTS_LEN)],
            dma,
            wiring: wiring.clone(),
            timer: wiring.timer(0),
            registers: Registers::default(),
            frame: 0,
            frames: Frames::default(),
            ports: [(); PORTS]
                .map(|()| Port { bits: PortBits::ALWAYS, socket: Socket::new(Side::Companion) }),
        };
        uhci.reset_controller();
        uhci
    }

    /// The same as a companion, whose ports are those of a master's from `first` on.
    ///
    /// # Errors
    /// The master has no companion there.
    pub fn at(mut self, master: &dyn UsbHost, first: u64) -> Result<Uhci, PlugError> {
        let sockets = master.companion(first, PORTS as u8, self.wiring.timer(1))?;
        for (port, socket) in self.ports.iter_mut().zip(sockets) {
            port.socket = socket;
        }
        self.reset_controller();
        Ok(self)
    }

    /// Everything behind the BAR, and the devices.
    fn reset_controller(&mut self) {
        self.registers = Registers { status: Status::HALTED, sof: spec::SOF_DEFAULT, ..Registers::default() };
        (self.frame, self.frames) = (0, Frames::default());
        self.ports.iter_mut().for_each(Port::reset);
        self.settle();
    }

    fn runs(&self) -> bool {
        self.registers.command.contains(Command::RUN)
    }

    /// When frames are walked though nobody asks.
    fn alarm(&self) -> Option<u64> {
        let waited = self.frames.waited();
        let speaks = |port: &Port| port.socket.with(|function| function.speaks_after(waited))?;
        self.runs().then(|| self.frames.alarm(self.ports.iter().filter_map(speaks)))
    }

    /// Frames are walked one by one from here on.
    fn hurry(&mut self) {
        self.frames.hurry();
        self.settle();
    }

    fn read_register(&mut self, at: u64) -> u16 {
        match at {
            reg::USBCMD => self.registers.command.bits(),
            reg::USBSTS => {
                self.catch_up();
                self.settle();
                self.registers.status.bits()
            }
            reg::USBINTR => self.registers.enable.bits(),
            reg::FRNUM => {
                self.catch_up();
                self.settle();
                self.frame
            }
            reg::FRBASEADD => self.registers.base as u16,
            reg::FRBASEADD_HIGH => (self.registers.base >> 16) as u16,
            reg::SOFMOD => self.registers.sof.into(),
            _ => self.port_at(at).map_or(spec::ABSENT, |port| port.bits.bits()),
        }
    }

    fn port_at(&mut self, at: u64) -> Option<&mut Port> {
        let number = at.checked_sub(reg::PORTSC)? / 2;
        self.ports.get_mut(number as usize)
    }

    fn write_register(&mut self, at: u64, value: u16) {
        let registers = &mut self.registers;
        match at {
            reg::USBCMD => self.write_command(Command::from_bits_truncate(value)),
            reg::USBSTS => {
                registers.status &= !(Status::from_bits_truncate(value) & !Status::HALTED);
                if value & Status::INTERRUPT.bits() != 0 {
                    (registers.complete, registers.short) = (false, false);
                }
            }
            reg::USBINTR => registers.enable = Enable::from_bits_truncate(value),
            reg::FRNUM if registers.status.contains(Status::HALTED) => self.frame = value & FRAME_MASK,
            reg::FRBASEADD => registers.base = registers.base & 0xffff_0000 | u32::from(value & 0xf000),
            reg::FRBASEADD_HIGH => {
                registers.base = registers.base & 0xffff | u32::from(value) << 16;
            }
            reg::SOFMOD => registers.sof = value as u8,
            _ => self.write_port(at, PortBits::from_bits_retain(value)),
        }
    }

    fn write_command(&mut self, command: Command) {
        if command.intersects(Command::GLOBAL_RESET | Command::HOST_RESET) {
            return self.reset_controller();
        }
        let starts = command.contains(Command::RUN) && !self.runs();
        self.registers.command = command;
        self.registers.status.set(Status::HALTED, !command.contains(Command::RUN));
        if starts {
            self.frames.start(self.wiring.now());
        }
    }

    fn write_port(&mut self, at: u64, value: PortBits) {
        let Some(port) = self.port_at(at) else { return };
        let resets = value.contains(PortBits::RESET) && !port.bits.contains(PortBits::RESET);
        if resets {
            port.socket.with(Function::reset);
        }
        let mut written = value & !PortBits::READ_ONLY;
        // Only a port with a device can be enabled.
        written.set(
            PortBits::ENABLED,
            value.contains(PortBits::ENABLED) && port.bits.contains(PortBits::CONNECTED),
        );
        port.bits = port.bits & PortBits::READ_ONLY & !(value & PortBits::CLEARED) | written;
    }

    /// A suspended bus hears of a change.
    fn resume_bus(&mut self) {
        if self.registers.command.contains(Command::GLOBAL_SUSPEND) {
            self.registers.command |= Command::GLOBAL_RESUME;
            self.registers.status |= Status::RESUME;
        }
    }
}

impl FullSpeedHost for Uhci {
    fn socket(&self, at: usize) -> Option<&Socket> {
        self.ports.get(at).map(|port| &port.socket)
    }
    fn frames(&mut self) -> &mut Frames {
        &mut self.frames
    }
    fn now(&self) -> u64 {
        self.wiring.now()
    }

    fn catch_up(&mut self) {
        if self.runs() {
            schedule::walk(self, self.wiring.now());
        }
    }

    fn settle(&mut self) {
        let Registers { status, complete, short, enable, .. } = self.registers;
        let level = complete && enable.contains(Enable::COMPLETE)
            || short && enable.contains(Enable::SHORT)
            || status.contains(Status::ERROR) && enable.contains(Enable::ERROR)
            || status.contains(Status::RESUME) && enable.contains(Enable::RESUME)
            || status.intersects(Status::SYSTEM_ERROR | Status::PROCESS_ERROR);
        self.pci.set_intx(level);
        match self.alarm() {
            Some(at) => self.timer.arm(at),
            None => self.timer.cancel(),
        }
    }

    fn changed(&mut self, at: usize) {
        let port = &mut self.ports[at];
        if port.bits.contains(PortBits::ENABLED) {
            port.bits |= PortBits::ENABLE_CHANGE;
        }
        port.bits |= PortBits::CONNECT_CHANGE;
        port.bits &= !PortBits::ENABLED;
        let there = port.socket.with(|_| ()).is_some();
        port.bits.set(PortBits::CONNECTED, there);
        self.resume_bus();
        self.frames.hurry();
    }

    fn hear(&mut self, at: usize) {
        let port = &mut self.ports[at];
        let asleep = port.bits.contains(PortBits::SUSPEND);
        let suspended = self.registers.command.contains(Command::GLOBAL_SUSPEND);
        let now = self.wiring.now();
        let may_wake = port.socket.with(|function| function.wakes(now)) == Some(true);
        if may_wake && (asleep || suspended) {
            if asleep {
                port.bits |= PortBits::RESUME;
            }
            self.resume_bus();
        }
        self.frames.hurry();
    }
}

impl Device for Uhci {
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
        self.look();
        // Registers are words, and an access of two or four bytes is a word or two.
        let (first, end) = (at.offset & !1, at.offset + data.len() as u64);
        let words = [first, first + 2].map(|at| if at < end { self.read_register(at) } else { 0 });
        let bytes = words.map(u16::to_le_bytes).concat();
        for (byte, from) in data.iter_mut().zip(bytes.iter().skip((at.offset & 1) as usize)) {
            *byte = *from;
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        self.look();
        self.catch_up();
        // Registers are words; the upper byte of one cannot be written alone, as with QEMU.
        if at.offset & 1 == 0 {
            for (word, at) in data.chunks(2).zip((at.offset..).step_by(2)) {
                let [low, high] = [word.first(), word.get(1)].map(|byte| byte.copied().unwrap_or(0));
                self.write_register(at, u16::from_le_bytes([low, high]));
            }
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
        let Registers { command, status, enable, base, .. } = self.registers;
        node.hex("command", command.bits()).hex("status", status.bits()).hex("enable", enable.bits());
        node.hex("frame list", base).value("frame", self.frame).value("quiet", self.frames.is_quiet());
        for (port, number) in self.ports.iter().zip(1..) {
            let child = node.child(&format!("port {number}"));
            child.hex("status", port.bits.bits());
            port.socket.with(|function| function.inspect(child));
        }
    }
}
