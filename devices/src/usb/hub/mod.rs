//! Hub of full speed, as QEMU's `usb-hub`.
//!
//! Specification: "Universal Serial Bus Specification", revision 2.0, chapter 11. The controller knows the device on its own
//! port alone: a packet finds its way by the address through the hubs' open ports ([`Function::find`]), or by a route.
//!
//! The hub has no time of its own: a reset is over at once, and a port has power as soon as it is switched on. So it wakes
//! nobody by itself; that a port has changed is news like any device's, until the driver has cleared the change.
//!
//! Where it differs from QEMU it follows the specification: a reset is no change of C_PORT_ENABLE, only an enabled port is
//! suspended, packets do not go through a port that is, power can be switched off where it can be switched, and a device
//! that wakes the host is heard through ports that are not suspended themselves.
//!
//! Left out: high speed (transaction translators), indicators, over-current, which nothing here ever draws.

pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::{Node, Saved, StateError};

use super::bus::{fastest, first};
use super::descriptors::Description;
use super::{Answer, Function, PlugError, Setup, Speed, UsbDevice};
use spec::{DESCRIPTOR, PortBits, characteristics, feature, request};

/// A port.
#[derive(Default)]
struct Port {
    status: PortBits,
    change: PortBits,
    function: Option<Function>,
}

/// A hub.
pub struct Hub {
    description: Description,
    /// The power of each port can be switched.
    switched: bool,
    ports: Vec<Port>,
}

impl Port {
    /// Bits of the status are set; what changes is told.
    fn set(&mut self, bits: PortBits) {
        self.change |= bits & !self.status & PortBits::CHANGES;
        self.status |= bits;
    }
    /// They are cleared.
    fn clear(&mut self, bits: PortBits) {
        self.change |= bits & self.status & PortBits::CHANGES;
        self.status -= bits;
    }

    /// It has power: whoever is there is seen.
    fn power_on(&mut self) {
        self.set(PortBits::POWER);
        if let Some(function) = &self.function {
            let slow = function.speed() == Speed::Low;
            self.set(PortBits::CONNECTION);
            self.status.set(PortBits::LOW_SPEED, slow);
        }
    }
    /// As after a reset of the hub.
    fn reset(&mut self, powered: bool) {
        (self.status, self.change) = (PortBits::empty(), PortBits::empty());
        self.function.iter_mut().for_each(Function::reset);
        if powered {
            self.power_on();
        }
    }
    /// It has no power, and nothing is told.
    fn power_off(&mut self) {
        self.reset(false);
    }

    /// The device is reset, and the port enabled then (11.5.1.5).
    fn reset_device(&mut self) {
        if !self.status.contains(PortBits::POWER) {
            return;
        }
        self.set(PortBits::RESET);
        self.clear(PortBits::RESET);
        if let Some(function) = &mut self.function {
            function.reset();
            self.status -= PortBits::SUSPEND;
            self.status |= PortBits::ENABLE;
        }
    }

    fn is_open(&self) -> bool {
        self.status & (PortBits::ENABLE | PortBits::SUSPEND) == PortBits::ENABLE
    }
}

impl Hub {
    /// A hub with so many ports, up to eight, whose power can be `switched`.
    pub fn new(ports: u8, switched: bool, serial: &str) -> Hub {
        let ports = (0..ports.clamp(1, spec::PORTS)).map(|_| Port::default()).collect();
        let mut hub = Hub { description: spec::description(serial), switched, ports };
        hub.reset();
        hub
    }

    fn port(&mut self, number: impl Into<usize>) -> Option<&mut Port> {
        self.ports.get_mut(number.into().checked_sub(1)?)
    }

    /// Devices on ports that are enabled.
    pub(super) fn reached(&self) -> impl Iterator<Item = &Function> {
        let enabled = |port: &&Port| port.status.contains(PortBits::ENABLE);
        self.ports.iter().filter(enabled).filter_map(|port| port.function.as_ref())
    }
    /// Who is on a port that packets go through.
    pub(super) fn open(&mut self, number: u8) -> Option<&mut Function> {
        self.port(number).filter(|port| port.is_open())?.function.as_mut()
    }
    /// Who has that address behind such ports.
    pub(super) fn find(&mut self, address: u8) -> Option<&mut Function> {
        let open = self.ports.iter_mut().filter(|port| port.is_open());
        open.filter_map(|port| port.function.as_mut()).find_map(|function| function.find(address))
    }

