//! The card as QEMU names it.

use devices_core::model::{BOOTINDEX, Category, Model, Plug, Properties};
use devices_core::net::{MAC, NETDEV};

use super::Rtl8139;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

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
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let cable = parts.board.network(properties, parts.wiring, super::CABLE)?;
    let [inta, ..] = parts.intx;
    let ram = parts.board.ram();
    let mut card = Rtl8139::new(parts.name, parts.wiring, ram, inta, cable);
    card.suspends(parts.board.xen_platform().is_some());
    Ok(MadeDevice::nic(card))
}
