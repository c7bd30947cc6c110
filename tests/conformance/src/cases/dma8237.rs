//! The DMA controllers 8237A and page registers.

use crate::case::{Group, Setup};

pub(super) const GROUP: Group = Group {
    device: "dma8237",
    about: "DMA controllers 8237A and page registers",
    setup: Setup { disks: &[], args: &[] },
    cases: &[],
};
