//! What a pointer does, until the guest asks.

use std::collections::VecDeque;

use crate::input::{Motion, Pointer};

/// Most events that wait.
pub(super) const MOST: usize = 16;
/// Most steps in a report.
const STEP: i32 = 127;
/// Buttons in a report.
const BUTTONS: u8 = 7;

/// One event: where a tablet is, or how far a mouse moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub x: i32,
    pub y: i32,
    pub wheel: i32,
    pub buttons: u8,
}

/// Events that wait, and what was reported last.
#[derive(Clone, Debug)]
pub(super) struct PointerQueue {
    pub absolute: bool,
    pub events: VecDeque<Event>,
    /// What was reported last; of a mouse, its buttons.
    pub last: Event,
}

impl PointerQueue {
    pub fn new(absolute: bool) -> PointerQueue {
        PointerQueue { absolute, events: VecDeque::new(), last: Event::default() }
    }
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Something happens.
    pub fn point(&mut self, Pointer { motion, wheel, buttons }: Pointer) {
        let newest = self.events.back().copied().unwrap_or(self.last);
        // HID counts steps away from the person.
        let event = Event { wheel: wheel.saturating_neg(), buttons: buttons & BUTTONS, ..newest };
        let event = match motion {
            Motion::To { x, y } if self.absolute => {
                let to = |given: Option<u16>, now| given.map_or(now, |at| i32::from(at.min(0x7fff)));
                Event { x: to(x, newest.x), y: to(y, newest.y), ..event }
            }
            Motion::By { dx, dy } if !self.absolute => Event { x: dx, y: dy, ..event },
            _ if self.absolute => event,
            _ => Event { x: 0, y: 0, ..event },
        };
        let still = Event { wheel: 0, ..if self.absolute { newest } else { Event { x: 0, y: 0, ..newest } } };
        if event == still {
            return;
        }
        let full = self.events.len() >= MOST;
        match self.events.back_mut() {
            // Nobody has seen it yet. When there is no room, the newest buttons are what counts.
            Some(back) if full || back.buttons == event.buttons => {
                if self.absolute {
                    (back.x, back.y) = (event.x, event.y);
                } else {
                    back.x = back.x.saturating_add(event.x);
                    back.y = back.y.saturating_add(event.y);
                }
                back.wheel = back.wheel.saturating_add(event.wheel);
                back.buttons = event.buttons;
            }
            _ => self.events.push_back(event),
        }
    }

    /// The next report; without an event, the last state again. What does not fit into one stays for the next.
    pub fn report(&mut self) -> Vec<u8> {
        let take = |value: &mut i32| {
            let part = (*value).clamp(-STEP, STEP);
            *value -= part;
            part as u8
        };
        let Some(front) = self.events.front_mut() else {
            return self.layout(self.last, [0; 3]);
        };
        let steps = match self.absolute {
            true => [0, 0, take(&mut front.wheel)],
            false => [take(&mut front.x), take(&mut front.y), take(&mut front.wheel)],
        };
        let now = *front;
        let moved = !self.absolute && (now.x, now.y) != (0, 0);
        if !moved && now.wheel == 0 {
            self.events.pop_front();
        }
        self.last = match self.absolute {
            true => Event { wheel: 0, ..now },
            false => Event { buttons: now.buttons, ..Event::default() },
        };
        self.layout(self.last, steps)
    }

    fn layout(&self, at: Event, [dx, dy, wheel]: [u8; 3]) -> Vec<u8> {
        if !self.absolute {
            return vec![at.buttons, dx, dy, wheel];
        }
        let ([x0, x1], [y0, y1]) = ((at.x as u16).to_le_bytes(), (at.y as u16).to_le_bytes());
        vec![at.buttons, x0, x1, y0, y1, wheel]
    }
}
