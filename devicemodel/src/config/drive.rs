//! Drives: each is a device of the guest's list, has a place on the IDE controller or is a PCI function of its own, and
//! names the image that is in it.

use std::collections::BTreeMap;

use devices::models;
use devices::storage::drive::DRIVE;
use devices::storage::ide::model as ide;
use devices::storage::pflash::model as pflash;
use devices::storage::scsi::model as scsi;
use devices::virtio::blk::model as virtio_blk;
use devices::virtio::scsi::model as virtio_scsi;
use devices_core::model::{BusType, Model, Value};

use super::disk::{DiskBus, DiskConfig, DiskKind, place};
use super::{ConfigError, DeviceSpec, GuestConfig, bus};

impl DeviceSpec {
    /// Whether it is a drive on the IDE controller.
    pub(crate) fn is_drive(&self) -> bool {
        models::find(&self.model).is_some_and(|model| model.bus == BusType::Ide)
    }

    /// Whether it is one of the machine's chips of flash memory.
    pub(crate) fn is_flash(&self) -> bool {
        self.model == pflash::MODEL.name
    }

    /// Whether an image is in it.
    pub(crate) fn has_image(&self) -> bool {
        models::find(&self.model).is_some_and(|model| model.property(DRIVE.name).is_some())
    }

    /// The drive of an image that nobody made one for.
    pub(crate) fn of_disk(disk: &DiskConfig) -> DeviceSpec {
        let model = match (disk.bus, disk.kind) {
            (DiskBus::Virtio, _) => &virtio_blk::MODEL,
            (DiskBus::Flash, _) => &pflash::MODEL,
            (DiskBus::Ide, DiskKind::Disk) => &ide::DISK,
            (DiskBus::Ide, DiskKind::Cdrom) => &ide::CD,
            (DiskBus::Scsi, DiskKind::Disk) => &scsi::DISK,
            (DiskBus::Scsi, DiskKind::Cdrom) => &scsi::CD,
        };
        DeviceSpec::plain(model)
    }

    /// The id of what is in it.
    pub(crate) fn drive(&self) -> Option<&str> {
        match self.properties.get("drive") {
            Some(Value::Text(name)) => Some(name),
            _ => None,
        }
    }

    /// A device of that model with nothing set on it.
    pub(crate) fn plain(model: &Model) -> DeviceSpec {
        DeviceSpec { model: model.name.to_owned(), id: None, bus: None, properties: BTreeMap::new() }
    }

    /// What kind of image is in it.
    pub(crate) fn kind(&self) -> DiskKind {
        let is_cd = [ide::CD.name, scsi::CD.name].contains(&self.model.as_str());
        if is_cd { DiskKind::Cdrom } else { DiskKind::Disk }
    }

    /// Places that would do, the first choice first; none: any.
    fn wanted(&self) -> Result<Vec<u8>, ConfigError> {
        let channel = match self.bus.as_deref() {
            None => None,
            Some("ide.0") => Some(0),
            Some("ide.1") => Some(1),
            Some(bus) => return Err(ConfigError::Invalid(format!("Bus '{bus}' not found"))),
        };
        let unit = match self.properties.get("unit") {
            None => None,
            Some(Value::Uint(unit @ 0..=1)) => Some(*unit as u8),
            Some(Value::Uint(unit)) => {
                let why = format!("Can't create IDE unit {unit}, bus supports only 2 units");
                return Err(ConfigError::Invalid(why));
            }
            Some(_) => return Err(ConfigError::Invalid("Parameter 'unit' expects integer".into())),
        };
        Ok(match (channel, unit) {
            (None, None) => Vec::new(),
            (channel, Some(unit)) => vec![2 * channel.unwrap_or(0) + unit],
            (Some(channel), None) => vec![2 * channel, 2 * channel + 1],
        })
    }

    /// Its place, 0 to 3, once it has one.
    pub(crate) fn drive_place(&self) -> Option<u8> {
        let wanted = self.is_drive().then(|| self.wanted().ok()).flatten()?;
        wanted.first().copied().filter(|_| wanted.len() == 1)
    }
}

impl GuestConfig {
    /// The drive that an image is in.
    pub(crate) fn drive_of(&self, disk: &DiskConfig) -> Option<&DeviceSpec> {
        let name = disk.name();
        self.devices.iter().find(|device| device.has_image() && device.drive() == Some(&name))
    }
}

