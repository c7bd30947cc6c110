//! The MC146818, whether the clock is ours or only its RAM.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model =
    Model { name: "mc146818rtc", desc: "real-time clock (MC146818)", ..Model::ISA_PART };
