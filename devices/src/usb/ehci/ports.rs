//! Ports: who is there, and who owns them (2.3.9, 4.2, 4.3).

use hypervisor::Timer;

use super::super::socket::{Side, Socket};
use super::super::{Function, PlugError, RootHub, Speed, UsbDevice};
use super::spec::{PORTS, PortBits, Status};
use super::{Ehci, Port};

impl Port {
    fn reset(&mut self) {
        let owner = if self.socket.is_shared() { Side::Companion } else { Side::Master };
        self.socket.reset(owner);
        self.bits = PortBits::POWER;
        if self.socket.with(|_| ()).is_some() {
            self.bits |= PortBits::CONNECTED | PortBits::CONNECT_CHANGE;
        }
    }

    /// Whether packets go through.
    pub(super) fn is_open(&self) -> bool {
        self.bits.contains(PortBits::ENABLED) && !self.bits.intersects(PortBits::RESET | PortBits::SUSPEND)
    }

    /// Somebody has come or gone, as seen from here.
    fn changed(&mut self) {
        let gone = PortBits::ENABLED | PortBits::SUSPEND | PortBits::RESUME | PortBits::RESET;
        self.bits -= gone;
        self.bits |= PortBits::CONNECT_CHANGE;
        self.bits.set(PortBits::CONNECTED, self.socket.with(|_| ()).is_some());
    }

    fn said(&self, now: u64) -> usize {
        self.socket.with(|function| function.said(now)).unwrap_or(0)
    }
}

impl Ehci {
    /// Ports as after power-on: whoever is there has just come.
    pub(super) fn reset_ports(&mut self) {
        self.ports.iter_mut().for_each(Port::reset);
        if self.ports.iter().any(|port| port.bits.contains(PortBits::CONNECT_CHANGE)) {
            self.registers.status |= Status::PORT_CHANGE;
        }
    }

    /// PORTSC.
    pub(super) fn read_port(&self, at: usize) -> PortBits {
        let port = &self.ports[at];
        let mut bits = port.bits;
        bits.set(PortBits::OWNER, port.socket.owner() == Side::Companion);
        let idle = PortBits::CONNECTED | PortBits::ENABLED | PortBits::RESET;
        bits.set(PortBits::LINE_J, bits & idle == PortBits::CONNECTED);
        bits
    }

    /// CONFIGFLAG: all ports lead here, or to the companions.
    pub(super) fn configure(&mut self, is: bool) {
        let was = std::mem::replace(&mut self.registers.configured, is);
        if was != is {
            (0..PORTS).for_each(|at| self.give(at, if is { Side::Master } else { Side::Companion }));
        }
    }

    /// A port is somebody's from now on.
    fn give(&mut self, at: usize, to: Side) {
        let now = self.wiring.now();
        let port = &mut self.ports[at];
        if !port.socket.is_shared() || port.socket.owner() == to {
            return;
        }
        let had = port.socket.with_any(|_| ()).is_some();
        port.socket.give(to, now);
        if had {
            port.changed();
            self.registers.status |= Status::PORT_CHANGE;
        }
    }

    /// PORTSC is written.
    pub(super) fn write_port(&mut self, at: usize, value: PortBits) {
        self.ports[at].bits &= !(value & PortBits::CHANGES);
        let owner = if value.contains(PortBits::OWNER) { Side::Companion } else { Side::Master };
        self.give(at, owner);
        let port = &mut self.ports[at];
        port.bits = port.bits & !PortBits::KEPT | value & PortBits::KEPT;
        if port.socket.owner() == Side::Companion {
            return;
        }
        if !value.contains(PortBits::ENABLED) {
            port.bits -= PortBits::ENABLED | PortBits::SUSPEND | PortBits::RESUME;
        }
        let (was, is) = (port.bits.contains(PortBits::RESET), value.contains(PortBits::RESET));
        if is && !was {
            port.bits -= PortBits::ENABLED | PortBits::SUSPEND | PortBits::RESUME;
            port.bits |= PortBits::RESET;
        }
        if was && !is {
            port.bits -= PortBits::RESET;
            // Only one that answers at high speed is for this controller (4.2.2).
            let fast = port.socket.with(|function| {
                function.reset();
                function.speed() == Speed::High
            });
            port.bits.set(PortBits::ENABLED, fast == Some(true));
        }
        if !port.bits.contains(PortBits::ENABLED) {
            return;
        }
        if value.contains(PortBits::SUSPEND) {
            port.bits |= PortBits::SUSPEND;
        }
        // It resumes until software says that it has done so long enough (4.3.1).
        match (port.bits.contains(PortBits::RESUME), value.contains(PortBits::RESUME)) {
            (false, true) if port.bits.contains(PortBits::SUSPEND) => port.bits |= PortBits::RESUME,
            (true, false) => port.bits -= PortBits::RESUME | PortBits::SUSPEND,
            _ => {}
        }
    }

