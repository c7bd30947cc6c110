//! The controllers as QEMU names them.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property};

use super::{Ehci, Ports, Variant};
use crate::board::{DeviceHandles, MadeDevice, MakeError, OfferedBus};

const FRAMES: Property = Property {
    name: "maxframes",
    kind: Kind::Uint(32),
    default: Usually::Uint(128),
    help: "taken for QEMU's sake; a walk has its bound",
};

/// An ICH4's, which stands for any.
pub static USB_EHCI: Model = Model {
    name: "usb-ehci",
    parent: "pci-ehci-usb",
    desc: "USB 2 controller",
    offers: &[BusType::Usb],
    category: Category::Bridge,
    properties: &[FRAMES],
    plug: Plug::Hot,
    several: true,
    ..Model::PCI_PART
};
/// 82801I, the first.
pub static ICH9_1: Model = Model { name: "ich9-usb-ehci1", desc: "USB 2 controller (82801I)", ..USB_EHCI };
/// The second.
pub static ICH9_2: Model = Model { name: "ich9-usb-ehci2", ..ICH9_1 };

/// What each is.
pub static VARIANTS: [Variant; 3] = [
    Variant { model: &USB_EHCI, device: 0x24cd, revision: 0x10 },
    Variant { model: &ICH9_1, device: 0x293a, revision: 3 },
    Variant { model: &ICH9_2, device: 0x293c, revision: 3 },
];

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let name = properties.model().name;
    let variant = VARIANTS.iter().find(|variant| variant.model.name == name).unwrap_or(&VARIANTS[0]);
    let [.., intd] = parts.intx;
    let ehci = Ehci::new(parts.name, variant, parts.board.ram(), intd, parts.wiring);
    let cell = Arc::new(DeviceCell::new(ehci));
    let path = super::super::path(properties);
    let bus = OfferedBus::Usb(Arc::new(Ports::new(cell.clone(), path, parts.wiring.waker())));
    Ok(MadeDevice { bus: Some(bus), ..MadeDevice::at(cell) })
}
