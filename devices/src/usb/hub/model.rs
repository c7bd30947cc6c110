//! The hub as QEMU names it.

use devices_core::model::{
    BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError, usb_ports,
};

use super::super::plugged::Place;
use super::super::{PORT, SERIAL};
use super::{Hub, spec};
use crate::board::{ChildHandles, MadeChild, MakeError};

const PORTS: Property = Property {
    name: "ports",
    kind: Kind::Uint(32),
    default: Usually::Uint(spec::PORTS as u64),
    help: "how many it has, 1 to 8",
};
const POWER: Property = Property {
    name: "port-power",
    kind: Kind::Bool,
    default: Usually::Bool(false),
    help: "the power of each port can be switched",
};

/// A hub.
pub static MODEL: Model = Model {
    name: "usb-hub",
    parent: "usb-device",
    bus: BusType::Usb,
    category: Category::Bridge,
    desc: "USB hub",
    properties: &[PORT, SERIAL, PORTS, POWER],
    plug: Plug::Hot,
    several: true,
    check,
    ..Model::PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    match properties.uint(PORTS.name) {
        Some(count) if !(1..=spec::PORTS.into()).contains(&count) => {
            Err(properties
                .invalid(PORTS.name, format!("num_ports ({count}) out of range (1..{})", spec::PORTS)))
        }
        _ => Ok(()),
    }
}

/// Makes one.
pub fn make(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let place = Place::of(properties, &parts)?;
    if usb_ports(place.port).count() > spec::CHAIN {
        return Err(MakeError::Other("usb hub chain too deep".into()));
    }
    let ports = properties.uint(PORTS.name).and_then(|count| u8::try_from(count).ok());
    let serial = place.serial(properties, spec::SERIAL);
    let hub = Hub::new(ports.unwrap_or(spec::PORTS), properties.is_on(POWER.name), &serial);
    place.put(Box::new(hub), None)
}