/// Finds the image of each drive, makes a drive for every image that has none, and gives each a place.
pub(super) fn settle(disks: &mut Vec<DiskConfig>, devices: &mut Vec<DeviceSpec>) -> Result<(), ConfigError> {
    let mut of = Vec::new();
    for (at, device) in devices.iter().enumerate().filter(|(_, device)| device.has_image()) {
        let disk = image(device, disks)?;
        if of.iter().any(|(_, other)| *other == disk) {
            let name = device.drive().unwrap_or_default();
            return Err(ConfigError::Invalid(format!("Drive '{name}' is already in use by another device")));
        }
        of.push((at, disk));
    }
    // Those that name one place first, so that nobody else takes it.
    let mut wants = Vec::new();
    for (at, disk) in of.iter().filter(|(at, _)| devices[*at].is_drive()) {
        wants.push((devices[*at].wanted()?, disk));
    }
    wants.sort_by_key(|(wanted, _)| wanted.len());
    for (wanted, disk) in wants {
        // Where it is already counts, when a configuration is looked at again.
        if wanted.is_empty() || disks[*disk].slot.is_some_and(|slot| wanted.contains(&slot)) {
            continue;
        }
        let free = |place: &&u8| disks.iter().all(|disk| disk.ide_place() != Some(**place));
        disks[*disk].slot = wanted.iter().find(free).or(wanted.first()).copied();
    }
    place(disks)?;
    // Who only names an image gets a controller too.
    let mut needs_scsi = false;
    for (number, disk) in disks.iter().enumerate() {
        if of.iter().all(|(_, other)| *other != number) {
            of.push((devices.len(), number));
            devices.push(DeviceSpec::of_disk(disk));
            needs_scsi |= disk.bus == DiskBus::Scsi;
        }
    }
    let is_host = |bus: &bus::OfferedBus| bus.kind == BusType::Scsi && !devices[bus.of].is_child();
    if needs_scsi && !bus::offered(devices).iter().any(is_host) {
        devices.push(DeviceSpec::plain(&virtio_scsi::MODEL));
    }
    for (at, disk) in of {
        let (device, disk) = (&mut devices[at], &disks[disk]);
        device.properties.insert(DRIVE.name.into(), Value::Text(disk.name()));
        if let Some(place) = disk.ide_place() {
            device.bus = Some(format!("ide.{}", place / 2));
            device.properties.insert("unit".into(), Value::Uint((place % 2).into()));
        }
        let flash = disk.slot.filter(|_| disk.bus == DiskBus::Flash).map(usize::from);
        if let Some(name) = flash.and_then(|slot| pflash::NAMES.get(slot)) {
            device.properties.insert(pflash::NAME.name.into(), Value::Text((*name).into()));
        }
    }
    Ok(())
}

