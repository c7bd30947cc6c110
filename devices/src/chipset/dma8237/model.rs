//! The pair of 8237.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model = Model { name: "i8257", desc: "DMA controllers (8237A)", ..Model::ISA_PART };
