//! Lines that devices have: QEMU's `-chardev`.

use std::collections::BTreeSet;

use devices::virtio::serial;
use devices_core::model::{CHARDEV, Properties, PropertyError, Value};
use serde::{Deserialize, Serialize};

use super::{ConfigError, DeviceSpec, GuestConfig, SerialConfig};

/// A line with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChardevConfig {
    /// What devices call it by.
    pub id: String,
    /// Where it leads.
    pub line: SerialConfig,
}

/// The controller of consoles that `--console` asks for, and their lines.
const CONTROLLER: &str = "console";

impl GuestConfig {
    /// Adds a virtio console on that line.
    pub(crate) fn add_console(&mut self, line: SerialConfig) -> Result<(), ConfigError> {
        let invalid = |why: PropertyError| ConfigError::Invalid(why.to_string());
        if !self.devices.iter().any(|device| device.id.as_deref() == Some(CONTROLLER)) {
            let mut properties = Properties::new(&serial::model::MODEL);
            properties.put(serial::model::CONSOLE_SIZE.name, Value::Bool(true)).map_err(invalid)?;
            self.devices.push(DeviceSpec::new(Some(CONTROLLER.into()), &properties));
        }
        let number = self.chardevs.iter().filter(|chardev| chardev.id.starts_with("console")).count();
        let id = format!("console{number}");
        let mut properties = Properties::new(&serial::CONSOLE);
        properties.put(CHARDEV.name, Value::Text(id.clone())).map_err(invalid)?;
        let bus = Some(format!("{CONTROLLER}.0"));
        self.devices.push(DeviceSpec { bus, ..DeviceSpec::new(None, &properties) });
        self.chardevs.push(ChardevConfig { id, line });
        Ok(())
    }
}

impl DeviceSpec {
    /// The line that it names. What another process serves has none, but [a way there](DeviceSpec::back_end).
    pub(crate) fn chardev(&self) -> Option<&str> {
        match self.properties.get(CHARDEV.name) {
            Some(Value::Text(id)) if !self.is_served() => Some(id),
            _ => None,
        }
    }
}

/// Whether every line has a name of its own, and every device one that is there and is nobody else's. A device's name
/// is told as QEMU tells it.
pub(super) fn check(chardevs: &[ChardevConfig], devices: &[DeviceSpec]) -> Result<(), ConfigError> {
    let mut ids = BTreeSet::new();
    if let Some(twice) = chardevs.iter().find(|chardev| !ids.insert(chardev.id.as_str())) {
        return Err(ConfigError::Invalid(format!("Chardev with id '{}' already exists", twice.id)));
    }
    let mut free = ids;
    for device in devices {
        let Some(id) = device.chardev() else { continue };
        if !free.remove(id) {
            let there = chardevs.iter().any(|chardev| chardev.id == id);
            let why = if there { "it is in use" } else { "there is none of that name" };
            let text = format!("device {}: Property 'chardev' can't take value '{id}': {why}", device.model);
            return Err(ConfigError::Invalid(text));
        }
    }
    Ok(())
}
