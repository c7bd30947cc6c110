//! The root hub (7.4): who is on a port, and what of it the driver hears.

use super::super::frames::Frames;
use super::super::full_speed::FullSpeedHost;
use super::super::socket::Socket;
use super::super::{Function, Speed};
use super::spec::{Bus, Interrupt, PortBits, port};
use super::{Ohci, Registers, schedule};

/// A port.
pub(super) struct Port {
    pub(super) bits: PortBits,
    pub(super) socket: Socket,
}

impl Port {
    pub(super) fn new(socket: Socket) -> Port {
        Port { bits: PortBits::POWER, socket }
    }

    /// Whether packets go through.
    pub(super) fn is_open(&self) -> bool {
        self.bits & (PortBits::ENABLED | PortBits::SUSPENDED) == PortBits::ENABLED
    }

    /// Somebody has come or gone.
    fn changed(&mut self) {
        if self.bits.contains(PortBits::ENABLED) {
            self.bits |= PortBits::ENABLE_CHANGE;
        }
        self.bits -= PortBits::ENABLED | PortBits::SUSPENDED | PortBits::CONNECTED | PortBits::LOW_SPEED;
        self.bits |= PortBits::CONNECT_CHANGE;
        if let Some(speed) = self.socket.with(|function| function.speed()) {
            self.bits |= PortBits::CONNECTED;
            self.bits.set(PortBits::LOW_SPEED, speed == Speed::Low);
        }
    }
}

impl Ohci {
    /// As after power-on: whoever is there has just come.
    pub(super) fn reset_root_hub(&mut self) {
        self.registers.wake_on_connect = false;
        for port in &mut self.ports {
            port.bits = PortBits::POWER;
            port.socket.take_notes();
            if port.socket.with(Function::reset).is_some() {
                port.changed();
            }
        }
    }

    /// The bus resumes by itself (5.1.2.3). False: it does not sleep.
    fn resume(&mut self) -> bool {
        let sleeps = self.registers.control.bus() == Bus::Suspend;
        if sleeps {
            self.registers.control = self.registers.control.with(Bus::Resume);
            self.registers.interrupt |= Interrupt::RESUME;
        }
        sleeps
    }

    /// HcRhPortStatus is written.
    pub(super) fn write_port(&mut self, at: usize, value: u32) {
        let Some(port) = self.ports.get_mut(at) else { return };
        let before = port.bits;
        port.bits &= !(PortBits::from_bits_truncate(value) & PortBits::CHANGES);
        if value & port::DISABLE != 0 {
            port.bits -= PortBits::ENABLED;
        }
        let connected = port.bits.contains(PortBits::CONNECTED);
        let sets = value & (port::ENABLE | port::SUSPEND | port::RESET) != 0;
        if connected {
            if value & port::ENABLE != 0 {
                port.bits |= PortBits::ENABLED;
            }
            if value & port::SUSPEND != 0 {
                port.bits |= PortBits::SUSPENDED;
            }
            if value & port::RESUME != 0 && port.bits.contains(PortBits::SUSPENDED) {
                port.bits -= PortBits::SUSPENDED;
                port.bits |= PortBits::SUSPEND_CHANGE;
            }
            if value & port::RESET != 0 {
                port.socket.with(Function::reset);
                port.bits -= PortBits::SUSPENDED;
                port.bits |= PortBits::ENABLED | PortBits::RESET_CHANGE;
            }
        } else if sets {
            // So the driver hears that nobody is there (7.4.4, CSC).
            port.bits |= PortBits::CONNECT_CHANGE;
        }
        if port.bits != before {
            self.registers.interrupt |= Interrupt::ROOT_HUB;
        }
        if !connected && sets && self.registers.wake_on_connect {
            self.resume();
        }
    }
}

impl FullSpeedHost for Ohci {
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
        let Registers { interrupt, enable, .. } = self.registers;
        self.pci.set_intx(enable.contains(Interrupt::MASTER) && interrupt.intersects(enable));
        match self.alarm() {
            Some(at) => self.timer.arm(at),
            None => self.timer.cancel(),
        }
    }

    fn changed(&mut self, at: usize) {
        let port = &mut self.ports[at];
        port.changed();
        let came = port.bits.contains(PortBits::CONNECTED);
        self.registers.interrupt |= Interrupt::ROOT_HUB;
        if came && self.registers.control.bus() == Bus::Suspend {
            self.registers.interrupt |= Interrupt::RESUME;
        }
        self.frames.hurry();
    }

    /// The root hub tells of the port that woke where it is not the whole bus that sleeps.
    fn hear(&mut self, at: usize) {
        self.frames.hurry();
        let now = self.wiring.now();
        let port = &mut self.ports[at];
        if port.socket.with(|function| function.wakes(now)) != Some(true) {
            return;
        }
        let slept = port.bits.contains(PortBits::SUSPENDED);
        if slept {
            port.bits -= PortBits::SUSPENDED;
            port.bits |= PortBits::SUSPEND_CHANGE;
        }
        if !self.resume() && slept {
            self.registers.interrupt |= Interrupt::ROOT_HUB;
        }
    }
}
