//! USB with Debian's kernel: what hangs on an xHCI controller, and disks on all controllers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, case, place, seconds};
use serde_json::json;
use sha2::{Digest, Sha256};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";

/// An image of so many MiB of noise, and its folder.
fn noise(mib: usize) -> Result<(tempfile::TempDir, PathBuf, Vec<u8>)> {
    let folder = place::temporary()?;
    let path = folder.path().join("noise.img");
    let mut random = Random::new();
    let bytes: Vec<u8> = (0..mib << 17).flat_map(|_| random.number().to_le_bytes()).collect();
    std::fs::write(&path, &bytes)?;
    Ok((folder, path, bytes))
}

/// Waits until the guest has the disk.
fn disk(guest: &mut Guest, name: &str) -> Result<()> {
    guest.type_line(&format!("until [ -b /dev/{name} ]; do sleep 0.1; done; echo there-$((40+2))"))?;
    guest.wait_for("there-42", seconds(120)).map(drop)
}

/// Whether that many MiB of a disk, read past the cache, are these bytes to the guest.
fn is_read(guest: &mut Guest, name: &str, mib: usize, bytes: &[u8]) -> Result<bool> {
    let read = format!("dd if=/dev/{name} bs=64k count={} 2>/dev/null", mib * 16);
    let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let same = format!("[ \"$({read} | sha256sum)\" = \"{sum}  -\" ]");
    // What is typed comes back, too: it is not what is waited for.
    let line =
        format!("echo 3 > /proc/sys/vm/drop_caches; {same} && echo same-$((40+2)) || echo other-$((40+2))");
    guest.type_line(&line)?;
    Ok(guest.wait_for_any(&["same-42", "other-42"], seconds(600))? == "same-42")
}

/// Reads the disk, writes a part of it back elsewhere, is saved in the middle of that, and unplugs it.
fn storage(controller: &str, mib: usize) -> Result<()> {
    storage_on(Machine::new()?.device(controller), BULK_ONLY, mib, |_| Ok(()))
}

/// A disk by the Bulk-Only Transport.
const BULK_ONLY: &str = "usb-storage,id=s,bus=u.0,serial=AILURUS1";

/// The same on a machine with a bus `u.0`; before it is saved, something is looked at. The device `s` is unplugged at last.
fn storage_on(
    machine: Machine,
    drive: &str,
    mib: usize,
    look: impl FnOnce(&mut Guest) -> Result<()>,
) -> Result<()> {
    let (folder, path, mut bytes) = noise(mib)?;
    let mut guest = machine.scsi_drive(&path, "raw", drive).kernel("usb", APPEND)?.boot()?;
    guest.wait_for("ailurus:/root#", seconds(240))?;
    disk(&mut guest, "sda")?;
    ensure!(is_read(&mut guest, "sda", mib, &bytes)?, "what is read differs");
    look(&mut guest)?;

    // The first half goes over the second; the guest moves to another process meanwhile.
    let half = mib * 8;
    let copy = format!("dd if=/dev/sda of=/dev/sda bs=64k count={half} seek={half} conv=fsync 2>/dev/null");
    guest.type_line(&format!("echo begins-$((40+2)); {copy}; echo copied-$((40+2))"))?;
    guest.wait_for("begins-42", seconds(60))?;
    let file = folder.path().join("saved");
    guest.save(&file)?;
    let mut guest = Guest::restore(&file)?;
    guest.wait_for("copied-42", seconds(600))?;
    bytes.copy_within(..half << 16, half << 16);
    ensure!(is_read(&mut guest, "sda", mib, &bytes)?, "what was written differs");

    guest.monitor()?.execute("device_del", json!({ "id": "s" }))?;
    guest.type_line("while [ -e /sys/block/sda ]; do sleep 0.1; done; echo gone-$((40+2))")?;
    guest.wait_for("gone-42", seconds(60))?;
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))?;
    ensure!(std::fs::read(&path)? == bytes, "the image differs");
    Ok(())
}

#[test]
fn a_disk_on_xhci() {
    case("USB storage on xHCI: read, written, saved in the middle, unplugged", || {
        storage("qemu-xhci,id=u", 8)
    });
}

/// Attached SCSI: the disk is a unit of the device `s`, which Linux's uas drives.
fn attached_scsi(controller: &str) -> Result<()> {
    let machine = Machine::new()?.device(controller).device("usb-uas,id=s,bus=u.0");
    storage_on(machine, "scsi-hd,bus=s.0,lun=0,serial=AILURUS1", 8, |guest| {
        guest.type_line("ls /sys/bus/usb/drivers/uas | grep -q :1.0 && echo uas-$((40+2))")?;
        guest.wait_for("uas-42", seconds(60)).map(drop)
    })
}

