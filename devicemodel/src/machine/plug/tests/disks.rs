//! Drives that come and go.

use std::fs::File;
use std::path::{Path, PathBuf};

use backends::image::{Format, Image, ImageOptions};

use super::*;
use crate::config::{DiskBus, DiskConfig};
use crate::monitor::info::{NewDrive, NewNode, NewNodeKind, Source};

fn image(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    path
}

fn add_node(machine: &Machine, name: &str, path: &Path) -> Result<(), String> {
    let kind = NewNodeKind::Format("raw".into(), Source::Path(path.into()));
    let node = NewNode { name: name.into(), kind, readonly: false };
    machine.add_node(node).map_err(|error| error.desc)
}

fn drive(model: &str, id: &str, node: &str) -> DeviceSpec {
    let mut spec = spec(model, Some(id), &[]);
    spec.properties.insert("drive".into(), Value::Text(node.into()));
    spec
}

/// Whether somebody may write to an image.
fn is_free(path: &Path) -> bool {
    Image::open(&ImageOptions::new(path, Format::Raw)).is_ok()
}

fn eject(machine: &Machine, slot: u8) -> Vec<String> {
    hotplug(machine, 8, Some(1 << slot));
    machine.take_ejected().into_iter().filter_map(|(id, _)| id).collect()
}

#[test]
fn a_virtio_disk_has_its_node_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "a");
    let machine = built(Vec::new()).unwrap();
    add_node(&machine, "n", &path).unwrap();
    machine.add_device(drive("virtio-blk-pci", "d", "n")).unwrap();
    assert_eq!(functions(&machine)[&2], (0x1af4, "d".into()));
    let [block] = <[_; 1]>::try_from(machine.blocks()).unwrap();
    assert_eq!((block.device.as_str(), block.qdev.as_str()), ("", "/machine/peripheral/d/virtio-backend"));
    assert_eq!(block.medium.unwrap().name, "n");
    assert!(!is_free(&path));

    let again = machine.add_device(drive("virtio-blk-pci", "e", "n")).unwrap_err().to_string();
    assert_eq!(again, "Drive 'n' is already in use by another device");
    assert_eq!(machine.remove_node("n").unwrap_err().desc, "Node n is in use");
    machine.request_unplug("d").unwrap().unwrap();
    assert!(!is_free(&path), "the guest has it still");
    assert_eq!(eject(&machine, 2), ["d"]);
    assert!(machine.blocks().is_empty());
    // It may come again, on another bus.
    machine.add_device(spec("virtio-scsi-pci", Some("s"), &[])).unwrap();
    machine.add_device(drive("scsi-hd", "d", "n")).unwrap();
    assert_eq!(machine.blocks()[0].qdev, "d");
    // The controller takes what hangs on it along.
    machine.request_unplug("s").unwrap().unwrap();
    assert_eq!(eject(&machine, 2), ["d", "s"]);
    machine.remove_node("n").unwrap();
    assert!(is_free(&path));
}

fn add_drive(machine: &Machine, name: &str, path: Option<&Path>) -> Result<(), String> {
    let image = path.map(|path| ("raw".into(), Source::Path(path.into())));
    let drive = NewDrive { name: name.into(), image, readonly: false };
    machine.add_drive(drive).map_err(|error| error.desc)
}

/// Names of the drives, and whether there is something in each.
fn drives(machine: &Machine) -> Vec<(String, bool)> {
    machine.blocks().into_iter().map(|block| (block.device, block.medium.is_some())).collect()
}

#[test]
fn a_drive_waits_for_a_device_and_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "a");
    let machine = built(Vec::new()).unwrap();
    add_drive(&machine, "e", None).unwrap();
    add_drive(&machine, "d", Some(&path)).unwrap();
    assert_eq!(drives(&machine), [("d".into(), true), ("e".into(), false)]);
    assert_eq!(add_drive(&machine, "e", None).unwrap_err(), "Duplicate ID 'e' for drive");
    assert!(add_node(&machine, "e", &path).unwrap_err().contains("conflicting with a device id"));
    assert!(machine.nodes().iter().all(|node| node.name != "d"), "a drive is no node");
    let empty = machine.add_device(drive("virtio-blk-pci", "v", "e")).unwrap_err().to_string();
    assert_eq!(empty, "Device needs media, but drive is empty");
    machine.delete_drive("e").unwrap();
    add_drive(&machine, "e", None).unwrap();

    machine.add_device(drive("virtio-blk-pci", "v", "d")).unwrap();
    assert_eq!(drives(&machine), [("d".into(), true), ("e".into(), false)]);
    machine.request_unplug("v").unwrap().unwrap();
    assert_eq!(eject(&machine, 2), ["v"]);
    assert_eq!(drives(&machine), [("e".into(), false)]);
    assert!(is_free(&path));
    // A CD drive may be empty.
    machine.add_device(spec("virtio-scsi-pci", Some("s"), &[])).unwrap();
    machine.add_device(drive("scsi-cd", "c", "e")).unwrap();
    assert_eq!(drives(&machine), [("e".into(), false)]);
    assert_eq!(machine.delete_drive("x").unwrap_err().desc, "Device 'x' not found");
}

