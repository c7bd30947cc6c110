//! An ISA device to test machines with.

use devices_core::model::{Model, Plug, Properties};

use super::{PcTestdev, spec};
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The model.
pub static MODEL: Model = Model {
    name: "pc-testdev",
    desc: "ports, memory and interrupt wires for test programs (kvm-unit-tests)",
    plug: Plug::Cold,
    ..Model::ISA_PART
};

/// Makes one.
pub fn make(_: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let wires = (0..spec::IRQS as u32).map(|pin| parts.board.isa_irq(pin)).collect();
    Ok(MadeDevice::of(PcTestdev::new(parts.name, wires)))
}
