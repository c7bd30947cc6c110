//! The SMBus host controller with nothing on the bus: every transaction ends in a device error.

use serde::{Deserialize, Serialize};

use super::spec;

const BLOCK: usize = 32;

/// The registers, which are also their saved form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Smbus {
    status: u8,
    control: u8,
    /// Command, address, data 0, data 1.
    registers: [u8; 4],
    block: [u8; BLOCK],
    /// Next byte of the block, below 32 by masking.
    index: u8,
}

impl Default for Smbus {
    fn default() -> Smbus {
        Smbus { status: 0, control: 0, registers: [0; 4], block: [0; BLOCK], index: 0 }
    }
}

impl Smbus {
    fn next(&mut self) -> &mut u8 {
        let at = usize::from(self.index) % BLOCK;
        self.index = (at as u8 + 1) % BLOCK as u8;
        &mut self.block[at]
    }

    pub fn read(&mut self, offset: u64) -> u8 {
        match offset {
            spec::SMB_STATUS => self.status,
            spec::SMB_CONTROL => {
                self.index = 0;
                self.control & spec::SMB_CONTROL_READ
            }
            3..=6 => self.registers[offset as usize - 3],
            spec::SMB_BLOCK => *self.next(),
            _ => 0,
        }
    }

    pub fn write(&mut self, offset: u64, value: u8) {
        match offset {
            spec::SMB_STATUS => self.status &= !value,
            spec::SMB_CONTROL => {
                self.control = value & !spec::SMB_START;
                if value & spec::SMB_KILL != 0 {
                    self.status |= spec::SMB_FAILED;
                } else if value & spec::SMB_START != 0 {
                    self.status |= spec::SMB_DEVICE_ERROR;
                }
            }
            3..=6 => self.registers[offset as usize - 3] = value,
            spec::SMB_BLOCK => *self.next() = value,
            _ => {}
        }
    }
}
