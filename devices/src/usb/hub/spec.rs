//! Numbers of the hub class, and what QEMU's hub says of itself.

use bitflags::bitflags;

use super::super::descriptors::{Configuration, Description, Endpoint, Interface};

/// Most ports.
pub const PORTS: u8 = 8;
/// Most hubs one behind the other.
pub const CHAIN: usize = 5;

/// Vendor of QEMU's hub: NEC.
pub const VENDOR: u16 = 0x0409;
/// Product.
pub const PRODUCT: u16 = 0x55aa;
/// bDeviceClass and bInterfaceClass.
pub const CLASS: u8 = 9;
/// Type of a hub's descriptor (table 11-13).
pub const DESCRIPTOR: u8 = 0x29;
/// Where its serial number begins.
pub const SERIAL: &str = "314159";

/// wHubCharacteristics (table 11-13).
pub mod characteristics {
    /// The power of each port is switched by itself.
    pub const OWN_POWER: u8 = 1 << 0;
    /// There are no switches.
    pub const NO_SWITCHES: u8 = 1 << 1;
    /// Each port has over-current protection of its own.
    pub const OWN_PROTECTION: u8 = 1 << 3;
}

/// Requests (table 11-15), with bmRequestType above.
pub mod request {
    /// Of the hub: a feature is cleared.
    pub const CLEAR_HUB_FEATURE: u16 = 0x2001;
    /// A feature is set.
    pub const SET_HUB_FEATURE: u16 = 0x2003;
    /// Its status.
    pub const HUB_STATUS: u16 = 0xa000;
    /// Its descriptor.
    pub const HUB_DESCRIPTOR: u16 = 0xa006;
    /// Of a port, which wIndex names: a feature is cleared.
    pub const CLEAR_PORT_FEATURE: u16 = 0x2301;
    /// A feature is set.
    pub const SET_PORT_FEATURE: u16 = 0x2303;
    /// Its status.
    pub const PORT_STATUS: u16 = 0xa300;
}

/// Features (table 11-17). Those of a hub are changes of its local power and of over-current, 0 and 1.
pub mod feature {
    /// The last one that a hub itself has.
    pub const HUB_LAST: u16 = 1;
    /// Packets go through.
    pub const ENABLE: u16 = 1;
    /// The device sleeps.
    pub const SUSPEND: u16 = 2;
    /// The device is reset.
    pub const RESET: u16 = 4;
    /// There is power.
    pub const POWER: u16 = 8;
    /// From here on: changes, in the order of their bits.
    pub const CHANGE: u16 = 16;
    /// The last of them.
    pub const CHANGE_LAST: u16 = 20;
}

bitflags! {
    /// wPortStatus and, of its first five bits, wPortChange (tables 11-21 and 11-22).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PortBits: u16 {
        /// There is a device.
        const CONNECTION = 1 << 0;
        /// Packets go through.
        const ENABLE = 1 << 1;
        /// The device sleeps.
        const SUSPEND = 1 << 2;
        /// It draws too much current.
        const OVER_CURRENT = 1 << 3;
        /// It is being reset.
        const RESET = 1 << 4;
        /// There is power.
        const POWER = 1 << 8;
        /// The device is of low speed.
        const LOW_SPEED = 1 << 9;
        /// What changes are told of.
        const CHANGES = 0x1f;
    }
}

/// The status change endpoint (11.12.1).
static ENDPOINTS: [Endpoint; 1] =
    [Endpoint { address: 0x81, attributes: 3, max_packet: 2, interval: 0xff, burst: None, of_class: &[] }];
static INTERFACES: [Interface; 1] =
    [Interface { class: [CLASS, 0, 0], of_class: &[], endpoints: &ENDPOINTS }];

/// What it says of itself.
pub fn description(serial: &str) -> Description {
    let text = |index: u8, text: &str| (index, text.to_owned());
    Description {
        usb: 0x0110,
        class: CLASS,
        vendor: VENDOR,
        product: PRODUCT,
        release: 0x0101,
        max_packet: 8,
        labels: [1, 2, 3],
        configuration: Configuration {
            label: 0,
            attributes: Configuration::ONE | Configuration::SELF_POWERED | Configuration::WAKEUP,
            power: 0,
            interfaces: &INTERFACES,
        },
        strings: vec![text(1, "QEMU"), text(2, "QEMU USB Hub"), text(3, serial)],
    }
}
