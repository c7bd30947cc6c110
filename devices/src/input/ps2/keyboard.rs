//! The keyboard.

use devices_core::state::{StateError, valid};
use serde::{Deserialize, Serialize};

use super::Outbox;
use super::scancode::{BREAK, EXTENDED, Translator};
use super::spec::*;
use crate::input::keys::{Code, Key};

/// The keyboard's state; all of it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyboard {
    /// Scan code set, 1 to 3.
    set: u8,
    /// Lights: bit 0 scroll, 1 num, 2 caps.
    leds: u8,
    /// Typematic delay and rate.
    rate: u8,
    /// Sends key events.
    enabled: bool,
    /// The command whose parameter comes next.
    #[serde(deserialize_with = "Option::deserialize")]
    command: Option<u8>,
    out: Outbox,
    /// The byte sent last.
    last: u8,
    /// Modifiers that are held, which change two keys.
    alt: bool,
    control_or_shift: u8,
}

impl Default for Keyboard {
    fn default() -> Keyboard {
        Keyboard {
            set: 2,
            leds: 0,
            rate: TYPEMATIC_DEFAULT,
            enabled: true,
            command: None,
            out: Outbox::default(),
            last: 0,
            alt: false,
            control_or_shift: 0,
        }
    }
}

/// What Pause sends in set 2.
const PAUSE: [u8; 8] = [0xe1, 0x14, 0x77, 0xe1, BREAK, 0x14, BREAK, 0x77];

/// Held modifiers: left and right shift and control, a bit each.
const SHIFTS: u8 = 0b0011;
const CONTROLS: u8 = 0b1100;

impl Keyboard {
    /// Lights: bit 0 scroll, 1 num, 2 caps lock.
    pub fn leds(&self) -> u8 {
        self.leds
    }

    /// The next byte on the wire.
    pub fn pop(&mut self) -> Option<u8> {
        let byte = self.out.pop()?;
        self.last = byte;
        Some(byte)
    }

    /// A key went down, or still is (repetition), or up.
    pub fn key(&mut self, key: Key, down: bool) {
        self.follow_modifiers(key, down);
        if !self.enabled {
            return;
        }
        let mut set_2 = [0; 8];
        let bytes = if self.set == 3 {
            let Some(code) = key.set_3() else { return };
            let mut bytes = Sequence::new(&mut set_2);
            bytes.code(code, down);
            bytes.done()
        } else {
            self.set_2(key.set_2(), down, &mut set_2)
        };
        if self.set == 1 {
            let mut translator = Translator::default();
            let mut set_1 = [0; 8];
            let mut count = 0;
            for (to, byte) in set_1.iter_mut().zip(bytes.iter().filter_map(|&byte| translator.feed(byte))) {
                *to = byte;
                count += 1;
            }
            self.out.event(set_1.get(..count).unwrap_or(&[]));
        } else {
            self.out.event(bytes);
        }
    }

    fn follow_modifiers(&mut self, key: Key, down: bool) {
        let bit = match key.name() {
            "alt" | "alt_r" => return self.alt = down,
            "shift" => 1,
            "shift_r" => 2,
            "ctrl" => 4,
            "ctrl_r" => 8,
            _ => return,
        };
        self.control_or_shift = self.control_or_shift & !bit | if down { bit } else { 0 };
    }

