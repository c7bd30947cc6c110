//! The host as QEMU names it.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{
    BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::super::spec::QUEUE_SIZE_MAX;
use super::{Options, Scsi};
use crate::board::{DeviceHandles, MadeDevice, MakeError, OfferedBus};

/// Queues when nobody says how many: one a vCPU, and no more than these.
const QUEUES_MAX: u64 = 64;

const fn number(name: &'static str, default: Usually, help: &'static str) -> Property {
    Property { name, kind: Kind::Uint(32), default, help }
}
const fn switch(name: &'static str, help: &'static str) -> Property {
    Property { name, kind: Kind::Bool, default: Usually::Bool(true), help }
}

const PROPERTIES: &[Property] = properties_of![
    number("num_queues", Usually::None, "queues with commands; one a vCPU if not given"),
    number("virtqueue_size", Usually::Uint(256), "elements of a queue, a power of two"),
    number("max_sectors", Usually::Uint(0xffff), "most sectors that a command moves"),
    number("cmd_per_lun", Usually::Uint(128), "most commands with one unit"),
    switch("hotplug", "the guest hears of units that come and go"),
    switch("param_change", "the guest hears of units whose parameters change"),
];

const HOST: Model = Model {
    parent: "virtio-scsi-pci-base",
    offers: &[BusType::Scsi],
    category: Category::Storage,
    desc: "virtio SCSI host",
    properties: PROPERTIES,
    plug: Plug::Hot,
    several: true,
    check,
    ..Model::PCI_PART
};
/// The usual one, transitional on this machine.
pub static MODEL: Model = Model { name: "virtio-scsi-pci", aliases: &["virtio-scsi"], ..HOST };
/// For drivers of before version 1 too.
pub static TRANSITIONAL: Model = Model { name: "virtio-scsi-pci-transitional", ..HOST };
/// For drivers of version 1 alone.
pub static NON_TRANSITIONAL: Model = Model { name: "virtio-scsi-pci-non-transitional", ..HOST };

fn check(properties: &Properties) -> Result<(), PropertyError> {
    pci::check(properties)?;
    let of = |name| properties.uint(name);
    let size = of("virtqueue_size").unwrap_or(0);
    if !size.is_power_of_two() || !(4..=u64::from(QUEUE_SIZE_MAX)).contains(&size) {
        return Err(properties.invalid("virtqueue_size", "must be a power of 2 between 4 and 1024"));
    }
    if of("num_queues").is_some_and(|queues| queues == 0 || queues > QUEUES_MAX) {
        return Err(properties.invalid("num_queues", format!("must be between 1 and {QUEUES_MAX}")));
    }
    Ok(())
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let vcpus = u64::from(parts.board.vcpus());
    let queues = properties.uint("num_queues").unwrap_or(vcpus).clamp(1, QUEUES_MAX) as u16;
    let of = |name| properties.uint(name).map_or(0, |value| value as u32);
    let options = Options {
        queues,
        queue_size: of("virtqueue_size") as u16,
        max_sectors: of("max_sectors"),
        cmd_per_lun: of("cmd_per_lun"),
        hotplug: properties.is_on("hotplug"),
        param_change: properties.is_on("param_change"),
        model: properties.model(),
    };
    let scsi = Scsi::new(options, parts.wiring.waker());
    // One vector each, two for control and events, and one for the configuration.
    let how = pci::options(properties, queues + 3);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    let slot = Arc::new(DeviceCell::new(VirtioPci::new(scsi, how, handles)));
    let bus = Some(OfferedBus::Scsi(slot.clone()));
    Ok(MadeDevice { bus, ..MadeDevice::at(slot) })
}
