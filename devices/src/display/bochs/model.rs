//! The `bochs-display`.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{Category, Default, Kind, Model, Plug, Properties, Property, PropertyError};

use super::{BochsDisplay, VRAM_MAX, VRAM_MIN};
use crate::board::{DeviceHandles, MadeDevice, MakeError};
use crate::display::monitor;
use crate::display::vga::Eye;

const VGAMEM: Property = Property {
    name: "vgamem",
    kind: Kind::Uint(64),
    default: Default::Uint(16 << 20),
    help: "bytes of video memory, 4 MiB to 256 MiB; what is no power of two is rounded up",
};

/// The model.
pub static MODEL: Model = Model {
    name: "bochs-display",
    category: Category::Display,
    desc: "linear framebuffer with the standard VGA's registers, and no VGA",
    check,
    plug: Plug::Cold,
    several: true,
    rom: Some("vgabios-bochs-display.bin"),
    properties: &[VGAMEM, monitor::EDID, monitor::XRES, monitor::YRES],
    ..Model::PCI_PART
};

/// Bytes of its memory.
pub fn memory(properties: &Properties) -> u64 {
    let asked = properties.uint(VGAMEM.name).unwrap_or(0);
    asked.checked_next_power_of_two().unwrap_or(asked)
}

fn check(properties: &Properties) -> Result<(), PropertyError> {
    let asked = properties.uint(VGAMEM.name).unwrap_or(0);
    if !(VRAM_MIN..=VRAM_MAX).contains(&asked) {
        return Err(properties.invalid(VGAMEM.name, "4 MiB to 256 MiB are possible"));
    }
    monitor::check(properties, u16::MAX.into())
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    check(properties)?;
    let vram = parts.board.add_ram(parts.name, memory(properties))?;
    let mut display = BochsDisplay::new(parts.name, vram, monitor::edid(properties));
    if parts.board.saves_device_memory() {
        display = display.memory_saved_elsewhere();
    }
    let slot = Arc::new(DeviceCell::new(display));
    let eye = Some(Arc::new(Eye::new(&slot)) as _);
    Ok(MadeDevice { display: eye, ..MadeDevice::at(slot) })
}
