//! What may be as it is in virtio devices.

use super::Allowed;
use crate::models::Family;

/// A failure of QEMU's block device or its transport.
const fn blk(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "virtio-blk", case, what, family: Family::Qemu, reason }
}

/// A failure of QEMU's SCSI disk or its host.
const fn scsi(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "virtio-scsi", case, what, family: Family::Qemu, reason }
}

/// Something of QEMU's small devices.
const fn small(
    device: &'static str,
    case: &'static str,
    what: &'static str,
    reason: &'static str,
) -> Allowed {
    Allowed { device, case, what, family: Family::Qemu, reason }
}

/// REQUEST SENSE is a command as any other to QEMU when there is something to tell.
const ATTENTION: &str =
    "QEMU 7.2 fails REQUEST SENSE because of what it is to report, and reports it with the failure.";
/// QEMU verifies nothing.
const VERIFIES: &str = "QEMU's VERIFY looks at nothing, not even at its range.";

/// QEMU's transport keeps a copy of the features as they were written, and shows that.
const COPY: &str =
    "QEMU 7.2 shows the features that were written, not those that it took, and keeps them over a reset.";

pub(super) const ALLOWED: &[Allowed] = &[
    small(
        "virtio-vsock",
        "*",
        "machine",
        "QEMU has no such device in its own process: its own are the kernel's (vhost) and another process's (vhost-user).",
    ),
    small(
        "virtio-serial",
        "a port with somebody at its end",
        "*",
        "Nobody is ever at the other end of QEMU's null line, and a guest that writes to it waits for ever. Ours takes \
         what is written, as its name says.",
    ),
    small(
        "virtio-gpu",
        "a command that is cut short",
        "*",
        "QEMU passes over a command that is too short, says that it was done, and never answers one without a header.",
    ),
    small(
        "virtio-net",
        "a header and nothing behind it",
        "*",
        "QEMU wants a reset where a frame has no bytes; nothing forbids it, and nothing is sent.",
    ),
    small(
        "virtio-net",
        "commands that were not agreed on",
        "an address",
        "QEMU takes an address though CTRL_MAC_ADDR was not accepted.",
    ),
    small(
        "virtio-net",
        "a frame without a header",
        "machine",
        "Debian's QEMU 7.2 ends by an assertion of its own when a frame is shorter than its header.",
    ),
    small(
        "virtio-input",
        "what the driver says is given back",
        "nothing was written",
        "QEMU gives a buffer back with the length of what it has read there.",
    ),
    small(
        "virtio-input",
        "a reset forgets the selection",
        "select, which, size",
        "QEMU keeps what was selected. A driver selects before it reads.",
    ),
    scsi(
        "the residue",
        "of a command that failed",
        "QEMU says that all was moved when a command failed before it moved anything.",
    ),
    scsi("REQUEST SENSE", "status of 03", ATTENTION),
    scsi("REQUEST SENSE", "power on", ATTENTION),
    scsi("SYNCHRONIZE CACHE", "status of 91", "QEMU 7.2 has no SYNCHRONIZE CACHE (16)."),
    scsi("VERIFY", "status of 2f #2", VERIFIES),
    scsi("VERIFY", "sense of 2f", VERIFIES),
    blk("features stay once they are agreed on", "as they were", COPY),
    blk("what is not offered is not accepted", "no more than is offered", COPY),
    blk("a reset", "no features", COPY),
    blk(
        "a legacy queue",
        "is the modern address",
        "QEMU's modern registers show what was written to them. No driver uses both faces at once.",
    ),
    blk(
        "interrupts at a place",
        "after the first",
        "QEMU interrupts for the first request whatever place was told; drivers take an interrupt too many.",
    ),
    blk(
        "legacy features",
        "offered",
        "QEMU offers bit 30, which no driver may accept, to find out faulty ones; it takes no feature of theirs then.",
    ),
    Allowed {
        device: "virtio-blk",
        case: "packed queues are not for legacy drivers",
        what: "features are agreed on",
        family: Family::Ailurus,
        reason: "QEMU agrees. A driver that knows packed queues knows version 1, and 2.2.3 lets the device refuse.",
    },
];
