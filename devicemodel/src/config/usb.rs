//! USB as people ask for it in a word: the PC's own controller, and devices by their short names.

use devices::usb::hid::model as hid;
use devices::usb::uhci::model as uhci;
use devices_core::model::{BusType, Model};

use super::{ConfigError, DeviceSpec, GuestConfig, bus};

/// Where the PIIX3 has it: 01.2.
const PLACE: u8 = 1 << 3 | 2;

/// Devices by the words of QEMU's `-usbdevice` and xl.cfg's `usbdevice`.
const WORDS: &[(&str, &Model)] =
    &[("tablet", &hid::TABLET), ("mouse", &hid::MOUSE), ("keyboard", &hid::KEYBOARD)];

fn controller() -> DeviceSpec {
    let mut controller = DeviceSpec::plain(&uhci::PIIX3);
    controller.set_devfn(PLACE);
    controller
}

impl GuestConfig {
    /// The PC's own controller is there.
    pub(crate) fn add_usb(&mut self) {
        let there = |device: &DeviceSpec| device.devfn() == Some(PLACE);
        if !self.devices.iter().any(there) {
            self.devices.push(controller());
        }
    }

    /// The controllers that libxl gives a guest for a version of USB: UHCI, EHCI with companions, xHCI.
    pub(crate) fn add_usb_version(&mut self, version: u64) -> Result<(), ConfigError> {
        let controllers: &[&str] = match version {
            1 => &["piix3-usb-uhci,id=usb"],
            2 => &[
                "ich9-usb-ehci1,id=usb,addr=1d.7,multifunction=on",
                "ich9-usb-uhci1,masterbus=usb.0,firstport=0,addr=1d.0,multifunction=on",
                "ich9-usb-uhci2,masterbus=usb.0,firstport=2,addr=1d.1,multifunction=on",
                "ich9-usb-uhci3,masterbus=usb.0,firstport=4,addr=1d.2,multifunction=on",
            ],
            3 => &["nec-usb-xhci,id=usb"],
            _ => return Err(ConfigError::value("usbversion", &version.to_string(), "1, 2 or 3")),
        };
        for controller in controllers {
            self.devices.push(DeviceSpec::parse(controller)?);
        }
        Ok(())
    }

    /// A device on it, by its short name.
    pub(crate) fn add_usb_device(&mut self, word: &str) -> Result<(), ConfigError> {
        let (_, model) = WORDS.iter().find(|(name, _)| *name == word).ok_or_else(|| {
            ConfigError::value("usbdevice", word, "tablet, mouse or keyboard; no other is built yet")
        })?;
        self.add_usb();
        self.devices.push(DeviceSpec::plain(model));
        Ok(())
    }
}

/// Who only names a device gets a controller too.
pub(super) fn settle(devices: &mut Vec<DeviceSpec>) -> Result<(), ConfigError> {
    let mut asked = false;
    for device in devices.iter() {
        asked |= device.bus.is_none() && device.model()?.bus == BusType::Usb;
    }
    if asked && bus::offered(devices).iter().all(|bus| bus.kind != BusType::Usb) {
        devices.push(controller());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(devices: &[&str]) -> Result<Vec<String>, ConfigError> {
        let devices = devices.iter().map(|text| DeviceSpec::parse(text)).collect::<Result<_, _>>()?;
        let mut config = GuestConfig { devices, ..GuestConfig::default() };
        config.check()?;
        config.check()?;
        let line = |device: &DeviceSpec| {
            let bus = device.bus.as_ref().map_or(String::new(), |bus| format!(" on {bus}"));
            let at = device.devfn().map_or(String::new(), |devfn| format!(" at {devfn}"));
            format!("{}{bus}{at}", device.model)
        };
        Ok(config.devices.iter().map(line).collect())
    }

    #[test]
    fn a_device_gets_a_controller_if_it_needs_one() {
        let alone = ["usb-tablet on usb-bus.0", "piix3-usb-uhci at 10"];
        assert_eq!(checked(&["usb-tablet"]).unwrap(), alone);
        let named = ["usb-tablet on u.0", "piix3-usb-uhci"];
        assert_eq!(checked(&["usb-tablet", "piix3-usb-uhci,id=u"]).unwrap(), named);
        // A companion has no bus of its own, and its master stands before it.
        let error = checked(&["usb-tablet,bus=c.0", "usb-ehci,id=e", "ich9-usb-uhci1,id=c,masterbus=e.0"]);
        assert!(error.unwrap_err().to_string().contains("Bus 'c.0' not found"));
        let error = checked(&["usb-tablet,bus=other.0"]).unwrap_err().to_string();
        assert_eq!(error, "device usb-tablet: Bus 'other.0' not found");
        let error = checked(&["piix3-usb-uhci,id=u", "scsi-cd,bus=u.0"]).unwrap_err().to_string();
        assert!(error.contains("can't go on usb-bus bus"), "{error}");
    }

    #[test]
    fn words_make_devices() {
        let mut config = GuestConfig { devices: Vec::new(), ..GuestConfig::default() };
        config.add_usb();
        config.add_usb_device("tablet").unwrap();
        config.add_usb_device("keyboard").unwrap();
        let models: Vec<&str> = config.devices.iter().map(|device| device.model.as_str()).collect();
        assert_eq!(models, ["piix3-usb-uhci", "usb-tablet", "usb-kbd"]);
        for (version, first, count) in
            [(1, "piix3-usb-uhci", 1), (2, "ich9-usb-ehci1", 4), (3, "nec-usb-xhci", 1)]
        {
            let mut config = GuestConfig { devices: Vec::new(), ..GuestConfig::default() };
            config.add_usb_version(version).unwrap();
            config.check().unwrap();
            assert_eq!((config.devices[0].model.as_str(), config.devices.len()), (first, count));
        }
        let error = config.add_usb_version(4).unwrap_err().to_string();
        assert!(error.contains("1, 2 or 3"), "{error}");
        let error = config.add_usb_device("braille").unwrap_err().to_string();
        assert!(error.contains("tablet, mouse or keyboard"), "{error}");
    }
}
