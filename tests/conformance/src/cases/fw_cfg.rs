//! The firmware configuration device.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "fw_cfg",
    about: "firmware configuration device",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
