//! Units as QEMU names them.

use std::sync::Arc;

use devices_core::events::Watch;
use devices_core::model::{
    BOOTINDEX, BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::{Address, LUN_MAX, Labels, Medium, ScsiHost, UnitOptions};
use crate::board::{Child, ChildHandles, DeviceContext, MadeChild, MakeError, OfferedBus};
use crate::storage::drive::{
    DRIVE, DriveImage, LCYLS, LHEADS, LSECS, RERROR, SERIAL, WERROR, check_errors, error_policy,
};
use crate::storage::ide::model::geometry;

const fn text(name: &'static str, help: &'static str) -> Property {
    Property { name, kind: Kind::Text, default: Usually::None, help }
}
const fn number(name: &'static str, bits: u8, default: Usually, help: &'static str) -> Property {
    Property { name, kind: Kind::Uint(bits), default, help }
}
const fn switch(name: &'static str, help: &'static str) -> Property {
    Property { name, kind: Kind::Bool, default: Usually::Bool(false), help }
}

const VENDOR: Property = text("vendor", "vendor, up to 8 characters");
const PRODUCT: Property = text("product", "product, up to 16 characters");
const VER: Property = text("ver", "revision, up to 4 characters");
const DEVICE_ID: Property = text("device_id", "name in the page of identifiers; the serial number if none");
const WWN: Property = number("wwn", 64, Usually::Uint(0), "world wide name; 0: none");

/// Bytes of a block when nobody says.
const BLOCK: u32 = 512;
/// Most bytes of one, as in QEMU for what is read and written.
const BLOCK_MOST: u64 = 32 << 10;

/// A disk.
pub static DISK: Model = Model {
    name: "scsi-hd",
    desc: "virtual SCSI disk",
    properties: &[
        BOOTINDEX,
        DRIVE,
        SERIAL,
        VENDOR,
        PRODUCT,
        VER,
        DEVICE_ID,
        WWN,
        RERROR,
        WERROR,
        LCYLS,
        LHEADS,
        LSECS,
        number("logical_block_size", 32, Usually::None, "bytes of a block: 512 if nobody says"),
        number("physical_block_size", 32, Usually::None, "bytes of a physical block"),
        number("discard_granularity", 32, Usually::None, "bytes that are given back at once; 0: none are"),
        number("rotation_rate", 16, Usually::Uint(0), "rotations in a minute; 1: it does not rotate"),
        number("cyls", 32, Usually::None, "cylinders that it claims; the image tells if none is given"),
        number("heads", 32, Usually::None, "heads that it claims"),
        number("secs", 32, Usually::None, "sectors of a track that it claims"),
        switch("removable", "it can be taken out"),
        switch("dpofua", "a write can be safe by itself"),
    ],
    check: check_disk,
    ..CD
};

/// A CD drive.
pub static CD: Model = Model {
    name: "scsi-cd",
    parent: "scsi-disk-base",
    bus: BusType::Scsi,
    category: Category::Storage,
    desc: "virtual SCSI CD-ROM",
    properties: &[BOOTINDEX, DRIVE, SERIAL, VENDOR, PRODUCT, VER, DEVICE_ID, WWN, RERROR, WERROR],
    plug: Plug::Hot,
    several: true,
    check,
    ..Model::PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    check_errors(properties)?;
    for (name, most) in [("channel", 0), ("scsi-id", u8::MAX.into()), ("lun", LUN_MAX.into())] {
        if properties.uint(name).is_some_and(|value| value > most) {
            return Err(properties.invalid(name, format!("at most {most}")));
        }
    }
    if properties.text("serial").is_some_and(|serial| serial.len() > 36) {
        return Err(properties.invalid("serial", "at most 36 characters"));
    }
    Ok(())
}

fn check_disk(properties: &Properties) -> Result<(), PropertyError> {
    check(properties)?;
    let of = |name| properties.uint(name);
    let block = of("logical_block_size").unwrap_or(BLOCK.into());
    if !block.is_power_of_two() || !(512..=BLOCK_MOST).contains(&block) {
        return Err(properties.invalid("logical_block_size", "must be a power of 2 between 512 and 32768"));
    }
    let physical = of("physical_block_size").unwrap_or(block);
    if !physical.is_power_of_two() || !(block..=2 << 20).contains(&physical) {
        let why = "must be a power of 2 between logical_block_size and 2 MiB";
        return Err(properties.invalid("physical_block_size", why));
    }
    if of("discard_granularity").is_some_and(|bytes| !bytes.is_multiple_of(block)) {
        return Err(properties.invalid("discard_granularity", "must be a multiple of logical_block_size"));
    }
    let given = ["cyls", "heads", "secs"].iter().any(|name| of(name).unwrap_or(0) != 0);
    for (name, most) in [("cyls", 65535), ("heads", 255), ("secs", 255)] {
        if given && !(1..=most).contains(&of(name).unwrap_or(0)) {
            return Err(properties.invalid(name, format!("must be between 1 and {most}")));
        }
    }
    Ok(())
}

fn labels(properties: &Properties) -> Labels {
    let text = |name| properties.text(name).map(str::to_owned);
    Labels {
        vendor: text("vendor"),
        product: text("product"),
        version: text("ver"),
        serial: text("serial"),
        device_id: text("device_id").or_else(|| text("serial")).or_else(|| text("drive")),
        wwn: properties.uint("wwn").unwrap_or(0),
    }
}

/// The number of the drive with those who watch it: each is watched under its own name.
const WATCHED: u32 = 0;

fn watch(properties: &Properties, board: &dyn DeviceContext) -> Watch {
    let name = properties.text(DRIVE.name).unwrap_or_default();
    Watch::new(WATCHED, board.observer(&watched_name(name)))
}

/// The name under which the drive with that image is watched.
pub fn watched_name(drive: &str) -> String {
    format!("drive/{drive}")
}

/// Makes a disk.
pub fn make_disk(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let DriveImage { backend, geometry: guessed, translation } = parts.board.drive(properties)?;
    let of = |name| properties.uint(name).and_then(|value| u32::try_from(value).ok());
    let medium = Medium::Disk {
        backend,
        geometry: geometry(properties, (guessed, translation)).0,
        block: of("logical_block_size").unwrap_or(BLOCK),
        physical_block: of("physical_block_size"),
        discard_granularity: of("discard_granularity").unwrap_or(4096),
        rotation_rate: of("rotation_rate").and_then(|rate| u16::try_from(rate).ok()).unwrap_or(0),
        removable: properties.is_on("removable"),
        fua: properties.is_on("dpofua"),
    };
    plug(properties, &parts, medium)
}

/// Makes a CD drive.
pub fn make_cd(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let medium = Medium::Cd(parts.board.medium(properties)?);
    plug(properties, &parts, medium)
}

fn plug(properties: &Properties, parts: &ChildHandles<'_>, medium: Medium) -> Result<MadeChild, MakeError> {
    let OfferedBus::Scsi(host) = parts.bus else {
        return Err(MakeError::Other("it hangs on SCSI".into()));
    };
    let target = properties.uint("scsi-id").and_then(|target| u8::try_from(target).ok());
    let lun = properties.uint("lun").and_then(|lun| u16::try_from(lun).ok());
    let watch = watch(properties, parts.board);
    let options = UnitOptions { medium, labels: labels(properties), watch, errors: error_policy(properties) };
    let plugged = host.plug(target, lun, options);
    let (at, tray) = plugged.map_err(|error| MakeError::Other(error.to_string()))?;
    let place = vec![("channel", 0), ("scsi-id", at.target.into()), ("lun", at.lun.into())];
    Ok(MadeChild { place, child: Box::new(Plugged { host: host.clone(), at }), tray, input: None, bus: None })
}

/// A unit on its bus.
struct Plugged {
    host: Arc<dyn ScsiHost>,
    at: Address,
}

impl Child for Plugged {
    fn unplug(&self) {
        self.host.unplug(self.at);
    }
    fn drained(&self) -> bool {
        self.host.has_left(self.at)
    }
}
