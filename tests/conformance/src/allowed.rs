//! What may be as it is: failures of QEMU that are explained, differences that we keep.

use crate::models::Family;

/// One thing that may be as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The device.
    pub device: &'static str,
    /// The case.
    pub case: &'static str,
    /// What the case looked at, as it says it. A `*` at the end stands for any end.
    pub what: &'static str,
    /// Whose failure it is; for a value that no document gives, who is the odd one.
    pub family: Family,
    /// Why that is right so.
    pub reason: &'static str,
}

impl Allowed {
    /// Whether this is about that.
    pub fn covers(&self, device: &str, case: &str, what: &str) -> bool {
        let same = match self.what.strip_suffix('*') {
            Some(begin) => what.starts_with(begin),
            None => what == self.what,
        };
        self.device == device && self.case == case && same
    }
}

/// The list, by device. An entry that matches nothing any more is an error.
pub const ALLOWED: &[Allowed] = &[
    Allowed {
        device: "i440fx",
        case: "the latch's reserved bits are zero",
        what: "all ones",
        family: Family::Qemu,
        reason: "QEMU keeps all 32 bits. Probes write and read bit 31 alone, so that the datasheet's zeros serve them as well.",
    },
    Allowed {
        device: "i440fx",
        case: "the data port has four bytes",
        what: "all four with the latch at 2",
        family: Family::Qemu,
        reason: "QEMU adds the latch's lowest bits to the register. No driver sets them: the latch is documented without them.",
    },
    Allowed {
        device: "i440fx",
        case: "PAM write-enable alone lets writes into RAM",
        what: "what is read with PAM off",
        family: Family::Qemu,
        reason: "QEMU has memory of its own for option ROMs under 0xc0000 to 0xdffff; on the board nobody answers there. Firmware turns PAM on before it looks.",
    },
    Allowed {
        device: "i440fx",
        case: "PAM write-enable alone lets writes into RAM",
        what: "what is read with write-enable alone",
        family: Family::Qemu,
        reason: "The same memory: with write-enable alone QEMU reads RAM, the 82441FX the bus.",
    },
    Allowed {
        device: "i440fx",
        case: "a reset takes PAM and SMRAM back",
        what: "PAM3",
        family: Family::Qemu,
        reason: "QEMU 7.2 does not reset the bridge's own registers; firmware writes all of them before use.",
    },
    Allowed {
        device: "i440fx",
        case: "a reset takes PAM and SMRAM back",
        what: "SMRAM",
        family: Family::Qemu,
        reason: "As PAM3.",
    },
    Allowed {
        device: "piix3",
        case: "I/O, memory and bus master are always on",
        what: "IOSE, MSE, BME",
        family: Family::Qemu,
        reason: "QEMU leaves them to firmware, which sets them; the chip has no switch for them.",
    },
    Allowed {
        device: "piix3",
        case: "I/O, memory and bus master are always on",
        what: "command and status",
        family: Family::Qemu,
        reason: "The same three bits.",
    },
    Allowed {
        device: "port92",
        case: "a reset takes it back",
        what: "the port",
        family: Family::Qemu,
        reason: "QEMU's reset keeps A20 as it was; the chip's lets the keyboard controller's gate alone decide, and firmware sets it.",
    },
    Allowed {
        device: "port92",
        case: "a word write reaches it by its low byte",
        what: "bit 1",
        family: Family::Qemu,
        reason: "QEMU drops a word at a window of one byte. No driver writes words to an odd lot of byte ports.",
    },
    Allowed {
        device: "piix4_pm",
        case: "the base has 64 ports and bit 0 set",
        what: "all ones",
        family: Family::Qemu,
        reason: "QEMU takes what is written; firmware writes a base of 64 ports with bit 0 set and reads it back so.",
    },
    Allowed {
        device: "piix4_pm",
        case: "the base has 64 ports and bit 0 set",
        what: "zero",
        family: Family::Qemu,
        reason: "As all ones.",
    },
    Allowed {
        device: "piix4_pm",
        case: "the base has 64 ports and bit 0 set",
        what: "all ones",
        family: Family::Ailurus,
        reason: "As QEMU does it: what is read back is what firmware wrote, whichever it is.",
    },
    Allowed {
        device: "piix4_pm",
        case: "the base has 64 ports and bit 0 set",
        what: "zero",
        family: Family::Ailurus,
        reason: "As QEMU does it.",
    },
    Allowed {
        device: "piix4_pm",
        case: "PM1 is clear after power-on",
        what: "status",
        family: Family::Qemu,
        reason: "QEMU's timer status is set from power-on until it is cleared once. Operating systems clear it before they enable it (ACPI 4.7.3.1.1).",
    },
    Allowed {
        device: "piix4_pm",
        case: "PM1 is clear after power-on",
        what: "status",
        family: Family::Ailurus,
        reason: "As QEMU does it: saved guests and drivers have seen this bit set at the start.",
    },
    Allowed {
        device: "piix4_pm",
        case: "the timer's carry sets its status",
        what: "after 2.0 s",
        family: Family::Qemu,
        reason: "QEMU's timer status is set from power-on until it is cleared once. Operating systems clear it before they enable it (ACPI 4.7.3.1.1).",
    },
    Allowed {
        device: "piix4_pm",
        case: "the timer's carry sets its status",
        what: "after 2.0 s",
        family: Family::Ailurus,
        reason: "As QEMU does it: saved guests and drivers have seen this bit set at the start.",
    },
    Allowed {
        device: "piix4_pm",
        case: "the timer's carry interrupts if it is enabled",
        what: "before",
        family: Family::Qemu,
        reason: "QEMU's timer status is set from power-on until it is cleared once. Operating systems clear it before they enable it (ACPI 4.7.3.1.1).",
    },
    Allowed {
        device: "piix4_pm",
        case: "the timer's carry interrupts if it is enabled",
        what: "before",
        family: Family::Ailurus,
        reason: "As QEMU does it: saved guests and drivers have seen this bit set at the start.",
    },
    Allowed {
        device: "piix4_pm",
        case: "the SMBus base is where the BIOS expects it",
        what: "written",
        family: Family::Qemu,
        reason: "QEMU takes what is written, without the bit that says I/O.",
    },
    Allowed {
        device: "piix4_pm",
        case: "the SMBus base is where the BIOS expects it",
        what: "written",
        family: Family::Ailurus,
        reason: "As QEMU does it.",
    },
    Allowed {
        device: "piix4_pm",
        case: "the slots' registers",
        what: "slots that can be ejected",
        family: Family::Ailurus,
        reason: "No device can be added to a running guest yet, so that no slot offers it.",
    },
];
