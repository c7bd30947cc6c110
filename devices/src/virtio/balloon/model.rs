//! The device as QEMU names it.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{Category, Default as Usually, Kind, Model, Plug, Properties, Property};

use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::{Options, VirtioBalloon};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

const fn switch(name: &'static str, on: bool, help: &'static str) -> Property {
    Property { name, kind: Kind::Bool, default: Usually::Bool(on), help }
}
const DEFLATE_ON_OOM: Property =
    switch("deflate-on-oom", false, "the guest takes pages back before it kills a process for memory");
const REPORTING: Property =
    switch("free-page-reporting", false, "the guest tells of pages that are free, and the host takes them");
const POISON: Property = switch("page-poison", true, "the guest may tell what it fills free pages with");

const PROPERTIES: &[Property] = properties_of![DEFLATE_ON_OOM, REPORTING, POISON];

const DEVICE: Model = Model {
    parent: "virtio-balloon-pci-base",
    category: Category::Misc,
    desc: "virtio memory balloon",
    properties: PROPERTIES,
    plug: Plug::Hot,
    check: pci::check,
    ..Model::PCI_PART
};
/// The usual one, transitional on this machine.
pub static MODEL: Model = Model { name: "virtio-balloon-pci", aliases: &["virtio-balloon"], ..DEVICE };
/// For drivers of before version 1 too.
pub static TRANSITIONAL: Model = Model { name: "virtio-balloon-pci-transitional", ..DEVICE };
/// For drivers of version 1 alone.
pub static NON_TRANSITIONAL: Model = Model { name: "virtio-balloon-pci-non-transitional", ..DEVICE };

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let options = Options {
        deflate_on_oom: properties.is_on(DEFLATE_ON_OOM.name),
        reporting: properties.is_on(REPORTING.name),
        poison: properties.is_on(POISON.name),
    };
    let ram = parts.board.ram();
    let observer = parts.board.observer(parts.name);
    let balloon = VirtioBalloon::new(properties.model(), options, parts.wiring, &ram, observer);
    let how = pci::options(properties, if options.reporting { 5 } else { 4 });
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram, inta, msi: parts.board.msi() };
    let cell = Arc::new(DeviceCell::new(VirtioPci::new(balloon, how, handles)));
    Ok(MadeDevice { balloon: Some(cell.clone()), ..MadeDevice::at(cell) })
}
