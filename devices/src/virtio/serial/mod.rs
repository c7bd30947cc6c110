//! Virtio console (Virtio 1.3, 5.3): a controller with ports, each of them a console (`virtconsole`) or a line with a name
//! (`virtserialport`).
//!
//! As in QEMU port 0 is for consoles, since a driver that knows no ports (without MULTIPORT) has a console there; a port
//! with nobody at the host's end takes what the driver sends and loses it. Nothing is fetched from the host before the
//! driver has a buffer for it, and what a line does not take stays in the driver's request.
//!
//! Beyond QEMU: a message to the driver that finds no buffer waits for one; a console whose line takes nothing waits for
//! it, but no longer than a second, because the kernel that writes there may wait with its locks held (QEMU's loses at
//! once what is not taken); SIZE is offered if `console-size` says so, with the size of the terminal.

mod bus;
mod control;
pub mod model;
mod port;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use devices_core::events::{DeviceEvent, Observer};
use devices_core::model::Model;
use devices_core::{Node, StateError, Timer, Wake, Wiring};

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::pci::VirtioPci;
use super::spec::device_id;
pub use bus::{CONSOLE, SERIAL_PORT, SerialBus, make as make_port};
use control::{Message, Said};
pub use port::PortConfig;
use port::{Moved, Port, discard};
use spec::{CONTROL_QUEUE, PORT_QUEUE, config, feature, queue};

/// Wakes the device to go on with what one call left.
const GO_ON: u32 = 0;
/// Wakes it when a console has waited long enough.
const PATIENCE: u32 = 1;

/// How a device is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most ports.
    pub max_ports: u32,
    /// EMERG_WRITE is offered.
    pub emergency_write: bool,
    /// SIZE is offered.
    pub size: bool,
    /// PCI class and subclass.
    pub class: u32,
    /// What it is an instance of.
    pub model: &'static Model,
}

/// The device.
pub struct Serial {
    options: Options,
    wiring: Wiring,
    observer: Option<Arc<dyn Observer>>,
    go_on: Timer,
    goes_on: Option<u64>,
    patience: Timer,
    /// In the order in which they came.
    ports: Vec<Port>,
    /// What the driver is to hear.
    messages: VecDeque<Message>,
    /// Nothing is moved: the guest is being saved.
    quiet: bool,
}

impl Serial {
    /// A device without ports.
    pub fn new(options: Options, wiring: &Wiring) -> Serial {
        Serial {
            options,
            wiring: wiring.clone(),
            observer: None,
            go_on: wiring.timer(GO_ON),
            goes_on: None,
            patience: wiring.timer(PATIENCE),
            ports: Vec::new(),
            messages: VecDeque::new(),
            quiet: false,
        }
    }

    /// Ports that the driver opens and closes are told.
    pub fn observed(self, observer: Arc<dyn Observer>) -> Serial {
        Serial { observer: Some(observer), ..self }
    }

    fn port(&self, number: u32) -> Option<&Port> {
        self.ports.iter().find(|port| port.config.number == number)
    }

    fn port_mut(&mut self, number: u32) -> Option<&mut Port> {
        self.ports.iter_mut().find(|port| port.config.number == number)
    }

    /// Puts a port into it. The number is free, and one that it has.
    fn plug(&mut self, common: &mut Common, config: PortConfig) {
        let number = config.number;
        let mut port = Port::new(config);
        // A driver that comes later is told how it is then.
        if common.is_running() {
            port.refresh();
        }
        self.ports.push(port);
        self.say(common, number, Said::Add);
        common.change_config();
    }

    /// Takes a port out.
    fn unplug(&mut self, common: &mut Common, number: u32) -> Option<PortConfig> {
        let at = self.ports.iter().position(|port| port.config.number == number)?;
        let mut port = self.ports.remove(at);
        let moved = port.discard(common);
        self.note(moved);
        self.messages.retain(|message| message.port != number);
        self.say(common, number, Said::Remove);
        self.arm_patience();
        Some(port.config)
    }

    /// The driver has opened a port, or closed it.
    fn set_guest_open(&mut self, common: &mut Common, number: u32, open: bool) {
        let Some(port) = self.port_mut(number).filter(|port| port.guest_open != open) else { return };
        port.guest_open = open;
        self.tell_open(number, open);
        self.receive(common, number);
    }

    /// Whoever watches hears that a port was opened or closed.
    fn tell_open(&self, number: u32, open: bool) {
        let backend = self.port(number).and_then(|port| port.config.backend.as_ref());
        backend.into_iter().for_each(|backend| backend.set_open(open));
        if let Some(observer) = &self.observer {
            observer.observe(DeviceEvent::PortOpened { port: number, open });
        }
    }

    fn receive(&mut self, common: &mut Common, number: u32) {
        let moved = self.port_mut(number).map_or(Moved::All, |port| port.receive(common));
        self.note(moved);
    }

