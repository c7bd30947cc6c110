//! A case and the machine that it wants.

use crate::bench::Bench;

/// A drive on the IDE controller. Places are 0 to 3: primary master, primary slave, secondary master, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A disk of so many sectors of 512 bytes with the pattern of [`Disk::byte`], which may be written.
    Hard {
        /// Place.
        slot: u8,
        /// Sectors.
        sectors: u32,
    },
    /// A CD of so many sectors of 2048 bytes, with the same pattern.
    Cd {
        /// Place.
        slot: u8,
        /// Sectors.
        sectors: u32,
    },
    /// A CD drive with nothing in it.
    EmptyCd {
        /// Place.
        slot: u8,
    },
    /// A disk as `Hard`, for the device that names it `drive=loose`.
    Loose {
        /// Sectors.
        sectors: u32,
    },
    /// The second chip of flash memory, with that pattern. The first has the firmware, and ends at 4 GiB.
    Flash {
        /// Sectors.
        sectors: u32,
    },
}

impl Disk {
    /// Place on the IDE controller.
    pub const fn slot(self) -> Option<u8> {
        match self {
            Disk::Hard { slot, .. } | Disk::Cd { slot, .. } | Disk::EmptyCd { slot } => Some(slot),
            Disk::Loose { .. } | Disk::Flash { .. } => None,
        }
    }
    /// Bytes.
    pub const fn len(self) -> u64 {
        match self {
            Disk::Hard { sectors, .. } | Disk::Loose { sectors } | Disk::Flash { sectors } => {
                sectors as u64 * 512
            }
            Disk::Cd { sectors, .. } => sectors as u64 * 2048,
            Disk::EmptyCd { .. } => 0,
        }
    }
    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// What the byte at `offset` is at first: every 32-bit little-endian word holds its own number.
    pub const fn byte(offset: u64) -> u8 {
        ((offset / 4) >> (8 * (offset % 4))) as u8
    }
}

/// What a group's machines have beside the PC's fixed devices (and a VGA at slot 2, if they name no other).
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Drives.
    pub disks: &'static [Disk],
    /// Further words of QEMU's command line.
    pub args: &'static [&'static str],
}

/// A case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// A few words: what holds.
    pub name: &'static str,
    /// The document and its clause.
    pub clause: &'static str,
    /// Runs it on a machine that was just switched on.
    pub run: fn(&mut Bench<'_>),
}

/// Makes a case.
pub const fn case(name: &'static str, clause: &'static str, run: fn(&mut Bench<'_>)) -> Case {
    Case { name, clause, run }
}

/// The cases of a device.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its name on the command line: `rtc`, `ide`, ...
    pub device: &'static str,
    /// What it is.
    pub about: &'static str,
    /// The machine.
    pub setup: Setup,
    /// The cases.
    pub cases: &'static [Case],
}
