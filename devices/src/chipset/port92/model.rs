//! System control port A.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model = Model { name: "port92", desc: "A20 gate and fast reset", ..Model::ISA_PART };
