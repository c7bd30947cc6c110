//! The mouse.

use devices_core::state::{StateError, valid};
use serde::{Deserialize, Serialize};

use super::Outbox;
use super::spec::*;

/// The mouse's state; all of it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mouse {
    /// 0: two axes, 3: with a wheel, 4: with five buttons.
    id: u8,
    /// Samples a second.
    rate: u8,
    /// 0 to 3: 1, 2, 4, 8 counts a millimetre.
    resolution: u8,
    /// 2:1 scaling.
    scaled: bool,
    /// Reports by itself, in stream mode.
    enabled: bool,
    /// Remote mode.
    remote: bool,
    /// Wrap mode.
    wrap: bool,
    /// The command whose parameter comes next.
    #[serde(deserialize_with = "Option::deserialize")]
    command: Option<u8>,
    /// The last three sample rates, which unlock wheel and buttons.
    knocks: [u8; 3],
    /// Movement that was not reported yet.
    moved: [i32; 3],
    /// Buttons that are held.
    buttons: u8,
    /// Buttons as reported last.
    reported: u8,
    out: Outbox,
    /// The byte sent last.
    last: u8,
}

impl Default for Mouse {
    fn default() -> Mouse {
        Mouse {
            id: 0,
            rate: 100,
            resolution: 2,
            scaled: false,
            enabled: false,
            remote: false,
            wrap: false,
            command: None,
            knocks: [0; 3],
            moved: [0; 3],
            buttons: 0,
            reported: 0,
            out: Outbox::default(),
            last: 0,
        }
    }
}

/// 2:1 scaling of the smallest counts; from 6 on it doubles.
const SCALE: [i32; 6] = [0, 1, 1, 3, 6, 9];

impl Mouse {
    /// The next byte on the wire.
    pub fn pop(&mut self) -> Option<u8> {
        let byte = self.out.pop()?;
        self.last = byte;
        self.report();
        Some(byte)
    }

    /// It moved by (right, down, wheel towards the user), and these buttons are held: bit 0 left, 1
    /// right, 2 middle, 3 side, 4 extra.
    pub fn input(&mut self, moved: [i32; 3], buttons: u8) {
        self.buttons = buttons & 0x1f;
        if !self.enabled && !self.remote {
            return;
        }
        let [x, y, z] = moved;
        let z = if self.id == 0 { 0 } else { z };
        for (sum, step) in self.moved.iter_mut().zip([x, y.saturating_neg(), z]) {
            *sum = sum.saturating_add(step);
        }
        self.report();
    }

    /// Queues packets while there is something to tell and room for it; what has no room is told later.
    fn report(&mut self) {
        if !self.enabled || self.remote || self.wrap {
            return;
        }
        let visible = if self.id == 4 { 0x1f } else { 7 };
        while self.moved != [0; 3] || (self.buttons ^ self.reported) & visible != 0 {
            let before = (self.moved, self.reported);
            let (packet, len) = self.packet(self.scaled);
            if !self.out.event(packet.get(..len).unwrap_or(&[])) {
                (self.moved, self.reported) = before;
                return;
            }
        }
    }

    /// Takes as much of the movement as a packet tells.
    fn packet(&mut self, scaled: bool) -> ([u8; 4], usize) {
        let [x, y, z] = &mut self.moved;
        let most = if self.id == 4 { 7 } else { 127 };
        let (x, y, z) = (take(x, 127), take(y, 127), take(z, most));
        let scale = |count: i32| match SCALE.get(count.unsigned_abs() as usize) {
            _ if !scaled => count,
            Some(step) => step * count.signum(),
            None => count * 2,
        };
        let (x, y) = (scale(x), scale(y));
        let sign = |count: i32, bit: u8| if count < 0 { bit } else { 0 };
        let first = PACKET_MARK | self.buttons & 7 | sign(x, PACKET_X_SIGN) | sign(y, PACKET_Y_SIGN);
        let last = match self.id {
            4 => z as u8 & 0x0f | (self.buttons & 0x18) << 1,
            _ => z as u8,
        };
        self.reported = self.buttons;
        ([first, x as u8, y as u8, last], if self.id == 0 { 3 } else { 4 })
    }

    /// The controller sends a byte.
    pub fn write(&mut self, value: u8) {
        if self.wrap && value != RESET && value != UNWRAP {
            return self.out.answer(&[value]);
        }
        match self.command.take() {
            Some(SET_RATE) => self.set_rate(value),
            Some(_) => self.resolution = value & 3,
            None => return self.begin(value),
        }
        self.out.answer(&[ACK]);
    }

    fn set_rate(&mut self, rate: u8) {
        self.rate = rate;
        let [_, a, b] = self.knocks;
        self.knocks = [a, b, rate];
        match self.knocks {
            [200, 100, 80] => self.id = 3,
            [200, 200, 80] => self.id = 4,
            _ => {}
        }
    }

    fn defaults(&mut self) {
        let Mouse { id, knocks, buttons, last, .. } = *self;
        *self = Mouse { id, knocks, buttons, reported: buttons, last, ..Mouse::default() };
    }

    fn begin(&mut self, command: u8) {
        match command {
            SCALE_1 | SCALE_2 => self.scaled = command == SCALE_2,
            SET_RESOLUTION | SET_RATE => self.command = Some(command),
            STATUS => {
                let flag = |on: bool, bit: u8| if on { bit } else { 0 };
                let modes = flag(self.remote, 0x40) | flag(self.enabled, 0x20) | flag(self.scaled, 0x10);
                return self.out.answer(&[ACK, modes | self.buttons_in_status(), self.resolution, self.rate]);
            }
            POLL => {
                let (packet, len) = self.packet(false);
                let mut answer = [ACK; 5];
                for (to, from) in answer.iter_mut().skip(1).zip(packet) {
                    *to = from;
                }
                return self.out.answer(answer.get(..=len).unwrap_or(&[]));
            }
            STREAM | REMOTE => self.remote = command == REMOTE,
            WRAP | UNWRAP => self.wrap = command == WRAP,
            IDENTIFY => return self.out.answer(&[ACK, self.id]),
            ENABLE => self.enabled = true,
            DISABLE => self.enabled = false,
            DEFAULTS => self.defaults(),
            RESEND => return self.out.answer(&[self.last]),
            RESET => {
                *self = Mouse { buttons: self.buttons, reported: self.buttons, ..Mouse::default() };
                return self.out.answer(&[ACK, TEST_PASSED, 0]);
            }
            _ => return self.out.answer(&[RESEND]),
        }
        self.out.answer(&[ACK]);
    }

    /// The status byte has left, middle and right in bits 2, 1 and 0.
    fn buttons_in_status(&self) -> u8 {
        (self.buttons & 1) << 2 | self.buttons >> 1 & 2 | self.buttons >> 1 & 1
    }

    /// Whether a mouse can be in this state.
    pub fn check(&self) -> Result<(), StateError> {
        valid(matches!(self.id, 0 | 3 | 4), "there is no such mouse")?;
        valid(self.out.bounded(), "a mouse queues 16 bytes")
    }

    /// Kind, modes and buttons, for people.
    pub fn summary(&self) -> String {
        let Mouse { id, rate, resolution, enabled, remote, wrap, buttons, .. } = self;
        format!(
            "id {id}, rate {rate}, resolution {resolution}, enabled {enabled}, remote {remote}, wrap {wrap}, \
             buttons {buttons:#x}"
        )
    }
}

/// Takes at most `most` off `sum`, either way.
fn take(sum: &mut i32, most: i32) -> i32 {
    let part = (*sum).clamp(-most, most);
    *sum -= part;
    part
}
