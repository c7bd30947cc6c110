//! The platform device, by which PV drivers find their hypervisor.

use devices_core::model::{Category, Model, Plug};

/// The model.
pub static MODEL: Model = Model {
    name: "xen-platform",
    category: Category::Misc,
    desc: "Xen platform device",
    plug: Plug::Cold,
    ..Model::PCI_PART
};