#[test]
#[ignore = "all: 20 seconds, and the device cases have its transfers"]
fn attached_scsi_on_ehci() {
    case("USB Attached SCSI on EHCI: read, written, saved in the middle, unplugged", || {
        attached_scsi("usb-ehci,id=u")
    });
}

#[test]
fn attached_scsi_on_xhci() {
    case("USB Attached SCSI on xHCI: the same", || attached_scsi("qemu-xhci,id=u"));
}

/// An EHCI with three companions, as libxl writes it for `usbversion=2`.
fn companions(machine: Machine) -> Machine {
    let machine = machine.device("ich9-usb-ehci1,id=u,addr=1d.7,multifunction=on");
    (0..3).fold(machine, |machine, n| {
        let (number, first) = (n + 1, 2 * n);
        let places = format!("masterbus=u.0,firstport={first},addr=1d.{n},multifunction=on");
        machine.device(format!("ich9-usb-uhci{number},{places}"))
    })
}

#[test]
fn a_disk_on_ehci_and_a_tablet_behind_its_companion() {
    case("USB on EHCI with companions: topology, a disk saved in mid-copy, a tablet", || {
        let machine = companions(Machine::new()?).device("usb-tablet,id=t,bus=u.0,port=3,usb_version=1");
        storage_on(machine, BULK_ONLY, 8, |guest| {
            // By bus, port and speed: the disk is the EHCI's, the tablet the second companion's.
            let of = "$(basename $(readlink -f $d/../../driver)) $(cat $d/devpath $d/speed $d/idProduct)";
            let line = format!("for d in /sys/bus/usb/devices/*-?; do echo {of}; done");
            for (what, found) in [("disk", "ehci-pci 1 480 0001"), ("tablet", "uhci_hcd 1 12 0001")] {
                guest.type_line(&format!("{line} | grep -q '{found}' && echo {what}-$((40+2))"))?;
                guest.wait_for(&format!("{what}-42"), seconds(60))?;
            }
            let info =
                guest.monitor()?.execute("human-monitor-command", json!({ "command-line": "info usb" }))?;
            let info = info.as_str().unwrap_or_default().to_owned();
            ensure!(info.contains("Speed 480 Mb/s, Product USB mass storage"), "{info}");
            ensure!(info.contains("Port 3, Speed 12 Mb/s, Product USB tablet"), "{info}");
            guest.type_line("d=$(grep -l 'USB Tablet' /sys/class/input/event*/device/name | cut -d/ -f5)")?;
            guest.type_line(
                "(dd if=/dev/input/$d bs=24 count=1 2>/dev/null; echo moved-$((40+2))) | tail -c 9 &",
            )?;
            guest.type_line("sleep 1; echo waits-$((40+2))")?;
            guest.wait_for("waits-42", seconds(60))?;
            let to =
                |axis: &str, value: u32| json!({ "type": "abs", "data": { "axis": axis, "value": value } });
            let events = json!({ "events": [to("x", 12_345), to("y", 23_456)] });
            guest.monitor()?.execute("input-send-event", events)?;
            guest.wait_for("moved-42", seconds(60)).map(drop)
        })
    });
}

#[test]
#[ignore = "all: 2 MiB at 1.2 MB/s of guest time, twice; the small cases have every transfer"]
fn a_disk_on_uhci() {
    case("USB storage on UHCI: read, written, saved in the middle, unplugged", || {
        storage("piix3-usb-uhci,id=u", 2)
    });
}

#[test]
#[ignore = "all: as slow"]
fn a_disk_on_ohci() {
    case("USB storage on OHCI: read, written, saved in the middle, unplugged", || {
        storage("pci-ohci,id=u", 2)
    });
}

#[test]
#[ignore = "all: 100 MiB on a CPU in software"]
fn a_large_disk_on_xhci() {
    case("USB storage on xHCI: 100 MiB", || storage("nec-usb-xhci,id=u", 100));
}

/// GRUB from a disk on USB: SeaBIOS finds the controller, reads the disk by its own driver, and hands it on by INT 13h.
fn boots_grub(controller: &str) -> Result<()> {
    boots_grub_on(Machine::new()?.device(controller), "usb-storage,bus=u.0,bootindex=0")
}

