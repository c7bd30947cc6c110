//! What a guest boots from: what SeaBIOS finds in the clock's RAM and in the file "bootorder".

use devices::storage::drive::{LCYLS, LHEADS, LSECS};
use devices_core::model::{BusType, Category, Property, Value, usb_ports};
use firmware::boot_order as names;

use super::{Machine, disks};
use crate::config::{DeviceSpec, DiskConfig, DiskKind, GuestConfig, bus};

/// The file "bootorder" of a guest whose devices are at their places. Devices with a `bootindex` are what it names, as with
/// QEMU; where there are none, the letters of `boot` do.
pub(super) fn file(config: &GuestConfig, devices: &[DeviceSpec]) -> Vec<u8> {
    let mut named: Vec<(u64, String)> =
        devices.iter().filter_map(|device| by_index(device, devices)).collect();
    named.sort();
    let mut order: Vec<String> = named.into_iter().map(|(_, path)| path).collect();
    let mut ends = config.boot_options.strict;
    if order.is_empty() {
        order = by_letters(config, devices);
        // With a network card the letters tell kinds of devices, and only an order of names can end.
        ends &= !config.boot.contains('n');
    }
    if config.kernel.is_some() {
        order.insert(0, names::kernel());
    }
    names::file(order, ends)
}

/// The file "bios-geometry": the geometry that the firmware is to tell of, of drives of which somebody said it.
pub(super) fn geometry_file(devices: &[DeviceSpec]) -> Vec<u8> {
    let geometry = |spec: &DeviceSpec| {
        let of = |property: Property| match spec.properties.get(property.name) {
            Some(Value::Uint(number)) => *number,
            _ => 0,
        };
        let geometry = [LCYLS, LHEADS, LSECS].map(of);
        if geometry == [0; 3] { None } else { Some((drive(spec, devices)?, geometry)) }
    };
    names::geometry_file(devices.iter().filter_map(geometry))
}

/// The turn of a device that has one, and its name.
fn by_index(spec: &DeviceSpec, devices: &[DeviceSpec]) -> Option<(u64, String)> {
    let Some(Value::Uint(turn)) = spec.properties.get("bootindex") else { return None };
    let model = spec.model().ok()?;
    let name = match (model.category, model.bus) {
        (Category::Network, BusType::Pci) => names::network_card(spec.devfn()?),
        (Category::Storage, _) => drive(spec, devices)?,
        _ => return None,
    };
    Some((*turn, name))
}

/// The firmware's name of a drive.
fn drive(spec: &DeviceSpec, devices: &[DeviceSpec]) -> Option<String> {
    if spec.is_child() {
        let of = |spec: &DeviceSpec| {
            let bus = bus::offered(devices).into_iter().find(|bus| Some(&bus.name) == spec.bus.as_ref());
            devices.get(bus?.of)
        };
        let on = of(spec)?;
        let on_usb = |controller: &DeviceSpec, spec: &DeviceSpec, lun: u64| {
            let ports: Vec<u8> = spec.place().flat_map(usb_ports).collect();
            let (port, hubs) = ports.split_last()?;
            Some(names::usb_disk(controller.devfn()?, hubs, *port, lun))
        };
        return match *spec.place().collect::<Vec<_>>() {
            [_, _, lun] if on.is_child() => on_usb(of(on)?, on, lun),
            [_, target, lun] => Some(names::scsi(on.devfn()?, target, lun)),
            [_] => on_usb(on, spec, 0),
            _ => None,
        };
    }
    match spec.drive_place() {
        Some(place) => Some(names::ide(place / 2, place % 2)),
        None => spec.devfn().filter(|_| spec.has_image()).map(names::virtio_disk),
    }
}

/// Drives in the order that the letters give. Those that are named come before all others, and the letter of a network card
/// means whichever starts: with it the clock's RAM alone tells the order. So it does where the order changes with the first
/// reset.
fn by_letters(config: &GuestConfig, devices: &[DeviceSpec]) -> Vec<String> {
    if config.boot_options.once.is_some() || config.boot.contains('n') {
        return Vec::new();
    }
    let of_kind = |kind: DiskKind| {
        let mut disks: Vec<&DiskConfig> = config.disks.iter().filter(|disk| disk.kind == kind).collect();
        disks.sort_by_key(|disk| (disk.bus, disk.slot));
        let in_drive = |disk: &DiskConfig| {
            let name = disk.name();
            devices.iter().find(|device| device.has_image() && device.drive() == Some(&name))
        };
        let named = |device| drive(device, devices);
        disks.into_iter().filter_map(in_drive).filter_map(named).collect::<Vec<_>>()
    };
    let mut order = Vec::new();
    for letter in config.boot.chars() {
        let kind = match letter {
            'c' => DiskKind::Disk,
            'd' => DiskKind::Cdrom,
            _ => continue,
        };
        order.extend(of_kind(kind));
    }
    order
}

