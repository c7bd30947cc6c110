//! The card as QEMU names it.

use devices_core::model::{
    BOOTINDEX, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};
use devices_core::net::{MAC, NETDEV};

use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::super::spec::QUEUE_SIZE_MAX;
use super::spec::{PAIRS, feature};
use super::{CABLE, Net, Options};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

const fn switch(name: &'static str, help: &'static str) -> Property {
    Property { name, kind: Kind::Bool, default: Usually::Bool(true), help }
}
const fn number(name: &'static str, default: Usually, help: &'static str) -> Property {
    Property { name, kind: Kind::Uint(16), default, help }
}

const MRG_RXBUF: Property = switch("mrg_rxbuf", "a frame may be spread over buffers");
const STATUS: Property = switch("status", "the driver sees whether the cable is in");
const CTRL_VQ: Property = switch("ctrl_vq", "there is a control queue");
const CTRL_RX: Property = switch("ctrl_rx", "the driver says which frames it wants");
const CTRL_VLAN: Property = switch("ctrl_vlan", "it says which VLANs it wants");
const CTRL_RX_EXTRA: Property = switch("ctrl_rx_extra", "it says more of what it wants");
const CTRL_MAC_ADDR: Property = switch("ctrl_mac_addr", "it sets its address by the control queue");
const GUEST_ANNOUNCE: Property = switch("guest_announce", "it announces itself after a restore");

const MQ: Property = Property {
    default: Usually::Bool(false),
    ..switch("mq", "there are as many pairs of queues as the back end has queues")
};

const RSS: Property = Property {
    default: Usually::Bool(false),
    ..switch("rss", "the driver has frames spread over pairs of queues by their hashes")
};
const HASH: Property = Property {
    default: Usually::Bool(false),
    ..switch("hash", "it is told the hash of each frame, where the back end has a header for it")
};

const CSUM: Property = switch("csum", "the driver leaves checksums to the other end, if that knows how");
const GUEST_CSUM: Property = switch("guest_csum", "the other end leaves them to the driver");
const GUEST_TSO4: Property = switch("guest_tso4", "the driver takes segments of TCP over IPv4 together");
const GUEST_TSO6: Property = switch("guest_tso6", "over IPv6");
const GUEST_ECN: Property = switch("guest_ecn", "with congestion told of");
const HOST_TSO4: Property = switch("host_tso4", "it leaves segments of TCP over IPv4 to be cut");
const HOST_TSO6: Property = switch("host_tso6", "over IPv6");
const HOST_ECN: Property = switch("host_ecn", "with congestion told of");
const CTRL_GUEST_OFFLOADS: Property = switch("ctrl_guest_offloads", "the driver says what it is left");

/// Features that properties offer. What hangs on the control queue comes after it.
const OFFERED: [(Property, u64); 20] = [
    (CSUM, feature::CSUM),
    (GUEST_CSUM, feature::GUEST_CSUM),
    (GUEST_TSO4, feature::GUEST_TSO4),
    (GUEST_TSO6, feature::GUEST_TSO6),
    (GUEST_ECN, feature::GUEST_ECN),
    (HOST_TSO4, feature::HOST_TSO4),
    (HOST_TSO6, feature::HOST_TSO6),
    (HOST_ECN, feature::HOST_ECN),
    (MRG_RXBUF, feature::MRG_RXBUF),
    (STATUS, feature::STATUS),
    (CTRL_VQ, feature::CTRL_VQ),
    (CTRL_RX, feature::CTRL_RX),
    (CTRL_VLAN, feature::CTRL_VLAN),
    (CTRL_RX_EXTRA, feature::CTRL_RX_EXTRA),
    (CTRL_MAC_ADDR, feature::CTRL_MAC_ADDR),
    (GUEST_ANNOUNCE, feature::GUEST_ANNOUNCE),
    (CTRL_GUEST_OFFLOADS, feature::CTRL_GUEST_OFFLOADS),
    (MQ, feature::MQ),
    (RSS, feature::RSS),
    (HASH, feature::HASH_REPORT),
];
/// Those of them that are given, or read, by the control queue.
const BY_CONTROL: u64 = feature::CTRL_RX
    | feature::CTRL_VLAN
    | feature::CTRL_RX_EXTRA
    | feature::CTRL_MAC_ADDR
    | feature::GUEST_ANNOUNCE
    | feature::CTRL_GUEST_OFFLOADS
    | feature::MQ
    | feature::RSS
    | feature::HASH_REPORT;

