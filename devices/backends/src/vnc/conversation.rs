//! One client's conversation by hand, with neither socket nor clock: what fuzzing drives.

use devices_core::audio::Format;

pub use super::session::News;
use super::session::{Host, Session, size_of};
use super::tiles::{Seen, Tiles, size};
use super::{Input, auth};

/// Messages that a client may send between two turns.
const MESSAGES: u32 = 250;

/// A conversation that goes as the server's do, a turn at a time.
pub struct Conversation {
    session: Session,
    seen: Seen,
    /// The client must encrypt, and does not yet.
    tls: bool,
}

impl Default for Conversation {
    /// At its beginning.
    fn default() -> Conversation {
        let mut session = Session::new();
        session.allow(MESSAGES);
        Conversation { session, seen: Seen::new((0, 0)), tls: false }
    }
}

impl Conversation {
    /// One whose client must encrypt (VeNCrypt).
    pub fn encrypted() -> Conversation {
        Conversation { tls: true, ..Conversation::default() }
    }

    /// Takes what the client sent. False: the connection is to be closed. With a password the client needs it.
    pub fn feed(&mut self, data: &[u8], input: &dyn Input, password: Option<&str>) -> bool {
        let password = password.map(str::as_bytes);
        let host = Host {
            input,
            resizes: true,
            has_sound: true,
            needs_password: password.is_some(),
            needs_tls: self.tls,
            password,
        };
        self.session.feed(data, &host).is_ok()
    }

    /// The size that the client wants the guest's monitor to have.
    pub fn take_resize(&mut self) -> Option<(u16, u16)> {
        self.session.take_resize()
    }

    /// In which format the client wants to hear what the guest plays, if it does.
    pub fn hears(&mut self) -> Option<Format> {
        self.session.sound().wanted()
    }

    /// The guest plays those frames, and if it ends no more.
    pub fn play(&mut self, frames: &[u8], ends: bool) {
        if self.session.takes_sound() {
            self.session.hear(frames);
        }
        if ends {
            self.session.end_sound();
        }
    }

    /// Shows it the whole screen, and lets it have what it waits for, a rectangle at most. Encryption, where it is
    /// agreed on, begins.
    pub fn turn(&mut self, news: News<'_>) {
        let frame = news.frame;
        if self.session.wants_tls() && self.session.output().is_empty() {
            self.tls = false;
            // Only for want of random numbers.
            let _ = self.session.secured();
        }
        if self.session.waits_for_size().is_some() {
            self.session.begin(size_of(frame), "guest", false);
        }
        if self.seen.size() != size(frame) {
            self.seen = Seen::new(size(frame));
            self.session.damage_all();
        }
        let mut tiles = Tiles::none(self.seen.size().0, self.seen.size().1);
        (0..self.seen.rows()).for_each(|row| self.seen.look(frame, row, &mut tiles));
        self.session.damage(&tiles);
        self.session.interject();
        self.session.begin_update(news);
        self.session.encode(frame, &mut self.seen);
        self.session.allow(MESSAGES);
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        self.session.output()
    }

    /// So much of it has been.
    pub fn sent(&mut self, len: usize) {
        self.session.sent(len);
    }

    /// The client is gone.
    pub fn end(mut self, input: &dyn Input) {
        self.session.release(input);
    }

    /// What a client that knows the password answers to a challenge.
    pub fn answer(password: &str, challenge: [u8; 16]) -> [u8; 16] {
        auth::answer(password.as_bytes(), challenge)
    }
}
