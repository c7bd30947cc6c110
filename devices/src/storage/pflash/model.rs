//! The chip as QEMU names it.

use devices_core::model::{Category, Default, Kind, Model, Plug, Property};

use crate::storage::drive::DRIVE;

/// Which of the machine's chips it is. Put there by the machine.
pub const NAME: Property = Property {
    name: "name",
    kind: Kind::Text,
    default: Default::None,
    help: "system.flash0, which ends at 4 GiB, or system.flash1 below it",
};

/// Names of the machine's chips, by unit.
pub const NAMES: [&str; 2] = ["system.flash0", "system.flash1"];

/// The model.
pub static MODEL: Model = Model {
    name: "cfi.pflash01",
    parent: "sys-bus-device",
    category: Category::Storage,
    desc: "flash memory with the Intel command set",
    properties: &[DRIVE, NAME],
    plug: Plug::Cold,
    several: true,
    ..Model::PART
};
