//! Drives that wait for a device, and images of no file.

use super::*;
use crate::config::DiskBus;

#[test]
fn images_that_no_device_has_wait_for_one() {
    let images = |text: &str| {
        let host = plan(&format!("-machine pc,accel=tcg -m 64 -nodefaults {text}")).host;
        (host.images, host.notes.len())
    };
    let image = |name: &str, path: &str, format, readonly| LooseImage {
        name: name.into(),
        drive: false,
        path: Some(path.into()),
        format,
        readonly,
    };
    let notes = images("").1;
    let drive = "-drive if=none,id=a,file=/a,format=qcow2";
    let loose = LooseImage { drive: true, ..image("a", "/a", DiskFormat::Qcow2, false) };
    assert_eq!(images(drive), (vec![loose], notes));
    assert_eq!(images(&format!("{drive} -device ide-hd,drive=a")), (vec![], notes));
    // What lies under another is that one's.
    let nodes = "-blockdev file,node-name=f,filename=/b,read-only=on -blockdev raw,node-name=b,file=f";
    assert_eq!(images(nodes), (vec![image("b", "/b", DiskFormat::Raw, true)], notes));
    assert_eq!(images(&format!("{nodes} -device virtio-blk-pci,drive=b")), (vec![], notes));
    // Its writes were to go elsewhere.
    assert_eq!(images(&format!("{drive} -snapshot")), (vec![], notes + 1));
    let [empty] = <[_; 1]>::try_from(images("-drive if=none,id=empty").0).unwrap();
    assert_eq!((empty.name.as_str(), empty.drive, empty.path), ("empty", true, None));
    let vmdk = "-drive if=none,id=v,file=/v,format=vmdk";
    assert_eq!(images(vmdk), (vec![], notes + 1));
    // A device that has it asks for it.
    let text = format!("-machine pc,accel=tcg -m 64 -nodefaults {vmdk} -device ide-hd,drive=v");
    let refused = refusal(&text);
    assert!(refused.contains("format=vmdk"), "{refused}");
}

#[test]
fn zeros_lie_in_no_file() {
    let start = "-machine pc,accel=tcg -m 64 -nodefaults";
    for drive in [
        "-drive if=none,id=d,file=null-co://",
        "-drive if=none,id=d,file=null-co://,file.read-zeroes=on,format=raw",
        "-drive driver=null-co,read-zeroes=on,if=none,id=d",
        "-blockdev driver=null-co,node-name=d",
        "-blockdev driver=raw,node-name=d,file.driver=null-co,file.read-zeroes=on",
        "-blockdev driver=null-co,node-name=n,read-zeroes=on -blockdev driver=raw,node-name=d,file=n",
    ] {
        let guest = plan(&format!("{start} {drive} -device ide-hd,drive=d")).guest;
        let disk = guest.disks.iter().find(|disk| disk.id.as_deref() == Some("d")).unwrap();
        assert_eq!(disk.path, Some("null-co://".into()), "{drive}");
        assert_ne!(disk.format, Some(DiskFormat::Qcow2), "{drive}");
    }
    for (drive, what) in [
        ("-drive driver=null-co,size=512,if=none,id=d", "size=512"),
        ("-drive driver=null-co,file=/a,if=none,id=d", "has no file="),
        ("-drive file=null-co://,file.latency-ns=5,if=none,id=d", "file.latency-ns=5"),
        ("-blockdev driver=null-aio,node-name=d,size=512", "size=512"),
    ] {
        let refused = refusal(&format!("{start} {drive}"));
        assert!(refused.contains(what), "{refused}");
    }
}

#[test]
fn drives_that_are_added_wait_for_a_device() {
    let added = |options: &str| added_drive(options).map_err(|error| error.to_string());
    let drive = added("if=none,id=d,file=/a,readonly=on").unwrap();
    assert_eq!((drive.drive, drive.path, drive.readonly), (true, Some("/a".into()), true));
    assert_eq!(added("if=none,id=d").unwrap().path, None);
    assert!(added("id=d,file=/a").unwrap_err().contains("if=none"));
    assert!(added("if=none,file=/a").unwrap_err().contains("id="));
    assert!(added("if=none,id=d,speed=1").is_err());
}

#[test]
fn flash_memory_is_given_in_every_way() {
    let chips = |line: &str| -> Vec<(String, String, bool)> {
        let guest = plan(line).guest;
        let flash = guest.disks.iter().filter(|disk| disk.bus == DiskBus::Flash);
        let name = |disk: &DiskConfig| {
            let Value::Text(name) = &guest.drive_of(disk).unwrap().properties["name"] else {
                panic!("a name")
            };
            name.clone()
        };
        let path = |disk: &DiskConfig| disk.path.as_deref().unwrap().display().to_string();
        flash.map(|disk| (name(disk), path(disk), disk.readonly)).collect()
    };
    let chip =
        |number: u8, path: &str, readonly| (format!("system.flash{number}"), path.to_owned(), readonly);
    assert_eq!(chips("-pflash a -pflash b"), [chip(0, "a", false), chip(1, "b", false)]);
    let drives = "-drive if=pflash,unit=1,file=b,format=raw -drive if=pflash,unit=0,file=a,readonly=on";
    assert_eq!(chips(drives), [chip(1, "b", false), chip(0, "a", true)]);
    // As libvirt writes it.
    let nodes = "-blockdev driver=file,filename=a,node-name=s0,read-only=on
        -blockdev driver=raw,file=s0,node-name=f0,read-only=on
        -blockdev driver=file,filename=b,node-name=s1 -blockdev driver=raw,file=s1,node-name=f1
        -machine pc,pflash0=f0,pflash1=f1";
    assert_eq!(chips(nodes), [chip(0, "a", true), chip(1, "b", false)]);
    assert_eq!(chips("-drive if=none,id=d,file=a -machine pflash0=d"), [chip(0, "a", false)]);
    assert!(refusal("-machine pflash0=f").contains("there is no drive 'f'"));
    assert!(refusal("-drive if=pflash,unit=1,file=a").contains("unit 0 is missing"));
    assert!(refusal("-pflash a -bios b").contains("both were given"));
}
