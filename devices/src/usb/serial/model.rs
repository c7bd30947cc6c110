//! The device as QEMU names it.

use devices_core::model::{
    BusType, CHARDEV, Category, Default as Usually, Kind, Model, Plug, Properties, Property,
};

use super::super::plugged::Place;
use super::super::{PORT, SERIAL};
use super::{Serial, spec};
use crate::board::{ChildHandles, MadeChild, MakeError};

const ALWAYS: Property = Property {
    name: "always-plugged",
    kind: Kind::Bool,
    default: Usually::Bool(false),
    help: "taken, and changes nothing: it is plugged whether somebody is at the other end or not",
};

/// A serial line.
pub static MODEL: Model = Model {
    name: "usb-serial",
    parent: "usb-serial-dev",
    bus: BusType::Usb,
    category: Category::Input,
    desc: "QEMU USB Serial",
    properties: &[CHARDEV, PORT, SERIAL, ALWAYS],
    plug: Plug::Hot,
    several: true,
    ..Model::PART
};

/// Makes one.
pub fn make(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let place = Place::of(properties, &parts)?;
    let line = parts.board.chardev(properties, place.host.waker(), 0)?;
    let line = line.ok_or_else(|| MakeError::Other("Property chardev is required".into()))?;
    let device = Serial::new(&place.serial(properties, spec::SERIAL), line);
    place.put(Box::new(device), None)
}