    /// A device has something to say. One that sleeps, and may, wakes the host.
    fn hear(&mut self, at: usize) {
        let port = &mut self.ports[at];
        let now = self.wiring.now();
        let sleeps = port.bits & (PortBits::SUSPEND | PortBits::RESUME) == PortBits::SUSPEND;
        if sleeps && port.socket.with(|function| function.wakes(now)) == Some(true) {
            port.bits |= PortBits::RESUME;
            self.registers.status |= Status::PORT_CHANGE;
        }
        self.idle = 0;
    }

    /// The host's side has news: what a device said no to before it may do now.
    pub(super) fn call_devices(&mut self) {
        let now = self.wiring.now();
        for port in &self.ports {
            port.socket.with_any(|function| function.device().woken());
            port.socket.tell_companion(now);
        }
        self.idle = 0;
        self.due_async = now;
    }

    fn port(&mut self, number: u8) -> Option<&mut Port> {
        self.ports.get_mut(usize::from(number).checked_sub(1)?)
    }
}

impl RootHub for Ehci {
    fn ports(&self) -> u8 {
        PORTS as u8
    }
    fn is_free(&self, port: u8) -> bool {
        let at = usize::from(port).checked_sub(1);
        at.and_then(|at| self.ports.get(at)).is_some_and(|port| port.socket.is_free())
    }

    fn plug(&mut self, number: u8, device: Box<dyn UsbDevice>) -> Result<(), PlugError> {
        self.catch_up();
        let now = self.wiring.now();
        let port = self.port(number).filter(|port| port.socket.is_free());
        let port = port.ok_or(PlugError::NotFound(number.into()))?;
        port.socket.speed_for(&*device).ok_or(PlugError::Speed(device.title()))?;
        port.socket.put(device, now);
        if port.socket.owner() == Side::Master {
            port.changed();
            self.registers.status |= Status::PORT_CHANGE;
        }
        self.hurry();
        Ok(())
    }

    fn unplug(&mut self, number: u8) -> Option<Box<dyn UsbDevice>> {
        self.catch_up();
        let now = self.wiring.now();
        let configured = self.registers.configured;
        let port = self.port(number)?;
        let device = port.socket.take(now)?;
        match port.socket.owner() {
            Side::Master => {
                port.changed();
                self.registers.status |= Status::PORT_CHANGE;
            }
            // A port whose device goes is this controller's again (4.2.2).
            Side::Companion if configured => port.socket.give(Side::Master, now),
            Side::Companion => {}
        }
        self.hurry();
        Some(device)
    }

    /// What the device has to say then, the guest hears in the next microframe, or is woken for.
    fn with(&mut self, number: u8, act: &mut dyn FnMut(&mut Function)) {
        self.catch_up();
        let now = self.wiring.now();
        let Some(port) = self.port(number) else { return };
        let before = port.said(now);
        port.socket.with_any(act);
        port.socket.tell_companion(now);
        if port.said(now) > before {
            self.hear(usize::from(number) - 1);
        }
        self.settle();
    }

    fn companion(&mut self, first: u64, count: u8, timer: Timer) -> Result<Vec<Socket>, PlugError> {
        let end = first.saturating_add(count.into());
        let range = usize::try_from(first).ok().zip(usize::try_from(end).ok());
        let ports = range.and_then(|(first, end)| self.ports.get(first..end)).unwrap_or_default();
        let sockets: Vec<&Socket> = ports.iter().map(|port| &port.socket).collect();
        let shared = Some(sockets).filter(|sockets| !sockets.is_empty());
        let shared = shared.and_then(|sockets| Socket::companions(&sockets, timer));
        let shared = shared.ok_or(PlugError::NoCompanion(first, end))?;
        self.companions = (self.companions.0 + 1, count);
        // They are the companion's until the controller is configured.
        self.reset_ports();
        Ok(shared)
    }
}
