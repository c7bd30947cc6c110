//! The device as QEMU names it.

use devices_core::block::CompletionQueue;
use devices_core::events::Watch;
use devices_core::model::{
    BOOTINDEX, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::super::spec::QUEUE_SIZE_MAX;
use super::spec::ID_BYTES;
use super::{Blk, MEDIUM, Options};
use crate::board::{DeviceHandles, MadeDevice, MakeError};
use crate::storage::drive::{
    DRIVE, LCYLS, LHEADS, LSECS, RERROR, SERIAL, WERROR, check_errors, error_policy,
};
use crate::storage::scsi::model::watched_name;

/// Queues when nobody says how many: one a vCPU, and no more than these.
const QUEUES_MAX: u64 = 64;

const fn number(name: &'static str, bits: u8, default: Usually, help: &'static str) -> Property {
    Property { name, kind: Kind::Uint(bits), default, help }
}
const fn switch(name: &'static str, help: &'static str) -> Property {
    Property { name, kind: Kind::Bool, default: Usually::Bool(true), help }
}

const PROPERTIES: &[Property] = properties_of![
    BOOTINDEX,
    DRIVE,
    SERIAL,
    number("num-queues", 16, Usually::None, "queues; one a vCPU if not given"),
    number("queue-size", 16, Usually::Uint(256), "elements of a queue, a power of two"),
    switch("config-wce", "the driver can turn the write cache off"),
    switch("discard", "the driver can discard"),
    switch("write-zeroes", "the driver can write zeroes"),
    number("logical_block_size", 32, Usually::None, "bytes of a sector: 512"),
    number("physical_block_size", 32, Usually::None, "bytes of a physical sector"),
    RERROR,
    WERROR,
    LCYLS,
    LHEADS,
    LSECS,
];

const DISK: Model = Model {
    parent: "virtio-blk-pci-base",
    category: Category::Storage,
    desc: "virtio disk",
    properties: PROPERTIES,
    plug: Plug::Hot,
    several: true,
    check,
    ..Model::PCI_PART
};
/// The usual one, transitional on this machine.
pub static MODEL: Model = Model { name: "virtio-blk-pci", aliases: &["virtio-blk"], ..DISK };
/// For drivers of before version 1 too.
pub static TRANSITIONAL: Model = Model { name: "virtio-blk-pci-transitional", ..DISK };
/// For drivers of version 1 alone.
pub static NON_TRANSITIONAL: Model = Model { name: "virtio-blk-pci-non-transitional", ..DISK };

fn check(properties: &Properties) -> Result<(), PropertyError> {
    pci::check(properties)?;
    check_errors(properties)?;
    let of = |name| properties.uint(name);
    let size = of("queue-size").unwrap_or(0);
    if !size.is_power_of_two() || !(4..=u64::from(QUEUE_SIZE_MAX)).contains(&size) {
        return Err(properties.invalid("queue-size", "must be a power of 2 between 4 and 1024"));
    }
    if of("num-queues").is_some_and(|queues| queues == 0 || queues > QUEUES_MAX) {
        return Err(properties.invalid("num-queues", format!("must be between 1 and {QUEUES_MAX}")));
    }
    if properties.text("serial").is_some_and(|serial| serial.len() > ID_BYTES) {
        return Err(properties.invalid("serial", format!("at most {ID_BYTES} characters")));
    }
    if of("logical_block_size").is_some_and(|bytes| bytes != 512) {
        return Err(properties.invalid("logical_block_size", "must be 512"));
    }
    Ok(())
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let drive = parts.board.drive(properties)?;
    let vcpus = u64::from(parts.board.vcpus());
    let queues = properties.uint("num-queues").unwrap_or(vcpus).clamp(1, QUEUES_MAX) as u16;
    let options = Options {
        backend: drive.backend,
        geometry: drive.geometry,
        serial: properties.text("serial").unwrap_or_default().to_owned(),
        queues,
        queue_size: properties.uint("queue-size").map_or(256, |size| size as u16),
        config_wce: properties.is_on("config-wce"),
        discard: properties.is_on("discard"),
        write_zeroes: properties.is_on("write-zeroes"),
        physical_block: properties.uint("physical_block_size").and_then(|bytes| u32::try_from(bytes).ok()),
        model: properties.model(),
    };
    let done = CompletionQueue::new(parts.wiring.waker(), MEDIUM);
    let blk = Blk::new(options, parts.board.ram(), done);
    let drive = properties.text(DRIVE.name).unwrap_or_default();
    let watch = Watch::new(0, parts.board.observer(&watched_name(drive)));
    blk.requests.on_errors(error_policy(properties), watch);
    // One vector each, and one for the configuration.
    let how = pci::options(properties, queues + 1);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    Ok(MadeDevice::of(VirtioPci::new(blk, how, handles)))
}