    /// Paths of ports that are free, its own first.
    pub(super) fn free_ports(&self) -> Vec<u64> {
        let ports = || self.ports.iter().zip(1u64..);
        let mut free: Vec<u64> =
            ports().filter(|(port, _)| port.function.is_none()).map(|(_, number)| number).collect();
        for (port, number) in ports() {
            let behind = port.function.as_ref().and_then(|function| function.device.as_hub());
            free.extend(behind.into_iter().flat_map(Hub::free_ports).map(|path| path << 8 | number));
        }
        free
    }

    /// Puts a device on a port, or on one of a hub behind it.
    pub(super) fn plug(&mut self, path: u64, device: Box<dyn UsbDevice>) -> Result<(), PlugError> {
        let (number, rest) = first(path);
        let port = self.port(number).ok_or(PlugError::NotFound(path))?;
        match (&mut port.function, rest) {
            (Some(function), 1..) => {
                let hub = function.device().as_hub_mut().ok_or(PlugError::NotFound(path))?;
                hub.plug(rest, device)
            }
            (free @ None, 0) => {
                let speed = fastest(&*device, |speed| speed <= Speed::Full);
                let speed = speed.ok_or(PlugError::Speed(device.title()))?;
                *free = Some(Function::new(device, speed));
                if port.status.contains(PortBits::POWER) {
                    port.power_on();
                }
                Ok(())
            }
            _ => Err(PlugError::NotFound(path)),
        }
    }

    /// Takes a device away, with what is behind it.
    pub(super) fn unplug(&mut self, path: u64) -> Option<Box<dyn UsbDevice>> {
        let (number, rest) = first(path);
        let port = self.port(number)?;
        if rest != 0 {
            return port.function.as_mut()?.device().as_hub_mut()?.unplug(rest);
        }
        let function = port.function.take()?;
        port.clear(PortBits::CONNECTION);
        // That is what its end looks like (11.24.2.7.2): nothing was disabled by an error.
        port.status -= PortBits::ENABLE | PortBits::SUSPEND | PortBits::LOW_SPEED;
        Some(function.into_device())
    }

    /// Does something with a device behind it. One that sleeps, has something to say then, and may, wakes its port
    /// (11.9).
    pub(super) fn with(&mut self, path: u64, act: &mut dyn FnMut(&mut Function)) {
        let (number, rest) = first(path);
        let Some(port) = self.port(number) else { return };
        let Some(function) = &mut port.function else { return };
        let before = function.said(0);
        match rest {
            0 => act(function),
            _ => function.device().as_hub_mut().into_iter().for_each(|hub| hub.with(rest, act)),
        }
        if function.said(0) > before && function.wakes(0) {
            port.clear(PortBits::SUSPEND);
        }
    }

    /// Its descriptor (table 11-13).
    fn descriptor(&self) -> Vec<u8> {
        let count = self.ports.len();
        let power = if self.switched { characteristics::OWN_POWER } else { characteristics::NO_SWITCHES };
        let head = [0, DESCRIPTOR, count as u8, power | characteristics::OWN_PROTECTION, 0, 1, 0];
        // All can be taken away; the bit of the hub itself is reserved. Then a mask of ones, for compatibility.
        let removable = vec![0; (count + 1).div_ceil(8)];
        let mut bytes = [&head[..], &removable, &vec![0xff; count.div_ceil(8)]].concat();
        bytes[0] = bytes.len() as u8;
        bytes
    }

