//! The 82093AA.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model = Model {
    name: "ioapic",
    parent: "sys-bus-device",
    desc: "I/O APIC (82093AA)",
    path: Some("/machine/i440fx/ioapic"),
    ..Model::PART
};
