//! The standard VGA.

use devices_core::model::{Category, Default, Kind, Model, Plug, Property};

/// The model.
pub static MODEL: Model = Model {
    name: "VGA",
    category: Category::Display,
    desc: "standard VGA",
    plug: Plug::Cold,
    properties: &[Property {
        name: "vgamem_mb",
        kind: Kind::Uint(32),
        default: Default::Uint(16),
        help: "video memory in MiB, a power of two up to 256",
    }],
    ..Model::PCI_PART
};