/// Which image is in a drive; an empty CD drive gets one that is none.
fn image(device: &DeviceSpec, disks: &mut Vec<DiskConfig>) -> Result<usize, ConfigError> {
    let invalid = |why: String| ConfigError::Invalid(format!("device {}: {why}", device.model));
    let at = match (device.drive(), device.kind()) {
        (None, DiskKind::Disk) => return Err(invalid("a disk needs drive=".into())),
        (None, DiskKind::Cdrom) => {
            disks.push(DiskConfig { path: None, ..DiskConfig::cdrom("") });
            disks.len() - 1
        }
        (Some(name), _) => {
            let called = |disk: &DiskConfig| disk.name() == name;
            let at = disks.iter().position(called);
            at.ok_or_else(|| invalid(format!("there is no drive '{name}'")))?
        }
    };
    let disk = &mut disks[at];
    disk.kind = device.kind();
    disk.bus = match device.model()?.bus {
        BusType::Ide => DiskBus::Ide,
        BusType::Scsi => DiskBus::Scsi,
        BusType::System => DiskBus::Flash,
        _ => DiskBus::Virtio,
    };
    match disk.kind {
        DiskKind::Disk if disk.path.is_none() => {
            Err(invalid("Device needs media, but drive is empty".into()))
        }
        DiskKind::Disk => Ok(at),
        DiskKind::Cdrom => {
            disk.readonly = true;
            Ok(at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(disks: &[&str], devices: &[&str]) -> Result<GuestConfig, ConfigError> {
        let disks = disks.iter().map(|disk| DiskConfig::parse(disk)).collect::<Result<_, _>>()?;
        let devices = devices.iter().map(|device| DeviceSpec::parse(device)).collect::<Result<_, _>>()?;
        let mut config = GuestConfig { disks, devices, ..GuestConfig::default() };
        config.check()?;
        // Once more changes nothing: what was saved is read again.
        let again = config.clone();
        config.check()?;
        assert_eq!(config, again);
        Ok(config)
    }

    fn drives(config: &GuestConfig) -> Vec<(&str, Option<&str>, Option<u8>)> {
        let drives = config.devices.iter().filter(|device| device.is_drive());
        drives.map(|device| (device.model.as_str(), device.drive(), device.drive_place())).collect()
    }

    #[test]
    fn every_image_has_a_drive_and_every_drive_a_place() {
        let plain = settled(&["a", "b,unit=2"], &[]).unwrap();
        assert_eq!(
            drives(&plain),
            [("ide-hd", Some("ide0-hd0"), Some(0)), ("ide-hd", Some("ide1-hd0"), Some(2))]
        );
        let named = settled(
            &["a,id=x", "b", "c,id=y"],
            &["ide-cd,drive=y,bus=ide.0", "ide-hd,drive=x,unit=0,serial=1", "ide-cd"],
        );
        let named = named.unwrap();
        let expected = [
            ("ide-cd", Some("y"), Some(1)),
            ("ide-hd", Some("x"), Some(0)),
            ("ide-cd", Some("ide1-cd1"), Some(3)),
            ("ide-hd", Some("ide1-hd0"), Some(2)),
        ];
        assert_eq!(drives(&named), expected);
        assert!(named.disks[2].readonly, "a disc");
        assert_eq!(named.drive_of(&named.disks[0]).unwrap().properties["serial"], Value::Text("1".into()));
    }

    #[test]
    fn a_virtio_disk_takes_no_place_of_the_ide_controllers() {
        let named = settled(
            &["a", "b,bus=virtio", "c,id=x", "d,bus=virtio,unit=0", "e"],
            &["virtio-blk-pci,drive=x,serial=1"],
        );
        let named = named.unwrap();
        let places: Vec<String> = named.disks.iter().map(DiskConfig::place_name).collect();
        assert_eq!(places, ["ide0-hd0", "virtio1", "virtio2", "virtio0", "ide0-hd1"]);
        let virtio = named.devices.iter().filter(|device| device.model == virtio_blk::MODEL.name);
        let images: Vec<_> = virtio.map(DeviceSpec::drive).collect();
        assert_eq!(images, [Some("x"), Some("virtio1"), Some("virtio0")]);
    }

    #[test]
    fn a_drive_on_scsi_gets_a_controller_if_it_needs_one() {
        let named = settled(&["a,bus=scsi", "b", "c,bus=scsi,unit=3"], &[]).unwrap();
        let places: Vec<String> = named.disks.iter().map(DiskConfig::place_name).collect();
        assert_eq!(places, ["scsi0-hd0", "ide0-hd0", "scsi0-hd3"]);
        let all: Vec<_> =
            named.devices.iter().map(|device| (device.model.as_str(), device.bus.as_deref())).collect();
        let expected = [
            ("scsi-hd", Some("scsi.0")),
            ("ide-hd", Some("ide.0")),
            ("scsi-hd", Some("scsi.0")),
            ("virtio-scsi-pci", None),
        ];
        assert_eq!(all, expected);
        let given = settled(
            &["a,id=x", "b,bus=scsi"],
            &["virtio-scsi-pci,id=s", "scsi-hd,drive=x,bus=s.0,scsi-id=3", "scsi-cd"],
        );
        let given = given.unwrap();
        assert_eq!(given.devices.iter().filter(|device| device.model == "virtio-scsi-pci").count(), 1);
        let buses: Vec<_> = given.devices.iter().filter_map(|device| device.bus.as_deref()).collect();
        assert_eq!(buses, ["s.0"; 3]);
        assert_eq!(given.disks.last().unwrap().place_name(), "scsi0-cd2");
    }

    #[test]
    fn drives_that_cannot_be_are_refused() {
        let refusal = |disks: &[&str], devices: &[&str]| settled(disks, devices).unwrap_err().to_string();
        assert_eq!(refusal(&[], &["ide-hd,drive=x"]), "device ide-hd: there is no drive 'x'");
        assert_eq!(refusal(&[], &["ide-hd"]), "device ide-hd: a disk needs drive=");
        let twice = refusal(&["a,id=x"], &["ide-hd,drive=x", "ide-hd,drive=x"]);
        assert_eq!(twice, "Drive 'x' is already in use by another device");
        let unit = refusal(&[], &["ide-cd,unit=2"]);
        assert_eq!(unit, "Can't create IDE unit 2, bus supports only 2 units");
        assert!(refusal(&[], &["ide-cd,bus=ide.2"]).contains("Bus 'ide.2' not found"));
        assert!(refusal(&[], &["ide-cd,unit=0", "ide-cd,unit=0"]).contains("two disks ask for IDE place 0"));
        assert!(refusal(&[], &["ide-cd"; 5]).contains("four drives"));
        let shared = refusal(&["a,id=x"], &["virtio-blk-pci,drive=x", "ide-hd,drive=x"]);
        assert_eq!(shared, "Drive 'x' is already in use by another device");
        assert!(refusal(&["a,bus=virtio,unit=1"; 2], &[]).contains("two virtio disks"));
        assert!(refusal(&["a,bus=scsi,unit=1"; 2], &[]).contains("two SCSI disks"));
        let nowhere = refusal(&["a,id=x"], &["scsi-hd,drive=x"]);
        assert_eq!(nowhere, "device scsi-hd: No 'SCSI' bus found for device 'scsi-hd'");
        assert!(refusal(&[], &["virtio-blk-pci"]).contains("a disk needs drive="));
        let turn = refusal(&["a,id=x"], &["ide-hd,drive=x,bootindex=1", "e1000,bootindex=1"]);
        assert_eq!(turn, "The bootindex 1 has already been used");
    }
}
