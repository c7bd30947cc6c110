//! The ISA bridge 82371SB and its PCI interrupt router.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "piix3",
    about: "ISA bridge 82371SB and its PCI interrupt router",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
