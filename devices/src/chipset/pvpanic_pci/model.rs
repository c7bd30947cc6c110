//! The panic notifier as a PCI function.

use devices_core::model::{Default, Kind, Model, Plug, Properties, Property};

use super::super::pvpanic::spec::SUPPORTED;
use super::PvpanicPci;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The model.
pub static MODEL: Model = Model {
    name: "pvpanic-pci",
    desc: "paravirtualised panic device",
    properties: &[Property {
        name: "events",
        kind: Kind::Uint(8),
        default: Default::Uint(SUPPORTED as u64),
        help: "what the guest may tell: 1, that it crashed; 2, that its crash kernel runs",
    }],
    plug: Plug::Hot,
    several: true,
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let events = properties.uint("events").unwrap_or(SUPPORTED.into()) as u8;
    Ok(MadeDevice::of(PvpanicPci::new(parts.name, events, parts.board.power())))
}
