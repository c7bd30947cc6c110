//! Human interface devices: tablet, mouse, keyboard, as QEMU has them.
//!
//! Specification: "Device Class Definition for Human Interface Devices (HID)", 1.11, and "HID Usage Tables". Descriptors
//! and reports have QEMU's layout, so that drivers which bound to its devices find the same ones.
//!
//! What is pressed and pointed at waits in a bounded queue: movements that nobody has asked for yet become one, buttons and
//! keys keep their order. A key for which there is no room is not pressed at all, so none ever sticks.
//!
//! Left out: physical descriptors, Microsoft's OS descriptors.

mod keyboard;
pub mod model;
mod pointer;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::{Node, Saved, StateError};

use super::descriptors::{Configuration, Description};
use super::{Answer, Setup, Speed, UsbDevice, UsbInput};
use crate::input::keys::Key;
use crate::input::{Pointer, Role, lights_in_order};
use keyboard::Keyboard;
use pointer::PointerQueue;
use spec::{IDLE_UNIT, descriptor, label, request};

/// Which device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pointer that is at a place.
    Tablet,
    /// A pointer that moves.
    Mouse,
    /// Keys.
    Keyboard,
}

/// What is reported.
enum Source {
    Pointer(PointerQueue),
    Keyboard(Keyboard),
}

/// A device.
pub struct Hid {
    kind: Kind,
    description: Description,
    speeds: &'static [Speed],
    source: Source,
    /// Whether reports are those of the descriptor, and not the boot protocol's.
    report_protocol: bool,
    /// A report comes after so many units of 4 ms at the latest; 0: only when something has changed.
    idle: u8,
    /// When the last one was given.
    reported: u64,
    /// Whether the guest has asked for a report since it configured the device.
    listened: bool,
}

impl Hid {
    /// A device whose serial number ends so.
    pub fn new(kind: Kind, place: &str) -> Hid {
        let interfaces = spec::interfaces(kind);
        let (product, serial, configuration) = spec::labels(kind);
        let description = Description {
            // What QEMU's say since they have Microsoft's OS descriptors.
            usb: 0x0200,
            class: 0,
            vendor: spec::VENDOR,
            product: spec::PRODUCT,
            release: 0,
            max_packet: 8,
            labels: [label::MANUFACTURER, product, serial],
            configuration: Configuration {
                label: configuration,
                attributes: Configuration::ONE | Configuration::WAKEUP,
                power: 50,
                interfaces,
            },
            strings: spec::strings(kind, place),
        };
        let mut device = Hid {
            kind,
            description,
            speeds: &[Speed::Full, Speed::High],
            source: Source::of(kind),
            report_protocol: true,
            idle: 0,
            reported: 0,
            listened: false,
        };
        device.reset();
        device
    }

    /// The same with another serial number.
    pub fn with_serial(mut self, serial: &str) -> Hid {
        let index = self.description.labels[2];
        let own = self.description.strings.iter_mut().find(|(at, _)| *at == index);
        own.into_iter().for_each(|(_, text)| *text = serial.to_owned());
        self
    }

    /// The same, for full speed alone.
    pub fn slow(mut self) -> Hid {
        self.speeds = &[Speed::Full];
        self
    }

    /// The report as it is now; what has waited longest comes first.
    fn report(&mut self) -> Vec<u8> {
        match &mut self.source {
            Source::Pointer(queue) => queue.report(),
            Source::Keyboard(keyboard) => keyboard.report(),
        }
    }

    fn has_news(&self) -> bool {
        match &self.source {
            Source::Pointer(queue) => !queue.is_empty(),
            Source::Keyboard(keyboard) => !keyboard.is_empty(),
        }
    }

    /// When a report comes though nothing has changed.
    fn repeats_at(&self) -> Option<u64> {
        let idle = u64::from(self.idle) * IDLE_UNIT;
        (idle != 0).then(|| self.reported.saturating_add(idle))
    }
}

impl Source {
    fn of(kind: Kind) -> Source {
        match kind {
            Kind::Tablet => Source::Pointer(PointerQueue::new(true)),
            Kind::Mouse => Source::Pointer(PointerQueue::new(false)),
            Kind::Keyboard => Source::Keyboard(Keyboard::default()),
        }
    }
}

