//! USB: the controller beside the PIIX3, and what comes and goes on its ports.

use super::*;
use crate::config::{DiskBus, DiskConfig};

const PLACE: u64 = 1 << 3 | 2;

fn controller() -> DeviceSpec {
    spec("piix3-usb-uhci", Some("u"), &[("addr", PLACE)])
}

/// The status of both ports, as the guest reads it.
fn ports(machine: &Machine) -> [u16; 2] {
    let mut view = machine.bus().view();
    let mut config = |register: u32, value: u32| {
        let function = 0x8000_0000 | (PLACE as u32) << 8 | register;
        view.write(Space::Pio, 0xcf8, &function.to_le_bytes());
        view.write(Space::Pio, 0xcfc, &value.to_le_bytes());
    };
    config(0x20, 0xc040);
    config(0x04, 5);
    [0xc050, 0xc052].map(|port| {
        let mut data = [0; 2];
        view.read(Space::Pio, port, &mut data);
        u16::from_le_bytes(data)
    })
}

#[test]
fn a_tablet_comes_and_goes_at_once() {
    let machine = built(vec![controller()]).unwrap();
    assert_eq!(ports(&machine), [0x80, 0x80]);
    machine.add_device(spec("usb-tablet", Some("t"), &[("port", 2)])).unwrap();
    assert_eq!(ports(&machine), [0x80, 0x83]);
    let mice = |machine: &Machine| -> Vec<(&'static str, bool, bool)> {
        let mice = machine.inputs().mice();
        mice.iter().map(|mouse| (mouse.name, mouse.current, mouse.absolute)).collect()
    };
    let with = [("QEMU PS/2 Mouse", true, false), ("QEMU HID Tablet", false, true)];
    assert_eq!(mice(&machine), with, "no guest listens to it");
    // It is saved with the guest, at its port.
    let machine = moved(&machine);
    assert_eq!((ports(&machine), mice(&machine)), ([0x80, 0x83], with.to_vec()));
    machine.add_device(spec("usb-kbd", None, &[])).unwrap();
    let port = |kind: &str| {
        let devices = machine.devices();
        let device = devices.iter().find(|device| device.kind == kind)?;
        let port = device.properties.iter().find(|(name, ..)| *name == "port")?;
        Some(port.2.as_str()?.to_owned())
    };
    // The last port has a hub, which nobody asked for, as with QEMU.
    let ports_of = |kinds: [&str; 3]| kinds.map(|kind| port(kind).unwrap_or_default());
    assert_eq!(ports_of(["usb-tablet", "usb-hub", "usb-kbd"]), ["2", "1", "1.1"]);
    let taken = machine.add_device(spec("usb-mouse", None, &[("port", 2)])).unwrap_err().to_string();
    assert!(taken.contains("usb port 2 not found (in use?)"), "{taken}");
    machine.request_unplug("t").unwrap().unwrap();
    assert_eq!(machine.take_ejected(), [(Some("t".into()), "/machine/peripheral/t".into())]);
    assert_eq!((ports(&machine)[1], mice(&machine).len()), (0x82, 1));
}

#[test]
fn what_is_behind_a_hub_comes_and_goes() {
    let machine = built(vec![controller()]).unwrap();
    let at = |kind: &str, id: &str, port: u64| spec(kind, Some(id), &[("port", port)]);
    machine.add_device(at("usb-hub", "h", 1)).unwrap();
    machine.add_device(at("usb-hub", "g", 0x301)).unwrap();
    machine.add_device(at("usb-tablet", "t", 0x8_0301)).unwrap();
    machine.add_device(at("usb-mouse", "m", 2)).unwrap();
    let taken = machine.add_device(at("usb-kbd", "k", 0x8_0301)).unwrap_err().to_string();
    assert!(taken.contains("usb port 1.3.8 not found (in use?)"), "{taken}");
    // Both are saved with the guest, where they are.
    let machine = moved(&machine);
    let full = Some(devices::usb::Speed::Full);
    let speeds = |machine: &Machine| -> Vec<_> {
        let devices = machine.devices().into_iter();
        devices.filter_map(|device| Some((device.kind, device.speed?))).map(|(kind, _)| kind).collect()
    };
    assert_eq!(speeds(&machine), ["usb-hub", "usb-hub", "usb-tablet", "usb-mouse"]);
    let devices = machine.devices();
    assert_eq!(devices.iter().find(|device| device.kind == "usb-tablet").unwrap().speed, full);
    // Five hubs may stand one behind the other.
    for (n, port) in [0x3_0301, 0x303_0301, 0x3_0303_0301].into_iter().enumerate() {
        machine.add_device(at("usb-hub", &format!("n{n}"), port)).unwrap();
    }
    let deep = machine.add_device(at("usb-hub", "n3", 0x0303_0303_0301)).unwrap_err().to_string();
    assert!(deep.contains("usb hub chain too deep"), "{deep}");
    machine.add_device(at("usb-kbd", "k", 0x0803_0303_0301)).unwrap();
    // What is behind a hub goes with it.
    machine.request_unplug("g").unwrap().unwrap();
    let mut gone: Vec<_> = machine.take_ejected().into_iter().map(|(id, _)| id.unwrap()).collect();
    gone.sort();
    assert_eq!(gone, ["g", "k", "n0", "n1", "n2", "t"]);
    assert_eq!(speeds(&machine), ["usb-hub", "usb-mouse"]);
    machine.add_device(at("usb-tablet", "t", 0x301)).unwrap();
}

