//! Virtio input devices (Virtio 1.3, 5.8): keyboard, mouse, tablet. What they are called and say of themselves is QEMU's.
//!
//! What belongs together (a movement in both axes, a button) is one packet with its end (SYN). A packet for which the
//! driver has not given enough buffers is dropped whole: half a packet would be taken for something else.
//!
//! Left out: the touch screen, which QEMU 7.2 does not have.

mod answers;
mod keys;
pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use devices_core::model::Model;
use devices_core::{Node, StateError};

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::pci::VirtioPci;
use super::queue::{Chain, read_at, write_at};
use super::spec::{device_id, status};
use crate::input::keys::Key;
use crate::input::{InputSink, Motion, Pointer, Role, lights_in_order};
use answers::Answer;
use spec::{BUTTONS, EVENT, GEARS, LIGHTS, QUEUE_SIZE, axis, config, ev, queue};

/// Most events of the driver's that one call takes; what is more waits for the next.
const BURST: usize = 64;

/// Which device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyboard.
    Keyboard,
    /// A mouse: it moves by so much.
    Mouse,
    /// A tablet: it is at a place.
    Tablet,
}

impl Kind {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Keyboard => "QEMU Virtio Keyboard",
            Kind::Mouse => "QEMU Virtio Mouse",
            Kind::Tablet => "QEMU Virtio Tablet",
        }
    }
}

/// How a device is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which it is.
    pub kind: Kind,
    /// Its serial number; none: it has none.
    pub serial: Option<String>,
    /// The wheel is an axis, not two buttons.
    pub wheel_axis: bool,
    /// What it is an instance of.
    pub model: &'static Model,
}

/// Type, code and value of an event.
type Event = (u16, u16, u32);

/// The device.
pub struct Input {
    options: Options,
    answers: Vec<Answer>,
    /// What the driver asks the configuration for.
    asked: (u8, u8),
    /// A driver is set up.
    active: bool,
    /// Buffers that were taken for the next packet.
    buffers: VecDeque<Chain>,
    /// Buttons that are held, as the driver knows it.
    buttons: u8,
    /// Lights that are on.
    lights: u8,
}

impl Input {
    /// A device.
    pub fn new(options: Options) -> Input {
        let answers = answers::of(&options);
        Input {
            options,
            answers,
            asked: (0, 0),
            active: false,
            buffers: VecDeque::new(),
            buttons: 0,
            lights: 0,
        }
    }

    /// Gives the driver a packet, if it has buffers for all of it. False: it is dropped.
    fn send(&mut self, common: &mut Common, events: &[Event]) -> bool {
        let events = events.iter().chain(&[(ev::SYN, 0, 0)]);
        let needed = events.clone().count();
        while self.active && self.buffers.len() < needed {
            let mut chain = Chain::default();
            if !common.pop(queue::EVENT, &mut chain) {
                break;
            }
            self.buffers.push_back(chain);
        }
        if !self.active || self.buffers.len() < needed {
            return false;
        }
        for (kind, code, value) in events {
            let Some(buffer) = self.buffers.pop_front() else { return false };
            let bytes = [&kind.to_le_bytes()[..], &code.to_le_bytes(), &value.to_le_bytes()].concat();
            let written = write_at(common.dma(), &buffer.writable, 0, &bytes).unwrap_or(0);
            common.push(queue::EVENT, &buffer, written as u32);
        }
        true
    }

    fn press(&mut self, common: &mut Common, key: Key, down: bool) {
        if let Some(code) = keys::code(key) {
            self.send(common, &[(ev::KEY, code, down.into())]);
        }
    }

    fn point(&mut self, common: &mut Common, Pointer { motion, wheel, buttons }: Pointer) {
        let mut events = Vec::new();
        match (motion, self.options.kind) {
            (Motion::By { dx, dy }, Kind::Mouse) => {
                let moved = [(axis::X, dx), (axis::Y, dy)].into_iter().filter(|(_, by)| *by != 0);
                events.extend(moved.map(|(axis, by)| (ev::REL, axis, by as u32)));
            }
            (Motion::To { x, y }, Kind::Tablet) => {
                let placed = [(axis::X, x), (axis::Y, y)].into_iter();
                events.extend(placed.filter_map(|(axis, at)| Some((ev::ABS, axis, at?.into()))));
            }
            _ => {}
        }
        let changed = (0..).zip(BUTTONS).filter(|(bit, _)| (self.buttons ^ buttons) >> bit & 1 != 0);
        events.extend(changed.map(|(bit, code)| (ev::KEY, code, u32::from(buttons >> bit & 1))));
        let gear = GEARS[usize::from(wheel < 0)];
        if wheel != 0 {
            events.push(match self.options.wheel_axis {
                true => (ev::REL, axis::WHEEL, wheel.saturating_neg() as u32),
                false => (ev::KEY, gear, 1),
            });
        }
        // What the driver has not heard it hears with the next packet.
        if !events.is_empty() && self.send(common, &events) {
            self.buttons = buttons;
            if wheel != 0 && !self.options.wheel_axis {
                self.send(common, &[(ev::KEY, gear, 0)]);
            }
        }
    }

