//! Saved state of the host bridge.

use devices_core::pci::PciState;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::I440fx;

const KIND: &str = "i440fx";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
}

pub(super) fn save(device: &I440fx) -> Result<Saved, StateError> {
    // What is mapped where follows from the registers.
    let I440fx { pci, shadow: _, applied: _ } = device;
    Saved::encode(KIND, VERSION, &State { pci: pci.save() })
}

pub(super) fn load(device: &mut I440fx, saved: &Saved) -> Result<(), StateError> {
    let State { pci } = saved.decode(KIND, VERSION)?;
    device.pci.load(&pci)?;
    device.apply();
    Ok(())
}
