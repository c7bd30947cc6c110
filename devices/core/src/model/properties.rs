//! What can be set on a device.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Model;

/// Of which kind a property's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Bool,
    /// A number of so many bits: 8, 16, 32 or 64; 31: an int32 that is not negative.
    Uint(u8),
    /// Any text.
    Text,
    /// The id of a `-drive`, or the node name of a `-blockdev`.
    Drive,
    /// The id of a `-chardev`.
    Chardev,
    /// The id of a `-netdev`.
    Netdev,
    /// `52:54:00:12:34:56`.
    Mac,
    /// Slot and function of a PCI device: `5`, `5.1`, in hexadecimal.
    PciAddress,
    /// A place on USB: a port of the controller, and of each hub behind it, `2.1.4`. As a number it has the controller's
    /// port in the lowest byte and those of hubs in the bytes above.
    UsbPort,
    /// The turn in which the firmware boots from it, from 0 on; a negative number: it has none.
    BootIndex,
}

impl Kind {
    /// QEMU's name of the type.
    pub const fn type_name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Uint(8) => "uint8",
            Kind::Uint(16) => "uint16",
            Kind::Uint(31) => "int32",
            Kind::Uint(32) => "uint32",
            Kind::Uint(_) => "uint64",
            Kind::PciAddress | Kind::BootIndex => "int32",
            Kind::Text | Kind::Drive | Kind::Chardev | Kind::Netdev | Kind::Mac | Kind::UsbPort => "str",
        }
    }
}

/// What a property is when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Nothing; the device chooses.
    None,
    /// On or off.
    Bool(bool),
    /// A number.
    Uint(u64),
}

impl Default {
    /// As people read it.
    pub fn text(self) -> Option<String> {
        match self {
            Default::None => None,
            Default::Bool(on) => Some(on.to_string()),
            Default::Uint(number) => Some(number.to_string()),
        }
    }

    fn value(self) -> Option<Value> {
        match self {
            Default::None => None,
            Default::Bool(on) => Some(Value::Bool(on)),
            Default::Uint(number) => Some(Value::Uint(number)),
        }
    }
}

/// Something that can be set.
#[derive(Debug)]
pub struct Property {
    /// QEMU's spelling.
    pub name: &'static str,
    /// Of which kind its values are.
    pub kind: Kind,
    /// What it is when nobody sets it.
    pub default: Default,
    /// A few words for people.
    pub help: &'static str,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// On or off.
    Bool(bool),
    /// A number; a PCI address is its devfn, a USB port the numbers of its path, a byte each.
    Uint(u64),
    /// A text.
    Text(String),
}

/// Why a property was not set. In QEMU's words, which clients look for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PropertyError {
    /// The model has none of that name.
    #[error("Property '{model}.{name}' not found")]
    Unknown {
        /// The model's name.
        model: &'static str,
        /// The property's.
        name: String,
    },
    /// The value is of another kind.
    #[error("Parameter '{name}' expects {expected}")]
    Expected {
        /// The property's name.
        name: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// The value is of the kind, and still makes no sense for the device.
    #[error("Property '{model}.{name}': {why}")]
    Invalid {
        /// The model's name.
        model: &'static str,
        /// The property's.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// What is set on one device, checked against its model.
#[derive(Clone, Debug)]
pub struct Properties {
    model: &'static Model,
    set: BTreeMap<&'static str, Value>,
}

impl Properties {
    /// Nothing is set.
    pub fn new(model: &'static Model) -> Properties {
        Properties { model, set: BTreeMap::new() }
    }

    /// The model that they belong to.
    pub fn model(&self) -> &'static Model {
        self.model
    }

    /// Sets one from a command line's text.
    pub fn parse(&mut self, name: &str, text: &str) -> Result<(), PropertyError> {
        let property = self.property(name)?;
        let value = read(property, text)?;
        self.put_read(property, value);
        Ok(())
    }

    /// Sets one from a value that has a kind already (JSON, a saved guest).
    pub fn put(&mut self, name: &str, value: Value) -> Result<(), PropertyError> {
        let property = self.property(name)?;
        let expected = |expected| PropertyError::Expected { name: property.name, expected };
        let value = match (property.kind, value) {
            (Kind::Bool, Value::Bool(on)) => Value::Bool(on),
            (Kind::Bool, _) => return Err(expected("boolean")),
            (Kind::Uint(bits), Value::Uint(number)) if fits(number, bits) => Value::Uint(number),
            (Kind::Uint(_), Value::Uint(_)) => return Err(expected(property.kind.type_name())),
            (Kind::Uint(_), _) => return Err(expected("integer")),
            (Kind::PciAddress, Value::Uint(devfn)) if devfn <= 0xff => Value::Uint(devfn),
            (Kind::PciAddress, Value::Uint(_) | Value::Bool(_)) => return Err(expected("a PCI address")),
            (Kind::UsbPort, Value::Uint(path)) if usb_port(&usb_port_text(path)) == Some(path) => {
                Value::Uint(path)
            }
            (Kind::UsbPort, Value::Uint(_) | Value::Bool(_)) => return Err(expected(USB_PORT)),
            (Kind::BootIndex, Value::Uint(turn)) if fits(turn, 31) => Value::Uint(turn),
            (Kind::BootIndex, Value::Uint(_) | Value::Bool(_)) => return Err(expected("int32")),
            (_, Value::Text(text)) => {
                let value = read(property, &text)?;
                self.put_read(property, value);
                return Ok(());
            }
            _ => return Err(expected("string")),
        };
        self.set.insert(property.name, value);
        Ok(())
    }

    /// Sets what was read; none: it is as if nobody had set it.
    fn put_read(&mut self, property: &'static Property, value: Option<Value>) {
        match value {
            Some(value) => self.set.insert(property.name, value),
            None => self.set.remove(property.name),
        };
    }

    /// Whether somebody set it.
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// What is set, by name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.set.iter().map(|(name, value)| (*name, value))
    }

    /// A value, or its default.
    pub fn get(&self, name: &str) -> Option<Value> {
        let default = || self.model.property(name).and_then(|property| property.default.value());
        self.set.get(name).cloned().or_else(default)
    }

    /// A number, or its default.
    pub fn uint(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::Uint(number)) => Some(number),
            _ => None,
        }
    }

    /// Whether it is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some(Value::Bool(true))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.set.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The error of a value that makes no sense to the device.
    pub fn invalid(&self, name: &str, why: impl Into<String>) -> PropertyError {
        let name = self.model.property(name).map_or("", |property| property.name);
        PropertyError::Invalid { model: self.model.name, name, why: why.into() }
    }

    fn property(&self, name: &str) -> Result<&'static Property, PropertyError> {
        let unknown = || PropertyError::Unknown { model: self.model.name, name: name.to_owned() };
        self.model.property(name).ok_or_else(unknown)
    }
}

