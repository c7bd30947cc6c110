//! Keys, until the guest asks, and the lights.

use std::collections::VecDeque;

use super::spec::usage;
use crate::input::keys::Key;

/// So many events wait before no more keys are taken.
const MOST: usize = 16;
/// Keys of a report.
const SLOTS: usize = 6;
/// First of the modifiers, which are bits of the report's first byte.
const MODIFIERS: u8 = 0xe0;
/// What all slots say when more keys are held than there are.
const ROLL_OVER: u8 = 1;

/// A keyboard.
#[derive(Clone, Debug, Default)]
pub(super) struct Keyboard {
    /// Usages that went down or up.
    pub events: VecDeque<(u8, bool)>,
    /// Keys that are held for those who press, in their order.
    pub pressed: Vec<u8>,
    /// Keys that are held for the guest.
    pub held: Vec<u8>,
    pub modifiers: u8,
    pub lights: u8,
}

impl Keyboard {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
    pub fn len(&self) -> usize {
        self.events.len()
    }
    pub fn lights(&self) -> u8 {
        self.lights
    }
    pub fn set_lights(&mut self, lights: u8) {
        self.lights = lights;
    }

    /// A key goes down or up. One that is down already says nothing new: the guest repeats by itself. Each release has
    /// room, since it had been pressed.
    pub fn key(&mut self, key: Key, down: bool) {
        let Some(usage) = usage(key) else { return };
        let at = self.pressed.iter().position(|pressed| *pressed == usage);
        match (at, down) {
            (None, true) if self.events.len() < MOST => self.pressed.push(usage),
            (Some(at), false) => drop(self.pressed.remove(at)),
            _ => return,
        }
        self.events.push_back((usage, down));
    }

    /// The next report, of one event.
    pub fn report(&mut self) -> Vec<u8> {
        match self.events.pop_front() {
            Some((usage, down)) if usage >= MODIFIERS => {
                let bit = 1 << (usage & 7);
                self.modifiers = if down { self.modifiers | bit } else { self.modifiers & !bit };
            }
            Some((usage, true)) => self.held.push(usage),
            Some((usage, false)) => self.held.retain(|held| *held != usage),
            None => {}
        }
        let mut report = vec![self.modifiers, 0];
        match self.held.len() {
            0..=SLOTS => report.extend(&self.held),
            _ => report.extend([ROLL_OVER; SLOTS]),
        }
        report.resize(2 + SLOTS, 0);
        report
    }
}
