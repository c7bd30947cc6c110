//! Parts of the PC that a guest may be without, and what its firmware is told about booting.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Parts of the PC, each there unless it is taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// The PIIX4's power management function and ACPI tables.
    pub acpi: bool,
    /// The HPET, where it is ours.
    pub hpet: bool,
    /// The firmware speaks on the screen; otherwise on the first serial port.
    pub graphics: bool,
    /// The firmware boots only from floppies that are marked as bootable.
    pub floppy_check: bool,
}

impl Default for Features {
    fn default() -> Features {
        Features { acpi: true, hpet: true, graphics: true, floppy_check: true }
    }
}

/// How the firmware boots, beside its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BootOptions {
    /// The order up to the first reset, if it is another one: letters as in the order.
    pub once: Option<String>,
    /// A menu is offered.
    pub menu: bool,
    /// Only from devices that the order names.
    pub strict: bool,
    /// A picture (JPEG, or BMP of 24 bits) that is shown meanwhile.
    #[serde(with = "super::path")]
    pub splash: Option<PathBuf>,
    /// How long menu and picture wait, in ms.
    pub splash_ms: Option<u16>,
    /// The machine is reset so many ms after a boot that failed; none: never.
    pub reboot_ms: Option<u16>,
}
