//! The pair of 8259.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model =
    Model { name: "isa-i8259", desc: "interrupt controllers (8259A)", ..Model::ISA_PART };
