//! The host bridge 82441FX.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "i440fx",
    about: "host bridge 82441FX",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
