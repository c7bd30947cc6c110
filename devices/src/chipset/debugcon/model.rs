//! The firmware's debug port.

use devices_core::model::{
    CHARDEV, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::{Debugcon, spec};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

const IOBASE: Property = Property {
    name: "iobase",
    kind: Kind::Uint(32),
    default: Usually::Uint(spec::BOCHS_PORT as u64),
    help: "its I/O port: SeaBIOS and OVMF write to 0x402",
};
const READBACK: Property = Property {
    name: "readback",
    kind: Kind::Uint(32),
    default: Usually::Uint(spec::PRESENT as u64),
    help: "what is read there",
};

/// The model.
pub static MODEL: Model = Model {
    name: "isa-debugcon",
    desc: "debug port of the firmware",
    properties: &[CHARDEV, IOBASE, READBACK],
    plug: Plug::Cold,
    check,
    ..Model::ISA_PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    place(properties).map(|_| ())
}

/// The port, and what is read there.
fn place(properties: &Properties) -> Result<(u16, u8), PropertyError> {
    let of = |property: &Property| properties.uint(property.name).unwrap_or(0);
    let port = u16::try_from(of(&IOBASE));
    let port = port.map_err(|_| properties.invalid(IOBASE.name, "the last port is 0xffff"))?;
    Ok((port, of(&READBACK) as u8))
}

/// Makes one. What its line does not take at once is lost: firmware is not to wait for a reader.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let (port, present) = place(properties)?;
    let line = parts.board.chardev(properties, parts.wiring.waker(), 0)?;
    let line =
        line.ok_or_else(|| MakeError::Other("Can't create debugcon device, empty char device".into()))?;
    let sink = Box::new(move |data: &[u8]| {
        line.write(data);
    });
    Ok(MadeDevice::of(Debugcon::named(parts.name, port, present, sink)))
}
