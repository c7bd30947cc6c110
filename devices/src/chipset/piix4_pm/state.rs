//! Saved state of the power management function.

use devices_core::pci::PciState;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::acpi::Acpi;
use super::hotplug::HotplugState;
use super::smbus::Smbus;
use super::{Parts, Piix4Pm};

const KIND: &str = "piix4-pm";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    acpi: Acpi,
    hotplug: HotplugState,
    smbus: Smbus,
    apm: [u8; 2],
}

pub(super) fn save(device: &Piix4Pm) -> Result<Saved, StateError> {
    let Piix4Pm { pci, acpi, hotplug, smbus, apm, events_elsewhere: _, regions: _, parts } = device;
    // The line follows from the registers, and so does the timer's deadline.
    let Parts { sci: _, timer: _, power: _, eject: _, wiring: _, base: _ } = parts;
    let state = State {
        pci: pci.save(),
        acpi: acpi.clone(),
        hotplug: hotplug.save(),
        smbus: smbus.clone(),
        apm: *apm,
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(device: &mut Piix4Pm, saved: &Saved) -> Result<(), StateError> {
    let State { pci, acpi, hotplug, smbus, apm } = saved.decode(KIND, VERSION)?;
    device.pci.load(&pci)?;
    device.hotplug.load(hotplug)?;
    device.acpi = acpi;
    if device.events_elsewhere {
        device.acpi.forget_events();
    }
    device.smbus = smbus;
    device.apm = apm;
    device.follow();
    Ok(())
}
