//! The device as QEMU names it.

use devices_core::model::{Category, Default as Usually, Kind, Model, Plug, Properties, Property};

use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::Rng;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

const fn number(name: &'static str, bits: u8) -> Property {
    Property { name, kind: Kind::Uint(bits), default: Usually::None, help: "taken for QEMU's sake" }
}

const RNG: Property = Property {
    name: "rng",
    kind: Kind::Text,
    default: Usually::None,
    help: "id of an -object rng-random or rng-builtin: the host's random numbers, as without one",
};

const PROPERTIES: &[Property] = properties_of![RNG, number("max-bytes", 64), number("period", 32),];

const DEVICE: Model = Model {
    parent: "virtio-rng-pci-base",
    category: Category::Misc,
    desc: "virtio entropy source",
    properties: PROPERTIES,
    plug: Plug::Hot,
    several: true,
    check: pci::check,
    ..Model::PCI_PART
};
/// The usual one, transitional on this machine.
pub static MODEL: Model = Model { name: "virtio-rng-pci", aliases: &["virtio-rng"], ..DEVICE };
/// For drivers of before version 1 too.
pub static TRANSITIONAL: Model = Model { name: "virtio-rng-pci-transitional", ..DEVICE };
/// For drivers of version 1 alone.
pub static NON_TRANSITIONAL: Model = Model { name: "virtio-rng-pci-non-transitional", ..DEVICE };

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let rng = Rng::new(properties.model(), parts.wiring, parts.board.entropy(parts.name));
    let how = pci::options(properties, 2);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    Ok(MadeDevice::of(VirtioPci::new(rng, how, handles)))
}
