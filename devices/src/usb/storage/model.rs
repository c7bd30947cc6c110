//! The device as QEMU names it.

use devices_core::events::Watch;
use devices_core::model::{
    BOOTINDEX, BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::super::PORT;
use super::super::plugged::Place;
use super::Storage;
use crate::board::{ChildHandles, MadeChild, MakeError};
use crate::storage::drive::{DRIVE, DriveImage, RERROR, SERIAL, WERROR, check_errors, error_policy};
use crate::storage::scsi::model::watched_name;
use crate::storage::scsi::{Labels, Medium, UnitOptions};

const REMOVABLE: Property = Property {
    name: "removable",
    kind: Kind::Bool,
    default: Usually::Bool(false),
    help: "it says that it can be taken out",
};

/// Bytes of a block.
const BLOCK: u32 = 512;

/// A disk.
pub static MODEL: Model = Model {
    name: "usb-storage",
    parent: "usb-storage-dev",
    bus: BusType::Usb,
    category: Category::Storage,
    desc: "USB mass storage",
    properties: &[BOOTINDEX, DRIVE, SERIAL, PORT, REMOVABLE, RERROR, WERROR],
    plug: Plug::Hot,
    several: true,
    check,
    ..Model::PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    check_errors(properties)?;
    match properties.text(SERIAL.name) {
        Some(serial) if serial.len() > 36 => Err(properties.invalid(SERIAL.name, "at most 36 characters")),
        _ => Ok(()),
    }
}

/// Makes one.
pub fn make(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let place = Place::of(properties, &parts)?;
    let DriveImage { backend, geometry, .. } = parts.board.drive(properties)?;
    let drive = properties.text(DRIVE.name).unwrap_or_default();
    let serial = properties.text(SERIAL.name).map(str::to_owned);
    let unit = UnitOptions {
        medium: Medium::Disk {
            backend,
            geometry,
            block: BLOCK,
            physical_block: None,
            discard_granularity: 4096,
            rotation_rate: 0,
            removable: properties.is_on(REMOVABLE.name),
            fua: false,
        },
        labels: Labels {
            device_id: serial.clone().or_else(|| Some(drive.to_owned())),
            serial,
            ..Labels::default()
        },
        watch: Watch::new(0, parts.board.observer(&watched_name(drive))),
        errors: error_policy(properties),
    };
    let device = Storage::new(unit, BLOCK, &place.serial(properties, "1"), place.host.waker());
    place.put(Box::new(device), None)
}
