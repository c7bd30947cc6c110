//! USB: what devices are to a host controller, and the devices.
//!
//! Specification: "Universal Serial Bus Specification", revision 2.0, chapters 8 and 9. A device ([`UsbDevice`]) says what
//! it is and answers requests of its class; [`Function`] is the rest of every device: its address, configuration, control
//! pipe and standard requests. Neither knows a host controller, which sees a port with a function in it and packets.
//!
//! Left out: data toggles (no packet is lost between a controller and a device here, so none comes twice), isochronous
//! endpoints. No device here is of low speed, as none of QEMU's is.

mod bus;
pub mod descriptors;
mod device;
pub mod ehci;
pub mod frames;
mod full_speed;
mod function;
pub mod hid;
pub mod hub;
pub mod ohci;
mod plugged;
pub mod serial;
mod socket;
mod state;
pub mod storage;
#[cfg(test)]
mod tests;
pub mod uas;
pub mod uhci;
pub mod xhci;

use devices_core::model::Properties;

pub use bus::{ATTACHED, PORT, PlugError, Ports, RootHub, SERIAL, UsbHost};
pub use device::{UsbDevice, UsbInput};
pub use function::Function;
pub use socket::Socket;
pub use state::FunctionState;

/// How fast a device is; the slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speed {
    /// 1.5 Mbit/s.
    Low,
    /// 12 Mbit/s.
    Full,
    /// 480 Mbit/s.
    High,
    /// 5 Gbit/s.
    Super,
}

impl Speed {
    /// In Mbit/s, as people read it.
    pub const fn rate(self) -> &'static str {
        match self {
            Speed::Low => "1.5",
            Speed::Full => "12",
            Speed::High => "480",
            Speed::Super => "5000",
        }
    }
}

/// Where a controller with these properties is, as serial numbers of devices tell it.
fn path(properties: &Properties) -> String {
    let devfn = properties.uint("addr").unwrap_or(0);
    format!("0000:00:{:02x}.{}", devfn >> 3 & 0x1f, devfn & 7)
}

/// What a token packet asks for (8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pid {
    /// From the device.
    In,
    /// To the device.
    Out,
    /// To its control pipe: a request begins.
    Setup,
}

/// What came of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many bytes went over.
    Done(usize),
    /// Not now.
    Nak,
    /// Not at all.
    Stall,
    /// The device sent more than there was room for.
    Babble,
    /// Nobody answered.
    Silence,
}

/// Setup data of a request (9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// bmRequestType.
    pub kind: u8,
    /// bRequest.
    pub request: u8,
    /// wValue.
    pub value: u16,
    /// wIndex.
    pub index: u16,
    /// wLength.
    pub length: u16,
}

impl Setup {
    /// Bytes of it.
    pub const LEN: usize = 8;

    /// From the bytes of the packet.
    pub fn parse([kind, request, v0, v1, i0, i1, l0, l1]: [u8; Setup::LEN]) -> Setup {
        let word = |low, high| u16::from_le_bytes([low, high]);
        Setup { kind, request, value: word(v0, v1), index: word(i0, i1), length: word(l0, l1) }
    }

    /// As bytes of a packet.
    pub fn bytes(&self) -> [u8; Setup::LEN] {
        let Setup { kind, request, value, index, length } = self;
        let ([v0, v1], [i0, i1], [l0, l1]) = (value.to_le_bytes(), index.to_le_bytes(), length.to_le_bytes());
        [*kind, *request, v0, v1, i0, i1, l0, l1]
    }

    /// Whether the device sends the data.
    pub fn is_in(&self) -> bool {
        self.kind & 0x80 != 0
    }
}
