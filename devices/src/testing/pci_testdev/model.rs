//! A PCI device to test machines with.

use devices_core::model::{Category, Model, Plug, Properties};

use super::PciTestdev;
use crate::board::{Made, MakeError, Parts};

/// The model.
pub static MODEL: Model = Model {
    name: "pci-testdev",
    category: Category::Misc,
    desc: "PCI Test Device",
    plug: Plug::Hot,
    several: true,
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(_: &Properties, parts: Parts<'_>) -> Result<Made, MakeError> {
    Ok(Made::of(PciTestdev::new(parts.name)))
}
