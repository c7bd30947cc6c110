//! The watchdog of Intel's 6300ESB.

use devices_core::model::{Category, Model, Plug, Properties};

use super::I6300esb;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The model.
pub static MODEL: Model = Model {
    name: "i6300esb",
    category: Category::Watchdog,
    desc: "Intel 6300ESB",
    plug: Plug::Hot,
    several: true,
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(_: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    Ok(MadeDevice::of(I6300esb::new(parts.name, parts.wiring, parts.board.power())))
}
