//! The watchdog of the IB700 board.

use devices_core::model::{Category, Model, Plug, Properties};

use super::Ib700;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The model.
pub static MODEL: Model = Model {
    name: "ib700",
    category: Category::Watchdog,
    desc: "iBASE 700",
    plug: Plug::Cold,
    ..Model::ISA_PART
};

/// Makes one.
pub fn make(_: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    Ok(MadeDevice::of(Ib700::new(parts.name, parts.wiring, parts.board.power())))
}
