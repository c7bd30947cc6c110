//! The controllers as QEMU names them.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property};
use devices_core::pci::QEMU_SUBSYSTEM;

use super::{Ports, Uhci, Variant};
use crate::board::{DeviceHandles, MadeDevice, MakeError, OfferedBus};

const fn number(name: &'static str, default: u64) -> Property {
    Property {
        name,
        kind: Kind::Uint(32),
        default: Usually::Uint(default),
        help: "taken for QEMU's sake; a frame has its bound",
    }
}

const fn subsystem(name: &'static str, default: u16) -> Property {
    Property {
        name,
        kind: Kind::Uint(16),
        default: Usually::Uint(default as u64),
        help: "of the configuration space, as XenServer sets it",
    }
}
const SUBVENDOR: Property = subsystem("subvendor_id", QEMU_SUBSYSTEM.0);
const SUBSYSTEM: Property = subsystem("subsystem_id", QEMU_SUBSYSTEM.1);

const CONTROLLER: Model = Model {
    parent: "pci-uhci-usb",
    offers: &[BusType::Usb],
    category: Category::Bridge,
    properties: &[number("bandwidth", 1280), number("maxframes", 128), SUBVENDOR, SUBSYSTEM],
    plug: Plug::Hot,
    several: true,
    ..Model::PCI_PART
};
/// 82371SB, function 2.
pub static PIIX3: Model = Model { name: "piix3-usb-uhci", desc: "USB controller (82371SB)", ..CONTROLLER };
/// 82371AB, function 2.
pub static PIIX4: Model = Model { name: "piix4-usb-uhci", desc: "USB controller (82371AB)", ..CONTROLLER };

/// What each is.
pub static VARIANTS: [Variant; 2] =
    [Variant { model: &PIIX3, device: 0x7020 }, Variant { model: &PIIX4, device: 0x7112 }];

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let name = properties.model().name;
    let variant = VARIANTS.iter().find(|variant| variant.model.name == name).unwrap_or(&VARIANTS[0]);
    let [.., intd] = parts.intx;
    let id = |of: Property| properties.uint(of.name).and_then(|id| u16::try_from(id).ok()).unwrap_or(0);
    let subsystem = (id(SUBVENDOR), id(SUBSYSTEM));
    let uhci = Uhci::new(parts.name, variant, subsystem, parts.board.ram(), intd, parts.wiring);
    let cell = Arc::new(DeviceCell::new(uhci));
    let path = super::super::path(properties);
    let bus = OfferedBus::Usb(Arc::new(Ports::new(cell.clone(), path, parts.wiring.waker())));
    Ok(MadeDevice { bus: Some(bus), ..MadeDevice::at(cell) })
}
