//! Ports: registers, and who is there (4.19, 5.4.8).
//!
//! A socket has two ports, one for SuperSpeed and one for the others, as in QEMU's controller; a device is on the one of
//! its speed.

use devices_core::StateError;

use super::super::bus::fastest;
use super::super::{Answer, Function, Pid, PlugError, RootHub, Setup, Speed, UsbDevice};
use super::Xhci;
use super::events::Event;
use super::spec::{LINK_SHIFT, PortBits, SPEED_SHIFT, Status, code, link, trb};

/// A port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) bits: PortBits,
    pub(super) link: u8,
}

impl Port {
    /// With nobody there.
    pub(super) fn empty() -> Port {
        Port { bits: PortBits::POWER, link: link::DETECT }
    }

    /// Somebody is there. A SuperSpeed port trains its link by itself, the others wait for a reset.
    fn connected(speed: Speed) -> Port {
        let bits = PortBits::POWER | PortBits::CONNECTED;
        match speed {
            Speed::Super => Port { bits: bits | PortBits::ENABLED, link: link::U0 },
            _ => Port { bits, link: link::POLLING },
        }
    }
}

/// How PORTSC tells a speed.
fn number(speed: Speed) -> u32 {
    match speed {
        Speed::Full => 1,
        Speed::Low => 2,
        Speed::High => 3,
        Speed::Super => 4,
    }
}

impl Xhci {
    /// The socket of a port, and whether it is the one for SuperSpeed. Ports count from 1.
    fn socket(&self, port: u8) -> Option<(usize, bool)> {
        let at = usize::from(port).checked_sub(1).filter(|at| *at < self.ports.len())?;
        Some(if at < self.supers { (at, true) } else { (at - self.supers, false) })
    }

    /// Who is on a port.
    pub(super) fn function(&mut self, port: u8) -> Option<&mut Function> {
        let (socket, is_super) = self.socket(port)?;
        let function = self.sockets.get_mut(socket)?.as_mut()?;
        ((function.speed() == Speed::Super) == is_super).then_some(function)
    }

    /// Who is on a port that packets go through.
    fn open_function(&mut self, port: u8) -> Option<&mut Function> {
        let at = usize::from(port).checked_sub(1)?;
        self.ports.get(at).filter(|port| port.bits.contains(PortBits::ENABLED))?;
        self.function(port)
    }

    /// Who is on a port that packets go through, or behind it at the end of a route.
    pub(super) fn routed(&mut self, port: u8, route: u32) -> Option<&mut Function> {
        self.open_function(port)?.route(route)
    }

    /// The port that a socket's device is on.
    fn port_of(&self, socket: usize) -> Option<usize> {
        let speed = self.sockets.get(socket)?.as_ref()?.speed();
        Some(if speed == Speed::Super { socket } else { self.supers + socket })
    }

    /// PORTSC.
    pub(super) fn read_port(&mut self, at: usize) -> u32 {
        let Some(Port { bits, link }) = self.ports.get(at).copied() else { return 0 };
        let speed = self.function(at as u8 + 1).map_or(0, |function| number(function.speed()));
        bits.bits() | u32::from(link) << LINK_SHIFT | speed << SPEED_SHIFT
    }

    /// PORTSC is written.
    pub(super) fn write_port(&mut self, at: usize, value: u32) {
        let bits = PortBits::from_bits_truncate(value);
        let is_super = at < self.supers;
        if bits.contains(PortBits::WARM_RESET) && is_super {
            return self.reset_port(at, true);
        }
        if bits.contains(PortBits::RESET) {
            return self.reset_port(at, false);
        }
        let Some(port) = self.ports.get_mut(at) else { return };
        port.bits &= !(bits & PortBits::CHANGES);
        port.bits = port.bits & !PortBits::WAKE | bits & PortBits::WAKE;
        if bits.contains(PortBits::ENABLED) && port.bits.contains(PortBits::ENABLED) {
            // A one takes the port away (5.4.8).
            port.bits -= PortBits::ENABLED;
        }
        if bits.contains(PortBits::LINK_WRITE) && port.bits.contains(PortBits::ENABLED) {
            match ((value >> LINK_SHIFT & 0xf) as u8, port.link) {
                (link::U3, _) => port.link = link::U3,
                (link::U0, link::U3 | link::RESUME) => {
                    port.link = link::U0;
                    self.port_changed(at, PortBits::LINK_CHANGE);
                }
                (link::RESUME, link::U3) if !is_super => port.link = link::RESUME,
                _ => {}
            }
        }
    }

    fn reset_port(&mut self, at: usize, warm: bool) {
        let Some(function) = self.function(at as u8 + 1) else { return };
        function.reset();
        let port = &mut self.ports[at];
        (port.link, port.bits) = (link::U0, port.bits | PortBits::ENABLED);
        let warm = if warm { PortBits::WARM_RESET_CHANGE } else { PortBits::empty() };
        self.port_changed(at, PortBits::RESET_CHANGE | warm);
    }

