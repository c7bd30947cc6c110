//! One client, with its clocks.

use std::time::{Duration, Instant};

use devices_core::audio::Format;
use rustix::event::PollFlags;

use super::super::session::Session;
use super::super::wire::Wire;
use crate::audio::{Ear, Mixer, Nudge};
use crate::tls::Credentials;

/// Messages that a client may send in each [`ALLOWANCE`].
pub(super) const MESSAGES: u32 = 250;
pub(super) const ALLOWANCE: Duration = Duration::from_millis(100);
/// For a handshake, a person who types a password included.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// For the last words to somebody who is turned away.
const FAREWELL: Duration = Duration::from_secs(2);
/// For a client that reads nothing of what it asked for.
const STALL: Duration = Duration::from_secs(60);

/// A connection, its conversation, and what it is at.
pub(super) struct Client {
    pub wire: Wire,
    pub session: Session,
    /// When it must be let go, unless something happens before.
    deadline: Option<Instant>,
    /// What the deadline is for.
    state: State,
    /// When it may send again.
    pub refill: Instant,
    /// It is gone.
    pub gone: bool,
    /// What it hears, and in which format.
    ear: Option<(Format, Ear)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Handshake,
    Up,
    /// Up, and there is output that it has not read.
    Reading,
    Closing,
}

impl Client {
    pub fn new(wire: Wire, now: Instant) -> Client {
        let mut session = Session::new();
        session.allow(MESSAGES);
        Client {
            wire,
            session,
            deadline: Some(now + HANDSHAKE),
            state: State::Handshake,
            refill: now + ALLOWANCE,
            gone: false,
            ear: None,
        }
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self, now: Instant) {
        if self.gone {
            return;
        }
        let mut flushed = self.wire.flush(&mut self.session);
        if self.session.is_closing() && self.is_clear() {
            self.wire.close();
            flushed = flushed.and(self.wire.flush(&mut self.session));
        }
        match flushed {
            Ok(any) if any && self.state == State::Reading => self.deadline = Some(now + STALL),
            Ok(_) => {}
            Err(_) => self.gone = true,
        }
    }

    /// Encrypts from here on, if that has been agreed on and the client has been sent all that is not encrypted.
    pub fn secure(&mut self, tls: &Credentials, now: Instant) {
        if !self.session.wants_tls() || !self.is_clear() {
            return;
        }
        self.gone |= !self.wire.secure(tls) || self.session.secured().is_err();
        self.flush(now);
    }

    /// Whether there is nothing to be sent.
    pub fn is_clear(&self) -> bool {
        self.wire.is_clear() && self.session.output().is_empty()
    }

    /// Whether the next part of an update may be made.
    pub fn can_encode(&self) -> bool {
        self.wire.is_clear() && self.session.can_encode()
    }

    /// Keeps the deadline in step with what the client is at.
    pub fn settle(&mut self, now: Instant) {
        let empty = self.is_clear();
        let closing = self.session.is_closing() || self.wire.is_closing();
        let state = match (closing, self.session.is_up()) {
            (true, _) => State::Closing,
            (false, false) => State::Handshake,
            (false, true) if empty => State::Up,
            (false, true) => State::Reading,
        };
        if state != self.state {
            self.deadline = match state {
                State::Handshake => self.deadline,
                State::Up => None,
                State::Reading => Some(now + STALL),
                State::Closing => Some(now + FAREWELL),
            };
            self.state = state;
        }
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        self.gone |= late || state == State::Closing && empty;
    }

    /// When it wants a turn by itself.
    pub fn alarm(&self) -> Option<Instant> {
        let refill = self.session.exhausted().then_some(self.refill);
        [refill, self.deadline].into_iter().flatten().min()
    }

    /// Whether what it sends is read.
    pub fn wants_input(&self) -> bool {
        self.session.wants_input() && !self.wire.is_closing()
    }

    /// What it waits for; nothing while it has used up what it may send.
    pub fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        if self.session.exhausted() {
            return flags;
        }
        if self.wants_input() {
            flags |= PollFlags::IN;
        }
        if !self.is_clear() {
            flags |= PollFlags::OUT;
        }
        flags
    }

    /// Has it hear what it wants to hear, as far as it reads that.
    pub fn listen(&mut self, sound: Option<&Mixer>, nudge: impl Fn() -> Nudge) {
        let wanted = self.session.sound().wanted();
        if self.ear.as_ref().map(|(format, _)| *format) != wanted {
            let listen = |format| Some((format, sound?.listen(format, nudge())?));
            self.ear = wanted.and_then(listen);
        }
        match &self.ear {
            Some((_, ear)) if self.session.takes_sound() => {
                let (frames, ended) = ear.take();
                self.session.hear(&frames);
                if ended {
                    self.session.end_sound();
                }
            }
            Some(_) => {}
            None => self.session.end_sound(),
        }
    }
}
