//! The device as QEMU names it.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{
    BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::spec::PORTS_MAX;
use super::{Options, Serial, SerialBus};
use crate::board::{DeviceHandles, MadeDevice, MakeError, OfferedBus};

const MAX_PORTS: Property =
    Property { name: "max_ports", kind: Kind::Uint(32), default: Usually::Uint(31), help: "most ports" };
const EMERGENCY_WRITE: Property = Property {
    name: "emergency-write",
    kind: Kind::Bool,
    default: Usually::Bool(true),
    help: "a character can be put out before the driver is set up",
};
/// The size of the terminal.
pub const CONSOLE_SIZE: Property = Property {
    name: "console-size",
    kind: Kind::Bool,
    default: Usually::Bool(false),
    help: "the driver sees the size of the terminal",
};
const CLASS: Property = Property {
    name: "class",
    kind: Kind::Uint(32),
    default: Usually::Uint(0),
    help: "class and subclass of the function, as QEMU once had them: 0x0380 or 0x00ff",
};

const PROPERTIES: &[Property] = properties_of![MAX_PORTS, EMERGENCY_WRITE, CONSOLE_SIZE, CLASS];

/// Communication controller, other.
const COMMUNICATION: u32 = 0x0780;

const DEVICE: Model = Model {
    parent: "virtio-serial-pci-base",
    offers: &[BusType::VirtioSerial],
    category: Category::Input,
    desc: "virtio console and serial ports",
    properties: PROPERTIES,
    plug: Plug::Hot,
    several: true,
    check,
    ..Model::PCI_PART
};
/// The usual one, transitional on this machine.
pub static MODEL: Model = Model { name: "virtio-serial-pci", aliases: &["virtio-serial"], ..DEVICE };
/// For drivers of before version 1 too.
pub static TRANSITIONAL: Model = Model { name: "virtio-serial-pci-transitional", ..DEVICE };
/// For drivers of version 1 alone.
pub static NON_TRANSITIONAL: Model = Model { name: "virtio-serial-pci-non-transitional", ..DEVICE };

fn check(properties: &Properties) -> Result<(), PropertyError> {
    pci::check(properties)?;
    match properties.uint(MAX_PORTS.name).unwrap_or(0) {
        0 => Err(properties.invalid(MAX_PORTS.name, "Maximum number of serial ports not specified")),
        ports if ports > PORTS_MAX.into() => {
            Err(properties.invalid(MAX_PORTS.name, format!("maximum ports supported: {PORTS_MAX}")))
        }
        _ => Ok(()),
    }
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let number = |name| properties.uint(name).and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    let class = match number(CLASS.name) {
        class @ (0x0380 | 0x00ff) => class,
        _ => COMMUNICATION,
    };
    let options = Options {
        max_ports: number(MAX_PORTS.name).clamp(1, PORTS_MAX),
        emergency_write: properties.is_on(EMERGENCY_WRITE.name),
        size: properties.is_on(CONSOLE_SIZE.name),
        class,
        model: properties.model(),
    };
    let how = pci::options(properties, 2);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    let serial = Serial::new(options, parts.wiring).observed(parts.board.observer(parts.name));
    let device = Arc::new(DeviceCell::new(VirtioPci::new(serial, how, handles)));
    let bus = OfferedBus::VirtioSerial(SerialBus::new(device.clone(), parts.wiring.waker()));
    Ok(MadeDevice { bus: Some(bus), ..MadeDevice::at(device) })
}
