//! The devices as QEMU names them.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{Category, Default as Usually, Kind as Of, Model, Plug, Properties, Property};

use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::{Input, Kind, Options};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

const SERIAL: Property =
    Property { name: "serial", kind: Of::Text, default: Usually::None, help: "its serial number" };
const DISPLAY: Property =
    Property { name: "display", kind: Of::Text, default: Usually::None, help: "taken for QEMU's sake" };
const HEAD: Property =
    Property { name: "head", kind: Of::Uint(32), default: Usually::Uint(0), help: "taken for QEMU's sake" };
const WHEEL_AXIS: Property = Property {
    name: "wheel-axis",
    kind: Of::Bool,
    default: Usually::Bool(true),
    help: "the wheel is an axis, not two buttons",
};

const DEVICE: Model = Model {
    parent: "virtio-input-hid-pci",
    category: Category::Input,
    properties: properties_of![SERIAL, DISPLAY, HEAD],
    plug: Plug::Hot,
    several: true,
    check: pci::check,
    ..Model::PCI_PART
};
const POINTER: Model = Model { properties: properties_of![SERIAL, DISPLAY, HEAD, WHEEL_AXIS], ..DEVICE };
/// A keyboard.
pub static KEYBOARD: Model =
    Model { name: "virtio-keyboard-pci", aliases: &["virtio-keyboard"], desc: "virtio keyboard", ..DEVICE };
/// A mouse.
pub static MOUSE: Model =
    Model { name: "virtio-mouse-pci", aliases: &["virtio-mouse"], desc: "virtio mouse", ..POINTER };
/// A tablet.
pub static TABLET: Model =
    Model { name: "virtio-tablet-pci", aliases: &["virtio-tablet"], desc: "virtio tablet", ..POINTER };

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let model = properties.model();
    let kind = match model.name {
        name if name == KEYBOARD.name => Kind::Keyboard,
        name if name == MOUSE.name => Kind::Mouse,
        _ => Kind::Tablet,
    };
    let serial = properties.text(SERIAL.name).map(str::to_owned);
    let wheel_axis = kind != Kind::Keyboard && properties.is_on(WHEEL_AXIS.name);
    let options = Options { kind, serial, wheel_axis, model };
    let how = pci::options(properties, 2);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    let device = Arc::new(DeviceCell::new(VirtioPci::new(Input::new(options), how, handles)));
    Ok(MadeDevice { input: Some(device.clone()), ..MadeDevice::at(device) })
}
