//! The GD5446.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{Category, Default, Kind, Model, Plug, Properties, Property, PropertyError};

use super::{Cirrus, SIZES};
use crate::board::{DeviceHandles, MadeDevice, MakeError};
use crate::display::vga::Eye;
use crate::display::vga::model::memory;

/// The model.
pub static MODEL: Model = Model {
    name: "cirrus-vga",
    category: Category::Display,
    desc: "Cirrus CLGD 54xx VGA",
    check,
    plug: Plug::Cold,
    rom: Some("vgabios-cirrus.bin"),
    properties: &[
        Property {
            name: "vgamem_mb",
            kind: Kind::Uint(32),
            default: Default::Uint(4),
            help: "video memory in MiB: 4, 8 or 16",
        },
        Property { name: "blitter", kind: Kind::Bool, default: Default::Bool(true), help: "on/off" },
    ],
    ..Model::PCI_PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    let mib = memory(properties) >> 20;
    SIZES.contains(&mib).then_some(()).ok_or_else(|| properties.invalid("vgamem_mb", "4, 8 or 16 is needed"))
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    check(properties)?;
    let vram = parts.board.add_ram("vram", memory(properties))?;
    let mut cirrus = Cirrus::new(parts.wiring, vram);
    if parts.board.saves_device_memory() {
        cirrus = cirrus.memory_saved_elsewhere();
    }
    if !properties.is_on("blitter") {
        cirrus = cirrus.without_blitter();
    }
    let slot = Arc::new(DeviceCell::new(cirrus));
    let display = Some(Arc::new(Eye::new(&slot)) as _);
    Ok(MadeDevice { display, ..MadeDevice::at(slot) })
}