#[test]
fn a_device_needs_a_bus() {
    let machine = built(Vec::new()).unwrap();
    let refused = machine.add_device(spec("usb-tablet", None, &[])).unwrap_err().to_string();
    assert_eq!(refused, "device usb-tablet: No 'usb-bus' bus found for device 'usb-tablet'");
}

#[test]
fn what_shares_the_piix3s_slot_stays() {
    let machine = built(vec![controller()]).unwrap();
    assert_eq!(hotplug(&machine, 0xc, None), 0);
    let refused = machine.request_unplug("u").unwrap().unwrap_err().to_string();
    assert_eq!(refused, "Device 'piix3-usb-uhci' does not support hotplugging");
    hotplug(&machine, 8, Some(1 << 1));
    assert!(machine.take_ejected().is_empty());
    assert_eq!(ports(&machine), [0x80, 0x80]);
    // One in a slot of its own comes and goes with what hangs on it.
    machine.add_device(spec("piix3-usb-uhci", Some("v"), &[])).unwrap();
    let mut tablet = spec("usb-tablet", Some("t"), &[]);
    tablet.bus = Some("v.0".into());
    machine.add_device(tablet).unwrap();
    machine.request_unplug("v").unwrap().unwrap();
    hotplug(&machine, 8, Some(1 << 2));
    let mut gone: Vec<_> = machine.take_ejected().into_iter().map(|(id, _)| id.unwrap()).collect();
    gone.sort();
    assert_eq!(gone, ["t", "v"]);
    assert_eq!(machine.inputs().mice().len(), 1);
}

#[test]
fn companions_share_the_ports_of_their_master() {
    let mut config = GuestConfig { memory_mib: 2, devices: Vec::new(), ..GuestConfig::default() };
    config.add_usb_version(2).unwrap();
    let mut slow = spec("usb-mouse", Some("m"), &[("usb_version", 1), ("port", 3)]);
    slow.bus = Some("usb.0".into());
    config.devices.extend([slow, spec("usb-tablet", Some("t"), &[])]);
    config.check().unwrap();
    let machine = built_of(Capabilities::default(), config).unwrap();
    let speed = |machine: &Machine, of: &str| {
        machine.devices().into_iter().find(|device| device.path.ends_with(of)).unwrap().speed
    };
    // Nobody has configured the EHCI so far: all are the companions'.
    let full = Some(devices::usb::Speed::Full);
    assert_eq!(["/t", "/m"].map(|of| speed(&machine, of)), [full; 2]);
    let machine = moved(&machine);
    assert_eq!(["/t", "/m"].map(|of| speed(&machine, of)), [full; 2]);
    machine.request_unplug("m").unwrap().unwrap();
    let refused = machine.add_device(spec("ich9-usb-uhci4", None, &[])).unwrap_err().to_string();
    assert_eq!(refused, "Device 'ich9-usb-uhci4' does not support hotplugging");
    // A master that is not there, and ports that are taken.
    let master = |name: &str| {
        let mut companion = spec("ich9-usb-uhci4", None, &[]);
        companion.properties.insert("masterbus".into(), Value::Text(name.into()));
        companion
    };
    let refused = built(vec![master("usb.0")]).err().unwrap().to_string();
    assert!(refused.contains("USB bus 'usb.0' not found"), "{refused}");
    let ehci = spec("usb-ehci", Some("e"), &[]);
    let refused = built(vec![ehci, master("e.0"), master("e.0")]).err().unwrap().to_string();
    assert!(refused.contains("ports 0 to 2 of masterbus are not free"), "{refused}");
    let refused = built(vec![controller(), master("u.0")]).err().unwrap().to_string();
    assert!(refused.contains("takes no companion controllers"), "{refused}");
}

