//! Operation codes, sense data and status (SPC-4, SBC-3, MMC-5; INF-8090i for CD drives).

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
    /// Its qualifier. Saved where there is one: drives on IDE were saved without, and have none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub qualifier: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn is_none(qualifier: &u8) -> bool {
    *qualifier == 0
}

impl Sense {
    /// Key, additional sense code, qualifier.
    pub const fn new(key: u8, code: u8, qualifier: u8) -> Sense {
        Sense { key, code, qualifier }
    }

    /// Sense data of descriptor format (SPC-4, 4.5.2), with no descriptor.
    pub fn descriptor(self) -> Vec<u8> {
        vec![0x72, self.key, self.code, self.qualifier, 0, 0, 0, 0]
    }

    /// Sense data of fixed format (SPC-4, 4.5.3): 18 bytes.
    pub fn fixed(self) -> Vec<u8> {
        let mut data = vec![0; 18];
        data[0] = 0x70;
        data[2] = self.key;
        data[7] = 10;
        (data[12], data[13]) = (self.code, self.qualifier);
        data
    }
}

/// Sense keys.
pub mod key {
    /// Not ready.
    pub const NOT_READY: u8 = 2;
    /// The medium cannot be read or written.
    pub const MEDIUM_ERROR: u8 = 3;
    /// The command is wrong.
    pub const ILLEGAL_REQUEST: u8 = 5;
    /// Something has changed.
    pub const UNIT_ATTENTION: u8 = 6;
    /// The medium is protected.
    pub const DATA_PROTECT: u8 = 7;
    /// The data is another.
    pub const MISCOMPARE: u8 = 14;
}

/// Status of a command (SAM-5, 5.3).
pub mod status {
    /// Done.
    pub const GOOD: u8 = 0;
    /// There is sense data.
    pub const CHECK_CONDITION: u8 = 2;
    /// There are too many commands.
    pub const TASK_SET_FULL: u8 = 0x28;
}

/// What commands fail with (SPC-4, annex D).
pub mod sense {
    use super::Sense;
    use super::key::{DATA_PROTECT, ILLEGAL_REQUEST, MEDIUM_ERROR, MISCOMPARE, NOT_READY, UNIT_ATTENTION};

    /// Nothing.
    pub const NONE: Sense = Sense::new(0, 0, 0);
    /// Write error.
    pub const WRITE_ERROR: Sense = Sense::new(MEDIUM_ERROR, 0x0c, 0);
    /// The list of parameters has a wrong length.
    pub const LIST_LENGTH: Sense = Sense::new(ILLEGAL_REQUEST, 0x1a, 0);
    /// The data differs from what is on the medium.
    pub const DIFFERENT: Sense = Sense::new(MISCOMPARE, 0x1d, 0);
    /// There is no such logical unit.
    pub const NO_UNIT: Sense = Sense::new(ILLEGAL_REQUEST, 0x25, 0);
    /// Invalid field in the list of parameters.
    pub const PARAMETER: Sense = Sense::new(ILLEGAL_REQUEST, 0x26, 0);
    /// The medium takes no writes.
    pub const WRITE_PROTECTED: Sense = Sense::new(DATA_PROTECT, 0x27, 0);
    /// Space for a write is lacking.
    pub const NO_SPACE: Sense = Sense::new(DATA_PROTECT, 0x27, 7);
    /// Power on, or a reset.
    pub const RESET: Sense = Sense::new(UNIT_ATTENTION, 0x29, 0);
    /// The medium has gone.
    pub const MEDIUM_GONE: Sense = Sense::new(UNIT_ATTENTION, 0x3a, 0);
    /// There are other logical units.
    pub const UNITS_CHANGED: Sense = Sense::new(UNIT_ATTENTION, 0x3f, 0x0e);
    /// Unrecovered read error.
    pub const UNRECOVERED_READ: Sense = Sense::new(MEDIUM_ERROR, 0x11, 0);
    /// No such command.
    pub const OPCODE: Sense = Sense::new(ILLEGAL_REQUEST, 0x20, 0);
    /// Address out of range.
    pub const RANGE: Sense = Sense::new(ILLEGAL_REQUEST, 0x21, 0);
    /// Invalid field in the command.
    pub const FIELD: Sense = Sense::new(ILLEGAL_REQUEST, 0x24, 0);
    /// The medium may have changed.
    pub const MEDIUM_CHANGED: Sense = Sense::new(UNIT_ATTENTION, 0x28, 0);
    /// The medium is none for this command.
    pub const INCOMPATIBLE_MEDIUM: Sense = Sense::new(ILLEGAL_REQUEST, 0x30, 0);
    /// Parameters are not saved.
    pub const SAVING: Sense = Sense::new(ILLEGAL_REQUEST, 0x39, 0);
    /// No medium.
    pub const NO_MEDIUM: Sense = Sense::new(NOT_READY, 0x3a, 0);
    /// The tray is locked.
    pub const LOCKED: Sense = Sense::new(NOT_READY, 0x53, 0);
    /// The tray is locked, with nothing in it.
    pub const LOCKED_EMPTY: Sense = Sense::new(ILLEGAL_REQUEST, 0x53, 0);
}

