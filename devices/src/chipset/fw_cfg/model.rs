//! The firmware configuration device.

use devices_core::model::Model;

/// The model.
pub static MODEL: Model = Model {
    name: "fw_cfg_io",
    parent: "sys-bus-device",
    desc: "what the firmware is told",
    path: Some("/machine/fw_cfg"),
    ..Model::PART
};
