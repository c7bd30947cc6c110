//! The ATAPI CD drives.

use crate::case::{Disk, Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "atapi",
    about: "ATAPI CD drives",
    setup: Setup { disks: &[Disk::Cd { slot: 2, sectors: 4096 }, Disk::EmptyCd { slot: 3 }], args: &[] },
    cases: &[],
};
