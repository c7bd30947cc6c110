//! What may be as it is in USB.

use super::Allowed;
use crate::models::Family;

/// A failure of QEMU's UHCI, or of the tablet on it.
const fn uhci(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "uhci", case, what, family: Family::Qemu, reason }
}

/// Somebody's difference in xHCI, or in what is plugged into it.
const fn xhci(case: &'static str, what: &'static str, family: Family, reason: &'static str) -> Allowed {
    Allowed { device: "xhci", case, what, family, reason }
}

/// A failure of QEMU's EHCI.
const fn ehci(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "ehci", case, what, family: Family::Qemu, reason }
}

/// A failure of QEMU's hub.
const fn hub(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "usb-hub", case, what, family: Family::Qemu, reason }
}

/// A failure of QEMU's OHCI.
const fn ohci(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "ohci", case, what, family: Family::Qemu, reason }
}

const MASKS: &str =
    "QEMU keeps bits of addresses that are 0 by EHCI 2.3.5 to 2.3.7. Drivers write none of them.";
const NOBODY: &str = "QEMU leaves a qTD active for whose address there is no device. Drivers give up by time; E 3.5.3 counts attempts.";

const IMOD: &str = "QEMU begins with no moderation; xHCI 5.5.2.2 wants 4000. Drivers write it before they enable interrupts.";

const KEPT: &str =
    "QEMU keeps the frame number over resets. Drivers set it before they start the schedule, or do not care.";

pub(super) const ALLOWED: &[Allowed] = &[
    xhci(
        "capability registers",
        "HCCPARAMS1",
        Family::Ailurus,
        "Streams are not built, and MaxPSASize says so. Drivers use none then.",
    ),
    xhci("operational registers after a reset", "IMOD", Family::Qemu, IMOD),
    xhci("host controller reset", "IMOD", Family::Qemu, IMOD),
    xhci(
        "ports after a reset",
        "PORTSC *",
        Family::Qemu,
        "QEMU tells of a change at ports where nobody is or was (xHCI 5.4.8, CSC). Drivers clear it.",
    ),
    xhci(
        "a disk is read",
        "its data",
        Family::Ailurus,
        "One SCSI core answers for all disks: it queues commands (CMDQUE). Drivers of Bulk-Only give one at a time.",
    ),
    xhci(
        "a disk is read",
        "its residue, of 192",
        Family::Qemu,
        "QEMU counts nothing as left over of a longer buffer; BOT 5.3.1 counts what was not data.",
    ),
    ehci("what registers keep", "PERIODICLISTBASE", MASKS),
    ehci("what registers keep", "ASYNCLISTADDR", MASKS),
    ehci("what registers keep", "CTRLDSSEGMENT", MASKS),
    ehci("what registers keep", "FRINDEX", "QEMU counts whole frames. Drivers look at the frame alone."),
    ehci(
        "ports after a reset",
        "the line is as full speed keeps it",
        "QEMU's lines are always SE0. Drivers look for low speed there, and find none either way.",
    ),
    ehci("nobody at that address", "halted, no answer, no attempt left", NOBODY),
    ehci("nobody at that address", "USBERRINT", NOBODY),
    ehci(
        "an interrupt for a qTD",
        "with others enabled",
        "QEMU looks at USBINTR again with the next event. Drivers acknowledge what came before they disable it.",
    ),
    ohci(
        "registers after a reset",
        "HcInterruptEnable",
        "QEMU begins with the master bit; O 7.1.5 has zeros. Drivers disable all before they enable some.",
    ),
    ohci(
        "a port sleeps and wakes",
        "awake, and told so",
        "QEMU does not know ClearSuspendStatus. Drivers reset the port when it does not wake.",
    ),
    ohci(
        "a request that is none",
        "CC",
        "QEMU stalls a request before its data; S 8.5.3.4 has the setup packet acknowledged always. Drivers see the halted endpoint.",
    ),
    ohci(
        "nobody at that address",
        "*",
        "QEMU leaves a TD for whose address there is no device. Drivers give up by time; O 4.3.1 counts attempts.",
    ),
    Allowed {
        device: "usb-uas",
        case: "a function for a unit that is not there",
        what: "incorrect LUN",
        family: Family::Qemu,
        reason: "QEMU carries it out on another unit. Drivers manage commands of units that they have found.",
    },
    hub(
        "a port is reset",
        "the reset is over",
        "QEMU tells that the port is enabled, too, which S 11.24.2.7.2.2 has for errors alone. Drivers clear both.",
    ),
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
