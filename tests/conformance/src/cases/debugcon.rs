//! The debug port 0x402 and paravirtualised panic port.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "debugcon",
    about: "debug port 0x402 and paravirtualised panic port",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
