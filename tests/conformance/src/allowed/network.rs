//! What may be as it is in network cards.

use super::Allowed;
use crate::models::Family;

/// A failure of QEMU's e1000.
const fn e1000(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "e1000", case, what, family: Family::Qemu, reason }
}

/// A failure of QEMU's e1000e.
const fn e1000e(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "e1000e", case, what, family: Family::Qemu, reason }
}

/// A failure of QEMU's ne2k_pci.
const fn ne2000(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "ne2000", case, what, family: Family::Qemu, reason }
}

const KEEP: &str = "registers keep their bits";
const NO_FLOW: &str = "QEMU has no registers of flow control: they read as 0.";
const NO_IO: &str =
    "QEMU's ports do nothing. Linux resets the card by them, and does not see that it was not.";
const NO_RESET: &str = "QEMU clears the bit and resets nothing. Drivers set every register that they use.";
const COUNT: &str = "QEMU 7.2 counts broadcasts as multicasts, and sorts received frames by their length without the check sequence when that is taken off.";
const KEPT: &str = "QEMU clears only some of the statistics.";
const NO_RXCSUM: &str = "QEMU does not look at received checksums and says so by IXSM: the guest does.";

const NO_TIDV: &str = "QEMU's TIDV cannot be read. Drivers only write it.";
const ONLY_ADDRESS: &str =
    "QEMU loads the address anew and resets nothing else. Drivers set every register that they use.";
const STALE_ICS: &str = "QEMU's ICS shows what ICR was before the message cleared it.";
const NO_SEGMENTS: &str = "QEMU's segments do not come back from the PHY.";
const NO_FCS: &str = "QEMU 7.2 counts frames without their check sequence.";

/// A failure of QEMU's rtl8139.
const fn rtl8139(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "rtl8139", case, what, family: Family::Qemu, reason }
}

const PARTS: &str = "QEMU answers most registers only in their own width.";
const NO_WRITE: &str = "QEMU's EEPROM cannot be written.";
const PROMISCUOUS: &str =
    "QEMU takes AAP for everything, and sorts nothing then. Drivers set AM, AB and all of MAR with it.";
const RCR_RESETS: &str = "QEMU sets the ring's pointers back; a driver that changes its filter reads where the card does not write.";
const SPREAD: &str = "QEMU drops a packet that does not fit one descriptor.";
const NOT_JUDGED: &str = "QEMU looks at no checksums: guests do it themselves.";
const TAGGED: &str = "QEMU's loopback loses the last four bytes of a packet that a tag was put into.";
const NO_PAGE_2: &str = "QEMU shows only PSTART and PSTOP on page 2, which is for diagnosis.";

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
    e1000e(KEEP, "TIDV of *", NO_TIDV),
    e1000e("registers at their old places", "TIDV", NO_TIDV),
    e1000e("CTRL.RST", "RCTL", ONLY_ADDRESS),
    e1000e("CTRL.RST", "IMS", ONLY_ADDRESS),
    e1000e("CTRL.RST", "RDLEN", ONLY_ADDRESS),
    e1000e("IAME", "IAM is masked", "QEMU looks at IAM only while MSI-X is on."),
    e1000e("EIAC and EIAME", "EIAC clears its cause", STALE_ICS),
    e1000e("EIAC and EIAME", "and masks nothing", "QEMU's EIAC masks, too, unless IAME is set."),
    e1000e("segmentation", "*", NO_SEGMENTS),
    e1000e("long frames", "with the check sequence", "QEMU has no room for a check sequence."),
    e1000e("statistics are cleared by reading", "PRC64", NO_FCS),
    e1000e("statistics are cleared by reading", "PRC127", NO_FCS),
    e1000e("statistics are cleared by reading", "PTC64", NO_FCS),
    e1000e("statistics are cleared by reading", "GOTC low", NO_FCS),
    e1000e("statistics are cleared by reading", "TOT low", NO_FCS),
    rtl8139("registers at power-on", "CR: no reset goes on", "QEMU shows RST until CR is written."),
    rtl8139("registers can be read in parts", "RBSTART*", PARTS),
    rtl8139("registers can be read in parts", "IMR*", PARTS),
    rtl8139(
        "software reset",
        "IDR is left alone",
        "QEMU loads the address anew. Drivers write it after a reset.",
    ),
    rtl8139("EEPROM by its wires", "the next one follows it", "QEMU's EEPROM wants a command for each word."),
    rtl8139("EEPROM is written", "*", NO_WRITE),
    rtl8139("PHY registers", "BMCR: 100 Mbit/s, full duplex, by hand", "QEMU's PHY always negotiates."),
    rtl8139("which addresses are let in", "AAP*", PROMISCUOUS),
    rtl8139(
        "nothing moves while the bus is not the card's",
        "the buffer is not done",
        "QEMU does not see that its read of the buffer was not carried out.",
    ),
    rtl8139("RCR is written while packets are there", "*", RCR_RESETS),
    rtl8139("a packet by descriptors", "ISR: no Tx descriptor is left", "QEMU has no TDU."),
    rtl8139("a packet over several Rx descriptors", "*", SPREAD),
    rtl8139("checksums are judged", "*", NOT_JUDGED),
    rtl8139("a large packet is cut", "segment 2", "QEMU loses FIN and PSH on the way to the last segment."),
    rtl8139("VLAN tags", "put in*", TAGGED),
    rtl8139("an interrupt on demand", "ISR: SWInt", "QEMU has no FSWInt."),
    ne2000(
        "stop and start",
        "stopped",
        "QEMU shows RST only after the reset port. Drivers wait for it only there.",
    ),
    ne2000("page 2", "RCR", NO_PAGE_2),
    ne2000("page 2", "DCR", NO_PAGE_2),
    ne2000("page 2", "IMR", NO_PAGE_2),
    ne2000(
        "wide accesses of registers",
        "a word of registers",
        "QEMU's registers answer only bytes, as drivers read them; a real card sees a wide access as several.",
    ),
];
