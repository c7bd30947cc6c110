//! The card as QEMU names it.

use devices_core::audio::AUDIODEV;
use devices_core::model::{Category, Model, Plug, Properties};

use super::Es1370;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The card.
pub static MODEL: Model = Model {
    name: "ES1370",
    aliases: &["es1370"],
    category: Category::Sound,
    desc: "ENSONIQ AudioPCI ES1370",
    properties: &[AUDIODEV],
    plug: Plug::Hot,
    several: true,
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let backend = parts.board.audio(properties, parts.name)?;
    let [inta, ..] = parts.intx;
    Ok(MadeDevice::of(Es1370::new(parts.name, parts.board.ram(), inta, backend, parts.wiring)))
}
