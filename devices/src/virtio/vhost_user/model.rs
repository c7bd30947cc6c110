//! The devices as QEMU names them.

use devices_core::model::{
    BOOTINDEX, CHARDEV, Category, Default as Usually, Kind as Value, Model, Plug, Properties, Property,
    PropertyError,
};

use super::super::blk::spec::{config as blk_config, feature as blk_feature};
use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::super::spec::QUEUE_SIZE_MAX;
use super::kinds::{self, Kind, TAG};
use super::{BACK_END, Device, Options};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// Most queues of a device.
const QUEUES_MAX: u64 = 64;
/// Most bytes of a configuration: what fits into one message, and a page.
const CONFIG_MAX: u64 = 256;

/// How long the back end may take.
pub const PATIENCE: Property = Property {
    name: "x-reply-timeout-ms",
    kind: Value::Uint(32),
    default: Usually::Uint(10_000),
    help: "how long the back end may take to answer before it is disconnected",
};

const fn number(name: &'static str, bits: u8, default: Usually, help: &'static str) -> Property {
    Property { name, kind: Value::Uint(bits), default, help }
}

const BLK_PROPERTIES: &[Property] = properties_of![
    BOOTINDEX,
    CHARDEV,
    PATIENCE,
    number("num-queues", 16, Usually::Uint(1), "queues"),
    number("queue-size", 32, Usually::Uint(128), "elements of a queue, a power of two"),
    Property {
        name: "config-wce",
        kind: Value::Bool,
        default: Usually::Bool(true),
        help: "the driver can turn the write cache off",
    },
];
const FS_PROPERTIES: &[Property] = properties_of![
    BOOTINDEX,
    CHARDEV,
    PATIENCE,
    Property { name: "tag", kind: Value::Text, default: Usually::None, help: "what the guest mounts it by" },
    number("num-request-queues", 16, Usually::Uint(1), "queues for requests, beside that for what is urgent"),
    number("queue-size", 16, Usually::Uint(128), "elements of a queue, a power of two"),
];
const SCSI_PROPERTIES: &[Property] = properties_of![
    BOOTINDEX,
    CHARDEV,
    PATIENCE,
    number("num_queues", 32, Usually::Uint(1), "queues for requests, beside control and events"),
    number("virtqueue_size", 32, Usually::Uint(128), "elements of a queue, a power of two"),
    number("max_sectors", 32, Usually::Uint(0xffff), "most sectors of a request"),
    number("cmd_per_lun", 32, Usually::Uint(128), "most requests of a unit at once"),
];
const ANY_PROPERTIES: &[Property] = properties_of![
    CHARDEV,
    PATIENCE,
    number("virtio-id", 16, Usually::None, "number of the device's type"),
    number("num_vqs", 32, Usually::Uint(1), "queues"),
    number("vq_size", 32, Usually::Uint(64), "elements of a queue, a power of two"),
    number("config_size", 32, Usually::Uint(0), "bytes of the configuration"),
];
const PLAIN_PROPERTIES: &[Property] = properties_of![CHARDEV, PATIENCE];

const DEVICE: Model = Model {
    category: Category::Misc,
    properties: PLAIN_PROPERTIES,
    plug: Plug::Cold,
    several: true,
    check,
    ..Model::PCI_PART
};
const DISK: Model = Model {
    parent: "vhost-user-blk-pci-base",
    category: Category::Storage,
    desc: "virtio disk served by another process",
    properties: BLK_PROPERTIES,
    ..DEVICE
};
/// A disk, transitional on this machine.
pub static BLK: Model = Model { name: "vhost-user-blk-pci", aliases: &["vhost-user-blk"], ..DISK };
/// For drivers of before version 1 too.
pub static BLK_TRANSITIONAL: Model = Model { name: "vhost-user-blk-pci-transitional", ..DISK };
/// For drivers of version 1 alone.
pub static BLK_NON_TRANSITIONAL: Model = Model { name: "vhost-user-blk-pci-non-transitional", ..DISK };

