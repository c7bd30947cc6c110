//! Command descriptor blocks.

use serde::{Deserialize, Serialize};

/// Bytes of the longest command of fixed length.
pub const CDB: usize = 16;

/// A command. What its sender left out is zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cdb([u8; CDB]);

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

    /// Four bytes.
    pub fn be32(&self, at: usize) -> u32 {
        u32::from(self.be16(at)) << 16 | u32::from(self.be16(at + 2))
    }
}
