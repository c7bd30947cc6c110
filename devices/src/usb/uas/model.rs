//! The device as QEMU names it.

use std::sync::Arc;

use devices_core::model::{BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property};

use super::super::plugged::Place;
use super::super::{ATTACHED, PORT, SERIAL};
use super::{Uas, spec};
use crate::board::{ChildHandles, MadeChild, MakeError, OfferedBus};

const LOG: Property = Property {
    name: "log-scsi-req",
    kind: Kind::Uint(32),
    default: Usually::Uint(0),
    help: "taken, and changes nothing: QEMU writes each command to its log",
};

/// A host of SCSI units.
pub static MODEL: Model = Model {
    name: "usb-uas",
    parent: "usb-device",
    bus: BusType::Usb,
    offers: &[BusType::Scsi],
    category: Category::Storage,
    desc: "USB Attached SCSI",
    properties: &[PORT, SERIAL, ATTACHED, LOG],
    plug: Plug::Hot,
    several: true,
    ..Model::PART
};

/// Makes one.
pub fn make(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let place = Place::of(properties, &parts)?;
    let device = Uas::new(&place.serial(properties, spec::SERIAL), place.host.waker());
    let bus = Some(OfferedBus::Scsi(Arc::new(device.host())));
    let made = match properties.is_on(ATTACHED.name) {
        true => place.put(Box::new(device), None)?,
        false => place.hold(Box::new(device)),
    };
    Ok(MadeChild { bus, ..made })
}