const HOST: Model = Model {
    parent: "vhost-user-scsi-pci-base",
    category: Category::Storage,
    desc: "virtio SCSI host served by another process",
    properties: SCSI_PROPERTIES,
    ..DEVICE
};
/// A SCSI host, transitional on this machine.
pub static SCSI: Model = Model { name: "vhost-user-scsi-pci", aliases: &["vhost-user-scsi"], ..HOST };
/// For drivers of before version 1 too.
pub static SCSI_TRANSITIONAL: Model = Model { name: "vhost-user-scsi-pci-transitional", ..HOST };
/// For drivers of version 1 alone.
pub static SCSI_NON_TRANSITIONAL: Model = Model { name: "vhost-user-scsi-pci-non-transitional", ..HOST };

const SOURCE: Model = Model {
    parent: "vhost-user-rng-pci-base",
    desc: "virtio entropy source served by another process",
    ..DEVICE
};
/// An entropy source, transitional on this machine.
pub static RNG: Model = Model { name: "vhost-user-rng-pci", aliases: &["vhost-user-rng"], ..SOURCE };
/// For drivers of before version 1 too.
pub static RNG_TRANSITIONAL: Model = Model { name: "vhost-user-rng-pci-transitional", ..SOURCE };
/// For drivers of version 1 alone.
pub static RNG_NON_TRANSITIONAL: Model = Model { name: "vhost-user-rng-pci-non-transitional", ..SOURCE };

/// A file system.
pub static FS: Model = Model {
    name: "vhost-user-fs-pci",
    aliases: &["vhost-user-fs"],
    parent: "vhost-user-fs-pci-base",
    category: Category::Storage,
    desc: "virtio file system served by another process",
    properties: FS_PROPERTIES,
    ..DEVICE
};
const SOCKETS: Model =
    Model { parent: "vhost-user-vsock-pci-base", desc: "virtio sockets served by another process", ..DEVICE };
/// Sockets.
pub static VSOCK: Model = Model { name: "vhost-user-vsock-pci", aliases: &["vhost-user-vsock"], ..SOCKETS };
/// The same by its other name.
pub static VSOCK_NON_TRANSITIONAL: Model = Model { name: "vhost-user-vsock-pci-non-transitional", ..SOCKETS };
/// GPIO lines.
pub static GPIO: Model = Model {
    name: "vhost-user-gpio-pci",
    parent: "virtio-pci",
    desc: "virtio GPIO lines served by another process",
    ..DEVICE
};
/// An I2C adapter.
pub static I2C: Model = Model {
    name: "vhost-user-i2c-pci",
    parent: "virtio-pci",
    desc: "virtio I2C adapter served by another process",
    ..DEVICE
};
/// A sound card.
pub static SOUND: Model = Model {
    name: "vhost-user-snd-pci",
    parent: "virtio-pci",
    desc: "virtio sound card served by another process",
    ..DEVICE
};
/// An SCMI platform.
pub static SCMI: Model = Model {
    name: "vhost-user-scmi-pci",
    parent: "vhost-user-scmi-pci-base",
    desc: "virtio SCMI platform served by another process",
    ..DEVICE
};
/// Any type.
pub static ANY: Model = Model {
    name: "vhost-user-device-pci",
    parent: "virtio-pci",
    desc: "virtio device of any type served by another process",
    properties: ANY_PROPERTIES,
    ..DEVICE
};

