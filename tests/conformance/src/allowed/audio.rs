//! What may be as it is in sound.

use super::Allowed;
use crate::models::Family;

/// A failure of QEMU's HD Audio.
const fn hda(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "hda", case, what, family: Family::Qemu, reason }
}

/// A failure of QEMU's AC'97.
const fn ac97(case: &'static str, what: &'static str, reason: &'static str) -> Allowed {
    Allowed { device: "ac97", case, what, family: Family::Qemu, reason }
}

pub(super) const ALLOWED: &[Allowed] = &[
    ac97(
        "global control and status",
        "out of cold reset",
        "QEMU's GLOB_CNT reads zero. Drivers write it and wait for GLOB_STA.",
    ),
    ac97(
        "after reset",
        "control",
        "QEMU resets a box as RR does, which keeps the interrupts' enables. Drivers set them before they play.",
    ),
    hda(
        "back into its reset",
        "it is not written meanwhile",
        "QEMU takes writes while CRST is clear. Drivers set it before they write.",
    ),
    hda(
        "registers of a converter",
        "an amplifier that is not there",
        "QEMU gives the gain of the amplifier on the other side. Drivers ask for those that the capabilities name.",
    ),
    hda(
        "control of a pin",
        "then",
        "QEMU's pins are what they are at first. Drivers turn those on that they use, which are on.",
    ),
    hda(
        "a stream stops and goes on",
        "from there on",
        "QEMU begins its buffer list anew when RUN is set; H 3.3.35 stops the engine and resets nothing.",
    ),
    hda(
        "a stream is reset",
        "CBL",
        "QEMU resets the control register of a stream alone. Drivers write the rest before they start it.",
    ),
];