impl UsbDevice for Hid {
    fn title(&self) -> &'static str {
        match self.kind {
            Kind::Tablet => "QEMU HID Tablet",
            Kind::Mouse => "QEMU HID Mouse",
            Kind::Keyboard => "QEMU HID Keyboard",
        }
    }
    fn speeds(&self) -> &'static [Speed] {
        self.speeds
    }
    fn attach(&mut self, speed: Speed) {
        let fast = speed == Speed::High;
        self.description.max_packet = if fast { 64 } else { 8 };
        self.description.configuration.interfaces = match fast {
            true => spec::fast_interfaces(self.kind),
            false => spec::interfaces(self.kind),
        };
    }
    fn description(&self) -> &Description {
        &self.description
    }

    fn reset(&mut self) {
        self.source = Source::of(self.kind);
        (self.report_protocol, self.idle, self.reported, self.listened) = (true, 0, 0, false);
    }

    fn configured(&mut self, _is: bool) {
        self.listened = false;
    }

    fn request(&mut self, setup: Setup, data: &mut Vec<u8>, now: u64) -> bool {
        let [low, high] = setup.value.to_le_bytes();
        if setup.index != 0 {
            return false;
        }
        match (setup.kind, setup.request) {
            (request::DESCRIPTOR, request::GET_DESCRIPTOR) => match high {
                descriptor::HID => data.extend(spec::hid_descriptor(self.kind)),
                descriptor::REPORT => data.extend(spec::report_descriptor(self.kind)),
                _ => return false,
            },
            (request::GET, request::REPORT) => {
                *data = self.report();
                self.reported = now;
            }
            (request::GET, request::IDLE) => data.push(self.idle),
            (request::GET, request::PROTOCOL) if self.kind != Kind::Tablet => {
                data.push(self.report_protocol.into());
            }
            (request::SET, request::SET_REPORT) => match &mut self.source {
                Source::Keyboard(keyboard) => keyboard.set_lights(data.first().copied().unwrap_or(0)),
                Source::Pointer(_) => return false,
            },
            (request::SET, request::SET_IDLE) => {
                self.idle = high;
                self.reported = now;
            }
            (request::SET, request::SET_PROTOCOL) if self.kind != Kind::Tablet => {
                self.report_protocol = low != 0;
            }
            _ => return false,
        }
        true
    }

    fn transfer_in(&mut self, _endpoint: u8, room: &mut [u8], now: u64) -> Answer {
        self.listened = true;
        if !self.has_news() && self.repeats_at().is_none_or(|at| now < at) {
            return Answer::Nak;
        }
        let report = self.report();
        self.reported = now;
        match room.get_mut(..report.len()) {
            Some(room) => {
                room.copy_from_slice(&report);
                Answer::Done(room.len())
            }
            None => Answer::Babble,
        }
    }

    fn speaks_at(&self) -> Option<u64> {
        if self.has_news() { Some(0) } else { self.repeats_at() }
    }

    fn input(&mut self) -> Option<&mut dyn UsbInput> {
        Some(self)
    }

    fn save(&self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("report protocol", self.report_protocol).value("idle", self.idle);
        node.value("listened", self.listened);
        match &self.source {
            Source::Pointer(queue) => node.value("waiting", queue.len()),
            Source::Keyboard(keyboard) => {
                node.value("waiting", keyboard.len()).hex("lights", keyboard.lights())
            }
        };
    }
}

impl UsbInput for Hid {
    fn role(&self) -> Role {
        match self.kind {
            Kind::Tablet => Role::Tablet,
            Kind::Mouse => Role::Mouse,
            Kind::Keyboard => Role::Keyboard,
        }
    }
    fn is_active(&self) -> bool {
        self.listened
    }
    fn key(&mut self, key: Key, down: bool) {
        if let Source::Keyboard(keyboard) = &mut self.source {
            keyboard.key(key, down);
        }
    }
    fn lights(&self) -> u8 {
        match &self.source {
            Source::Keyboard(keyboard) => lights_in_order(keyboard.lights()),
            Source::Pointer(_) => 0,
        }
    }
    fn point(&mut self, pointer: Pointer) {
        if let Source::Pointer(queue) = &mut self.source {
            queue.point(pointer);
        }
    }
}
