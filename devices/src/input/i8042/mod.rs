//! The 8042 keyboard controller with a PS/2 keyboard and mouse, ports 0x60 and 0x64, IRQ 1 and 12.
//!
//! After "IBM Personal System/2 Hardware Interface Technical Reference"; power-on values and the commands
//! that are answered as in QEMU's PC. Not here: the controller's RAM apart from the configuration byte,
//! its password, parity errors and time-outs, and the time that a byte takes on the wire.

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::power::{Power, PowerEvent};
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

use super::keys::Key;
use spec::*;
use state::{Byte, Controller};

const KIND: &str = "i8042";
const REGIONS: [Region; 2] = [Region::pio("data", DATA, 1), Region::pio("command", COMMAND, 1)];

/// Address line 20, as the controller drives it: true lets it through. Must not block nor call the
/// controller.
pub type A20 = Arc<dyn Fn(bool) + Send + Sync>;

/// What the controller drives.
pub struct Wires {
    /// IRQ 1.
    pub keyboard: IrqLine,
    /// IRQ 12.
    pub mouse: IrqLine,
    /// Told on every change that the guest makes here, and at reset.
    pub a20: A20,
    /// For the reset pulse.
    pub power: Arc<dyn Power>,
}

/// The controller.
pub struct I8042 {
    chip: Controller,
    wires: Wires,
}

impl I8042 {
    /// A controller with keyboard and mouse.
    pub fn new(wires: Wires) -> I8042 {
        let chip = Controller::default();
        // From power-on: a gate that has never been held open could not be shut.
        (wires.a20)(chip.output & OUT_A20 != 0);
        I8042 { chip, wires }
    }

    /// A key went down (or repeats) or up. Dropped whole when the keyboard's queue is full.
    pub fn key(&mut self, key: Key, down: bool) {
        self.chip.keyboard.key(key, down);
        self.follow();
    }

    /// The mouse moved by `dx` to the right, `dy` down and `dz` of the wheel towards the user, with
    /// `buttons` held: bit 0 left, 1 right, 2 middle, 3 side, 4 extra.
    pub fn mouse(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        self.chip.mouse.input([dx, dy, dz], buttons);
        self.follow();
    }

    /// The keyboard's lights: bit 0 scroll, 1 num, 2 caps lock.
    pub fn leds(&self) -> u8 {
        self.chip.keyboard.leds()
    }

    fn config(&self, bit: u8) -> bool {
        self.chip.config & bit != 0
    }

    /// The next byte for the data port.
    fn next_byte(&mut self) -> Option<Byte> {
        if let Some(answer) = self.chip.answer.take() {
            return Some(answer);
        }
        while !self.config(KEYBOARD_OFF) {
            let Some(byte) = self.chip.keyboard.pop() else { break };
            let byte = if self.config(TRANSLATE) { self.chip.translator.feed(byte) } else { Some(byte) };
            if let Some(value) = byte {
                return Some(Byte { value, mouse: false });
            }
        }
        if self.config(MOUSE_OFF) {
            return None;
        }
        self.chip.mouse.pop().map(|value| Byte { value, mouse: true })
    }

    /// Fills the data port and drives the lines.
    fn follow(&mut self) {
        if self.chip.waiting.is_none() {
            self.chip.waiting = self.next_byte();
        }
        self.drive();
    }

    fn drive(&mut self) {
        let waits = |mouse: bool| self.chip.waiting.is_some_and(|byte| byte.mouse == mouse);
        let keyboard = waits(false) && self.config(KEYBOARD_IRQ) && !self.config(KEYBOARD_OFF);
        let mouse = waits(true) && self.config(MOUSE_IRQ);
        self.wires.keyboard.set(keyboard);
        self.wires.mouse.set(mouse);
    }

    fn read_data(&mut self) -> u8 {
        if let Some(byte) = self.chip.waiting.take() {
            self.chip.last = byte.value;
            // The line falls before the next byte raises it: an edge for each.
            self.drive();
        }
        self.chip.last
    }

