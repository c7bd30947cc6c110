//! Saved state.

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{PcTestdev, spec};

const KIND: &str = "pc-testdev";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    port: u32,
    memory: ByteBuf,
    /// One bit for each wire that it holds high.
    wires: u32,
}

pub(super) fn save(device: &PcTestdev) -> Result<Saved, StateError> {
    let PcTestdev { name: _, regions: _, port, memory, wires } = device;
    let high = wires.iter().enumerate().fold(0, |bits, (pin, wire)| bits | u32::from(wire.level()) << pin);
    let memory = ByteBuf::from(&memory[..]);
    Saved::encode(KIND, VERSION, &State { port: u32::from_le_bytes(*port), memory, wires: high })
}

pub(super) fn load(device: &mut PcTestdev, saved: &Saved) -> Result<(), StateError> {
    let State { port, memory, wires } = saved.decode(KIND, VERSION)?;
    valid(memory.len() == spec::MEMORY_LEN, "its memory has another length")?;
    valid(wires >> spec::IRQS == 0, "there is no such wire")?;
    device.port = port.to_le_bytes();
    device.memory.copy_from_slice(&memory);
    device.wires.iter_mut().enumerate().for_each(|(pin, wire)| wire.set(wires >> pin & 1 != 0));
    Ok(())
}
