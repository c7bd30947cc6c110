//! The root hub (7.4): who is on a port, and what of it the driver hears.

use super::super::bus::fastest;
use super::super::socket::Socket;
use super::super::{Function, PlugError, RootHub, Speed, UsbDevice};
use super::Ohci;
use super::spec::{Bus, Interrupt, PortBits, port};

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

    /// How many devices there have something to say.
    fn said(&self, now: u64) -> usize {
        self.socket.with(|function| function.said(now)).unwrap_or(0)
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

    /// The host's side has news: what a device said no to before it may do now.
    pub(super) fn call_devices(&mut self) {
        for port in &self.ports {
            port.socket.with(|function| function.device().woken());
        }
        self.frames.hurry();
    }

    /// As a companion: what the master has given or taken meanwhile, and what the devices have to say.
    pub(super) fn look(&mut self) {
        let now = self.wiring.now();
        for at in 0..self.ports.len() {
            let (changed, news) = self.ports[at].socket.take_notes();
            if changed {
                self.changed(at);
            }
            if news && self.ports[at].said(now) > 0 {
                self.hear(at);
            }
            if news {
                self.frames.hurry();
            }
        }
    }

    /// A device has come or gone.
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

    /// The bus resumes by itself (5.1.2.3). False: it does not sleep.
    fn resume(&mut self) -> bool {
        let sleeps = self.registers.control.bus() == Bus::Suspend;
        if sleeps {
            self.registers.control = self.registers.control.with(Bus::Resume);
            self.registers.interrupt |= Interrupt::RESUME;
        }
        sleeps
    }

    /// A device has something to say. One that sleeps, and may, wakes the bus; the root hub tells of its port where it is
    /// not the whole bus that sleeps.
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

    fn port(&mut self, number: u8) -> Option<&mut Port> {
        self.ports.get_mut(usize::from(number).checked_sub(1)?)
    }
}

impl RootHub for Ohci {
    fn ports(&self) -> u8 {
        self.ports.len() as u8
    }
    fn is_free(&self, port: u8) -> bool {
        let at = usize::from(port).checked_sub(1);
        at.and_then(|at| self.ports.get(at)).is_some_and(|port| port.socket.is_free())
    }

    fn plug(&mut self, number: u8, device: Box<dyn UsbDevice>) -> Result<(), PlugError> {
        self.catch_up();
        if fastest(&*device, |speed| speed <= Speed::Full).is_none() {
            return Err(PlugError::Speed(device.title()));
        }
        let now = self.wiring.now();
        let port = self.port(number).filter(|port| port.socket.is_free());
        port.ok_or(PlugError::NotFound(number.into()))?.socket.put(device, now);
        self.changed(usize::from(number) - 1);
        self.settle();
        Ok(())
    }

    fn unplug(&mut self, number: u8) -> Option<Box<dyn UsbDevice>> {
        self.catch_up();
        let now = self.wiring.now();
        let device = self.port(number)?.socket.take(now)?;
        self.changed(usize::from(number) - 1);
        self.settle();
        Some(device)
    }

    /// What the device has to say then, the guest hears in the next frame, or is woken for.
    fn with(&mut self, number: u8, act: &mut dyn FnMut(&mut Function)) {
        self.catch_up();
        let now = self.wiring.now();
        let Some(port) = self.port(number) else { return };
        let before = port.said(now);
        port.socket.with(act);
        if port.said(now) > before {
            self.hear(usize::from(number) - 1);
        }
        self.settle();
    }
}
