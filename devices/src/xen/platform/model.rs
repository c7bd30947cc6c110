//! The platform device, by which PV drivers find their hypervisor.

use devices_core::model::{Category, Model, Plug, Properties};

use super::Platform;
use crate::board::{Made, MakeError, Parts};

/// The model.
pub static MODEL: Model = Model {
    name: "xen-platform",
    category: Category::Misc,
    desc: "Xen platform device",
    plug: Plug::Cold,
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(_: &Properties, parts: Parts<'_>) -> Result<Made, MakeError> {
    let host = parts.board.xen_platform().ok_or_else(|| MakeError::Other("it needs a Xen domain".into()))?;
    Ok(Made::of(Platform::new(host, parts.wiring)))
}
