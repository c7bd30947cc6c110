//! The display adapter of an xl.cfg file: `vga`, `stdvga`, `videoram`.

use devices::display::{cirrus, vga};
use devices_core::model::{Model, Properties};

use crate::config::{ConfigError, DeviceSpec, GuestConfig};

/// What a file says of it. xl gives a guest a Cirrus if it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Display {
    /// `vga`, which counts if it is there.
    pub vga: Option<String>,
    /// `stdvga`: otherwise a Cirrus.
    pub stdvga: bool,
    /// `videoram`, in MiB.
    pub videoram: Option<u64>,
}

impl Display {
    /// Puts it into the guest, in the place of the usual one. xl knows the words in these letters alone.
    pub(super) fn apply(&self, config: &mut GuestConfig) -> Result<(), ConfigError> {
        let word = self.vga.as_deref().unwrap_or(if self.stdvga { "stdvga" } else { "cirrus" });
        // What libxl takes if nothing is said is also the least that it lets through.
        let spec = match word {
            "none" => None,
            "stdvga" => Some(self.adapter(&vga::model::MODEL, 16)?),
            "cirrus" => Some(self.adapter(&cirrus::model::MODEL, 8)?),
            "qxl" => return Err(ConfigError::Invalid("vga: qxl is not built; stdvga and cirrus are".into())),
            other => return Err(ConfigError::value("vga", other, "stdvga, cirrus or none")),
        };
        config.devices.retain(|device| !device.is_instead_of(vga::model::MODEL.name));
        config.devices.splice(0..0, spec);
        Ok(())
    }

    fn adapter(&self, model: &'static Model, least: u64) -> Result<DeviceSpec, ConfigError> {
        let mib = self.videoram.unwrap_or(least);
        if mib < least {
            let text = format!("videoram must be at least {least} MB for {}", model.name);
            return Err(ConfigError::Invalid(text));
        }
        let mut properties = Properties::new(model);
        // QEMU's VGA rounds it up.
        let invalid = |error| ConfigError::Invalid(format!("videoram: {error}"));
        let mib = mib.checked_next_power_of_two().unwrap_or(mib);
        properties.parse("vgamem_mb", &mib.to_string()).map_err(invalid)?;
        (model.check)(&properties).map_err(invalid)?;
        Ok(DeviceSpec::new(None, &properties))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(vga: Option<&str>, stdvga: bool, videoram: Option<u64>) -> Result<Vec<String>, String> {
        let mut config = GuestConfig::default();
        let display = Display { vga: vga.map(str::to_owned), stdvga, videoram };
        display.apply(&mut config).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        let shown = |spec: &DeviceSpec| {
            let mib = spec.properties().unwrap().uint("vgamem_mb")?;
            Some(format!("{} {mib}", spec.model))
        };
        Ok(config.devices.iter().filter_map(shown).collect())
    }

    #[test]
    fn a_guest_gets_what_xl_gives_it() {
        let one = |text: &str| Ok(vec![text.to_owned()]);
        assert_eq!(guest(None, false, None), one("cirrus-vga 8"));
        assert_eq!(guest(None, true, None), one("VGA 16"));
        assert_eq!(guest(Some("cirrus"), true, Some(16)), one("cirrus-vga 16"));
        assert_eq!(guest(Some("stdvga"), false, Some(20)), one("VGA 32"));
        assert_eq!(guest(Some("none"), true, None), Ok(Vec::new()));
    }

    #[test]
    fn what_xl_refuses_is_refused() {
        for (vga, videoram, says) in [
            ("stdvga", Some(8), "at least 16 MB for VGA"),
            ("cirrus", Some(4), "at least 8 MB for cirrus-vga"),
            ("cirrus", Some(64), "videoram"),
            ("stdvga", Some(u64::MAX), "videoram"),
            ("StdVGA", None, "expected stdvga, cirrus or none"),
            ("qxl", None, "not built"),
        ] {
            let error = guest(Some(vga), false, videoram).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
