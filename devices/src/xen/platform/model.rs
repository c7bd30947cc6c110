//! The platform device, by which PV drivers find their hypervisor.

use devices_core::model::{Category, Model, Plug, Properties};

use super::Platform;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The model.
pub static MODEL: Model = Model {
    name: "xen-platform",
    category: Category::Misc,
    desc: "Xen platform device",
    plug: Plug::Cold,
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(_: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let host = parts.board.xen_platform().ok_or_else(|| MakeError::Other("it needs a Xen domain".into()))?;
    Ok(MadeDevice::of(Platform::new(host, parts.wiring)))
}