    fn set_feature(&mut self, number: u16, feature: u16) -> bool {
        let switched = self.switched;
        let Some(port) = self.port(number) else { return false };
        match feature {
            feature::SUSPEND if port.status.contains(PortBits::ENABLE) => port.status |= PortBits::SUSPEND,
            feature::SUSPEND => {}
            feature::RESET => port.reset_device(),
            feature::POWER if switched => port.power_on(),
            feature::POWER => {}
            _ => return false,
        }
        true
    }

    fn clear_feature(&mut self, number: u16, feature: u16) -> bool {
        let switched = self.switched;
        let Some(port) = self.port(number) else { return false };
        match feature {
            feature::ENABLE => port.status -= PortBits::ENABLE | PortBits::SUSPEND,
            feature::SUSPEND => port.clear(PortBits::SUSPEND),
            feature::POWER if switched => port.power_off(),
            feature::POWER => {}
            feature::CHANGE..=feature::CHANGE_LAST => {
                port.change -= PortBits::from_bits_truncate(1 << (feature - feature::CHANGE));
            }
            _ => return false,
        }
        true
    }
}

impl UsbDevice for Hub {
    fn title(&self) -> &'static str {
        "QEMU USB Hub"
    }
    fn description(&self) -> &Description {
        &self.description
    }
    fn reset(&mut self) {
        let powered = !self.switched;
        self.ports.iter_mut().for_each(|port| port.reset(powered));
    }

    fn request(&mut self, setup: Setup, data: &mut Vec<u8>, _now: u64) -> bool {
        let Setup { kind, request, value, index, .. } = setup;
        match u16::from_be_bytes([kind, request]) {
            request::HUB_DESCRIPTOR => *data = self.descriptor(),
            // Its power is good, and so is the current.
            request::HUB_STATUS => data.extend([0; 4]),
            request::SET_HUB_FEATURE | request::CLEAR_HUB_FEATURE => return value <= feature::HUB_LAST,
            request::PORT_STATUS => {
                let Some(port) = self.port(index) else { return false };
                data.extend([port.status, port.change].map(|bits| bits.bits().to_le_bytes()).concat());
            }
            request::SET_PORT_FEATURE => return self.set_feature(index, value),
            request::CLEAR_PORT_FEATURE => return self.clear_feature(index, value),
            _ => return false,
        }
        true
    }

    /// A bit for each port that has changed, from bit 1 on (11.12.4).
    fn transfer_in(&mut self, _endpoint: u8, room: &mut [u8], _now: u64) -> Answer {
        let changed = |(port, _): &(&Port, u32)| !port.change.is_empty();
        let bits = self.ports.iter().zip(1..).filter(changed).fold(0u16, |bits, (_, n)| bits | 1 << n);
        if bits == 0 {
            return Answer::Nak;
        }
        // FreeBSD asks for a byte alone.
        let len = (self.ports.len() + 1).div_ceil(8).min(room.len().max(1));
        match room.get_mut(..len) {
            Some(room) => {
                room.copy_from_slice(&bits.to_le_bytes()[..len]);
                Answer::Done(len)
            }
            None => Answer::Babble,
        }
    }

    fn speaks_at(&self) -> Option<u64> {
        self.ports.iter().any(|port| !port.change.is_empty()).then_some(0)
    }
    fn woken(&mut self) {
        self.functions().for_each(|function| function.device().woken());
    }
    fn quiesce(&mut self) -> bool {
        self.functions().all(|function| function.device().quiesce())
    }
    fn drained(&self) -> bool {
        self.ports.iter().filter_map(|port| port.function.as_ref()).all(Function::drained)
    }

    fn as_hub(&self) -> Option<&Hub> {
        Some(self)
    }
    fn as_hub_mut(&mut self) -> Option<&mut Hub> {
        Some(self)
    }
    fn save(&self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        for (port, number) in self.ports.iter().zip(1..) {
            let child = node.child(&format!("port {number}"));
            child.hex("status", port.status.bits()).hex("change", port.change.bits());
            port.function.iter().for_each(|function| function.inspect(child));
        }
    }
}

impl Hub {
    fn functions(&mut self) -> impl Iterator<Item = &mut Function> {
        self.ports.iter_mut().filter_map(|port| port.function.as_mut())
    }
}
