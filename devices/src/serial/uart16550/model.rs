//! The ports as QEMU names them.

use devices_core::model::{
    CHARDEV, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::{PORTS, Serial, spec};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// Which of the PC's four ports it is.
pub const INDEX: Property = Property {
    name: "index",
    kind: Kind::Uint(32),
    default: Usually::None,
    help: "0 to 3, COM1 to COM4, whose place and interrupt it has; the next one if nobody says",
};
/// Where its registers are.
pub const IOBASE: Property = Property {
    name: "iobase",
    kind: Kind::Uint(32),
    default: Usually::None,
    help: "first of its eight I/O ports",
};
/// Its interrupt.
pub const IRQ: Property =
    Property { name: "irq", kind: Kind::Uint(32), default: Usually::None, help: "ISA interrupt, up to 15" };
/// How the PCI function says that it is driven.
const INTERFACE: Property = Property {
    name: "prog_if",
    kind: Kind::Uint(8),
    default: Usually::Uint(spec::PCI_16550),
    help: "programming interface that the class code says: 2 is a 16550",
};

/// A port on the ISA bus.
pub static MODEL: Model = Model {
    name: "isa-serial",
    category: Category::Input,
    desc: "serial port (16550A)",
    properties: &[CHARDEV, INDEX, IOBASE, IRQ],
    plug: Plug::Cold,
    several: true,
    check,
    ..Model::ISA_PART
};

/// A port on the PCI bus.
pub static PCI: Model = Model {
    name: "pci-serial",
    category: Category::Input,
    desc: "serial port (16550A) on PCI",
    properties: &[CHARDEV, INTERFACE],
    plug: Plug::Hot,
    several: true,
    ..Model::PCI_PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    place(properties).map(|_| ())
}

/// First port and interrupt: as said, or those of the port with that number.
fn place(properties: &Properties) -> Result<(u16, u32), PropertyError> {
    let of = |property: &Property| properties.uint(property.name);
    let index = of(&INDEX).unwrap_or(0);
    let (usual, usual_irq) = match usize::try_from(index).ok().and_then(|index| PORTS.get(index)) {
        Some(port) => *port,
        None => return Err(properties.invalid(INDEX.name, "Max. supported number of ISA serial ports is 4")),
    };
    let base = u16::try_from(of(&IOBASE).unwrap_or(usual.into())).ok().filter(|base| *base <= 0xfff8);
    let base = base.ok_or_else(|| properties.invalid(IOBASE.name, "the last port is 0xffff"))?;
    match u32::try_from(of(&IRQ).unwrap_or(usual_irq.into())) {
        Ok(irq @ 0..=15) => Ok((base, irq)),
        _ => Err(properties.invalid(IRQ.name, "Maximum value for irq is 15")),
    }
}

/// Makes one on the ISA bus.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let (base, irq) = place(properties)?;
    let line = parts.board.chardev(properties, parts.wiring.waker(), 0)?;
    let line = line.ok_or_else(no_line)?;
    let irq = parts.board.isa_irq(irq);
    Ok(MadeDevice::of(Serial::at(parts.name, base, irq, line, parts.wiring)))
}

/// Makes one on the PCI bus.
pub fn make_pci(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let interface = properties.uint(INTERFACE.name).unwrap_or(spec::PCI_16550) as u8;
    let line = parts.board.chardev(properties, parts.wiring.waker(), 0)?;
    let line = line.ok_or_else(no_line)?;
    let [intx, ..] = parts.intx;
    Ok(MadeDevice::of(Serial::on_pci(parts.name, interface, intx, line, parts.wiring)))
}

fn no_line() -> MakeError {
    MakeError::Other("Can't create serial device, empty char device".into())
}