const PROPERTIES: &[Property] = properties_of![
    BOOTINDEX,
    MAC,
    NETDEV,
    CSUM,
    GUEST_CSUM,
    GUEST_TSO4,
    GUEST_TSO6,
    GUEST_ECN,
    HOST_TSO4,
    HOST_TSO6,
    HOST_ECN,
    MRG_RXBUF,
    STATUS,
    CTRL_VQ,
    CTRL_RX,
    CTRL_VLAN,
    CTRL_RX_EXTRA,
    CTRL_MAC_ADDR,
    GUEST_ANNOUNCE,
    CTRL_GUEST_OFFLOADS,
    MQ,
    RSS,
    HASH,
    number("rx_queue_size", Usually::Uint(256), "elements of the queue of frames that come, a power of two"),
    number("tx_queue_size", Usually::Uint(256), "elements of the queue of frames that go, a power of two"),
    number("host_mtu", Usually::Uint(0), "what the driver is told of the MTU; 0: nothing"),
];

const CARD: Model = Model {
    parent: "virtio-net-pci-base",
    category: Category::Network,
    desc: "virtio network card",
    properties: PROPERTIES,
    plug: Plug::Hot,
    rom: Some("pxe-virtio.rom"),
    several: true,
    check,
    ..Model::PCI_PART
};
/// The usual one, transitional on this machine.
pub static MODEL: Model = Model { name: "virtio-net-pci", aliases: &["virtio-net"], ..CARD };
/// For drivers of before version 1 too.
pub static TRANSITIONAL: Model = Model { name: "virtio-net-pci-transitional", ..CARD };
/// For drivers of version 1 alone.
pub static NON_TRANSITIONAL: Model = Model { name: "virtio-net-pci-non-transitional", ..CARD };

fn check(properties: &Properties) -> Result<(), PropertyError> {
    pci::check(properties)?;
    for name in ["rx_queue_size", "tx_queue_size"] {
        let size = properties.uint(name).unwrap_or(0);
        if !size.is_power_of_two() || !(256..=u64::from(QUEUE_SIZE_MAX)).contains(&size) {
            return Err(properties.invalid(name, "must be a power of 2 between 256 and 1024"));
        }
    }
    Ok(())
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let cable = parts.board.network(properties, parts.wiring, CABLE)?;
    let on = OFFERED.iter().filter(|(property, _)| properties.is_on(property.name));
    let mut features = on.fold(0, |all, (_, bit)| all | bit);
    if features & feature::CTRL_VQ == 0 {
        // They are commands, and there is nothing to give them by.
        features &= !BY_CONTROL;
    }
    let size = |name| properties.uint(name).map_or(256, |size| size as u16);
    let options = Options {
        rx_size: size("rx_queue_size"),
        tx_size: size("tx_queue_size"),
        features,
        mtu: properties.uint("host_mtu").filter(|mtu| *mtu != 0).and_then(|mtu| u16::try_from(mtu).ok()),
        model: properties.model(),
    };
    // As QEMU has it: one vector for each queue that the back end makes possible, and one for the configuration.
    let how = pci::options(properties, 2 * cable.backend.queues().min(PAIRS) + 2);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    let card = Net::new(options, parts.wiring, cable).observed(parts.board.observer(parts.name));
    Ok(MadeDevice::nic(VirtioPci::new(card, how, handles)))
}
