//! The 8254.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model = Model { name: "isa-pit", desc: "interval timer (8254)", ..Model::ISA_PART };
