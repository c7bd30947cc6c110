//! What the monitor's clients do at the keyboard and the mouse.

use crate::machine::Machine;
use crate::monitor::facts::{Button, Input};

/// The buttons that are held (see [`Machine::mouse`]).
#[derive(Debug, Default)]
pub(super) struct Mouse(u8);

impl Mouse {
    /// Acts on the machine.
    pub(super) fn act(&mut self, machine: &Machine, input: &Input) {
        match input {
            Input::Key(name, down) => machine.key(name, *down),
            Input::Move { dx, dy } => machine.mouse(*dx, *dy, 0, self.0),
            Input::Button(button, down) => {
                let (bit, wheel) = meaning(*button);
                self.0 = if *down { self.0 | bit } else { self.0 & !bit };
                if bit != 0 || (*down && wheel != 0) {
                    machine.mouse(0, 0, wheel * i32::from(*down), self.0);
                }
            }
        }
    }
}

/// A button's bit, and how far it turns the wheel towards the person. A PS/2 mouse has no second wheel.
fn meaning(button: Button) -> (u8, i32) {
    match button {
        Button::Left => (1, 0),
        Button::Right => (2, 0),
        Button::Middle => (4, 0),
        Button::Side => (8, 0),
        Button::Extra => (16, 0),
        Button::WheelUp => (0, -1),
        Button::WheelDown => (0, 1),
        Button::WheelLeft | Button::WheelRight => (0, 0),
    }
}