fn fits(number: u64, bits: u8) -> bool {
    bits >= 64 || number >> bits == 0
}

/// Reads a value of a property's kind; none: one that says that there is none.
fn read(property: &Property, text: &str) -> Result<Option<Value>, PropertyError> {
    let expected = |expected| PropertyError::Expected { name: property.name, expected };
    let value = match property.kind {
        Kind::Bool => match text {
            "on" | "yes" | "true" | "y" => Value::Bool(true),
            "off" | "no" | "false" | "n" => Value::Bool(false),
            _ => return Err(expected("'on' or 'off'")),
        },
        Kind::Uint(bits) => {
            let number = number(text).ok_or_else(|| expected("integer"))?;
            let fitting = fits(number, bits).then_some(Value::Uint(number));
            fitting.ok_or_else(|| expected(property.kind.type_name()))?
        }
        Kind::PciAddress => {
            let address = pci_address(text).ok_or_else(|| expected("a PCI address such as 5 or 5.1"))?;
            Value::Uint(address.into())
        }
        Kind::UsbPort => Value::Uint(usb_port(text).ok_or_else(|| expected(USB_PORT))?),
        Kind::BootIndex => {
            let turn = text.parse::<i32>().ok().filter(|_| !text.starts_with('+'));
            match u64::try_from(turn.ok_or_else(|| expected("int32"))?) {
                Ok(turn) => Value::Uint(turn),
                Err(_) => return Ok(None),
            }
        }
        Kind::Mac => {
            let is_byte = |byte: &str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
            let whole = text.split(':').count() == 6 && text.split(':').all(is_byte);
            let mac = whole.then(|| Value::Text(text.to_ascii_lowercase()));
            mac.ok_or_else(|| expected("a MAC address"))?
        }
        Kind::Text | Kind::Drive | Kind::Chardev | Kind::Netdev => Value::Text(text.to_owned()),
    };
    Ok(Some(value))
}

/// A number as C writes it: decimal, hexadecimal with `0x`, octal with `0`.
fn number(text: &str) -> Option<u64> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hex, text.strip_prefix('0')) {
        (Some(hex), _) => (hex, 16),
        (None, Some(octal)) if !octal.is_empty() => (octal, 8),
        _ => (text, 10),
    };
    u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

/// The devfn of `slot` or `slot.function`, both in hexadecimal, as libvirt writes them with `0x`.
fn pci_address(text: &str) -> Option<u8> {
    let (slot, function) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| {
        let text = text.strip_prefix("0x").unwrap_or(text);
        u8::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'))
    };
    let (slot, function) = (digits(slot)?, digits(function)?);
    (slot < 32 && function < 8).then_some(slot << 3 | function)
}

/// What is expected of a USB port.
const USB_PORT: &str = "a USB port such as 2 or 2.1";
/// Most numbers of one: five hubs stand one behind the other.
const USB_PORTS: usize = 6;

/// The number of a path of USB ports.
fn usb_port(text: &str) -> Option<u64> {
    let port = |text: &str| text.parse::<u8>().ok().filter(|port| *port != 0 && !text.starts_with('+'));
    let ports: Vec<u8> = text.split('.').map(port).collect::<Option<_>>()?;
    let path = ports.iter().rev().fold(0, |path, port| path << 8 | u64::from(*port));
    (ports.len() <= USB_PORTS).then_some(path)
}