#[test]
fn a_disk_whose_drive_was_taken_away_is_there_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "a");
    let machine = built(vec![spec("virtio-scsi-pci", Some("s"), &[])]).unwrap();
    add_drive(&machine, "d", Some(&path)).unwrap();
    machine.add_device(drive("scsi-hd", "h", "d")).unwrap();
    machine.delete_drive("d").unwrap();
    assert!(is_free(&path), "it is closed");
    assert_eq!(drives(&machine), [(String::new(), false)]);
    assert_eq!(machine.delete_drive("d").unwrap_err().desc, "Device 'd' not found");
    machine.pause();
    let saved = machine.rest().quiesce(std::time::Duration::from_secs(30), &|| false);
    assert!(saved.unwrap_err().to_string().starts_with("disk d was taken away"));
    machine.request_unplug("h").unwrap().unwrap();
    assert_eq!(machine.take_ejected()[0].0.as_deref(), Some("h"));
    assert!(drives(&machine).is_empty());
    // A node is not taken away.
    add_node(&machine, "n", &path).unwrap();
    machine.add_device(drive("scsi-hd", "h", "n")).unwrap();
    assert_eq!(machine.delete_drive("").unwrap_err().desc, "Device '' not found");
    let refused = machine.delete_drive("n").unwrap_err().desc;
    assert_eq!(refused, "Deleting device added with blockdev-add is not supported");
}

#[test]
fn zeros_are_a_disk() {
    let machine = built(vec![spec("virtio-scsi-pci", Some("s"), &[])]).unwrap();
    add_node(&machine, "n", Path::new("null-co://")).unwrap();
    machine.add_device(drive("scsi-hd", "h", "n")).unwrap();
    let medium = machine.blocks()[0].medium.clone().unwrap();
    assert_eq!((medium.file.as_str(), medium.size), ("null-co://", 1 << 30));
    let moved = moved(&machine);
    assert_eq!(moved.blocks()[0].medium.as_ref().unwrap().size, 1 << 30);
}

#[test]
fn a_cd_drive_that_was_plugged_has_a_tray() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "cd");
    let machine = built(vec![spec("virtio-scsi-pci", Some("s"), &[])]).unwrap();
    machine.add_device(spec("scsi-cd", Some("c"), &[])).unwrap();
    machine.add_device(spec("scsi-cd", Some("e"), &[])).unwrap();
    let names = |machine: &Machine| machine.blocks().into_iter().map(|block| block.qdev).collect::<Vec<_>>();
    assert_eq!(names(&machine), ["c", "e"]);
    add_node(&machine, "n", &path).unwrap();
    machine.open_tray("c", false).unwrap();
    machine.insert_medium("c", "n").unwrap();
    machine.close_tray("c").unwrap();
    assert_eq!(machine.remove_node("n").unwrap_err().desc, "Node n is in use");
    let medium = machine.blocks()[0].medium.clone().unwrap();
    assert_eq!(medium.name, "n");

    // Saved with what lies in it.
    let moved = moved(&machine);
    assert_eq!(names(&moved), ["c", "e"]);
    let media = moved.blocks().into_iter().map(|block| block.medium.map(|medium| medium.file));
    assert_eq!(media.collect::<Vec<_>>(), [Some(path.display().to_string()), None]);
    drop(moved);

    machine.request_unplug("c").unwrap().unwrap();
    assert_eq!(machine.take_ejected()[0].0.as_deref(), Some("c"));
    machine.remove_node("n").unwrap();
    assert_eq!(machine.open_tray("c", false).unwrap_err().desc, "Device 'c' not found");
}

