//! The keyboard controller 8042.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "i8042",
    about: "keyboard controller 8042",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
