//! What may be as it is in interrupt and DMA controllers.

use super::Allowed;
use crate::models::Family;

pub(super) const ALLOWED: &[Allowed] = &[
    Allowed {
        device: "pic",
        case: "special mask mode hides from a non-specific end",
        what: "in service after a non-specific end",
        family: Family::Qemu,
        reason: "QEMU's non-specific end does not look at the mask. Who uses special mask mode names the level.",
    },
    Allowed {
        device: "pic",
        case: "a line turned to level shows at once",
        what: "request",
        family: Family::Qemu,
        reason: "QEMU takes a line's level over when it moves next; IRR of a level-triggered input is its line.",
    },
    Allowed {
        device: "ioapic",
        case: "lower halves hold what is written",
        what: "reserved bits of pin *",
        family: Family::Qemu,
        reason: "QEMU keeps reserved bits. Drivers write zeros there.",
    },
    Allowed {
        device: "ioapic",
        case: "upper halves hold the destination",
        what: "reserved bits",
        family: Family::Qemu,
        reason: "QEMU keeps reserved bits. Drivers write zeros there.",
    },
    Allowed {
        device: "dma8237",
        case: "half of a register",
        what: "only the low byte is written*",
        family: Family::Qemu,
        reason: "QEMU takes a base register over into the current one only with its second byte; the 8237A writes both at once, and nobody writes half a register",
    },
    Allowed {
        device: "dma8237",
        case: "masks after reset",
        what: "*",
        family: Family::Qemu,
        reason: "the 82371SB gives the masks at port 0Fh; QEMU reads 0 there, where no driver looks",
    },
    Allowed {
        device: "dma8237",
        case: "one mask",
        what: "*",
        family: Family::Qemu,
        reason: "as above: QEMU reads 0 at the port of all masks",
    },
    Allowed {
        device: "dma8237",
        case: "all masks",
        what: "*",
        family: Family::Qemu,
        reason: "as above: QEMU reads 0 at the port of all masks",
    },
    Allowed {
        device: "dma8237",
        case: "clear masks",
        what: "after master clear",
        family: Family::Qemu,
        reason: "as above: QEMU reads 0 at the port of all masks",
    },
    Allowed {
        device: "dma8237",
        case: "reset",
        what: "*",
        family: Family::Qemu,
        reason: "as above: QEMU reads 0 at the port of all masks",
    },
    Allowed {
        device: "dma8237",
        case: "reserved page registers hold bytes",
        what: "*",
        family: Family::Qemu,
        reason: "QEMU has no reserved page registers and reads FFh; the 82371SB's are readable and writable",
    },
];
