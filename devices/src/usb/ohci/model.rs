//! The controller as QEMU names it.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{
    BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::super::bus::{FIRST_PORT, MASTER_BUS};
use super::{Ohci, Ports, spec};
use crate::board::{DeviceHandles, MadeDevice, MakeError, OfferedBus};

const PORTS: Property = Property {
    name: "num-ports",
    kind: Kind::Uint(32),
    default: Usually::Uint(3),
    help: "how many it has, 1 to 15",
};

/// Apple's, as far as its ids tell.
pub static MODEL: Model = Model {
    name: "pci-ohci",
    desc: "Apple USB Controller",
    offers: &[BusType::Usb],
    category: Category::Bridge,
    properties: &[MASTER_BUS, PORTS, FIRST_PORT],
    plug: Plug::Cold,
    several: true,
    check,
    ..Model::PCI_PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    match properties.uint(PORTS.name) {
        Some(count) if !(1..=spec::PORTS.into()).contains(&count) => {
            Err(properties.invalid(PORTS.name, format!("it is 1 to {}", spec::PORTS)))
        }
        _ => Ok(()),
    }
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let ports = properties.uint(PORTS.name).and_then(|count| u8::try_from(count).ok()).unwrap_or(3);
    let [inta, ..] = parts.intx;
    let ohci = Ohci::new(parts.name, ports, parts.board.ram(), inta, parts.wiring);
    if let Some(OfferedBus::Usb(master)) = parts.master {
        let first = properties.uint(FIRST_PORT.name).unwrap_or(0);
        let ohci = ohci.at(&**master, first).map_err(|error| MakeError::Other(error.to_string()))?;
        return Ok(MadeDevice::of(ohci));
    }
    let cell = Arc::new(DeviceCell::new(ohci));
    let path = super::super::path(properties);
    let bus = OfferedBus::Usb(Arc::new(Ports::new(cell.clone(), path, parts.wiring.waker())));
    Ok(MadeDevice { bus: Some(bus), ..MadeDevice::at(cell) })
}
