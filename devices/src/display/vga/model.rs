//! The standard VGA.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{Category, Default, Kind, Model, Plug, Properties, Property, PropertyError};

use super::{Eye, VRAM_MAX, VRAM_MIN, Vga};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The model.
pub static MODEL: Model = Model {
    name: "VGA",
    category: Category::Display,
    desc: "standard VGA",
    check,
    plug: Plug::Cold,
    rom: Some("vgabios-stdvga.bin"),
    properties: &[Property {
        name: "vgamem_mb",
        kind: Kind::Uint(32),
        default: Default::Uint(16),
        help: "video memory in MiB, a power of two up to 512",
    }],
    ..Model::PCI_PART
};

/// Bytes of its memory.
pub fn memory(properties: &Properties) -> u64 {
    properties.uint("vgamem_mb").unwrap_or(0).saturating_mul(1 << 20)
}

fn check(properties: &Properties) -> Result<(), PropertyError> {
    let bytes = memory(properties);
    let right = bytes.is_power_of_two() && (VRAM_MIN..=VRAM_MAX).contains(&bytes);
    right
        .then_some(())
        .ok_or_else(|| properties.invalid("vgamem_mb", "a power of two from 1 to 512 is needed"))
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    check(properties)?;
    let vram = parts.board.add_ram("vram", memory(properties))?;
    let mut vga = Vga::new(parts.wiring, vram);
    if parts.board.saves_device_memory() {
        vga = vga.memory_saved_elsewhere();
    }
    let slot = Arc::new(DeviceCell::new(vga));
    let display = Some(Arc::new(Eye::new(&slot)) as _);
    Ok(MadeDevice { display, ..MadeDevice::at(slot) })
}
