//! Numbers of the protocol: RFC 6143, and for what it does not have the registry that the RFB community
//! keeps (rfbproto).

/// The version that we offer (RFC 6143, 7.1.1).
pub const VERSION: &[u8; 12] = b"RFB 003.008\n";

/// Security types (7.2).
pub mod security {
    pub const NONE: u8 = 1;
    pub const PASSWORD: u8 = 2;
    /// With a type of its own after it, of [`vencrypt`](super::vencrypt)'s.
    pub const VENCRYPT: u8 = 19;
}

/// VeNCrypt's version, and its types with certificates: what follows when the stream is encrypted.
pub mod vencrypt {
    pub const VERSION: [u8; 2] = [0, 2];
    pub const X509_NONE: u32 = 260;
    pub const X509_PASSWORD: u32 = 261;
    pub const X509_PLAIN: u32 = 262;
    /// Longest name and password.
    pub const PLAIN_MAX: usize = 256;
}

/// First byte of what a client sends (7.5).
pub mod client {
    pub const SET_PIXEL_FORMAT: u8 = 0;
    pub const SET_ENCODINGS: u8 = 2;
    pub const UPDATE_REQUEST: u8 = 3;
    pub const KEY: u8 = 4;
    pub const POINTER: u8 = 5;
    pub const CUT_TEXT: u8 = 6;
    pub const CONTINUOUS_UPDATES: u8 = 150;
    pub const FENCE: u8 = 248;
    pub const SET_DESKTOP_SIZE: u8 = 251;
    pub const QEMU: u8 = 255;
    /// Second byte of [`QEMU`]'s.
    pub const QEMU_KEY: u8 = 0;
    pub const QEMU_AUDIO: u8 = 1;
}

/// First byte of what a server sends (7.6).
pub mod server {
    pub const UPDATE: u8 = 0;
    pub const COLOUR_MAP: u8 = 1;
    pub const END_OF_CONTINUOUS_UPDATES: u8 = 150;
    pub const FENCE: u8 = 248;
    pub const QEMU: u8 = 255;
    /// Second byte of [`QEMU`]'s.
    pub const QEMU_AUDIO: u8 = 1;
}

/// What is said of sound, by the client and by the server.
pub mod audio {
    pub const ENABLE: u16 = 0;
    pub const DISABLE: u16 = 1;
    pub const SET_FORMAT: u16 = 2;
    /// Highest rate that a client may ask for, as in QEMU.
    pub const RATE_MAX: u32 = 48_000;

    pub const END: u16 = 0;
    pub const BEGIN: u16 = 1;
    pub const DATA: u16 = 2;
}

/// Encodings and pseudo-encodings (7.7, 7.8).
pub mod encoding {
    pub const RAW: i32 = 0;
    pub const RRE: i32 = 2;
    pub const HEXTILE: i32 = 5;
    pub const ZLIB: i32 = 6;
    pub const TIGHT: i32 = 7;
    pub const ZRLE: i32 = 16;
    pub const TIGHT_PNG: i32 = -260;
    /// Of JPEG's quality, the worst first.
    pub const QUALITY: std::ops::RangeInclusive<i32> = -32..=-23;
    /// Of zlib's levels, the fastest first.
    pub const LEVEL: std::ops::RangeInclusive<i32> = -256..=-247;
    pub const DESKTOP_SIZE: i32 = -223;
    pub const CURSOR: i32 = -239;
    pub const POINTER_CHANGE: i32 = -257;
    pub const EXTENDED_KEY: i32 = -258;
    pub const AUDIO: i32 = -259;
    pub const LED_STATE: i32 = -261;
    pub const DESKTOP_NAME: i32 = -307;
    pub const EXTENDED_DESKTOP_SIZE: i32 = -308;
    pub const FENCE: i32 = -312;
    pub const CONTINUOUS_UPDATES: i32 = -313;
    pub const CURSOR_WITH_ALPHA: i32 = -314;
}

/// What a tile of Hextile says of itself (7.7.4).
pub mod hextile {
    pub const RAW: u8 = 1;
    pub const BACKGROUND: u8 = 2;
    pub const FOREGROUND: u8 = 4;
    pub const SUBRECTS: u8 = 8;
    pub const COLOURED: u8 = 16;
}

/// ExtendedDesktopSize: who wanted a change, and what became of it.
pub mod desktop_size {
    pub const BY_SERVER: u16 = 0;
    pub const BY_CLIENT: u16 = 1;
    pub const DONE: u16 = 0;
    pub const PROHIBITED: u16 = 1;
    pub const INVALID_LAYOUT: u16 = 3;
    /// It was passed on to who decides, and may happen later.
    pub const FORWARDED: u16 = 4;
    /// Longest side of a screen.
    pub const SIDE_MAX: u16 = 16384;
}

/// Fences: their flags, and how much a client may put into one.
pub mod fence {
    pub const BLOCK_BEFORE: u32 = 1;
    pub const REQUEST: u32 = 1 << 31;
    pub const LONGEST: usize = 64;
}

/// What stands for no movement in a relative pointer event.
pub const STILL: i32 = 0x7fff;

/// Longest text that a client may put on the clipboard; QEMU's limit.
pub const CUT_TEXT_MAX: u32 = 1 << 20;
