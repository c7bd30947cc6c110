//! The devices as QEMU names them.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{
    Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::heads::Window;
use super::image::SIDE_MAX;
use super::spec::SCANOUTS_MAX;
use super::vga::{VgaEye, VirtioVga};
use super::{Gpu, Options};
use crate::board::{DeviceHandles, MadeDevice, MakeError};
use crate::display::monitor::{self, EDID, XRES, YRES};
use crate::display::vga::Vga as StandardVga;

const fn number(name: &'static str, bits: u8, usually: u64, help: &'static str) -> Property {
    Property { name, kind: Kind::Uint(bits), default: Usually::Uint(usually), help }
}
const fn switch(name: &'static str, on: bool, help: &'static str) -> Property {
    Property { name, kind: Kind::Bool, default: Usually::Bool(on), help }
}
const MAX_OUTPUTS: Property = number("max_outputs", 32, 1, "heads, at most 16");
const MAX_HOSTMEM: Property =
    number("max_hostmem", 64, 256 << 20, "most bytes of all pictures of the guest's, at most 512 MiB");
const BLOB: Property = switch("blob", false, "pictures in guest memory: not built, off");
const VIRGL: Property = switch("virgl", false, "3D: not built, off");

const PROPERTIES: &[Property] = properties_of![MAX_OUTPUTS, XRES, YRES, MAX_HOSTMEM, EDID, BLOB, VIRGL];

/// Most bytes of memory: they are saved with the guest, as video memory is.
const HOSTMEM_MAX: u64 = 512 << 20;
/// MSI-X vectors.
const VECTORS: u16 = 3;
/// Class of a display controller that is no VGA.
const OTHER_DISPLAY: u32 = 0x03_80_00;

/// Bytes of video memory of the VGA, as in QEMU.
pub const VIDEO_MEMORY: u64 = 8 << 20;
/// Class of a VGA.
const VGA_COMPATIBLE: u32 = 0x03_00_00;

/// A GPU that is no VGA: firmware shows nothing on it.
pub static MODEL: Model =
    Model { name: "virtio-gpu-pci", aliases: &["virtio-gpu"], parent: "virtio-gpu-pci-base", ..MODEL_PARTS };

const MODEL_PARTS: Model = Model {
    category: Category::Display,
    desc: "virtio GPU",
    properties: PROPERTIES,
    plug: Plug::Cold,
    several: true,
    check,
    ..Model::PCI_PART
};

/// One that is a VGA too.
pub static VGA: Model = Model {
    name: "virtio-vga",
    aliases: &[],
    parent: "virtio-vga-base",
    desc: "virtio GPU and standard VGA",
    rom: Some("vgabios-virtio.bin"),
    several: false,
    ..MODEL_PARTS
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    pci::check(properties)?;
    let of = |property: &Property| properties.uint(property.name).unwrap_or(0);
    if !(1..=SCANOUTS_MAX as u64).contains(&of(&MAX_OUTPUTS)) {
        return Err(properties.invalid(MAX_OUTPUTS.name, "1 to 16 are possible"));
    }
    monitor::check(properties, SIDE_MAX)?;
    if of(&MAX_HOSTMEM) > HOSTMEM_MAX {
        return Err(properties.invalid(MAX_HOSTMEM.name, format!("at most {HOSTMEM_MAX}")));
    }
    for property in [BLOB, VIRGL] {
        if properties.is_on(property.name) {
            return Err(properties.invalid(property.name, "it is not built"));
        }
    }
    Ok(())
}

/// Most bytes of a device's that are saved with it beside its registers.
pub fn memory(properties: &Properties) -> u64 {
    properties.uint(MAX_HOSTMEM.name).unwrap_or(0)
}

fn options(properties: &Properties, class: u32) -> Options {
    let of = |property: &Property| properties.uint(property.name).unwrap_or(0);
    Options {
        outputs: of(&MAX_OUTPUTS) as usize,
        edid: properties.is_on(EDID.name),
        size: monitor::size(properties),
        max_hostmem: memory(properties),
        class,
        model: properties.model(),
    }
}

/// Makes one that is a VGA too.
pub fn make_vga(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    check(properties)?;
    let mut vga = StandardVga::new(parts.wiring, parts.board.add_ram("vram", VIDEO_MEMORY)?);
    if parts.board.saves_device_memory() {
        vga = vga.memory_saved_elsewhere();
    }
    let gpu = Gpu::new(options(properties, VGA_COMPATIBLE), parts.wiring);
    let how = pci::options(properties, VECTORS);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    let slot = Arc::new(DeviceCell::new(VirtioVga::new(vga, gpu, how, handles)));
    let display = Some(Arc::new(VgaEye::new(&slot)) as _);
    Ok(MadeDevice { display, ..MadeDevice::at(slot) })
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    check(properties)?;
    let gpu = Gpu::new(options(properties, OTHER_DISPLAY), parts.wiring);
    let how = pci::options(properties, VECTORS);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    let slot = Arc::new(DeviceCell::new(VirtioPci::new(gpu, how, handles)));
    let display = Some(Arc::new(Window::new(&slot)) as _);
    Ok(MadeDevice { display, ..MadeDevice::at(slot) })
}
