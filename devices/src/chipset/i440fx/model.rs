//! The 82441FX, as the machine has it in function 0 of slot 0.

use devices_core::model::{BusType, Category, Model};

/// The model.
pub static MODEL: Model = Model {
    name: "i440FX-pcihost",
    parent: "sys-bus-device",
    offers: &[BusType::Pci],
    category: Category::Bridge,
    desc: "PCI host bridge (82441FX)",
    path: Some("/machine/i440fx"),
    ..Model::PART
};
