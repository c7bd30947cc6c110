//! The 82371SB's ISA bridge.

use devices_core::model::{BusType, Model};

/// The model.
pub static MODEL: Model =
    Model { name: "PIIX3", offers: &[BusType::Isa], desc: "ISA bridge (82371SB)", ..Model::PCI_PART };
