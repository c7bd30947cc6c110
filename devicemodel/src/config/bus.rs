//! Buses that devices of the list have for others of it, by the names that QEMU gives them.

use std::collections::BTreeMap;

use devices_core::model::BusType;

use super::{ConfigError, DeviceSpec};

/// A bus of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfferedBus {
    /// `ID.0`, or the kind's own name with a number for a controller that has no id.
    pub name: String,
    pub kind: BusType,
    /// Which of the devices has it.
    pub of: usize,
}

/// The buses of these devices, in their order; those of devices that hang on another's bus come last, as they are made.
pub(crate) fn offered(devices: &[DeviceSpec]) -> Vec<OfferedBus> {
    let mut nameless = BTreeMap::new();
    let mut all = Vec::new();
    let numbered = || devices.iter().enumerate();
    let first = numbered().filter(|(_, device)| !device.is_child());
    for (of, device) in first.chain(numbered().filter(|(_, device)| device.is_child())) {
        let kinds = device.model().map_or(&[][..], |model| model.offers);
        // A companion's ports are those of its master's bus.
        let kinds = if device.properties.contains_key("masterbus") { &[] } else { kinds };
        for kind in kinds.iter().copied().filter(|kind| kind.is_of_device()) {
            let name = match &device.id {
                Some(id) => format!("{id}.0"),
                None => {
                    let number = nameless.entry(kind.name()).or_insert(0);
                    *number += 1;
                    format!("{}.{}", kind.name().to_lowercase(), *number - 1)
                }
            };
            all.push(OfferedBus { name, kind, of });
        }
    }
    all
}

/// Names the bus of each device that hangs on another's: the one that was said, or the first of its kind.
pub(crate) fn settle(devices: &mut [DeviceSpec]) -> Result<(), ConfigError> {
    let buses = offered(devices);
    for device in devices {
        let model = device.model()?;
        if !model.bus.is_of_device() {
            continue;
        }
        let invalid = |why: String| Err(ConfigError::Invalid(format!("device {}: {why}", device.model)));
        let found = match &device.bus {
            None => buses.iter().find(|bus| bus.kind == model.bus),
            Some(name) => match buses.iter().find(|bus| bus.name == *name) {
                Some(bus) if bus.kind != model.bus => {
                    return invalid(format!("Device '{}' can't go on {} bus", device.model, bus.kind.name()));
                }
                Some(bus) => Some(bus),
                None => return invalid(format!("Bus '{name}' not found")),
            },
        };
        let Some(bus) = found else {
            return invalid(format!("No '{}' bus found for device '{}'", model.bus.name(), device.model));
        };
        device.bus = Some(bus.name.clone());
    }
    Ok(())
}
