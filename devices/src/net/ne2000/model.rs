//! The card as QEMU names it.

use devices_core::model::{BOOTINDEX, Category, Model, Plug, Properties};
use devices_core::net::{MAC, NETDEV};

use super::Ne2000;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The model.
pub static MODEL: Model = Model {
    name: "ne2k_pci",
    category: Category::Network,
    desc: "NE2000 on PCI, Realtek RTL8029",
    plug: Plug::Hot,
    rom: Some("pxe-ne2k_pci.rom"),
    several: true,
    properties: &[BOOTINDEX, MAC, NETDEV],
    ..Model::PCI_PART
};

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let cable = parts.board.network(properties, parts.wiring, 0)?;
    let [line, ..] = parts.intx;
    let mut card = Ne2000::new(parts.name, cable, line, parts.wiring);
    card.suspends(parts.board.xen_platform().is_some());
    Ok(MadeDevice::nic(card))
}
