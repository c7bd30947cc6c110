//! A PCI device to test machines with.

use devices_core::model::{Category, Model, Plug, Properties};

use super::PciTestdev;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

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
pub fn make(_: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    Ok(MadeDevice::of(PciTestdev::new(parts.name)))
}