/// Whether one of these numbers is set on it.
fn first(properties: &Properties, names: &[&'static str]) -> Option<(&'static str, u64)> {
    names.iter().find_map(|name| Some((*name, properties.uint(name)?)))
}

fn check(properties: &Properties) -> Result<(), PropertyError> {
    pci::check(properties)?;
    if let Some((name, size)) = first(properties, &["queue-size", "virtqueue_size", "vq_size"])
        && (!size.is_power_of_two() || !(4..=u64::from(QUEUE_SIZE_MAX)).contains(&size))
    {
        return Err(properties.invalid(name, "must be a power of 2 between 4 and 1024"));
    }
    let counts = ["num-queues", "num-request-queues", "num_queues", "num_vqs"];
    if let Some((name, count)) = first(properties, &counts)
        && !(1..=QUEUES_MAX).contains(&count)
    {
        return Err(properties.invalid(name, format!("must be between 1 and {QUEUES_MAX}")));
    }
    if properties.uint("config_size").is_some_and(|bytes| bytes > CONFIG_MAX) {
        return Err(properties.invalid("config_size", format!("at most {CONFIG_MAX}")));
    }
    if properties.model().property("virtio-id").is_some()
        && !properties.uint("virtio-id").is_some_and(|id| (1..64).contains(&id))
    {
        return Err(properties.invalid("virtio-id", "must be between 1 and 63"));
    }
    if properties.model().property("tag").is_some() && properties.text("tag").is_none() {
        return Err(properties.invalid("tag", "it is missing"));
    }
    if properties.text("tag").is_some_and(|tag| tag.is_empty() || tag.len() > TAG) {
        return Err(properties.invalid("tag", format!("between 1 and {TAG} bytes")));
    }
    Ok(())
}

/// What is set on one of these models.
fn options(properties: &Properties) -> Options {
    let model = properties.model();
    let of = |name| properties.uint(name).unwrap_or(1) as u16;
    let is = |base: &Model| {
        model.parent == base.parent && (base.parent != "virtio-pci" || model.name == base.name)
    };
    let made = |kind: Kind, queues, queue_size| Options {
        kind,
        model,
        queues,
        queue_size,
        without: 0,
        config: (0, Vec::new()),
    };
    if is(&BLK) {
        let queues = of("num-queues");
        let wce = if properties.is_on("config-wce") { 0 } else { blk_feature::CONFIG_WCE };
        let several = if queues > 1 { 0 } else { blk_feature::MQ };
        let config = (blk_config::NUM_QUEUES, queues.to_le_bytes().to_vec());
        Options { without: wce | several, config, ..made(kinds::BLK, queues, of("queue-size")) }
    } else if is(&FS) {
        let tag = properties.text("tag").unwrap_or_default();
        let queues = of("num-request-queues");
        let mut config = tag.as_bytes().to_vec();
        config.resize(TAG, 0);
        config.extend(u32::from(queues).to_le_bytes());
        Options { config: (0, config), ..made(kinds::FS, queues + 1, of("queue-size")) }
    } else if is(&SCSI) {
        let (queues, size) = (of("num_queues"), of("virtqueue_size"));
        let long = |name| properties.uint(name).unwrap_or(0) as u32;
        // Queues, buffers of a request, its sectors, requests of a unit; bytes of an event, of sense data, of a command;
        // channels, targets, units.
        let longs =
            [queues.into(), u32::from(size) - 2, long("max_sectors"), long("cmd_per_lun"), 16, 96, 32];
        let mut config = longs.map(u32::to_le_bytes).concat();
        config.extend([0u16, 255].map(u16::to_le_bytes).concat());
        config.extend(16_383u32.to_le_bytes());
        Options { config: (0, config), ..made(kinds::SCSI, queues + 2, size) }
    } else if is(&VSOCK) {
        made(kinds::VSOCK, 3, 128)
    } else if is(&GPIO) {
        made(kinds::GPIO, 2, 256)
    } else if is(&I2C) {
        made(kinds::I2C, 1, 4)
    } else if is(&SOUND) {
        made(kinds::SOUND, 4, 64)
    } else if is(&SCMI) {
        made(kinds::SCMI, 2, 256)
    } else if is(&ANY) {
        let config = properties.uint("config_size").unwrap_or(0).min(CONFIG_MAX) as usize;
        made(kinds::any(of("virtio-id"), config), of("num_vqs"), of("vq_size"))
    } else {
        made(kinds::RNG, 1, 4)
    }
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let options = options(properties);
    let back_end = parts.board.vhost_user(properties, parts.wiring, BACK_END, options.needs())?;
    // One vector each, and one for the configuration.
    let how = pci::options(properties, options.queues + 1);
    let device = Device::new(options, parts.board.ram(), back_end);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    Ok(MadeDevice::of(VirtioPci::new(device, how, handles)))
}
