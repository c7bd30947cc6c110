//! The device as QEMU names it.

use std::sync::{Arc, Mutex, PoisonError};

use devices_core::model::{
    BOOTINDEX, BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::super::{PORT, PlugError, Speed, UsbDevice, UsbHost};
use super::Storage;
use crate::board::{Child, ChildHandles, MadeChild, MakeError, OfferedBus};
use crate::storage::drive::{DRIVE, DriveImage, SERIAL, Watch};
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
    properties: &[BOOTINDEX, DRIVE, SERIAL, PORT, REMOVABLE],
    plug: Plug::Hot,
    several: true,
    check,
    ..Model::PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    match properties.text(SERIAL.name) {
        Some(serial) if serial.len() > 36 => Err(properties.invalid(SERIAL.name, "at most 36 characters")),
        _ => Ok(()),
    }
}

/// Makes one.
pub fn make(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let OfferedBus::Usb(host) = parts.bus else {
        return Err(MakeError::Other("it hangs on USB".into()));
    };
    let refused = |error: PlugError| MakeError::Other(error.to_string());
    let port = host.free_port(properties.uint(PORT.name)).map_err(refused)?;
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
            serial: serial.clone(),
            ..Labels::default()
        },
        watch: Watch::new(0, parts.board.observer(&watched_name(drive))),
    };
    let serial = serial.unwrap_or_else(|| format!("1-{}-{port}", host.path()));
    let device = Storage::new(unit, BLOCK, &serial, host.waker());
    host.plug(port, Box::new(device)).map_err(refused)?;
    Ok(MadeChild {
        place: vec![(PORT.name, port.into())],
        child: Box::new(Plugged { host: host.clone(), port, gone: Mutex::default() }),
        tray: None,
        input: None,
    })
}

/// A device on its port, or taken away from it and not quiet yet.
struct Plugged {
    host: Arc<dyn UsbHost>,
    port: u8,
    gone: Mutex<Option<Box<dyn UsbDevice>>>,
}

impl Child for Plugged {
    fn unplug(&self) {
        let device = self.host.unplug(self.port);
        *self.gone.lock().unwrap_or_else(PoisonError::into_inner) = device;
    }

    fn drained(&self) -> bool {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        // Its controller does not know it any more, so nobody else takes its answers.
        gone.iter_mut().for_each(|device| device.woken());
        gone.as_ref().is_none_or(|device| device.drained())
    }

    fn usb_speed(&self) -> Option<Speed> {
        self.host.speed(self.port)
    }
}
