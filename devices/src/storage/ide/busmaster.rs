//! One channel's bus master: command, status, descriptor table (82371SB, section 2.6).

use devices_core::block::Segment;
use devices_core::dma::{Dma, DmaError};

use super::spec::{BmCommand, BmStatus, PRD, PRD_END, PRD_TABLE};

/// One channel's engine. It does not move data: it says where data goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct BusMaster {
    pub(super) command: BmCommand,
    pub(super) status: BmStatus,
    /// Guest-physical address of the table, a multiple of 4.
    pub(super) table: u32,
}

/// What a write to the engine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Nothing new.
    None,
    /// Start.
    Start,
    /// Stop.
    Stop,
}

/// A table, read whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Where the data goes, at most as many bytes as were asked for.
    pub segments: Vec<Segment>,
    /// Bytes in `segments`.
    pub len: u64,
    /// The table describes more than was asked for.
    pub longer: bool,
}

impl BusMaster {
    /// Byte at `offset` (0 to 7).
    pub fn read(&self, offset: u64) -> u8 {
        match offset {
            0 => self.command.bits(),
            2 => self.status.bits(),
            4..=7 => self.table.to_le_bytes()[(offset & 3) as usize],
            _ => 0xff,
        }
    }

    /// Writes the byte at `offset` (0 to 7).
    pub fn write(&mut self, offset: u64, value: u8) -> Edge {
        match offset {
            0 => return self.write_command(BmCommand::from_bits_truncate(value)),
            2 => {
                let value = BmStatus::from_bits_truncate(value);
                let software = BmStatus::DRIVE0 | BmStatus::DRIVE1;
                let sticky = BmStatus::ERROR | BmStatus::INTERRUPT;
                self.status = (self.status - software - (value & sticky)) | (value & software);
            }
            4..=7 => {
                let mut bytes = self.table.to_le_bytes();
                bytes[(offset & 3) as usize] = value;
                self.table = u32::from_le_bytes(bytes) & !3;
            }
            _ => {}
        }
        Edge::None
    }

    fn write_command(&mut self, value: BmCommand) -> Edge {
        let before = std::mem::replace(&mut self.command, value);
        match (before.contains(BmCommand::START), value.contains(BmCommand::START)) {
            (false, true) => {
                self.status.insert(BmStatus::ACTIVE);
                Edge::Start
            }
            (true, false) => {
                self.status.remove(BmStatus::ACTIVE);
                Edge::Stop
            }
            _ => Edge::None,
        }
    }

    /// Whether the engine waits for the drive.
    pub fn active(&self) -> bool {
        self.status.contains(BmStatus::ACTIVE)
    }

    /// The drive has no more data: the engine goes idle, unless the table was longer and it was not stopped.
    pub fn finish(&mut self, longer: bool) {
        self.status.set(BmStatus::ACTIVE, longer && self.command.contains(BmCommand::START));
    }

    /// The engine stops on an address that is not memory.
    pub fn fail(&mut self) {
        self.status.remove(BmStatus::ACTIVE);
        self.status.insert(BmStatus::ERROR);
    }

    /// Reads the table for `want` bytes. Ends at its end mark, at the boundary that it does not cross, or
    /// once it has described more than `want`. All segments are RAM.
    pub fn table(&self, dma: &Dma, want: u64) -> Result<Table, DmaError> {
        let mut table = Table { segments: Vec::new(), len: 0, longer: false };
        let first = u64::from(self.table);
        let end = (first / PRD_TABLE + 1) * PRD_TABLE;
        let mut at = first;
        while at + PRD <= end {
            let entry = dma.read_u64(at)?;
            at += PRD;
            let gpa = u64::from(entry as u32 & !1);
            let word = (entry >> 32) as u32;
            let bytes = match word & 0xfffe {
                0 => 0x1_0000,
                bytes => u64::from(bytes),
            };
            let now = bytes.min(want - table.len);
            table.longer |= now < bytes;
            if now > 0 {
                dma.validate(gpa, now)?;
                table.push(gpa, now);
            }
            if word & PRD_END != 0 || table.longer {
                break;
            }
        }
        Ok(table)
    }
}

impl Table {
    fn push(&mut self, gpa: u64, len: u64) {
        self.len += len;
        if let Some(last) = self.segments.last_mut()
            && last.gpa + u64::from(last.len) == gpa
            && u64::from(last.len) + len <= 1 << 30
        {
            last.len += len as u32;
            return;
        }
        self.segments.push(Segment { gpa, len: len as u32 });
    }
}
