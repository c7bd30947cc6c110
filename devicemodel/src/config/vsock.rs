//! Sockets between a guest and its host (virtio-vsock).

use std::path::Path;

use devices::virtio::vsock::model::{GUEST_CID, MODEL, SOCKET};
use devices_core::model::{Properties, PropertyError, Value};

use super::{ConfigError, DeviceSpec, GuestConfig};
use crate::qemu::keyval::Fields;

impl GuestConfig {
    /// Gives the guest sockets: `cid=N,socket=PATH`.
    pub(crate) fn add_vsock(&mut self, text: &str) -> Result<(), ConfigError> {
        let mut fields = Fields::parse(text, None);
        let invalid = |error: PropertyError| ConfigError::Invalid(format!("vsock {text}: {error}"));
        let (Some(cid), Some(path)) = (fields.take("cid"), fields.take("socket")) else {
            return Err(ConfigError::value("vsock", text, "cid=N,socket=PATH"));
        };
        let mut properties = Properties::new(&MODEL);
        properties.parse(GUEST_CID.name, &cid).map_err(invalid)?;
        properties.parse(SOCKET.name, &path).map_err(invalid)?;
        for (name, value) in fields.rest() {
            properties.parse(&name, &value).map_err(invalid)?;
        }
        (MODEL.check)(&properties).map_err(invalid)?;
        self.devices.push(DeviceSpec::new(None, &properties));
        Ok(())
    }
}

impl DeviceSpec {
    /// The Unix socket by which programs of the host's reach the guest's sockets.
    pub(crate) fn host_socket(&self) -> Option<&Path> {
        match self.properties.get(SOCKET.name) {
            Some(Value::Text(path)) if self.model == MODEL.name => Some(Path::new(path)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Reach;

    #[test]
    fn sockets_are_a_device_and_what_it_leads_to() {
        let mut config = GuestConfig::default();
        assert_eq!(config.reach(), Reach::default());
        config.add_vsock("cid=5,socket=/run/v").unwrap();
        config.add_vsock("socket=v2,cid=6,connections=10").unwrap();
        assert_eq!(config.check(), Ok(()));
        let paths: Vec<_> = config.devices.iter().filter_map(DeviceSpec::host_socket).collect();
        assert_eq!(paths, [Path::new("/run/v"), Path::new("v2")]);
        assert_eq!(config.reach(), Reach { programs: true, ..Reach::default() });
        let long = format!("cid=3,socket=/{}", "x".repeat(100));
        for (wrong, why) in [
            ("cid=5", "cid=N,socket=PATH"),
            ("socket=/s", "cid=N,socket=PATH"),
            ("cid=2,socket=/s", "greater than 2"),
            ("cid=4294967295,socket=/s", "32-bit"),
            ("cid=x,socket=/s", "cid"),
            ("cid=3,socket=", "name of a Unix socket"),
            ("cid=3,socket=/s,connections=0", "1 to"),
            ("cid=3,socket=/s,what=1", "what"),
            (&long, "at most 96 bytes"),
        ] {
            let error = config.add_vsock(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
