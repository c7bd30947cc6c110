//! The power management and SMBus 82371AB.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "piix4_pm",
    about: "power management and SMBus 82371AB",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
