//! Rings that the driver fills: of commands and of transfers (4.9.2).

use devices_core::dma::{Dma, DmaError};
use serde::{Deserialize, Serialize};

use super::spec::{control, trb};

/// Bytes of a TRB.
pub(super) const TRB_LEN: u64 = 16;
/// Most links in a row: a ring that consists of them is none.
const LINKS: u32 = 32;

/// A TRB, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trb {
    /// Where it is.
    pub(super) at: u64,
    pub(super) parameter: u64,
    pub(super) status: u32,
    pub(super) control: u32,
}

impl Trb {
    pub(super) fn kind(&self) -> u8 {
        (self.control >> 10 & 0x3f) as u8
    }
    pub(super) fn has(&self, bits: u32) -> bool {
        self.control & bits != 0
    }
    pub(super) fn slot(&self) -> u8 {
        (self.control >> 24) as u8
    }
    pub(super) fn endpoint(&self) -> u8 {
        (self.control >> 16 & 0x1f) as u8
    }
    /// TRB Transfer Length, and what takes its place in others.
    pub(super) fn len(&self) -> u32 {
        self.status & 0x1_ffff
    }
    pub(super) fn interrupter(&self) -> u16 {
        (self.status >> 22) as u16
    }
}

/// Where the controller is on a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ring {
    /// The next TRB.
    pub(super) at: u64,
    /// The cycle bit of TRBs that are the controller's.
    pub(super) cycle: bool,
}

/// Why a ring cannot be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It lies in what is no memory.
    Memory,
    /// It has nothing but links.
    Links,
}

impl From<DmaError> for Broken {
    fn from(_: DmaError) -> Broken {
        Broken::Memory
    }
}

impl Ring {
    /// From a register or context: the cycle state is the lowest bit.
    pub(super) fn new(pointer: u64) -> Ring {
        Ring { at: pointer & !0xf, cycle: pointer & 1 != 0 }
    }

    /// As a context has it.
    pub(super) fn pointer(self) -> u64 {
        self.at | u64::from(self.cycle)
    }

    /// The next TRB, links followed; none: the driver has not put one there.
    pub(super) fn next(&mut self, dma: &Dma) -> Result<Option<Trb>, Broken> {
        for _ in 0..LINKS {
            let mut bytes = [0; TRB_LEN as usize];
            dma.read(self.at, &mut bytes)?;
            let word = u128::from_le_bytes(bytes);
            let trb = Trb {
                at: self.at,
                parameter: word as u64,
                status: (word >> 64) as u32,
                control: (word >> 96) as u32,
            };
            if trb.has(control::CYCLE) != self.cycle {
                return Ok(None);
            }
            if trb.kind() != trb::LINK {
                self.at = self.at.wrapping_add(TRB_LEN);
                return Ok(Some(trb));
            }
            self.at = trb.parameter & !0xf;
            self.cycle ^= trb.has(control::TOGGLE);
        }
        Err(Broken::Links)
    }
}
