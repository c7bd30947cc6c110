//! The card as QEMU names it.

use devices_core::model::{Category, Model, Plug, Properties};
use devices_core::net::{BOOTINDEX, MAC, NETDEV};

use super::Rtl8139;
use crate::board::{Made, MakeError, Parts};

/// The model.
pub static MODEL: Model = Model {
    name: "rtl8139",
    category: Category::Network,
    desc: "Realtek RTL8139C+, 100 Mbit/s",
    plug: Plug::Hot,
    rom: Some("pxe-rtl8139.rom"),
    several: true,
    properties: &[BOOTINDEX, MAC, NETDEV],
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(properties: &Properties, parts: Parts<'_>) -> Result<Made, MakeError> {
    let cable = parts.board.network(properties, parts.wiring, super::CABLE)?;
    let [inta, ..] = parts.intx;
    let ram = parts.board.ram();
    Ok(Made::nic(Rtl8139::new(parts.name, parts.wiring, ram, inta, cable)))
}
