//! Saved state of the ISA bridge. The levels of the PCI wires come back with the devices that drive them.

use devices_core::pci::PciState;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::{Piix3, spec};

const KIND: &str = "piix3";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    reset_control: u8,
}

pub(super) fn save(device: &Piix3) -> Result<Saved, StateError> {
    let Piix3 { pci, reset_control, regions: _, links: _, power: _ } = device;
    Saved::encode(KIND, VERSION, &State { pci: pci.save(), reset_control: *reset_control })
}

pub(super) fn load(device: &mut Piix3, saved: &Saved) -> Result<(), StateError> {
    let State { pci, reset_control } = saved.decode(KIND, VERSION)?;
    device.pci.load(&pci)?;
    device.reset_control = reset_control & spec::RCR_HARD;
    device.route();
    Ok(())
}
