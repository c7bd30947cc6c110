//! The VNC server: the guest's screen, keyboard and pointer for viewers on other machines.
//!
//! After RFC 6143 (RFB 3.3, 3.7 and 3.8) and rfbproto's registry for the pseudo-encodings. One thread serves
//! all clients: `server` has the sockets and the clock, `session` one client's conversation without
//! either. The screen is looked at only while a client waits for an update, at most 30 times a second, where
//! it may have changed, and compared in tiles with what was seen before, of which only a hash a tile is kept: no
//! copy of the picture. Each client has a set of the tiles that it has not got yet; its pixels come from the
//! screen itself when their rectangle is encoded.
//!
//! A browser comes by a WebSocket (`wire`), whose opening is taken only from pages of the host that it is asked of.
//!
//! A client is bounded in what it makes us keep (an unfinished message, a bounded rectangle or two of
//! output, a set of tiles) and in what it makes us do at once (a rectangle and 4 KiB of input a turn, so
//! many messages a second). What it does not read is not produced.
//!
//! Encodings: raw, RRE, Hextile, Zlib, ZRLE, Tight (zlib and, if the client names a quality, JPEG), TightPNG.
//!
//! Encryption is VeNCrypt's, with certificates alone: who cannot prove who it is could be anybody between.
//!
//! Fences and continuous updates: a client far away need not ask for each update.
//!
//! A pointer that the display adapter knows as such (the virtio GPU's) is shown by the client itself, if it can and if
//! the guest's pointer is where the client's is: with a tablet. With a mouse, or where the client cannot, it is drawn into
//! its picture, and only there. The pointer of the Cirrus's hardware is always in the picture: the chip does not know
//! which of its pixels points, and no encoding has its inverting ones.
//!
//! Sound goes to those who ask for it ([`Ear`](crate::audio::Ear)), what they do not read in time is lost.
//!
//! Left out:
//! - CopyRect: of the picture only a hash a tile is kept, by which a scroll by whole tiles could be found; guests scroll
//!   by lines of text, which are not 16 pixels high as a rule, and nothing cheap finds those.
//! - the clipboard, plain and extended: a text of the client's has nowhere to go without an agent in the guest, and none
//!   is spoken to. It is not passed between viewers either, who need not be one person.
//! - SASL, anonymous TLS.

mod auth;
mod conversation;
mod encode;
mod format;
mod listen;
mod options;
mod server;
mod session;
mod spec;
#[cfg(test)]
mod tests;
mod tiles;
mod wire;

use std::io;

use crate::tls::TlsError;
use devices_core::picture::{DirtyRows, Frame};
use thiserror::Error;

pub use conversation::{Conversation, News};
pub use listen::{Address, Listener};
pub use options::{
    CONNECTIONS, FIRST_PORT, Options, Place, Share, VncSpec, WebsocketPort, connections, policy,
    websocket_port,
};
pub use server::{ClientInfo, Door, Vnc, VncInfo};

/// The screen that is shown. Called from the server's thread only.
pub trait Screen: Send + Sync {
    /// What it shows now, and the lines that may show something else than when this was last asked. May name too
    /// many. What is read of the picture later may be newer; then the next look names its line.
    fn look(&self) -> (Box<dyn Frame>, DirtyRows);
    /// Whether the guest can be told of another size of its monitor.
    fn resizes(&self) -> bool {
        false
    }
    /// Tells the guest of that size, each side from 1 to 16384. It may follow.
    fn resize(&self, _size: (u16, u16)) {}
}

/// A key, as a client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keystroke {
    /// The symbol on it, of X11's numbers; 0 if the client does not know.
    pub keysym: u32,
    /// Its code of set 1, with bit 7 set for those that come after 0xe0, if the client knows it.
    pub scancode: Option<u8>,
}

/// Where a pointer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// To a pixel of a screen of that size.
    To {
        /// From the left, less than the width.
        x: u16,
        /// From the top, less than the height.
        y: u16,
        /// Of the screen, at least 1.
        width: u16,
        /// Of the screen, at least 1.
        height: u16,
    },
    /// By so many pixels from where it is.
    By {
        /// To the right.
        dx: i32,
        /// Down.
        dy: i32,
    },
}

/// Something that a pointer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointerEvent {
    /// [`Motion::To`] for an absolute pointer, [`Motion::By`] for a mouse.
    pub motion: Motion,
    /// Steps of the wheel towards the user.
    pub wheel: i32,
    /// Held buttons: bit 0 left, 1 right, 2 middle.
    pub buttons: u8,
}

/// The guest's keyboard and pointer. Called from the server's thread only.
pub trait Input: Send + Sync {
    /// A key goes down (or repeats) or up.
    fn key(&self, key: Keystroke, down: bool);
    /// Whether the guest uses a pointer that takes positions (a tablet), not movements (a mouse).
    fn absolute(&self) -> bool;
    /// Lights of its keyboard that are on: bit 0 scroll, 1 num, 2 caps lock.
    fn lights(&self) -> u8 {
        0
    }
    /// The pointer moves, or its buttons change.
    fn pointer(&self, event: PointerEvent);
}

/// Why there is no server, or why it does not do what it was asked for.
#[derive(Debug, Error)]
pub enum VncError {
    /// The address cannot be had.
    #[error("VNC cannot listen on {place}: {source}")]
    Listen {
        /// Which one.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// No viewer listens there.
    #[error("VNC cannot connect to a viewer at {place}: {source}")]
    Dial {
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// A thread, an eventfd.
    #[error("VNC: no {what}: {source}")]
    System {
        /// What there is none of.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Certificates or keys.
    #[error("VNC: {0}")]
    Tls(#[from] TlsError),
    /// A password was given to a server without.
    #[error("the VNC server was started without password=on")]
    NoPassword,
}