    /// A port tells of a change, once until the driver has seen it.
    pub(super) fn port_changed(&mut self, at: usize, change: PortBits) {
        let Some(port) = self.ports.get_mut(at) else { return };
        let news = !port.bits.contains(change);
        port.bits |= change;
        if news {
            self.status |= Status::PORT_CHANGE;
            if self.runs() {
                let port = (at as u64 + 1) << 24;
                self.tell(0, Event::new(trb::PORT_STATUS, code::SUCCESS, port));
            }
        }
    }

    /// Ports as after power-on: whoever is there has just come.
    pub(super) fn reset_ports(&mut self) {
        self.ports.fill(Port::empty());
        for socket in 0..self.sockets.len() {
            if let Some(function) = &mut self.sockets[socket] {
                function.reset();
                self.connect(socket);
            }
        }
    }

    fn connect(&mut self, socket: usize) {
        let Some((at, function)) = self.port_of(socket).zip(self.sockets[socket].as_ref()) else { return };
        let Some(port) = self.ports.get_mut(at) else { return };
        *port = Port::connected(function.speed());
        self.port_changed(at, PortBits::CONNECT_CHANGE);
    }

    /// A device has its address by its slot (4.6.5).
    pub(super) fn set_address(&mut self, port: u8, route: u32, slot: u8) -> Result<(), u8> {
        let now = self.wiring.now();
        let function = self.routed(port, route).ok_or(code::TRANSACTION)?;
        let mut setup = Setup { kind: 0, request: 5, value: slot.into(), index: 0, length: 0 }.bytes();
        function.packet(Pid::Setup, 0, &mut setup, now);
        match function.packet(Pid::In, 0, &mut [], now) {
            Answer::Done(_) => Ok(()),
            _ => Err(code::TRANSACTION),
        }
    }

    /// Checks what a port was saved with.
    pub(super) fn load_port(&mut self, at: usize, port: Port) -> Result<(), StateError> {
        let connected = port.bits.contains(PortBits::CONNECTED);
        let there = self.function(at as u8 + 1).is_some();
        devices_core::state::valid(connected == there, "a port's status is not of its device")?;
        self.ports[at] = port;
        Ok(())
    }
}

impl RootHub for Xhci {
    fn ports(&self) -> u8 {
        self.sockets.len() as u8
    }
    fn is_free(&self, port: u8) -> bool {
        let at = usize::from(port).checked_sub(1);
        at.and_then(|at| self.sockets.get(at)).is_some_and(Option::is_none)
    }

    fn plug(&mut self, number: u8, device: Box<dyn UsbDevice>) -> Result<(), PlugError> {
        let at = usize::from(number).checked_sub(1);
        let socket = at.filter(|at| self.sockets.get(*at).is_some_and(Option::is_none));
        let socket = socket.ok_or(PlugError::NotFound(number.into()))?;
        // As fast as both can.
        let can = |speed: Speed| match speed {
            Speed::Super => socket < self.supers,
            _ => socket < self.ports.len() - self.supers,
        };
        let speed = fastest(&*device, can).ok_or(PlugError::Speed(device.title()))?;
        self.sockets[socket] = Some(Function::new(device, speed));
        self.connect(socket);
        self.settle();
        Ok(())
    }

    fn unplug(&mut self, number: u8) -> Option<Box<dyn UsbDevice>> {
        let socket = usize::from(number).checked_sub(1)?;
        let at = self.port_of(socket)?;
        let function = self.sockets.get_mut(socket)?.take()?;
        let port = &mut self.ports[at];
        (port.bits, port.link) = (port.bits - (PortBits::CONNECTED | PortBits::ENABLED), link::DETECT);
        self.port_changed(at, PortBits::CONNECT_CHANGE);
        // What was asked of it fails.
        self.go_on();
        Some(function.into_device())
    }

    /// Something happens to a device. What it has to say then, the guest hears, or is woken for.
    fn with(&mut self, number: u8, act: &mut dyn FnMut(&mut Function)) {
        let Some(socket) = usize::from(number).checked_sub(1) else { return };
        let Some(at) = self.port_of(socket) else { return };
        let now = self.wiring.now();
        let Some(function) = self.sockets[socket].as_mut() else { return };
        let before = function.said(now);
        act(function);
        let news = function.said(now) > before;
        let wakes = function.wakes(now) && self.ports[at].link == link::U3;
        if news && wakes {
            self.ports[at].link = link::RESUME;
            self.port_changed(at, PortBits::LINK_CHANGE);
        }
        self.go_on();
    }
}
