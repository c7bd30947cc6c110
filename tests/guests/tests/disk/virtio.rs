//! Debian's cloud kernel on a virtio disk, with each way in which its driver can find the device.

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};

use super::{Amount, check, copy, finish, interrupt};

/// The disk's own userland, which writes 20 MB, boots again and reads them.
const APPEND: &str = "console=ttyS0,115200 ailurus=disk root=/dev/vda1 ailurus.mb=20 panic=-1 quiet";

fn begin(machine: Machine) -> Result<Guest> {
    let mut guest = machine.kernel("virtio", APPEND)?.boot()?;
    let line = guest.wait_for("AILURUS-DISK-WRITE", seconds(400))?;
    ensure!(line.contains(" 20 MB"), "{line}");
    Ok(guest)
}

fn write_and_reboot(properties: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = copy("disk.img", folder.path())?;
    let mut guest = begin(Machine::new()?.vcpus(2).virtio_disk(&image, "raw", properties))?;
    finish(&mut guest)?;
    check(&image, "raw", folder.path())
}

fn interrupted(properties: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = copy("disk.qcow2", folder.path())?;
    let guest = begin(Machine::new()?.vcpus(2).virtio_disk(&image, "qcow2", properties))?;
    interrupt(guest, (&image, "qcow2"), folder.path(), Amount::Little)
}

#[test]
fn a_virtio_disk_keeps_what_was_written() {
    case("virtio disk: 20 MB written, rebooted, read, fsck", || write_and_reboot(""));
}

#[test]
#[ignore = "all: another way to the same device"]
fn so_it_does_for_a_legacy_driver() {
    case("virtio disk, legacy", || write_and_reboot("disable-modern=on"));
    case("virtio disk, legacy, INTx", || write_and_reboot("disable-modern=on,vectors=0,event_idx=off"));
}

#[test]
#[ignore = "all: another way to the same device"]
fn so_it_does_with_packed_queues() {
    case("virtio disk, packed, 4 queues", || write_and_reboot("packed=on,num-queues=4,disable-legacy=on"));
    case("virtio disk, packed, INTx", || write_and_reboot("packed=on,vectors=0,event_idx=off"));
}

#[test]
#[ignore = "all: another way to the same device"]
fn so_it_does_with_little_to_work_with() {
    case("virtio disk, small queue", || write_and_reboot("queue-size=8,indirect_desc=off"));
    case("virtio disk, no write cache", || write_and_reboot("config-wce=off,discard=off,write-zeroes=off"));
}

#[test]
fn a_virtio_disk_is_saved_in_mid_write() {
    case("virtio disk, packed: saved, killed and continued in mid-write", || interrupted("packed=on"));
}

#[test]
#[ignore = "all: another way to the same device"]
fn so_it_is_for_a_legacy_driver() {
    case("virtio disk, legacy: saved, killed and continued in mid-write", || {
        interrupted("disable-modern=on")
    });
}

/// SeaBIOS's driver reads GRUB, and GRUB reads the kernel by SeaBIOS.
#[test]
fn seabios_boots_from_a_virtio_disk() {
    for properties in ["", "disable-legacy=on", "disable-modern=on,bootindex=1"] {
        case(&format!("boot from a virtio disk {properties}"), || {
            let folder = tempfile::tempdir()?;
            let image = copy("disk.img", folder.path())?;
            let mut guest = Machine::new()?.virtio_disk(&image, "raw", properties).boot()?;
            guest.wait_for("GNU GRUB", seconds(60))?;
            guest.wait_for("Linux version", seconds(120)).map(drop)
        });
    }
}
