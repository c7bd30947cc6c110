//! Processes that serve virtio devices (vhost-user): where each is.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use devices_core::model::{CHARDEV, Value};
use serde::{Deserialize, Serialize};

use super::{ConfigError, DeviceSpec};

/// A process that serves a device, as `-chardev` names it, and as it is saved with the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackEndConfig {
    /// Its name.
    pub id: String,
    /// Where it is.
    pub place: BackEndPlace,
    /// When it has gone it is looked for again after so many milliseconds; 0: it is not. One that connects to us may come
    /// again at any time.
    pub reconnect_ms: u64,
}

/// Where a process is that serves a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackEndPlace {
    /// It listens on that Unix socket.
    Connect(PathBuf),
    /// We do.
    Listen(PathBuf),
    /// It connects to a socket that we were started with.
    Fd(i32),
}

impl fmt::Display for BackEndPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackEndPlace::Connect(path) => write!(f, "{}", path.display()),
            BackEndPlace::Listen(path) => write!(f, "{}, on which we listen", path.display()),
            BackEndPlace::Fd(fd) => write!(f, "file descriptor {fd}"),
        }
    }
}

impl DeviceSpec {
    /// The back end that it names.
    pub(crate) fn back_end(&self) -> Option<&str> {
        match self.properties.get(CHARDEV.name) {
            Some(Value::Text(id)) if self.is_served() => Some(id),
            _ => None,
        }
    }

    /// Whether it must name one.
    pub(super) fn is_served(&self) -> bool {
        self.model.starts_with("vhost-user-")
    }
}

/// Checks that no two have one name, and that each device that is served names one of its own.
pub(crate) fn check(back_ends: &[BackEndConfig], devices: &[DeviceSpec]) -> Result<(), ConfigError> {
    let invalid = |why: String| Err(ConfigError::Invalid(why));
    let mut ids = BTreeSet::new();
    for BackEndConfig { id, .. } in back_ends {
        if !ids.insert(id.as_str()) {
            return invalid(format!("Duplicate ID '{id}' for chardev"));
        }
    }
    let mut used = BTreeSet::new();
    for device in devices.iter().filter(|device| device.is_served()) {
        let model = &device.model;
        let Some(id) = device.back_end() else {
            return invalid(format!("{model}: chardev= is missing: a -chardev that leads to its back end"));
        };
        if !ids.contains(id) {
            return invalid(format!("Property '{model}.chardev' can't find value '{id}'"));
        }
        if !used.insert(id) {
            return invalid(format!("Property '{model}.chardev' can't take value '{id}', it's in use"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(devices: &[&str], ids: &[&str]) -> Result<(), String> {
        let devices: Vec<_> = devices.iter().map(|text| DeviceSpec::parse(text).unwrap()).collect();
        let back_end = |id: &&str| BackEndConfig {
            id: (*id).to_owned(),
            place: BackEndPlace::Connect("/s".into()),
            reconnect_ms: 0,
        };
        let back_ends: Vec<_> = ids.iter().map(back_end).collect();
        check(&back_ends, &devices).map_err(|error| error.to_string())
    }

    #[test]
    fn each_device_has_a_back_end_of_its_own() {
        const DISK: &str = "vhost-user-blk-pci,chardev=a";
        assert_eq!(guest(&[DISK], &["a", "b"]), Ok(()));
        assert!(guest(&[DISK], &["b"]).unwrap_err().contains("can't find value 'a'"));
        assert!(guest(&[DISK, DISK], &["a"]).unwrap_err().contains("it's in use"));
        assert!(guest(&["vhost-user-blk-pci"], &["a"]).unwrap_err().contains("chardev= is missing"));
        assert!(guest(&[], &["a", "a"]).unwrap_err().contains("Duplicate ID 'a'"));
    }
}
