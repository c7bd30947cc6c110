//! What of the controller, keyboard and mouse is saved: all that they know.

use devices_core::state::StateError;
use serde::{Deserialize, Serialize};

use super::spec::*;
use crate::input::ps2::scancode::Translator;
use crate::input::ps2::{Keyboard, Mouse};

/// A byte at the data port, and whether it is the mouse's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Byte {
    /// What is read.
    pub value: u8,
    /// From the mouse, or as if it were.
    pub mouse: bool,
}

/// Controller and what hangs on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Configuration byte.
    pub config: u8,
    /// Output port but for the bits that show waiting bytes.
    pub output: u8,
    /// The self-test has passed.
    pub tested: bool,
    /// The last write was a command.
    pub was_command: bool,
    /// The command whose parameter comes next.
    #[serde(deserialize_with = "Option::deserialize")]
    pub command: Option<u8>,
    /// The byte that waits.
    #[serde(deserialize_with = "Option::deserialize")]
    pub waiting: Option<Byte>,
    /// The controller's own answer, which comes next.
    #[serde(deserialize_with = "Option::deserialize")]
    pub answer: Option<Byte>,
    /// The byte read last, which the port shows until the next.
    pub last: u8,
    /// Translation in progress.
    pub translator: Translator,
    /// Port 1.
    pub keyboard: Keyboard,
    /// Port 2.
    pub mouse: Mouse,
}

impl Default for Controller {
    fn default() -> Controller {
        Controller {
            config: KEYBOARD_IRQ | MOUSE_IRQ,
            output: OUT_LINES | OUT_RESET | OUT_A20,
            tested: false,
            was_command: true,
            command: None,
            waiting: None,
            answer: None,
            last: 0,
            translator: Translator::default(),
            keyboard: Keyboard::default(),
            mouse: Mouse::default(),
        }
    }
}

impl Controller {
    /// Whether they can be in this state.
    pub fn check(&self) -> Result<(), StateError> {
        self.keyboard.check()?;
        self.mouse.check()
    }
}
