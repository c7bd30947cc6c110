//! The firmware's debug port.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model =
    Model { name: "isa-debugcon", desc: "debug port of the firmware", ..Model::ISA_PART };
