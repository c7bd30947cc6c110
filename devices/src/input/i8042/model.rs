//! The keyboard controller.

use devices_core::model::{Category, Model};

/// The model.
pub static MODEL: Model =
    Model { name: "i8042", category: Category::Input, desc: "keyboard and mouse (8042)", ..Model::ISA_PART };
