//! What may be as it is in USB.

use super::Allowed;
use crate::models::Family;

/// A failure of QEMU's UHCI, or of the tablet on it.
const fn uhci(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "uhci", case, what, family: Family::Qemu, reason }
}

const KEPT: &str =
    "QEMU keeps the frame number over resets. Drivers set it before they start the schedule, or do not care.";

pub(super) const ALLOWED: &[Allowed] = &[
    uhci(
        "legacy support after power-on",
        "LEGSUP",
        "QEMU has no such register: its bytes keep what is written. Drivers write it before they start.",
    ),
    uhci("host controller reset", "FRNUM", KEPT),
    uhci("global reset", "FRNUM", KEPT),
    uhci(
        "a configuration is chosen",
        "another is refused",
        "QEMU acknowledges a configuration that its device does not have. Drivers choose one that they have read of.",
    ),
    uhci(
        "nobody at that address",
        "stalled",
        "QEMU sets the time-out bit alone. Drivers take that for an error as well.",
    ),
];
