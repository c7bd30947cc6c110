//! Command descriptor blocks: how long they are, and what data goes with them.

use serde::{Deserialize, Serialize};

use super::spec::{FRAME, RAW_FRAME, op};

/// Bytes of the longest command of fixed length.
pub const CDB: usize = 16;

/// A command. What its sender left out is zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cdb([u8; CDB]);

/// Data that goes with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// None.
    Nothing,
    /// So many bytes at most, to who sent the command.
    In(u64),
    /// So many bytes, from who sent it.
    Out(u64),
}

impl Cdb {
    /// The command in the first of these bytes.
    pub fn new(bytes: &[u8]) -> Cdb {
        let mut cdb = [0; CDB];
        for (to, from) in cdb.iter_mut().zip(bytes) {
            *to = *from;
        }
        Cdb(cdb)
    }

    /// The operation code.
    pub fn op(&self) -> u8 {
        self.0[0]
    }

    /// A byte of it; beyond its end are zeros.
    pub fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// Two bytes, the high one first, as all numbers are.
    pub fn be16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    /// Three bytes.
    pub fn be24(&self, at: usize) -> u32 {
        u32::from(self.byte(at)) << 16 | u32::from(self.be16(at + 1))
    }

    /// Four bytes.
    pub fn be32(&self, at: usize) -> u32 {
        u32::from(self.be16(at)) << 16 | u32::from(self.be16(at + 2))
    }

    /// Eight bytes.
    pub fn be64(&self, at: usize) -> u64 {
        u64::from(self.be32(at)) << 32 | u64::from(self.be32(at + 4))
    }

    /// Bytes that the operation code says it has (SPC-4, 4.2.5.1); none: commands of that group have no fixed length.
    pub fn length(&self) -> Option<usize> {
        match self.op() >> 5 {
            0 => Some(6),
            1 | 2 => Some(10),
            4 => Some(16),
            5 => Some(12),
            _ => None,
        }
    }

    /// First block and number of blocks of a command that has them.
    pub fn blocks(&self) -> (u64, u64) {
        match self.op() {
            op::READ_6 | op::WRITE_6 => {
                let blocks = self.byte(4);
                let blocks = if blocks == 0 { 256 } else { blocks.into() };
                ((self.be24(1) & 0x1f_ffff).into(), blocks)
            }
            _ => match self.length() {
                Some(16) => (self.be64(2), self.be32(10).into()),
                Some(12) => (self.be32(2).into(), self.be32(6).into()),
                _ => (self.be32(2).into(), self.be16(7).into()),
            },
        }
    }

    /// BYTCHK of the commands that verify (SBC-3, 5.28).
    pub fn compares(&self) -> u8 {
        self.byte(1) >> 1 & 3
    }

    /// WRITE SAME brings no block: it is zeros (NDOB).
    pub fn brings_no_block(&self) -> bool {
        self.op() == op::WRITE_SAME_16 && self.byte(1) & 1 != 0
    }

    /// What data goes with it, to or from a unit with blocks of `block` bytes.
    pub fn expected(&self, block: u64) -> Expected {
        let all = self.blocks().1 * block;
        match self.op() {
            op::READ_6 | op::READ_10 | op::READ_12 | op::READ_16 => Expected::In(all),
            op::WRITE_6 | op::WRITE_10 | op::WRITE_12 | op::WRITE_16 => Expected::Out(all),
            op::WRITE_VERIFY_10 | op::WRITE_VERIFY_12 | op::WRITE_VERIFY_16 => Expected::Out(all),
            op::VERIFY_10 | op::VERIFY_12 | op::VERIFY_16 if self.compares() == 1 => Expected::Out(all),
            op::WRITE_SAME_10 | op::WRITE_SAME_16 if !self.brings_no_block() => Expected::Out(block),
            op::MODE_SELECT_6 => Expected::Out(self.byte(4).into()),
            op::MODE_SELECT_10 | op::UNMAP => Expected::Out(self.be16(7).into()),
            op::INQUIRY => Expected::In(self.be16(3).into()),
            op::REQUEST_SENSE | op::MODE_SENSE_6 => Expected::In(self.byte(4).into()),
            op::MODE_SENSE_10
            | op::READ_TOC
            | op::GET_CONFIGURATION
            | op::GET_EVENT_STATUS
            | op::READ_DISC_INFORMATION => Expected::In(self.be16(7).into()),
            op::READ_DVD_STRUCTURE | op::MECHANISM_STATUS => Expected::In(self.be16(8).into()),
            op::READ_CAPACITY => Expected::In(8),
            op::SERVICE_ACTION_IN_16 => Expected::In(self.be32(10).into()),
            op::REPORT_LUNS => Expected::In(self.be32(6).into()),
            op::READ_CD => {
                let frame = match self.byte(9) & 0xf8 {
                    0 => 0,
                    0xf8 => RAW_FRAME,
                    _ => FRAME,
                };
                Expected::In(u64::from(self.be24(6)) * frame)
            }
            _ => Expected::Nothing,
        }
    }
}
