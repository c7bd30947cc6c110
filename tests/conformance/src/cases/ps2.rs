//! The PS/2 keyboard and mouse.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "ps2",
    about: "PS/2 keyboard and mouse",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
