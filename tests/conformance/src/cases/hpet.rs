//! The high precision event timers.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "hpet",
    about: "high precision event timers",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
