//! The cards, by QEMU's names.

use devices_core::model::{BOOTINDEX, Category, Default as Usually, Kind, Model, Plug, Properties, Property};
use devices_core::net::{MAC, NETDEV};

use super::{E1000, Options, Variant};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

const fn switch(name: &'static str, help: &'static str) -> Property {
    Property { name, kind: Kind::Bool, default: Usually::Bool(true), help }
}

const PROPERTIES: &[Property] = &[
    MAC,
    NETDEV,
    BOOTINDEX,
    switch("autonegotiation", "the link takes half a second to come up"),
    switch("mitigation", "interrupts can be held back by timers"),
    switch("extra_mac_registers", "there are statistics and wake-up registers"),
    switch("migrate_tso_props", "taken for QEMU's sake; a saved card is always whole"),
    switch("init-vet", "the type of tagged frames is set by a reset"),
];

const CARD: Model = Model {
    parent: "e1000-base",
    category: Category::Network,
    desc: "Intel Gigabit Ethernet",
    plug: Plug::Hot,
    rom: Some("pxe-e1000.rom"),
    several: true,
    properties: PROPERTIES,
    ..Model::PCI_PART
};

/// 82540EM.
pub static MODEL: Model = Model { name: "e1000", aliases: &["e1000-82540em"], ..CARD };
/// 82544GC.
pub static MODEL_82544GC: Model = Model { name: "e1000-82544gc", ..CARD };
/// 82545EM.
pub static MODEL_82545EM: Model = Model { name: "e1000-82545em", ..CARD };

/// What each is.
pub static VARIANTS: [Variant; 3] = [
    Variant { model: &MODEL, device: 0x100e, phy: 0x0c20 },
    Variant { model: &MODEL_82544GC, device: 0x1008, phy: 0x0c30 },
    Variant { model: &MODEL_82545EM, device: 0x100f, phy: 0x0c20 },
];

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let name = properties.model().name;
    let variant = VARIANTS.iter().find(|variant| variant.model.name == name).unwrap_or(&VARIANTS[0]);
    let options = Options {
        autonegotiation: properties.is_on("autonegotiation"),
        mitigation: properties.is_on("mitigation"),
        extra_registers: properties.is_on("extra_mac_registers"),
        init_vet: properties.is_on("init-vet"),
    };
    let cable = parts.board.network(properties, parts.wiring, 0)?;
    let [line, ..] = parts.intx;
    let ram = parts.board.ram();
    Ok(MadeDevice::nic(E1000::new(parts.name, variant, options, cable, ram, line, parts.wiring)))
}