    fn transmit(&mut self, common: &mut Common, number: u32) {
        let now = self.wiring.now();
        let moved = match self.port_mut(number) {
            Some(port) => port.transmit(common, now),
            None => discard(common, queue::tx(number)),
        };
        self.note(moved);
        self.arm_patience();
    }

    /// Somebody has come to the host's end, or gone; its size is another.
    fn look(&mut self, common: &mut Common, number: u32) {
        let Some(port) = self.port_mut(number) else { return };
        let (open, size) = (port.is_connected(), port.seen_size());
        let moved = std::mem::replace(&mut port.host_open, open) != open;
        let resized = std::mem::replace(&mut port.size, size) != size;
        if moved {
            let done = if open { Moved::All } else { port.discard(common) };
            self.note(done);
            self.say(common, number, if open { Said::Open } else { Said::Close });
        }
        if resized && common.has(feature::SIZE) {
            self.say(common, number, Said::Resize);
            if number == 0 {
                common.change_config();
            }
        }
    }

    /// Moves what a port has in both directions.
    fn pump(&mut self, common: &mut Common, number: u32) {
        // What came before somebody left is had before the driver hears that.
        self.receive(common, number);
        self.look(common, number);
        self.transmit(common, number);
    }

    fn pump_all(&mut self, common: &mut Common) {
        let moved = self.control(common);
        self.note(moved);
        self.send_messages(common);
        (0..self.options.max_ports).for_each(|port| self.pump(common, port));
    }

    /// What is left is done soon.
    fn note(&mut self, moved: Moved) {
        if moved == Moved::More && self.goes_on.is_none() {
            self.set_go_on(Some(self.wiring.now()));
        }
    }

    fn set_go_on(&mut self, deadline: Option<u64>) {
        self.goes_on = deadline;
        match deadline {
            Some(deadline) => self.go_on.arm(deadline),
            None => self.go_on.cancel(),
        }
    }

    fn arm_patience(&mut self) {
        match self.ports.iter().filter_map(|port| port.patience).min() {
            Some(deadline) => self.patience.arm(deadline),
            None => self.patience.cancel(),
        }
    }

    /// Consoles that have waited long enough go on without their line.
    fn lose_patience(&mut self, common: &mut Common) {
        let now = self.wiring.now();
        let mut due = Vec::new();
        for port in self.ports.iter_mut().filter(|port| port.patience.is_some_and(|until| until <= now)) {
            (port.patience, port.lossy) = (None, true);
            due.push(port.config.number);
        }
        due.into_iter().for_each(|port| self.transmit(common, port));
    }

    /// The first console puts out a character that no queue brought.
    fn emergency(&self, character: u8) {
        let console = self.ports.iter().find(|port| port.config.console && port.config.backend.is_some());
        if let Some(backend) = console.and_then(|port| port.config.backend.as_ref()) {
            // What the line does not take is lost: there is nowhere to keep it.
            backend.write(&[character]);
        }
    }

    fn configuration(&self) -> [u8; config::LEN] {
        let mut bytes = [0; config::LEN];
        let (cols, rows) = self.port(0).filter(|_| self.options.size).map_or((0, 0), |port| port.size);
        bytes[config::COLS..config::ROWS].copy_from_slice(&cols.to_le_bytes());
        bytes[config::ROWS..config::MAX_NR_PORTS].copy_from_slice(&rows.to_le_bytes());
        bytes[config::MAX_NR_PORTS..config::EMERG_WR].copy_from_slice(&self.options.max_ports.to_le_bytes());
        bytes
    }
}

impl VirtioDevice for Serial {
    type State = state::State;

    // As QEMU's is called since before it had ports.
    const KIND: &'static str = "virtio-console";

