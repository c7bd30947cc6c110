//! The device that Windows Update brings XenServer's drivers for.

use devices_core::model::{Category, Default, Kind, Model, Plug, Properties, Property, PropertyError};

use super::PvDevice;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The model.
pub static MODEL: Model = Model {
    name: "xen-pvdevice",
    category: Category::Misc,
    desc: "Xen PV device",
    check,
    plug: Plug::Cold,
    properties: &[Property {
        name: "device-id",
        kind: Kind::Uint(16),
        default: Default::Uint(0xffff),
        help: "PCI device id",
    }],
    ..Model::PCI_PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    // QEMU's default is no device of anybody's.
    let given = properties.uint("device-id").is_some_and(|id| id < 0xffff);
    given.then_some(()).ok_or_else(|| properties.invalid("device-id", "it is missing"))
}

/// Makes one.
pub fn make(properties: &Properties, _: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    check(properties)?;
    let id = properties.uint("device-id").and_then(|id| u16::try_from(id).ok()).unwrap_or(0xffff);
    Ok(MadeDevice::of(PvDevice::new(id)))
}
