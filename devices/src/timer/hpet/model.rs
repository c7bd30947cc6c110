//! The HPET.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model =
    Model { name: "hpet", parent: "sys-bus-device", desc: "high precision event timers", ..Model::PART };