    fn status(&self) -> u8 {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let waiting = self.chip.waiting;
        UNLOCKED
            | flag(waiting.is_some(), OUTPUT_FULL)
            | flag(waiting.is_some_and(|byte| byte.mouse), MOUSE_BYTE)
            | flag(self.chip.tested, SYSTEM)
            | flag(self.chip.was_command, WAS_COMMAND)
    }

    fn output(&self) -> u8 {
        let waiting = match self.chip.waiting {
            None => 0,
            Some(Byte { mouse: false, .. }) => OUT_KEYBOARD,
            Some(Byte { mouse: true, .. }) => OUT_MOUSE,
        };
        self.chip.output & !(OUT_KEYBOARD | OUT_MOUSE) | waiting
    }

    fn set_output(&mut self, value: u8) {
        let changed = self.chip.output ^ value;
        self.chip.output = value;
        if changed & OUT_A20 != 0 {
            (self.wires.a20)(value & OUT_A20 != 0);
        }
        if value & OUT_RESET == 0 {
            self.wires.power.request(PowerEvent::Reset);
        }
    }

    fn answer(&mut self, value: u8) {
        self.chip.answer = Some(Byte { value, mouse: false });
    }

    fn begin(&mut self, command: u8) {
        self.chip.command = None;
        match command {
            READ_CONFIG => self.answer(self.chip.config),
            WRITE_CONFIG | WRITE_OUTPUT | ECHO_KEYBOARD | ECHO_MOUSE | TO_MOUSE => {
                self.chip.command = Some(command);
            }
            STOP_MOUSE => self.chip.config |= MOUSE_OFF,
            START_MOUSE => self.chip.config &= !MOUSE_OFF,
            TEST_MOUSE | TEST_KEYBOARD => self.answer(WIRES_FINE),
            SELF_TEST => {
                self.chip.tested = true;
                self.answer(SELF_TEST_PASSED);
            }
            STOP_KEYBOARD => self.chip.config |= KEYBOARD_OFF,
            START_KEYBOARD => self.chip.config &= !KEYBOARD_OFF,
            READ_INPUT => self.answer(INPUT_PORT),
            READ_OUTPUT => self.answer(self.output()),
            A20_OFF => self.set_output(self.chip.output & !OUT_A20),
            A20_ON => self.set_output(self.chip.output | OUT_A20),
            // Of the four lines only the reset leads anywhere that a pulse is felt.
            PULSE.. if command & OUT_RESET == 0 => self.wires.power.request(PowerEvent::Reset),
            _ => {}
        }
    }

    fn write_data(&mut self, value: u8) {
        match self.chip.command.take() {
            Some(WRITE_CONFIG) => self.chip.config = value,
            Some(WRITE_OUTPUT) => self.set_output(value),
            Some(ECHO_KEYBOARD) => self.answer(value),
            Some(ECHO_MOUSE) => self.chip.answer = Some(Byte { value, mouse: true }),
            // Talking to a device lets it go on.
            Some(TO_MOUSE) => {
                self.chip.config &= !MOUSE_OFF;
                self.chip.mouse.write(value);
            }
            _ => {
                self.chip.config &= !KEYBOARD_OFF;
                self.chip.keyboard.write(value);
            }
        }
    }
}

impl Device for I8042 {
    fn name(&self) -> &str {
        "i8042"
    }

    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &REGIONS
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let value = if at.region == 0 { self.read_data() } else { self.status() };
        self.follow();
        data.fill(value);
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let Some(&value) = data.first() else { return Io::Done };
        self.chip.was_command = at.region != 0;
        if self.chip.was_command {
            self.begin(value)
        } else {
            self.write_data(value)
        }
        self.follow();
        Io::Done
    }

    fn reset(&mut self) {
        self.chip = Controller::default();
        self.drive();
        (self.wires.a20)(true);
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode(KIND, 1, &self.chip)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let chip: Controller = saved.decode(KIND, 1)?;
        chip.check()?;
        self.chip = chip;
        (self.wires.a20)(self.chip.output & OUT_A20 != 0);
        self.drive();
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        node.hex("config", self.chip.config).hex("output", self.output()).hex("status", self.status());
        node.value("keyboard", self.chip.keyboard.summary()).value("mouse", self.chip.mouse.summary());
    }
}