impl Machine {
    /// What is booted from at the next start: with the devices that there are now. An order that was for the first boot
    /// alone is over.
    pub(super) fn renew_boot_order(&self) {
        if let Some(fw_cfg) = &self.fw_cfg {
            // What the reset itself has let go of is taken out after it.
            let mut devices = self.plugged.specs();
            devices.retain(|device| !self.ejected.has(device));
            let mut fw_cfg = fw_cfg.lock();
            fw_cfg.replace(names::FILE, file(&self.config, &devices));
            fw_cfg.replace(names::GEOMETRY_FILE, geometry_file(&devices));
        }
        if let (Some(_), Some(clock)) = (&self.config.boot_options.once, &self.rtc.clock) {
            let mut clock = clock.lock();
            disks::boot_bytes(&self.config, &self.config.boot).for_each(|(at, value)| clock.set(at, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines for a guest with a disk and a CD drive.
    fn lines(change: impl FnOnce(&mut GuestConfig), devices: &[&str]) -> Vec<String> {
        let disks = vec![DiskConfig::new("a"), DiskConfig::cdrom("b")];
        let mut config = GuestConfig { disks, ..GuestConfig::default() };
        change(&mut config);
        config.devices = devices.iter().map(|device| DeviceSpec::parse(device).unwrap()).collect();
        config.check().unwrap();
        let mut file = String::from_utf8(file(&config, &config.devices)).unwrap();
        assert!(file.is_empty() || file.pop() == Some('\0'));
        file.lines().map(str::to_owned).collect()
    }

    const DISK: &str = "/pci@i0cf8/ide@1,1/drive@0/disk@0";
    const CD: &str = "/pci@i0cf8/ide@1,1/drive@1/disk@0";

    #[test]
    fn letters_name_drives() {
        assert_eq!(lines(|guest| guest.boot = "dc".into(), &[]), [CD, DISK]);
        assert_eq!(lines(|guest| guest.boot = "c".into(), &[]), [DISK]);
        let ended = |boot: &'static str| {
            move |guest: &mut GuestConfig| {
                guest.boot = boot.into();
                guest.boot_options.strict = true;
            }
        };
        assert_eq!(lines(ended("c"), &[]), [DISK, "HALT"]);
        // Drives do not come before a network card, nor before what is first only once.
        assert!(lines(ended("nc"), &[]).is_empty());
        assert!(lines(|guest| guest.boot_options.once = Some("n".into()), &[]).is_empty());
    }

    #[test]
    fn units_of_a_controller_are_named_by_their_places() {
        let named = |guest: &mut GuestConfig| guest.disks[0].id = Some("x".into());
        let host = "virtio-scsi-pci,id=s,addr=5.1";
        let unit = "scsi-hd,drive=x,bus=s.0,channel=0,scsi-id=10,lun=300,bootindex=1";
        assert_eq!(lines(named, &[host, unit]), ["/pci@i0cf8/scsi@5,1/channel@0/disk@a,12c"]);
    }

    #[test]
    fn a_disk_on_usb_is_named_by_its_port() {
        let named = |guest: &mut GuestConfig| guest.disks[0].id = Some("x".into());
        let disk = "usb-storage,drive=x,bus=u.0,port=3,bootindex=1";
        let boots = lines(named, &["qemu-xhci,id=u,addr=6", disk]);
        assert_eq!(boots, ["/pci@i0cf8/usb@6/storage@3/channel@0/disk@0,0"]);
        let named = |guest: &mut GuestConfig| guest.disks[0].id = Some("x".into());
        let host = "usb-uas,id=a,bus=u.0,port=2";
        let unit = "scsi-hd,drive=x,bus=a.0,channel=0,scsi-id=0,lun=11,bootindex=1";
        let boots = lines(named, &["qemu-xhci,id=u,addr=6", host, unit]);
        assert_eq!(boots, ["/pci@i0cf8/usb@6/storage@2/channel@0/disk@0,b"]);
    }

    #[test]
    fn a_geometry_for_the_firmware_is_told_of_the_drives_that_have_one() {
        let devices = |texts: &[&str]| -> Vec<DeviceSpec> {
            texts.iter().map(|text| DeviceSpec::parse(text).unwrap()).collect()
        };
        let disk = "ide-hd,drive=x,bus=ide.0,unit=0,lcyls=1000,lheads=16,lsecs=63";
        let file = geometry_file(&devices(&[disk, "virtio-blk-pci,drive=y,addr=3,lsecs=1"]));
        let lines = format!("{DISK} 1000 16 63\n/pci@i0cf8/scsi@3/disk@0,0 0 0 1\0");
        assert_eq!(String::from_utf8(file).unwrap(), lines);
        assert!(geometry_file(&devices(&["ide-hd,drive=x,bus=ide.0,unit=0,lcyls=0"])).is_empty());
    }

    #[test]
    fn a_bootindex_comes_before_letters() {
        let cards = ["e1000,addr=5,bootindex=7", "rtl8139,addr=3.1,bootindex=2", "e1000,addr=6"];
        let first = ["/pci@i0cf8/ethernet@3,1/ethernet-phy@0", "/pci@i0cf8/ethernet@5/ethernet-phy@0"];
        assert_eq!(lines(|guest| guest.boot = "dc".into(), &cards), first);
        let mut ended = first.to_vec();
        ended.push("HALT");
        assert_eq!(lines(|guest| guest.boot_options.strict = true, &cards), ended);
        let named = |guest: &mut GuestConfig| guest.disks[1].id = Some("cd".into());
        let with_cd = lines(named, &["e1000,addr=5,bootindex=1", "ide-cd,drive=cd,bootindex=0"]);
        assert_eq!(with_cd, [CD, first[1]]);
        let kernel = lines(|guest| guest.kernel = Some("k".into()), &cards);
        assert!(kernel[0].starts_with("/rom@genroms/"));
        assert_eq!(kernel[1..], first);
    }
}