/// The ports of such a number, the controller's first.
pub fn usb_ports(path: u64) -> impl Iterator<Item = u8> {
    path.to_le_bytes().into_iter().take_while(|port| *port != 0)
}

/// A path of USB ports as people read it.
pub fn usb_port_text(path: u64) -> String {
    usb_ports(path).map(|port| port.to_string()).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    static CARD: Model = Model {
        name: "card",
        properties: &[
            Property { name: "small", kind: Kind::Uint(8), default: Default::Uint(3), help: "" },
            Property { name: "mac", kind: Kind::Mac, default: Default::None, help: "" },
            Property { name: "bootindex", kind: Kind::BootIndex, default: Default::None, help: "" },
            Property { name: "port", kind: Kind::UsbPort, default: Default::None, help: "" },
        ],
        ..Model::PCI_PART
    };

    fn refusal(name: &str, text: &str) -> String {
        Properties::new(&CARD).parse(name, text).unwrap_err().to_string()
    }

    #[test]
    fn values_are_read_as_their_kind() {
        let mut card = Properties::new(&CARD);
        assert_eq!(card.uint("small"), Some(3));
        assert!(!card.is_set("small") && !card.is_on("multifunction"));
        for (name, text) in
            [("small", "0x10"), ("multifunction", "on"), ("addr", "1f.7"), ("mac", "00:16:3E:00:00:01")]
        {
            card.parse(name, text).unwrap();
        }
        assert_eq!(card.uint("small"), Some(16));
        assert_eq!(card.uint("addr"), Some(0xff));
        assert!(card.is_on("multifunction"));
        card.parse("addr", "0x3.0x1").unwrap();
        assert_eq!(card.uint("addr"), Some(0x19));
        assert_eq!(card.text("mac"), Some("00:16:3e:00:00:01"));
    }

    #[test]
    fn a_negative_bootindex_is_none() {
        let mut card = Properties::new(&CARD);
        card.parse("bootindex", "2147483647").unwrap();
        assert_eq!(card.uint("bootindex"), Some(0x7fff_ffff));
        card.parse("bootindex", "-1").unwrap();
        assert!(!card.is_set("bootindex"));
        card.put("bootindex", Value::Uint(3)).unwrap();
        assert_eq!(card.uint("bootindex"), Some(3));
        card.put("bootindex", Value::Text("-7".into())).unwrap();
        assert!(!card.is_set("bootindex"));
        for wrong in ["2147483648", "-2147483649", "+1", "", "0x1", "first"] {
            assert_eq!(refusal("bootindex", wrong), "Parameter 'bootindex' expects int32", "{wrong}");
        }
        card.put("bootindex", Value::Uint(1 << 31)).unwrap_err();
    }

    #[test]
    fn a_usb_port_is_a_path() {
        let mut card = Properties::new(&CARD);
        for (text, number) in [("2", 2), ("2.1", 0x102), ("15.8.8.8.8.8", 0x0808_0808_080f)] {
            card.parse("port", text).unwrap();
            assert_eq!(card.uint("port"), Some(number));
            assert_eq!(usb_port_text(number), text);
            card.put("port", Value::Uint(number)).unwrap();
        }
        for wrong in ["", "0", "1.", ".1", "1.0", "256", "+1", "1.1.1.1.1.1.1", "a"] {
            assert!(refusal("port", wrong).starts_with("Parameter 'port' expects a USB port"), "{wrong}");
        }
        for wrong in [0, 0x100, 0x1_0001, 1 << 48 | 0x0101_0101_0101] {
            card.put("port", Value::Uint(wrong)).unwrap_err();
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_qemus_words() {
        assert_eq!(refusal("big", "1"), "Property 'card.big' not found");
        assert_eq!(refusal("small", "x"), "Parameter 'small' expects integer");
        assert_eq!(refusal("small", "256"), "Parameter 'small' expects uint8");
        assert_eq!(refusal("multifunction", "2"), "Parameter 'multifunction' expects 'on' or 'off'");
        for address in ["20", "1.8", "+1", "", "1.", "1.0.0"] {
            assert!(refusal("addr", address).starts_with("Parameter 'addr' expects"), "{address}");
        }
        for mac in ["", "00:16:3e:00:00", "00:16:3e:00:00:01:02", "00:16:3e:00:00:+1"] {
            assert_eq!(refusal("mac", mac), "Parameter 'mac' expects a MAC address", "{mac}");
        }
    }

    #[test]
    fn values_of_json_have_their_kind_already() {
        let mut card = Properties::new(&CARD);
        card.put("small", Value::Uint(255)).unwrap();
        card.put("addr", Value::Text("3".into())).unwrap();
        assert_eq!(card.uint("addr"), Some(0x18));
        for (name, value) in [
            ("small", Value::Text("1".into())),
            ("small", Value::Uint(256)),
            ("multifunction", Value::Uint(1)),
            ("addr", Value::Uint(256)),
            ("mac", Value::Bool(true)),
        ] {
            card.put(name, value).unwrap_err();
        }
    }
}
