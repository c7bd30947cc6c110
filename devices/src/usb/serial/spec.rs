//! Numbers of FTDI's FT232BM, and what QEMU's device says of itself.

use super::super::descriptors::{Configuration, Description, Endpoint, Interface};

/// Vendor: FTDI.
pub const VENDOR: u16 = 0x0403;
/// Product: FT232.
pub const PRODUCT: u16 = 0x6001;
/// How its serial number begins.
pub const SERIAL: &str = "1";

/// Endpoints: from the device, and to it.
pub const IN: u8 = 1;
/// To the device.
pub const OUT: u8 = 2;
/// Bytes of a packet.
pub const PACKET: usize = 64;
/// Bytes of status that each packet from the device begins with.
pub const HEAD: usize = 2;

/// Requests of the vendor, with bmRequestType above.
pub mod request {
    /// SIO_RESET.
    pub const RESET: u16 = 0x4000;
    /// SIO_SET_MODEM_CTRL.
    pub const SET_MODEM: u16 = 0x4001;
    /// SIO_SET_FLOW_CTRL.
    pub const SET_FLOW: u16 = 0x4002;
    /// SIO_SET_BAUD_RATE.
    pub const SET_BAUD: u16 = 0x4003;
    /// SIO_SET_DATA.
    pub const SET_DATA: u16 = 0x4004;
    /// SIO_POLL_MODEM_STATUS.
    pub const MODEM_STATUS: u16 = 0xc005;
    /// SIO_SET_EVENT_CHAR.
    pub const SET_EVENT: u16 = 0x4006;
    /// SIO_SET_ERROR_CHAR.
    pub const SET_ERROR: u16 = 0x4007;
    /// SIO_SET_LATENCY_TIMER.
    pub const SET_LATENCY: u16 = 0x4009;
    /// SIO_GET_LATENCY_TIMER.
    pub const LATENCY: u16 = 0xc00a;
}

/// What SIO_RESET resets.
pub mod reset {
    /// The device.
    pub const SIO: u16 = 0;
    /// What it has received.
    pub const PURGE_RX: u16 = 1;
    /// What it has to send.
    pub const PURGE_TX: u16 = 2;
}

/// Of SIO_SET_DATA: parity, of which odd and even are known, and stop bits, one or two.
pub mod data {
    /// Parity.
    pub const PARITY: u16 = 7 << 8;
    /// The last that is known: even.
    pub const EVEN: u16 = 2 << 8;
    /// Stop bits.
    pub const STOP: u16 = 3 << 11;
    /// Two of them.
    pub const STOP_2: u16 = 2 << 11;
}

/// Status of the modem: clear to send, data set ready, a signal; the lowest bit is always set.
pub const MODEM: u8 = 0x10 | 0x20 | 0x80 | 1;
/// Status of the line: the transmitter and its register are empty.
pub const EMPTY: u8 = 0x20 | 0x40;

const fn bulk(address: u8) -> Endpoint {
    Endpoint { address, attributes: 2, max_packet: PACKET as u16, interval: 0, burst: None, of_class: &[] }
}

static ENDPOINTS: [Endpoint; 2] = [bulk(0x80 | IN), bulk(OUT)];
static INTERFACES: [Interface; 1] =
    [Interface { class: [0xff, 0xff, 0xff], of_class: &[], endpoints: &ENDPOINTS }];

/// What it says of itself.
pub fn description(serial: &str) -> Description {
    let text = |index: u8, text: &str| (index, text.to_owned());
    Description {
        usb: 0x0200,
        class: 0,
        vendor: VENDOR,
        product: PRODUCT,
        release: 0x0400,
        max_packet: 8,
        labels: [1, 2, 4],
        configuration: Configuration {
            label: 0,
            attributes: Configuration::ONE | Configuration::WAKEUP,
            power: 50,
            interfaces: &INTERFACES,
        },
        strings: vec![text(1, "QEMU"), text(2, "QEMU USB SERIAL"), text(4, serial)],
    }
}
