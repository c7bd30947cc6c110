//! The I/O APIC 82093AA.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group =
    Group { device: "ioapic", about: "I/O APIC 82093AA", setup: Setup { disks: &[], args: &[] }, cases: &[] };