/// Operation codes.
pub mod op {
    #![allow(missing_docs, reason = "the names are the standards'")]
    pub const TEST_UNIT_READY: u8 = 0x00;
    pub const REQUEST_SENSE: u8 = 0x03;
    pub const READ_6: u8 = 0x08;
    pub const WRITE_6: u8 = 0x0a;
    pub const INQUIRY: u8 = 0x12;
    pub const RESERVE_6: u8 = 0x16;
    pub const RELEASE_6: u8 = 0x17;
    pub const MODE_SELECT_6: u8 = 0x15;
    pub const MODE_SENSE_6: u8 = 0x1a;
    pub const START_STOP: u8 = 0x1b;
    pub const SEND_DIAGNOSTIC: u8 = 0x1d;
    pub const PREVENT_REMOVAL: u8 = 0x1e;
    pub const READ_CAPACITY: u8 = 0x25;
    pub const READ_10: u8 = 0x28;
    pub const WRITE_10: u8 = 0x2a;
    pub const SEEK: u8 = 0x2b;
    pub const WRITE_VERIFY_10: u8 = 0x2e;
    pub const VERIFY_10: u8 = 0x2f;
    pub const SYNCHRONIZE_CACHE_10: u8 = 0x35;
    pub const WRITE_SAME_10: u8 = 0x41;
    pub const UNMAP: u8 = 0x42;
    pub const READ_TOC: u8 = 0x43;
    pub const GET_CONFIGURATION: u8 = 0x46;
    pub const GET_EVENT_STATUS: u8 = 0x4a;
    pub const READ_DISC_INFORMATION: u8 = 0x51;
    pub const MODE_SELECT_10: u8 = 0x55;
    pub const RESERVE_10: u8 = 0x56;
    pub const RELEASE_10: u8 = 0x57;
    pub const MODE_SENSE_10: u8 = 0x5a;
    pub const READ_16: u8 = 0x88;
    pub const WRITE_16: u8 = 0x8a;
    pub const WRITE_VERIFY_16: u8 = 0x8e;
    pub const VERIFY_16: u8 = 0x8f;
    pub const SYNCHRONIZE_CACHE_16: u8 = 0x91;
    pub const WRITE_SAME_16: u8 = 0x93;
    pub const SERVICE_ACTION_IN_16: u8 = 0x9e;
    pub const REPORT_LUNS: u8 = 0xa0;
    pub const READ_12: u8 = 0xa8;
    pub const WRITE_12: u8 = 0xaa;
    pub const WRITE_VERIFY_12: u8 = 0xae;
    pub const VERIFY_12: u8 = 0xaf;
    pub const READ_DVD_STRUCTURE: u8 = 0xad;
    pub const SET_SPEED: u8 = 0xbb;
    pub const MECHANISM_STATUS: u8 = 0xbd;
    pub const READ_CD: u8 = 0xbe;
}

/// Service action of SERVICE ACTION IN (16): READ CAPACITY (16).
pub const READ_CAPACITY_16: u8 = 0x10;

/// Peripheral device types (SPC-4, 6.4.2).
pub mod device_type {
    /// Disk.
    pub const DISK: u8 = 0;
    /// CD drive.
    pub const CD: u8 = 5;
}
