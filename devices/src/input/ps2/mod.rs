//! The PS/2 keyboard and mouse: what hangs on the controller's two ports.
//!
//! After "IBM Personal System/2 Hardware Interface Technical Reference" (keyboard, auxiliary device) and
//! Microsoft's IntelliMouse and Explorer extensions. Answers to commands come at once and before what is
//! queued already, as in QEMU. Not here: the delays of the wire and of self-tests; repetition (the host's
//! keyboard repeats); key types of scan code set 3 (all keys make, break and repeat); the sample rate is
//! kept and does not slow the mouse.

mod keyboard;
mod mouse;
pub mod scancode;
pub mod spec;

pub use keyboard::Keyboard;
pub use mouse::Mouse;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Bytes on their way to the controller: a bounded queue of events, and answers that overtake it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    events: VecDeque<u8>,
    answers: VecDeque<u8>,
}

impl Outbox {
    /// Queues one event whole, or drops it: half of it would be another.
    fn event(&mut self, bytes: &[u8]) -> bool {
        let fits = self.events.len() + bytes.len() <= spec::QUEUE;
        if fits {
            self.events.extend(bytes);
        }
        fits
    }

    /// Queues an answer. The answers of the command before are gone, as the device itself drops them.
    fn answer(&mut self, bytes: &[u8]) {
        self.answers.clear();
        self.answers.extend(bytes.iter().take(spec::QUEUE));
    }

    fn pop(&mut self) -> Option<u8> {
        self.answers.pop_front().or_else(|| self.events.pop_front())
    }

    fn len(&self) -> usize {
        self.answers.len() + self.events.len()
    }

    fn clear(&mut self) {
        self.events.clear();
        self.answers.clear();
    }

    fn bounded(&self) -> bool {
        self.events.len() <= spec::QUEUE && self.answers.len() <= spec::QUEUE
    }
}