    fn model(&self) -> Option<&'static Model> {
        Some(self.options.model)
    }
    fn identity(&self) -> Identity {
        Identity { id: device_id::CONSOLE, transitional: Some(0x1003), class: self.options.class << 8 }
    }
    fn features(&self) -> u64 {
        let when = |on: bool, bit| if on { bit } else { 0 };
        when(self.options.max_ports > 1, feature::MULTIPORT)
            | when(self.options.emergency_write, feature::EMERG_WRITE)
            | when(self.options.size, feature::SIZE)
    }
    fn queue_sizes(&self) -> Vec<u16> {
        let mut sizes = vec![PORT_QUEUE, PORT_QUEUE, CONTROL_QUEUE, CONTROL_QUEUE];
        sizes.resize(2 + 2 * self.options.max_ports.max(1) as usize, PORT_QUEUE);
        sizes
    }
    fn config_len(&self) -> usize {
        if self.options.emergency_write { config::LEN } else { config::EMERG_WR }
    }
    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        for (to, from) in data.iter_mut().zip(self.configuration().iter().skip(offset)) {
            *to = *from;
        }
    }
    fn write_config(&mut self, _common: &mut Common, offset: usize, data: &[u8]) {
        let mut value = [0; 4];
        for (at, byte) in (offset..).zip(data) {
            if let Some(to) = at.checked_sub(config::EMERG_WR).and_then(|at| value.get_mut(at)) {
                *to = *byte;
            }
        }
        if value != [0; 4] && self.options.emergency_write {
            self.emergency(value[0]);
        }
    }

    fn ready(&mut self, common: &mut Common) {
        self.ports.iter_mut().for_each(Port::refresh);
        // Who knows no ports cannot say that it has one open.
        if !common.has(feature::MULTIPORT) {
            self.set_guest_open(common, 0, true);
        }
    }
    fn notified(&mut self, common: &mut Common, queue: u16) {
        match queue {
            queue::CONTROL_RX => self.send_messages(common),
            queue::CONTROL_TX => {
                let moved = self.control(common);
                self.note(moved);
            }
            _ => match queue::port(queue) {
                (port, true) => self.transmit(common, port),
                (port, false) => self.receive(common, port),
            },
        }
    }
    fn wake(&mut self, common: &mut Common, why: Wake) {
        if self.quiet {
            return;
        }
        match why {
            Wake::Timer(GO_ON) if self.goes_on.is_some_and(|deadline| deadline <= self.wiring.now()) => {
                self.set_go_on(None);
                self.pump_all(common);
            }
            Wake::Timer(PATIENCE) => {
                self.lose_patience(common);
                self.arm_patience();
            }
            Wake::Backend(port) => self.pump(common, port),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.set_go_on(None);
        self.messages.clear();
        self.quiet = false;
        let mut closed = Vec::new();
        for port in &mut self.ports {
            port.reset();
            closed.extend(std::mem::take(&mut port.guest_open).then_some(port.config.number));
        }
        closed.into_iter().for_each(|port| self.tell_open(port, false));
        self.arm_patience();
    }
    fn reset_queue(&mut self, _common: &mut Common, queue: u16) {
        let (number, out) = queue::port(queue);
        if out
            && queue != queue::CONTROL_TX
            && let Some(port) = self.port_mut(number)
        {
            port.reset();
        }
        self.arm_patience();
    }
    fn quiesce(&mut self, _common: &mut Common) -> bool {
        self.quiet = true;
        true
    }
    fn resume(&mut self, common: &mut Common) {
        self.quiet = false;
        self.pump_all(common);
    }

    fn save(&self) -> state::State {
        state::save(self)
    }
    fn load(&mut self, common: &mut Common, state: state::State) -> Result<(), StateError> {
        state::load(self, common, state)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("messages waiting", self.messages.len());
        for port in &self.ports {
            let child = node.child(&format!("port {}", port.config.number));
            child.value("console", port.config.console).value("name", &port.config.name);
            child.value("guest open", port.guest_open).value("host open", port.host_open);
            let left = port.output.as_ref().map(|(chain, from)| super::queue::len(&chain.readable) - from);
            child.value("bytes held", left.unwrap_or(0)).value("input waiting", port.input.len());
            child.value("loses output", port.lossy);
        }
    }
}

impl VirtioPci<Serial> {
    /// Which number a port gets that asks for `number`, or for any, as QEMU gives them.
    pub fn number_for(&self, number: Option<u32>, console: bool) -> Result<u32, String> {
        let Options { max_ports, .. } = self.device().options;
        let taken = |number: u32| self.device().port(number).is_some();
        let number = match number {
            Some(number) => number,
            None if console && !taken(0) => 0,
            None => (1..max_ports)
                .find(|number| !taken(*number))
                .ok_or("virtio-serial-bus: Maximum port limit for this device reached")?,
        };
        if taken(number) {
            return Err(format!("virtio-serial-bus: A port already exists at id {number}"));
        }
        if number >= max_ports {
            return Err(format!(
                "virtio-serial-bus: Out-of-range port id specified, max. allowed: {}",
                max_ports - 1
            ));
        }
        if number == 0 && !console {
            return Err(
                "Port number 0 on virtio-serial devices reserved for virtconsole devices for backward \
                        compatibility."
                    .to_owned(),
            );
        }
        Ok(number)
    }

    /// Puts a port into it, with a number of [`number_for`](Self::number_for)'s.
    pub fn plug(&mut self, port: PortConfig) -> Result<(), String> {
        self.number_for(Some(port.number), port.console)?;
        let name = &port.name;
        if !name.is_empty() && self.device().ports.iter().any(|other| other.config.name == *name) {
            return Err(format!("virtio-serial-bus: A port already exists by name {name}"));
        }
        self.with(|serial, common| serial.plug(common, port));
        Ok(())
    }

    /// Takes a port out; the driver hears of it. What it gives is dropped when the device is not locked any more: a line
    /// that closes waits for its threads, which may be about to wake the device.
    #[must_use]
    pub fn unplug(&mut self, number: u32) -> Option<PortConfig> {
        self.with(|serial, common| serial.unplug(common, number))
    }

    /// Whether the driver has the port open.
    pub fn is_open(&self, number: u32) -> bool {
        self.device().port(number).is_some_and(|port| port.guest_open)
    }
}
