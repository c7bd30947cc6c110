//! The controllers as QEMU names them.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::irq::IrqLine;
use devices_core::model::{BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property};
use devices_core::pci::QEMU_SUBSYSTEM;

use super::super::bus::{FIRST_PORT, MASTER_BUS};
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

/// The ICH9's, a companion of its EHCI where `masterbus` says so.
const ICH9: Model = Model {
    desc: "USB controller (82801I)",
    properties: &[
        MASTER_BUS,
        FIRST_PORT,
        number("bandwidth", 1280),
        number("maxframes", 128),
        SUBVENDOR,
        SUBSYSTEM,
    ],
    plug: Plug::Cold,
    ..CONTROLLER
};
/// 82801I, the first.
pub static ICH9_1: Model = Model { name: "ich9-usb-uhci1", ..ICH9 };
/// The second.
pub static ICH9_2: Model = Model { name: "ich9-usb-uhci2", ..ICH9 };
/// The third.
pub static ICH9_3: Model = Model { name: "ich9-usb-uhci3", ..ICH9 };
/// Those of its second EHCI.
pub static ICH9_4: Model = Model { name: "ich9-usb-uhci4", ..ICH9 };
/// The second of them.
pub static ICH9_5: Model = Model { name: "ich9-usb-uhci5", ..ICH9 };
/// The third.
pub static ICH9_6: Model = Model { name: "ich9-usb-uhci6", ..ICH9 };

/// What each is.
pub static VARIANTS: [Variant; 8] = [
    Variant { model: &PIIX3, device: 0x7020, revision: 1, pin: 4 },
    Variant { model: &PIIX4, device: 0x7112, revision: 1, pin: 4 },
    Variant { model: &ICH9_1, device: 0x2934, revision: 3, pin: 1 },
    Variant { model: &ICH9_2, device: 0x2935, revision: 3, pin: 2 },
    Variant { model: &ICH9_3, device: 0x2936, revision: 3, pin: 3 },
    Variant { model: &ICH9_4, device: 0x2937, revision: 3, pin: 1 },
    Variant { model: &ICH9_5, device: 0x2938, revision: 3, pin: 2 },
    Variant { model: &ICH9_6, device: 0x2939, revision: 3, pin: 3 },
];

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let name = properties.model().name;
    let variant = VARIANTS.iter().find(|variant| variant.model.name == name).unwrap_or(&VARIANTS[0]);
    let line = parts.intx.into_iter().zip(1..).find(|(_, pin)| *pin == variant.pin);
    let id = |of: Property| properties.uint(of.name).and_then(|id| u16::try_from(id).ok()).unwrap_or(0);
    let subsystem = (id(SUBVENDOR), id(SUBSYSTEM));
    let line = line.map_or_else(IrqLine::unconnected, |(line, _)| line);
    let uhci = Uhci::new(parts.name, variant, subsystem, parts.board.ram(), line, parts.wiring);
    if let Some(OfferedBus::Usb(master)) = parts.master {
        let first = properties.uint(FIRST_PORT.name).unwrap_or(0);
        let uhci = uhci.at(&**master, first).map_err(|error| MakeError::Other(error.to_string()))?;
        return Ok(MadeDevice::of(uhci));
    }
    let cell = Arc::new(DeviceCell::new(uhci));
    let path = super::super::path(properties);
    let bus = OfferedBus::Usb(Arc::new(Ports::new(cell.clone(), path, parts.wiring.waker())));
    Ok(MadeDevice { bus: Some(bus), ..MadeDevice::at(cell) })
}
