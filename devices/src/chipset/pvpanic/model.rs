//! The panic device, which every machine of ours has.

use devices_core::model::{Model, Plug};

/// The model.
pub static MODEL: Model =
    Model { name: "pvpanic", desc: "paravirtualised panic device", plug: Plug::Cold, ..Model::ISA_PART };
