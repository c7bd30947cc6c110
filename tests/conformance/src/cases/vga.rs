//! The standard VGA with Bochs DISPI.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "vga",
    about: "standard VGA with Bochs DISPI",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