/// The same on a machine with a bus for the drive.
fn boots_grub_on(machine: Machine, drive: &str) -> Result<()> {
    let folder = place::temporary()?;
    let disk = folder.path().join("grub.img");
    std::fs::copy(place::guest("grub-rescue.iso")?, &disk)?;
    let mut guest = machine.scsi_drive(&disk, "raw", drive).boot()?;
    let screen = guest.wait_screen("*GNU/Linux", seconds(180))?;
    ensure!(screen.has("GNU GRUB"), "no title:\n{}", screen.text());
    Ok(())
}

#[test]
fn seabios_boots_from_usb_on_uhci() {
    case("GRUB from USB storage on UHCI", || boots_grub("piix3-usb-uhci,id=u"));
}

#[test]
fn seabios_boots_from_usb_on_ehci() {
    case("GRUB from USB storage on EHCI", || boots_grub("usb-ehci,id=u"));
}

#[test]
fn seabios_boots_from_usb_on_xhci() {
    case("GRUB from USB storage on xHCI", || boots_grub("qemu-xhci,id=u"));
}

#[test]
fn seabios_boots_from_attached_scsi() {
    case("GRUB from USB Attached SCSI on EHCI", || {
        let machine = Machine::new()?.device("usb-ehci,id=u").device("usb-uas,id=a,bus=u.0");
        boots_grub_on(machine, "scsi-hd,bus=a.0,lun=0,bootindex=0")
    });
}

#[test]
fn attached_scsi_comes_with_its_units() {
    case("USB Attached SCSI: plugged, a CD drive on it, then attached, unplugged", || {
        let machine = Machine::new()?.device("usb-ehci,id=u");
        let mut guest = machine.kernel("usb", APPEND)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        let monitor = guest.monitor()?;
        monitor.execute("device_add", json!({ "driver": "usb-uas", "id": "a", "bus": "u.0" }))?;
        let unit = json!({ "driver": "scsi-cd", "id": "c", "bus": "a.0", "scsi-id": 0, "lun": 5 });
        monitor.execute("device_add", unit)?;
        let attach = json!({ "path": "/machine/peripheral/a", "property": "attached", "value": true });
        monitor.execute("qom-set", attach)?;
        let there = "grep -qs CD-ROM /sys/bus/scsi/devices/*:0:0:5/model";
        guest.type_line(&format!("until {there}; do sleep 0.1; done; echo there-$((40+2))"))?;
        guest.wait_for("there-42", seconds(60))?;
        guest.monitor()?.execute("device_del", json!({ "id": "a" }))?;
        guest.type_line(&format!("while {there}; do sleep 0.1; done; echo gone-$((40+2))"))?;
        guest.wait_for("gone-42", seconds(60))?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}

#[test]
fn a_serial_line_on_usb() {
    case("USB serial line (ftdi_sio): 64 KiB each way, saved, unplugged", || {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("line");
        let chardev = format!("socket,id=line,path={},server=on,wait=off", path.display());
        let machine = Machine::new()?
            .device("qemu-xhci,id=u")
            .device_on("usb-serial,id=s,bus=u.0,chardev=line", &chardev);
        let mut guest = machine.kernel("usb", APPEND)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        guest.type_line("until [ -c /dev/ttyUSB0 ]; do sleep 0.1; done; exec 3<>/dev/ttyUSB0")?;
        guest.type_line("stty raw -echo <&3; echo open-$((40+2))")?;
        guest.wait_for("open-42", seconds(120))?;
        let mut random = Random::new();
        let bytes: Vec<u8> = (0..8 << 10).flat_map(|_| random.number().to_le_bytes()).collect();
        let there_and_back = |guest: &mut Guest| -> Result<()> {
            // The program listens by then.
            guest.monitor()?;
            let mut line = UnixStream::connect(&path)?;
            line.set_read_timeout(Some(seconds(120)))?;
            line.write_all(&bytes)?;
            guest.type_line("head -c 65536 <&3 > /tmp/f; echo got-$((40+2)); cat /tmp/f >&3")?;
            guest.wait_for("got-42", seconds(120))?;
            let mut back = vec![0; bytes.len()];
            line.read_exact(&mut back)?;
            ensure!(back == bytes, "what came back is not what was sent");
            Ok(())
        };
        there_and_back(&mut guest)?;
        let file = folder.path().join("saved");
        guest.save(&file)?;
        let mut guest = Guest::restore(&file)?;
        there_and_back(&mut guest)?;
        guest.monitor()?.execute("device_del", json!({ "id": "s" }))?;
        guest.type_line("while [ -e /sys/class/tty/ttyUSB0 ]; do sleep 0.1; done; echo gone-$((40+2))")?;
        guest.wait_for("gone-42", seconds(60))?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
