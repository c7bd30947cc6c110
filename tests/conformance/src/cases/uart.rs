//! The serial port 16550A (COM1).

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "uart",
    about: "serial port 16550A (COM1)",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
