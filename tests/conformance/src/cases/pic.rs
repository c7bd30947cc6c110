//! The interrupt controllers 8259A with ELCR.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "pic",
    about: "interrupt controllers 8259A with ELCR",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
