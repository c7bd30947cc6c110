//! The 82371AB's power management.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model = Model { name: "PIIX4_PM", desc: "power management (82371AB)", ..Model::PCI_PART };
