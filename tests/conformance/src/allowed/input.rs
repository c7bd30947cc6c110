//! What may be as it is in serial ports, keyboard and mouse.

use super::Allowed;
use crate::models::Family;

pub(super) const ALLOWED: &[Allowed] = &[
    Allowed {
        device: "uart",
        case: "registers after reset",
        what: "modem control",
        family: Family::Qemu,
        reason: "QEMU's port begins with OUT 2 on, as a PC's firmware would leave it",
    },
    Allowed {
        device: "uart",
        case: "registers after reset",
        what: "modem control",
        family: Family::Ailurus,
        reason: "as QEMU: OUT 2 is on, as a PC's firmware would leave it",
    },
    Allowed {
        device: "uart",
        case: "reset",
        what: "modem control",
        family: Family::Qemu,
        reason: "QEMU's port begins with OUT 2 on, as a PC's firmware would leave it",
    },
    Allowed {
        device: "uart",
        case: "reset",
        what: "modem control",
        family: Family::Ailurus,
        reason: "as QEMU: OUT 2 is on, as a PC's firmware would leave it",
    },
    Allowed {
        device: "uart",
        case: "loopback of 5, 6 and 7 bits",
        what: "*",
        family: Family::Qemu,
        reason: "QEMU carries whole bytes whatever the word length",
    },
    Allowed {
        device: "uart",
        case: "loopback of 5, 6 and 7 bits",
        what: "*",
        family: Family::Ailurus,
        reason: "as QEMU: whole bytes, whatever the word length; a chardev behind it has eight bits, too",
    },
    Allowed {
        device: "uart",
        case: "deltas of modem lines",
        what: "*",
        family: Family::Qemu,
        reason: "QEMU does not set deltas in loopback",
    },
    Allowed {
        device: "uart",
        case: "only the end of ringing counts",
        what: "end",
        family: Family::Qemu,
        reason: "QEMU does not set deltas in loopback",
    },
    Allowed {
        device: "uart",
        case: "modem status interrupt",
        what: "CTS: interrupt identification",
        family: Family::Qemu,
        reason: "QEMU does not set deltas in loopback",
    },
    Allowed {
        device: "uart",
        case: "priorities",
        what: "then modem status: interrupt identification",
        family: Family::Qemu,
        reason: "QEMU does not set deltas in loopback",
    },
    Allowed {
        device: "i8042",
        case: "status tells command from data",
        what: "after data",
        family: Family::Qemu,
        reason: "QEMU never clears bit 3 of the status; no driver looks at it",
    },
    Allowed {
        device: "ps2",
        case: "keyboard: resend",
        what: "the last byte again",
        family: Family::Qemu,
        reason: "QEMU's keyboard does not know the command Resend",
    },
    Allowed {
        device: "ps2",
        case: "keyboard: unknown commands",
        what: "0x0",
        family: Family::Qemu,
        reason: "QEMU's keyboard acknowledges 00h",
    },
    Allowed {
        device: "ps2",
        case: "keyboard: key types",
        what: "*",
        family: Family::Qemu,
        reason: "QEMU's keyboard refuses F7h to F9h, which only set 3 needs",
    },
    Allowed {
        device: "ps2",
        case: "a reset of the machine",
        what: "mouse: status",
        family: Family::Qemu,
        reason: "QEMU's mouse has its default rate and resolution after the command FFh only, not after power-on",
    },
];
