//! Packet commands, sense keys and codes (INF-8090i; SPC-3 and MMC-3).

use serde::{Deserialize, Serialize};

/// Bytes of a frame's user data.
pub const FRAME: u64 = 2048;
/// Bytes of a frame with sync pattern, header and error correction.
pub const RAW_FRAME: u64 = 2352;
/// Frames of a second.
pub const FRAMES_PER_SECOND: u32 = 75;
/// Frames before the first.
pub const LEAD_IN: u32 = 150;
/// A medium with more frames is a DVD.
pub const CD_FRAMES: u32 = 80 * 60 * 75;

/// Why a command failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sense {
    /// Sense key, 0 to 15.
    pub key: u8,
    /// Additional sense code.
    pub code: u8,
}

/// Sense key: not ready.
pub const NOT_READY: u8 = 2;
/// Sense key: the medium cannot be read.
pub const MEDIUM_ERROR: u8 = 3;
/// Sense key: the command is wrong.
pub const ILLEGAL_REQUEST: u8 = 5;
/// Sense key: something has changed.
pub const UNIT_ATTENTION: u8 = 6;

/// Additional code: unrecovered read error.
pub const ASC_UNRECOVERED_READ: u8 = 0x11;
/// Additional code: no such command.
pub const ASC_OPCODE: u8 = 0x20;
/// Additional code: address out of range.
pub const ASC_RANGE: u8 = 0x21;
/// Additional code: invalid field in the packet.
pub const ASC_FIELD: u8 = 0x24;
/// Additional code: medium may have changed.
pub const ASC_CHANGED: u8 = 0x28;
/// Additional code: parameters are not saved.
pub const ASC_SAVING: u8 = 0x39;
/// Additional code: no medium.
pub const ASC_NO_MEDIUM: u8 = 0x3a;
/// Additional code: the tray is locked.
pub const ASC_LOCKED: u8 = 0x53;

/// Operation codes.
pub mod op {
    #![allow(missing_docs, reason = "the names are the standard's")]
    pub const TEST_UNIT_READY: u8 = 0x00;
    pub const REQUEST_SENSE: u8 = 0x03;
    pub const INQUIRY: u8 = 0x12;
    pub const MODE_SELECT_6: u8 = 0x15;
    pub const MODE_SENSE_6: u8 = 0x1a;
    pub const START_STOP: u8 = 0x1b;
    pub const PREVENT_REMOVAL: u8 = 0x1e;
    pub const READ_CAPACITY: u8 = 0x25;
    pub const READ_10: u8 = 0x28;
    pub const SEEK: u8 = 0x2b;
    pub const READ_TOC: u8 = 0x43;
    pub const GET_CONFIGURATION: u8 = 0x46;
    pub const GET_EVENT_STATUS: u8 = 0x4a;
    pub const READ_DISC_INFORMATION: u8 = 0x51;
    pub const MODE_SELECT_10: u8 = 0x55;
    pub const MODE_SENSE_10: u8 = 0x5a;
    pub const READ_12: u8 = 0xa8;
    pub const READ_DVD_STRUCTURE: u8 = 0xad;
    pub const SET_SPEED: u8 = 0xbb;
    pub const MECHANISM_STATUS: u8 = 0xbd;
    pub const READ_CD: u8 = 0xbe;
}
