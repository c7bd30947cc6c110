//! The device. QEMU has none of its own in its own process: `vhost-vsock-pci` is the kernel's, `vhost-user-vsock-pci`
//! another process's. Where its Unix sockets are is said as for Firecracker and Cloud Hypervisor.

use devices_core::model::{
    Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};
use devices_core::vsock::FIRST_CID;

use super::super::pci::properties::{self as pci, properties_of};
use super::super::pci::{Handles, VirtioPci};
use super::Vsock;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The guest's address.
pub const GUEST_CID: Property = Property {
    name: "guest-cid",
    kind: Kind::Uint(64),
    default: Usually::Uint(FIRST_CID),
    help: "the guest's CID, 3 or more",
};
/// Where connections come in and go out.
pub const SOCKET: Property = Property {
    name: "socket",
    kind: Kind::Text,
    default: Usually::None,
    help: "a Unix socket that leads to the guest's ports; the guest's way to port P leads to the socket of that name \
           with _P behind it",
};
/// How many.
pub const CONNECTIONS: Property = Property {
    name: "connections",
    kind: Kind::Uint(32),
    default: Usually::Uint(1023),
    help: "most connections at a time",
};

/// Most that can be asked for.
const CONNECTIONS_MAX: u64 = 65_536;
/// Most bytes of a Unix socket's name, and what is put behind it for a port.
const NAME_MAX: usize = 107 - "_4294967295".len();

const DEVICE: Model = Model {
    parent: "virtio-vsock-pci-base",
    category: Category::Misc,
    desc: "virtio sockets, which lead to Unix sockets of the host",
    properties: properties_of![GUEST_CID, SOCKET, CONNECTIONS],
    plug: Plug::Hot,
    several: true,
    check,
    ..Model::PCI_PART
};
/// The device.
pub static MODEL: Model = Model { name: "virtio-vsock-pci", aliases: &["virtio-vsock"], ..DEVICE };

fn check(properties: &Properties) -> Result<(), PropertyError> {
    pci::check(properties)?;
    match properties.uint(GUEST_CID.name).unwrap_or(0) {
        0..FIRST_CID => return Err(properties.invalid(GUEST_CID.name, "must be greater than 2")),
        // The last of 32 bits is that of anybody.
        cid if cid >= u32::MAX.into() => {
            return Err(properties.invalid(GUEST_CID.name, "must be a 32-bit number"));
        }
        _ => {}
    }
    if !(1..=CONNECTIONS_MAX).contains(&properties.uint(CONNECTIONS.name).unwrap_or(0)) {
        return Err(properties.invalid(CONNECTIONS.name, format!("must be 1 to {CONNECTIONS_MAX}")));
    }
    match properties.text(SOCKET.name) {
        Some("") => Err(properties.invalid(SOCKET.name, "must be the name of a Unix socket")),
        Some(path) if path.len() > NAME_MAX => {
            Err(properties.invalid(SOCKET.name, format!("must have at most {NAME_MAX} bytes")))
        }
        _ => Ok(()),
    }
}

/// Makes one. Without a socket it leads nowhere.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let cid = properties.uint(GUEST_CID.name).unwrap_or(FIRST_CID);
    let backend = parts.board.vsock(properties, parts.wiring, 0)?;
    let vsock = Vsock::new(properties.model(), cid, parts.wiring, backend);
    let how = pci::options(properties, 3);
    let [inta, ..] = parts.intx;
    let handles = Handles { name: parts.name, ram: parts.board.ram(), inta, msi: parts.board.msi() };
    Ok(MadeDevice::of(VirtioPci::new(vsock, how, handles)))
}
