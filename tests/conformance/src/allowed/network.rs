//! What may be as it is in network cards.

use super::Allowed;
use crate::models::Family;

/// A failure of QEMU's e1000.
const fn e1000(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "e1000", case, what, family: Family::Qemu, reason }
}

const KEEP: &str = "registers keep their bits";
const NO_FLOW: &str = "QEMU has no registers of flow control: they read as 0.";
const NO_IO: &str =
    "QEMU's ports do nothing. Linux resets the card by them, and does not see that it was not.";
const NO_RESET: &str = "QEMU clears the bit and resets nothing. Drivers set every register that they use.";
const COUNT: &str = "QEMU 7.2 counts broadcasts as multicasts, and sorts received frames by their length without the check sequence when that is taken off.";
const KEPT: &str = "QEMU clears only some of the statistics.";
const NO_RXCSUM: &str = "QEMU does not look at received checksums and says so by IXSM: the guest does.";

pub(super) const ALLOWED: &[Allowed] = &[
    e1000(KEEP, "FCAL of *", NO_FLOW),
    e1000(KEEP, "FCAH of *", NO_FLOW),
    e1000(KEEP, "FCT of *", NO_FLOW),
    e1000(KEEP, "FCTTV of *", NO_FLOW),
    e1000(KEEP, "FCRTH of *", NO_FLOW),
    e1000(KEEP, "TIDV of *", "QEMU has no relative delay of transmit interrupts."),
    e1000(KEEP, "RXCSUM of *", NO_RXCSUM),
    e1000(KEEP, "TIPG of *", "QEMU has no gap between frames to set: there is no wire."),
    e1000("IOADDR and IODATA", "*", NO_IO),
    e1000("CTRL.RST", "RCTL", NO_RESET),
    e1000("CTRL.RST", "IMS", NO_RESET),
    e1000("CTRL.RST", "RDLEN", NO_RESET),
    e1000("CTRL.RST", "RAL of the station", NO_RESET),
    e1000(
        "PHY registers",
        "15: extended status, which register 1 promises",
        "QEMU's PHY has 13 registers and lets MDIC fail for the others. A PHY answers for all.",
    ),
    e1000("statistics are cleared by reading", "BPRC", COUNT),
    e1000("statistics are cleared by reading", "MPRC", COUNT),
    e1000("statistics are cleared by reading", "PRC64", COUNT),
    e1000("statistics are cleared by reading", "PRC127", COUNT),
    e1000(
        "checksums",
        "legacy IC",
        "QEMU has no checksums of legacy descriptors. Linux and Windows use none.",
    ),
    e1000(
        "segmentation",
        "no empty segment follows",
        "QEMU sends a segment without payload after a packet that is a multiple of the segments' size.",
    ),
    e1000("no descriptors", "RNBC again", KEPT),
    e1000("no descriptors", "MPC again", KEPT),
    e1000(
        "no descriptors",
        "none is left: RXO",
        "QEMU's frames wait outside of the card, those of loopback too.",
    ),
    e1000("received checksums", "right: looked at", NO_RXCSUM),
    e1000("received checksums", "wrong: looked at", NO_RXCSUM),
    e1000("received checksums", "wrong: errors", NO_RXCSUM),
];
