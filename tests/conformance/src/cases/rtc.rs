//! The real-time clock MC146818A and CMOS RAM.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "rtc",
    about: "real-time clock MC146818A and CMOS RAM",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