    fn set_2<'a>(&self, code: Code, down: bool, buffer: &'a mut [u8; 8]) -> &'a [u8] {
        let mut bytes = Sequence::new(buffer);
        match code {
            Code::Plain(code) => bytes.code(code, down),
            Code::Extended(code) => bytes.extended(code, down),
            // With Alt it is System Request, a key of its own.
            Code::Print if self.alt => bytes.code(0x84, down),
            Code::Print if self.control_or_shift & (SHIFTS | CONTROLS) != 0 => bytes.extended(0x7c, down),
            Code::Print if down => {
                bytes.extended(0x12, true);
                bytes.extended(0x7c, true);
            }
            Code::Print => {
                bytes.extended(0x7c, false);
                bytes.extended(0x12, false);
            }
            // Pause makes and breaks in one; with Control it is Break.
            Code::Pause if !down => {}
            Code::Pause if self.control_or_shift & CONTROLS != 0 => {
                bytes.extended(0x7e, true);
                bytes.extended(0x7e, false);
            }
            Code::Pause => PAUSE.iter().for_each(|&byte| bytes.byte(byte)),
        }
        bytes.done()
    }

    fn defaults(&mut self) {
        self.set = 2;
        self.rate = TYPEMATIC_DEFAULT;
    }

    /// The controller sends a byte.
    pub fn write(&mut self, value: u8) {
        match self.command.take() {
            // Anything from here on is a command of its own.
            Some(command) if value < SET_LEDS => self.parameter(command, value),
            _ => self.begin(value),
        }
    }

    fn parameter(&mut self, command: u8, value: u8) {
        match (command, value) {
            (SET_LEDS, _) => self.leds = value & 7,
            (SET_RATE, _) => self.rate = value & 0x7f,
            (SCAN_SET, 0) => return self.out.answer(&[ACK, self.set]),
            (SCAN_SET, 1..=3) => self.set = value,
            (SCAN_SET, _) => return self.out.answer(&[RESEND]),
            // A list of keys of set 3, to the next command.
            _ => self.command = Some(command),
        }
        self.out.answer(&[ACK]);
    }

    fn begin(&mut self, command: u8) {
        let answer: &[u8] = match command {
            SET_LEDS | SCAN_SET | SET_RATE | 0xfb..=0xfd => {
                self.command = Some(command);
                &[ACK]
            }
            ECHO => &[ECHO],
            IDENTIFY => &[ACK, KEYBOARD_ID[0], KEYBOARD_ID[1]],
            ENABLE => {
                self.enabled = true;
                &[ACK]
            }
            DISABLE | DEFAULTS => {
                self.out.clear();
                self.defaults();
                self.enabled = command == DEFAULTS;
                &[ACK]
            }
            0xf7..=0xfa => &[ACK],
            RESEND => &[self.last],
            RESET => {
                *self = Keyboard {
                    alt: self.alt,
                    control_or_shift: self.control_or_shift,
                    ..Keyboard::default()
                };
                &[ACK, TEST_PASSED]
            }
            _ => &[RESEND],
        };
        self.out.answer(answer);
    }

    /// Whether a keyboard can be in this state.
    pub fn check(&self) -> Result<(), StateError> {
        valid(matches!(self.set, 1..=3), "a keyboard has three scan code sets")?;
        valid(self.out.bounded(), "a keyboard queues 16 bytes")
    }

    /// Set, rate, whether it sends, and what the guest has not read yet, for people.
    pub fn summary(&self) -> String {
        let Keyboard { set, rate, leds, enabled, .. } = self;
        let queued = self.out.len();
        format!("set {set}, rate {rate:#04x}, leds {leds:#x}, enabled {enabled}, {queued} bytes queued")
    }
}

/// A few bytes in the making.
struct Sequence<'a> {
    buffer: &'a mut [u8; 8],
    count: usize,
}

impl<'a> Sequence<'a> {
    fn new(buffer: &'a mut [u8; 8]) -> Sequence<'a> {
        Sequence { buffer, count: 0 }
    }
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.buffer.get_mut(self.count) {
            *place = byte;
            self.count += 1;
        }
    }
    fn code(&mut self, code: u8, down: bool) {
        if !down {
            self.byte(BREAK);
        }
        self.byte(code);
    }
    fn extended(&mut self, code: u8, down: bool) {
        self.byte(EXTENDED);
        self.code(code, down);
    }
    fn done(self) -> &'a [u8] {
        let Sequence { buffer, count } = self;
        buffer.get(..count).unwrap_or(&[])
    }
}
