//! A serial port.

use devices_core::model::{Category, Model};

/// The model.
pub static MODEL: Model =
    Model { name: "isa-serial", category: Category::Input, desc: "serial port (16550A)", ..Model::ISA_PART };
