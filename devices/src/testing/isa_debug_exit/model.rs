//! An exit for test programs.

use devices_core::model::{Default, Kind, Model, Plug, Properties, Property, PropertyError};

use super::IsaDebugExit;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The model.
pub static MODEL: Model = Model {
    name: "isa-debug-exit",
    desc: "ends the program with a status that the guest chooses",
    properties: &[
        Property { name: "iobase", kind: Kind::Uint(32), default: Default::Uint(0x501), help: "first port" },
        Property { name: "iosize", kind: Kind::Uint(32), default: Default::Uint(2), help: "ports: 1 to 8" },
    ],
    plug: Plug::Cold,
    check,
    ..Model::ISA_PART
};

/// Most ports: the status is written with one access.
const PORTS: u64 = 8;

fn check(properties: &Properties) -> Result<(), PropertyError> {
    ports(properties).map(|_| ())
}

/// The first port, and how many there are.
fn ports(properties: &Properties) -> Result<(u16, u8), PropertyError> {
    let of = |name| properties.uint(name).unwrap_or(0);
    let (base, len) = (of("iobase"), of("iosize"));
    if !(1..=PORTS).contains(&len) {
        return Err(properties.invalid("iosize", format!("expected 1 to {PORTS}")));
    }
    match u16::try_from(base) {
        Ok(first) if base + len <= 1 << 16 => Ok((first, len as u8)),
        _ => Err(properties.invalid("iobase", "the last port is 0xffff")),
    }
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let (base, len) = ports(properties)?;
    Ok(MadeDevice::of(IsaDebugExit::new(parts.name, base, len, parts.board.power())))
}
