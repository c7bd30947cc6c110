//! The card as QEMU names it.

use devices_core::audio::AUDIODEV;
use devices_core::model::{Category, Model, Plug, Properties};

use super::Ac97;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The card.
pub static MODEL: Model = Model {
    name: "AC97",
    aliases: &["ac97"],
    category: Category::Sound,
    desc: "Intel 82801AA AC97 Audio",
    properties: &[AUDIODEV],
    plug: Plug::Hot,
    several: true,
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let backend = parts.board.audio(properties, parts.name)?;
    let [inta, ..] = parts.intx;
    Ok(MadeDevice::of(Ac97::new(parts.name, parts.board.ram(), inta, backend, parts.wiring)))
}
