//! The standard VGA, and the one that is no guest's first display.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{Category, Default, Kind, Model, Plug, Properties, Property, PropertyError};

use super::spec::dispi::MAX_XRES;
use super::{Eye, VRAM_MAX, VRAM_MIN, Vga};
use crate::board::{DeviceHandles, MadeDevice, MakeError};
use crate::display::monitor;

const VGAMEM: Property = Property {
    name: "vgamem_mb",
    kind: Kind::Uint(32),
    default: Default::Uint(16),
    help: "video memory in MiB, a power of two up to 512",
};

const EXTENDED: Property = Property {
    name: "qemu-extended-regs",
    kind: Kind::Bool,
    default: Default::Bool(true),
    help: "registers of the byte order",
};

/// What both have.
const MODEL_PARTS: Model = Model {
    category: Category::Display,
    check,
    plug: Plug::Cold,
    properties: &[VGAMEM, EXTENDED, monitor::EDID, monitor::XRES, monitor::YRES],
    ..Model::PCI_PART
};

/// The model.
pub static MODEL: Model =
    Model { name: "VGA", desc: "standard VGA", rom: Some("vgabios-stdvga.bin"), ..MODEL_PARTS };

/// One without ports and legacy window: drivers that know its BARs use it, firmware does not.
pub static SECONDARY: Model =
    Model { name: "secondary-vga", desc: "standard VGA, BARs alone", several: true, ..MODEL_PARTS };

/// Bytes of its memory.
pub fn memory(properties: &Properties) -> u64 {
    properties.uint(VGAMEM.name).unwrap_or(0).saturating_mul(1 << 20)
}

fn check(properties: &Properties) -> Result<(), PropertyError> {
    let bytes = memory(properties);
    if !bytes.is_power_of_two() || !(VRAM_MIN..=VRAM_MAX).contains(&bytes) {
        return Err(properties.invalid(VGAMEM.name, "a power of two from 1 to 512 is needed"));
    }
    monitor::check(properties, MAX_XRES.into())
}

/// Makes one of either.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    check(properties)?;
    let secondary = properties.model().name == SECONDARY.name;
    let vram = parts.board.add_ram(if secondary { parts.name } else { "vram" }, memory(properties))?;
    let vga = match secondary {
        true => Vga::secondary(parts.name, parts.wiring, vram),
        false => Vga::new(parts.wiring, vram),
    };
    let mut vga = vga.with_edid(monitor::edid(properties));
    if !properties.is_on(EXTENDED.name) {
        vga = vga.without_extension();
    }
    if parts.board.saves_device_memory() {
        vga = vga.memory_saved_elsewhere();
    }
    let slot = Arc::new(DeviceCell::new(vga));
    let display = Some(Arc::new(Eye::new(&slot)) as _);
    Ok(MadeDevice { display, ..MadeDevice::at(slot) })
}
