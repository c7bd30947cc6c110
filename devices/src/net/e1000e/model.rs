//! The card, by QEMU's names.

use devices_core::model::{BOOTINDEX, Category, Default as Usually, Kind, Model, Plug, Properties, Property};
use devices_core::net::{MAC, NETDEV};

use super::{E1000e, Options, spec};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

const fn number(name: &'static str, bits: u8, default: u64, help: &'static str) -> Property {
    Property { name, kind: Kind::Uint(bits), default: Usually::Uint(default), help }
}

/// The model.
pub static MODEL: Model = Model {
    name: "e1000e",
    category: Category::Network,
    desc: "Intel 82574L GbE Controller",
    plug: Plug::Hot,
    rom: Some("pxe-e1000e.rom"),
    several: true,
    properties: &[
        MAC,
        NETDEV,
        BOOTINDEX,
        number("disable_vnet_hdr", 8, 0, "taken for QEMU's sake: the card does its offloads itself"),
        number("subsys_ven", 16, spec::VENDOR as u64, "PCI device Subsystem Vendor ID"),
        number("subsys", 16, 0, "PCI device Subsystem ID"),
        Property {
            name: "init-vet",
            kind: Kind::Bool,
            default: Usually::Bool(true),
            help: "the type of tagged frames is set by a reset",
        },
    ],
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let id = |name, usual| properties.uint(name).and_then(|id| u16::try_from(id).ok()).unwrap_or(usual);
    let options = Options {
        subsystem: (id("subsys_ven", spec::VENDOR), id("subsys", 0)),
        init_vet: properties.is_on("init-vet"),
    };
    let cable = parts.board.network(properties, parts.wiring, 0)?;
    let [line, ..] = parts.intx;
    let (ram, msi) = (parts.board.ram(), parts.board.msi());
    Ok(MadeDevice::nic(E1000e::new(parts.name, options, cable, ram, line, msi, parts.wiring)))
}
