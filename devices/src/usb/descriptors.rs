//! Descriptors (9.6), built from what a device says of itself.

/// Types of descriptors (table 9-5).
pub mod kind {
    /// Of the device.
    pub const DEVICE: u8 = 1;
    /// Of a configuration, with all that belongs to it.
    pub const CONFIGURATION: u8 = 2;
    /// Text.
    pub const STRING: u8 = 3;
    /// Of an interface.
    pub const INTERFACE: u8 = 4;
    /// Of an endpoint.
    pub const ENDPOINT: u8 = 5;
    /// Of what else the device can (USB 3.0, 9.6.2).
    pub const BOS: u8 = 15;
    /// Of an endpoint at SuperSpeed, behind the endpoint's own.
    pub const COMPANION: u8 = 48;
}

/// US English, which all strings are in.
const LANGUAGE: u16 = 0x0409;

/// What a device is.
#[derive(Clone, Debug)]
pub struct Description {
    /// bcdUSB.
    pub usb: u16,
    /// bDeviceClass; 0: it is each interface's own.
    pub class: u8,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// bcdDevice.
    pub release: u16,
    /// bMaxPacketSize0; from USB 3.0 on its logarithm.
    pub max_packet: u8,
    /// Indices of the strings: manufacturer, product, serial number.
    pub labels: [u8; 3],
    /// Its only configuration.
    pub configuration: Configuration,
    /// Strings by index.
    pub strings: Vec<(u8, String)>,
}

/// A configuration, whose value is 1.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// iConfiguration.
    pub label: u8,
    /// bmAttributes.
    pub attributes: u8,
    /// bMaxPower, in units of 2 mA.
    pub power: u8,
    /// Interfaces, numbered from 0.
    pub interfaces: &'static [Interface],
}

impl Configuration {
    /// bConfigurationValue.
    pub const VALUE: u8 = 1;
    /// bmAttributes: always set.
    pub const ONE: u8 = 0x80;
    /// bmAttributes: it has a supply of its own.
    pub const SELF_POWERED: u8 = 0x40;
    /// bmAttributes: it can wake the host.
    pub const WAKEUP: u8 = 0x20;
}

/// An interface, with no alternate settings.
#[derive(Debug)]
pub struct Interface {
    /// Class, subclass, protocol.
    pub class: [u8; 3],
    /// Descriptors of its class.
    pub of_class: &'static [u8],
    /// Endpoints.
    pub endpoints: &'static [Endpoint],
}

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// bEndpointAddress, bit 7: IN.
    pub address: u8,
    /// bmAttributes: 3 is interrupt.
    pub attributes: u8,
    /// wMaxPacketSize.
    pub max_packet: u16,
    /// bInterval.
    pub interval: u8,
    /// bMaxBurst of its SuperSpeed companion (USB 3.0, 9.6.7), which there is at that speed alone.
    pub burst: Option<u8>,
    /// Descriptors of its class.
    pub of_class: &'static [u8],
}

impl Description {
    /// Bytes of a packet of the control pipe.
    pub fn control_packet(&self) -> usize {
        if self.usb >= 0x0300 { 1 << self.max_packet.min(9) } else { self.max_packet.into() }
    }

    /// The device's descriptor.
    pub fn device(&self) -> Vec<u8> {
        let [manufacturer, product, serial] = self.labels;
        let mut bytes = vec![18, kind::DEVICE];
        bytes.extend(self.usb.to_le_bytes());
        bytes.extend([self.class, 0, 0, self.max_packet]);
        bytes.extend([self.vendor, self.product, self.release].map(u16::to_le_bytes).concat());
        bytes.extend([manufacturer, product, serial, 1]);
        bytes
    }

    /// The configuration's, with those of its interfaces and endpoints.
    pub fn configuration(&self) -> Vec<u8> {
        let Configuration { label, attributes, power, interfaces } = &self.configuration;
        let mut bytes = vec![9, kind::CONFIGURATION, 0, 0, interfaces.len() as u8];
        bytes.extend([Configuration::VALUE, *label, *attributes, *power]);
        for (number, Interface { class, of_class, endpoints }) in (0..).zip(*interfaces) {
            bytes.extend([9, kind::INTERFACE, number, 0, endpoints.len() as u8]);
            bytes.extend(class);
            bytes.push(0);
            bytes.extend(*of_class);
            for Endpoint { address, attributes, max_packet, interval, burst, of_class } in *endpoints {
                bytes.extend([7, kind::ENDPOINT, *address, *attributes]);
                bytes.extend(max_packet.to_le_bytes());
                bytes.push(*interval);
                if let Some(burst) = burst {
                    bytes.extend([6, kind::COMPANION, *burst, 0, 0, 0]);
                }
                bytes.extend(*of_class);
            }
        }
        let total = (bytes.len() as u16).to_le_bytes();
        bytes[2..4].copy_from_slice(&total);
        bytes
    }

    /// What else it can, from USB 3.0 on: link power management, and the speeds at which it works.
    pub fn bos(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![5, kind::BOS, 22, 0, 2];
        bytes.extend([7, 16, 2, 2, 0, 0, 0]);
        // Full, high and SuperSpeed, all of it from full speed on; latencies of the link.
        bytes.extend([10, 16, 3, 0, 0x0e, 0, 1, 0x0a, 0x20, 0]);
        (self.usb >= 0x0300).then_some(bytes)
    }

    /// A string's; index 0 lists the languages.
    pub fn string(&self, index: u8) -> Option<Vec<u8>> {
        let units: Vec<u16> = match index {
            0 => vec![LANGUAGE],
            _ => self.strings.iter().find(|(at, _)| *at == index)?.1.encode_utf16().take(126).collect(),
        };
        let mut bytes = vec![2 + 2 * units.len() as u8, kind::STRING];
        bytes.extend(units.into_iter().flat_map(u16::to_le_bytes));
        Some(bytes)
    }

    /// The endpoint of that address.
    pub fn endpoint(&self, address: u8) -> Option<&'static Endpoint> {
        let interfaces = self.configuration.interfaces.iter();
        interfaces.flat_map(|interface| interface.endpoints).find(|endpoint| endpoint.address == address)
    }
}