#[test]
fn a_guest_with_a_plugged_disk_is_made_again_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "a");
    let machine = built(Vec::new()).unwrap();
    add_node(&machine, "n", &path).unwrap();
    machine.add_device(drive("virtio-blk-pci", "d", "n")).unwrap();
    let before = (functions(&machine), machine.plugged.specs());
    machine.pause();
    let rest = machine.rest();
    rest.quiesce(std::time::Duration::from_secs(30), &|| false).unwrap();
    rest.lend_images().unwrap();
    let moved = moved(&machine);
    drop(machine);
    assert_eq!((functions(&moved), moved.plugged.specs()), before);
    assert_eq!(moved.blocks()[0].device, "n");
    assert!(add_node(&moved, "n", &path).unwrap_err().contains("conflicting with a device id"));
    moved.request_unplug("d").unwrap().unwrap();
    assert_eq!(eject(&moved, 2), ["d"]);
    assert!(is_free(&path));
}

#[test]
fn a_drive_that_cannot_be_plugged_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "a");
    let machine = built(Vec::new()).unwrap();
    let refusal = |spec| machine.add_device(spec).unwrap_err().to_string();
    let missing = "Property 'virtio-blk-device.drive' can't find value 'n'";
    assert_eq!(refusal(drive("virtio-blk-pci", "d", "n")), missing);
    assert_eq!(refusal(spec("virtio-blk-pci", Some("d"), &[])), "drive property not set");
    add_node(&machine, "n", &path).unwrap();
    assert!(refusal(drive("scsi-hd", "d", "n")).contains("No 'SCSI' bus found"));
    let mut there = drive("virtio-blk-pci", "d", "n");
    there.properties.insert("addr".into(), Value::Uint(1 << 3));
    assert!(refusal(there).contains("not available"));
    assert!(machine.blocks().is_empty());
    // Somebody else writes to it.
    let other = image(folder.path(), "b");
    add_node(&machine, "m", &other).unwrap();
    machine.add_device(drive("virtio-blk-pci", "d", "n")).unwrap();
    machine.remove_node("m").unwrap();
    let held = Image::open(&ImageOptions::new(&other, Format::Raw)).unwrap();
    assert!(add_node(&machine, "m", &other).is_err());
    drop(held);
    assert_eq!(machine.blocks().len(), 1);
}

#[test]
fn flash_memory_is_where_the_firmware_begins() {
    let folder = tempfile::tempdir().unwrap();
    let chip = |name: &str, len: u64| {
        let path = folder.path().join(name);
        std::fs::write(&path, vec![name.as_bytes()[0]; len as usize]).unwrap();
        DiskConfig { bus: DiskBus::Flash, ..DiskConfig::new(path) }
    };
    let with = |disks: Vec<DiskConfig>, capabilities| {
        let mut config = GuestConfig { memory_mib: 2, disks, devices: Vec::new(), ..GuestConfig::default() };
        config.check().unwrap();
        built_of(capabilities, config)
    };
    let refused = |disks: Vec<DiskConfig>, capabilities| with(disks, capabilities).err().unwrap().to_string();
    let usual = Capabilities::default();
    let machine = with(vec![chip("a", 64 << 10), chip("b", 8 << 10)], usual).unwrap();
    let flash: Vec<_> = machine.blocks().into_iter().map(|block| (block.device, block.qdev)).collect();
    let named = |number: u8| (format!("pflash{number}"), format!("/machine/system.flash{number}"));
    assert_eq!(flash, [named(0), named(1)]);
    let top = 1_u64 << 32;
    let regions =
        machine.bus().slots().into_iter().filter_map(|(_, slot)| slot.lock().regions().first()?.home);
    let homes: Vec<u64> = regions.filter(|home| *home > top - (8 << 20)).collect();
    assert_eq!(homes, [top - (64 << 10), top - (72 << 10)]);
    drop(machine);
    // As a device, with an id.
    let mut config = GuestConfig { memory_mib: 2, disks: vec![chip("a", 4096)], ..GuestConfig::default() };
    config.disks[0].id = Some("d".into());
    config.devices = vec![drive("cfi.pflash01", "x", "d")];
    config.check().unwrap();
    let machine = built_of(usual, config).unwrap();
    assert_eq!(machine.blocks()[0].qdev, "/machine/peripheral/x");
    drop(machine);
    assert!(refused(vec![chip("a", 1000)], usual).contains("no multiple of 4096"));
    assert!(refused(vec![chip("a", 16 << 20)], usual).contains("up to 8 MiB"));
    let both = refused(vec![chip("a", 6 << 20), chip("b", 4 << 20)], usual);
    assert!(both.contains("larger than 8 MiB"), "{both}");
    let hvmloader = refused(vec![chip("a", 4096)], Capabilities { firmware: true, ..usual });
    assert!(hvmloader.contains("hvmloader"), "{hvmloader}");
}
