//! The timer 8254 and port 0x61.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "pit",
    about: "timer 8254 and port 0x61",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