    /// An event of the driver's.
    fn heard(&mut self, [t0, t1, c0, c1, v0, v1, v2, v3]: [u8; EVENT]) {
        let (kind, code) = (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([c0, c1]));
        if kind == ev::LED && code < LIGHTS {
            let bit = 1 << code;
            let on = u32::from_le_bytes([v0, v1, v2, v3]) != 0;
            self.lights = if on { self.lights | bit } else { self.lights & !bit };
        }
    }
}

impl VirtioDevice for Input {
    type State = state::State;

    const KIND: &'static str = "virtio-input";

    fn model(&self) -> Option<&'static Model> {
        Some(self.options.model)
    }
    fn identity(&self) -> Identity {
        let class = match self.options.kind {
            Kind::Keyboard => 0x09_00_00,
            Kind::Mouse => 0x09_02_00,
            Kind::Tablet => 0x09_80_00,
        };
        Identity { id: device_id::INPUT, transitional: None, class }
    }
    fn features(&self) -> u64 {
        0
    }
    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 2]
    }
    fn config_len(&self) -> usize {
        answers::config_len(&self.answers)
    }
    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        let all = answers::configuration(&self.answers, self.asked);
        for (to, from) in data.iter_mut().zip(all.iter().skip(offset)) {
            *to = *from;
        }
    }
    fn write_config(&mut self, common: &mut Common, offset: usize, data: &[u8]) {
        for (at, byte) in (offset..).zip(data) {
            match at {
                config::SELECT => self.asked.0 = *byte,
                config::SUBSEL => self.asked.1 = *byte,
                _ => {}
            }
        }
        // As QEMU does: the rest of it is another now.
        common.change_config();
    }

    fn ready(&mut self, _common: &mut Common) {
        self.active = true;
    }
    fn notified(&mut self, common: &mut Common, queue: u16) {
        // Buffers for events wait in their queue.
        let mut chain = Chain::default();
        for _ in 0..if queue == queue::STATUS { BURST } else { 0 } {
            if !common.pop(queue, &mut chain) {
                if common.enable_notification(queue) {
                    continue;
                }
                return;
            }
            let mut event = [0; EVENT];
            if read_at(common.dma(), &chain.readable, 0, &mut event).is_some() {
                self.heard(event);
            }
            common.push(queue, &chain, 0);
        }
    }
    fn reset(&mut self) {
        self.asked = (0, 0);
        self.active = false;
        self.buffers.clear();
        (self.buttons, self.lights) = (0, 0);
    }
    fn reset_queue(&mut self, _common: &mut Common, queue: u16) {
        if queue == queue::EVENT {
            self.buffers.clear();
        }
    }

    fn save(&self) -> state::State {
        state::save(self)
    }
    fn load(&mut self, common: &mut Common, state: state::State) -> Result<(), StateError> {
        state::load(self, common, state)?;
        self.active = common.status() & status::DRIVER_OK != 0;
        Ok(())
    }
    fn inspect(&self, node: &mut Node) {
        node.value("name", self.options.kind.name()).value("driver", self.active);
        node.hex("buttons", self.buttons).hex("lights", self.lights).value("buffers", self.buffers.len());
    }
}

impl InputSink for VirtioPci<Input> {
    fn title(&self) -> &'static str {
        self.device().options.kind.name()
    }
    fn role(&self) -> Role {
        match self.device().options.kind {
            Kind::Keyboard => Role::Keyboard,
            Kind::Mouse => Role::Mouse,
            Kind::Tablet => Role::Tablet,
        }
    }
    fn is_active(&self) -> bool {
        self.device().active
    }
    fn key(&mut self, key: Key, down: bool) {
        self.with(|input, common| input.press(common, key, down));
    }
    fn lights(&self) -> u8 {
        lights_in_order(self.device().lights)
    }
    fn point(&mut self, pointer: Pointer) {
        self.with(|input, common| input.point(common, pointer));
    }
}
