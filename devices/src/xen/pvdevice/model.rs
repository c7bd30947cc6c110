//! The device that Windows Update brings XenServer's drivers for.

use devices_core::model::{Category, Default, Kind, Model, Plug, Property};

/// The model.
pub static MODEL: Model = Model {
    name: "xen-pvdevice",
    category: Category::Misc,
    desc: "Xen PV device",
    plug: Plug::Cold,
    properties: &[Property {
        name: "device-id",
        kind: Kind::Uint(16),
        default: Default::Uint(0xffff),
        help: "PCI device id",
    }],
    ..Model::PCI_PART
};
