//! Processes that serve virtio devices (vhost-user): where each is.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use devices::virtio::vhost_user::model as vhost_user;
use devices_core::model::{CHARDEV, Properties, PropertyError, Value};
use serde::{Deserialize, Serialize};

use super::{ConfigError, DeviceSpec, GuestConfig};

/// What the names of those begin with that `--share` asks for.
const SHARE: &str = "share";

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
    /// It is virtiofsd, which is started with the guest and shares that folder.
    Share(PathBuf),
}

impl BackEndConfig {
    /// Whether we connect to it again when it has gone.
    pub(crate) fn is_connected_again(&self) -> bool {
        matches!(self.place, BackEndPlace::Connect(_)) && self.reconnect_ms > 0
    }
}

impl fmt::Display for BackEndPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackEndPlace::Connect(path) => write!(f, "{}", path.display()),
            BackEndPlace::Listen(path) => write!(f, "{}, on which we listen", path.display()),
            BackEndPlace::Fd(fd) => write!(f, "file descriptor {fd}"),
            BackEndPlace::Share(folder) => write!(f, "virtiofsd for {}", folder.display()),
        }
    }
}

impl GuestConfig {
    /// Shares a folder with the guest, which mounts it by a name: `DIR=TAG`.
    pub(crate) fn add_share(&mut self, text: &str) -> Result<(), ConfigError> {
        // The folder's name may have the sign in it.
        let (folder, tag) = text
            .rsplit_once('=')
            .filter(|(folder, tag)| !folder.is_empty() && !tag.is_empty())
            .ok_or_else(|| ConfigError::value("share", text, "DIR=TAG"))?;
        let invalid = |error: PropertyError| ConfigError::Invalid(format!("share {text}: {error}"));
        let number = self.back_ends.iter().filter(|other| other.id.starts_with(SHARE)).count();
        let id = format!("{SHARE}{number}");
        let mut properties = Properties::new(&vhost_user::FS);
        properties.put(CHARDEV.name, Value::Text(id.clone())).map_err(invalid)?;
        properties.put("tag", Value::Text(tag.to_owned())).map_err(invalid)?;
        (vhost_user::FS.check)(&properties).map_err(invalid)?;
        self.devices.push(DeviceSpec::new(None, &properties));
        self.back_ends.push(BackEndConfig { id, place: BackEndPlace::Share(folder.into()), reconnect_ms: 0 });
        Ok(())
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
    fn a_folder_that_is_shared_is_a_device_and_its_back_end() {
        let mut config = GuestConfig::default();
        config.add_share("/srv/a=b=data").unwrap();
        config.add_share("/home=home").unwrap();
        assert_eq!(config.check(), Ok(()));
        let places: Vec<_> = config.back_ends.iter().map(|back_end| back_end.place.to_string()).collect();
        assert_eq!(places, ["virtiofsd for /srv/a=b", "virtiofsd for /home"]);
        let of =
            |device: &DeviceSpec| Some((device.back_end()?.to_owned(), device.properties["tag"].clone()));
        let devices: Vec<_> = config.devices.iter().filter_map(of).collect();
        assert_eq!(devices[1], ("share1".into(), Value::Text("home".into())));
        for wrong in ["/srv", "/srv=", "=data", &format!("/srv={}", "x".repeat(37))] {
            assert!(config.add_share(wrong).is_err(), "{wrong}");
        }
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
