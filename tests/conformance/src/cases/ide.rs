//! The IDE controller PIIX3 and ATA disks.

use crate::case::{Disk, Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "ide",
    about: "IDE controller PIIX3 and ATA disks",
    setup: Setup {
        disks: &[Disk::Hard { slot: 0, sectors: 65536 }, Disk::Hard { slot: 1, sectors: 4096 }],
        args: &[],
    },
    cases: &[],
};