/// Units hang on the bus of a device that hangs on the controller's.
#[test]
fn units_of_a_device_on_usb_come_and_go_with_it() {
    let on = |bus: &str, mut spec: DeviceSpec| {
        spec.bus = Some(bus.into());
        spec
    };
    let cd = |id: &str, lun: u64| on("a.0", spec("scsi-cd", Some(id), &[("scsi-id", 0), ("lun", lun)]));
    let fast = |id: &str| spec("qemu-xhci", Some(id), &[]);
    // In whatever order they are said.
    let mut config = GuestConfig { memory_mib: 2, ..GuestConfig::default() };
    config.devices = vec![cd("c", 3), on("x.0", spec("usb-uas", Some("a"), &[])), fast("x")];
    config.check().unwrap();
    let machine = built_of(Capabilities::default(), config).unwrap();
    machine.add_device(cd("d", 255)).unwrap();
    let machine = moved(&machine);
    let refused = |spec| machine.add_device(spec).unwrap_err().to_string();
    assert!(refused(cd("e", 256)).ends_with("bad scsi device lun: 256"));
    let other = on("a.0", spec("scsi-cd", Some("e"), &[("scsi-id", 1)]));
    assert!(refused(other).ends_with("bad scsi device id: 1"));
    machine.add_device(on("a.0", spec("scsi-cd", Some("e"), &[]))).unwrap();
    assert!(refused(on("a.0", spec("scsi-cd", None, &[]))).ends_with("no free target"));
    let names = |machine: &Machine| machine.blocks().into_iter().map(|block| block.qdev).collect::<Vec<_>>();
    assert_eq!(names(&machine), ["c", "d", "e"]);
    let gone =
        |machine: &Machine| machine.take_ejected().into_iter().map(|(id, _)| id.unwrap()).collect::<Vec<_>>();
    machine.request_unplug("d").unwrap().unwrap();
    assert_eq!(gone(&machine), ["d"]);
    machine.request_unplug("a").unwrap().unwrap();
    assert_eq!(gone(&machine), ["c", "e", "a"]);
    assert!(machine.blocks().is_empty());
    assert!(refused(cd("c", 0)).contains("Bus 'a.0' not found"));
    // With the controller goes all that is behind it.
    machine.add_device(on("x.0", spec("usb-uas", Some("a"), &[]))).unwrap();
    machine.add_device(cd("c", 0)).unwrap();
    // One that comes while the guest runs waits for its units, and its port with it.
    let speed = |machine: &Machine| {
        let devices = machine.devices();
        devices.into_iter().find(|device| device.path.ends_with("/a")).unwrap().speed
    };
    let machine = moved(&machine);
    assert_eq!(speed(&machine), None);
    let other = on("x.0", spec("usb-tablet", None, &[("port", 1)]));
    assert!(
        machine.add_device(other.clone()).unwrap_err().to_string().contains("port 1 not found (in use?)")
    );
    machine.set_attached("/machine/peripheral/a", false).unwrap();
    machine.set_attached("/machine/peripheral/a", true).unwrap();
    let machine = moved(&machine);
    assert_eq!(speed(&machine), Some(devices::usb::Speed::High));
    machine.set_attached("/machine/peripheral/a", true).unwrap();
    let refused = |done: Result<(), BuildError>| done.unwrap_err().to_string();
    assert!(refused(machine.set_attached("/machine/peripheral/a", false)).contains("device_del"));
    assert!(refused(machine.set_attached("/machine/peripheral/b", true)).contains("not found"));
    // One that never was there leaves its port, too.
    machine.add_device(on("x.0", spec("usb-uas", Some("b"), &[("port", 3)]))).unwrap();
    machine.request_unplug("b").unwrap().unwrap();
    assert_eq!(gone(&machine), ["b"]);
    machine.add_device(on("x.0", spec("usb-tablet", None, &[("port", 3)]))).unwrap();
    machine.request_unplug("x").unwrap().unwrap();
    hotplug(&machine, 8, Some(1 << 2));
    let mut all = machine.take_ejected();
    all.retain(|(id, _)| id.is_some());
    let all: Vec<String> = all.into_iter().filter_map(|(id, _)| id).collect();
    assert_eq!(all, ["c", "a", "x"]);
    // A controller of full speed has none for it.
    let slow = built(vec![controller(), on("u.0", spec("usb-uas", None, &[]))]).err().unwrap().to_string();
    assert!(slow.contains("speed mismatch trying to attach usb device \"USB Attached SCSI HBA\""), "{slow}");
    // A disk that only its image names is on a controller of its own.
    let mut config = GuestConfig { memory_mib: 2, ..GuestConfig::default() };
    config.devices = vec![fast("x"), on("x.0", spec("usb-uas", Some("a"), &[]))];
    config.disks = vec![DiskConfig { bus: DiskBus::Scsi, ..DiskConfig::new("p") }];
    config.check().unwrap();
    assert!(config.devices.iter().any(|device| device.model == "virtio-scsi-pci"));
}
