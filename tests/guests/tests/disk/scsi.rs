//! Debian's cloud kernel on a disk of a virtio SCSI host, and what boots from one.

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, case, guest, seconds};

use super::{Amount, check, copy, finish, interrupt};

/// The disk's own userland, which writes 20 MB, boots again and reads them.
const APPEND: &str = "console=ttyS0,115200 ailurus=disk root=/dev/sda1 ailurus.mb=20 panic=-1 quiet";

fn begin(machine: Machine) -> Result<Guest> {
    let mut guest = machine.kernel("virtio", APPEND)?.boot()?;
    let line = guest.wait_for("AILURUS-DISK-WRITE", seconds(400))?;
    ensure!(line.contains(" 20 MB"), "{line}");
    Ok(guest)
}

fn write_and_reboot(host: &str, drive: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = copy("disk.img", folder.path())?;
    let machine = Machine::new()?.vcpus(2).scsi_host(host).scsi_drive(&image, "raw", drive);
    let mut guest = begin(machine)?;
    finish(&mut guest)?;
    check(&image, "raw", folder.path())
}

fn interrupted(host: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = copy("disk.qcow2", folder.path())?;
    let machine = Machine::new()?.vcpus(2).scsi_host(host).scsi_drive(&image, "qcow2", "scsi-hd");
    let guest = begin(machine)?;
    interrupt(guest, (&image, "qcow2"), folder.path(), Amount::Little)
}

#[test]
#[ignore = "all: another controller of the same disk"]
fn a_scsi_disk_keeps_what_was_written() {
    case("SCSI disk: 20 MB written, rebooted, read, fsck", || write_and_reboot("", "scsi-hd"));
    case("SCSI disk, far away", || write_and_reboot("num_queues=4", "scsi-hd,scsi-id=200,lun=300,serial=x"));
}

#[test]
#[ignore = "all: another way to the same device"]
fn so_it_does_for_a_legacy_driver_and_with_packed_queues() {
    case("SCSI disk, legacy, INTx", || {
        write_and_reboot("disable-modern=on,vectors=0,event_idx=off", "scsi-hd")
    });
    case("SCSI disk, packed", || write_and_reboot("packed=on,disable-legacy=on", "scsi-hd,dpofua=on"));
}

#[test]
#[ignore = "all: another controller of the same disk"]
fn a_scsi_disk_is_saved_in_mid_write() {
    case("SCSI disk: saved, killed and continued in mid-write", || interrupted(""));
}

#[test]
#[ignore = "all: another way to the same device"]
fn so_it_is_with_packed_queues() {
    case("SCSI disk, packed: saved, killed and continued in mid-write", || interrupted("packed=on"));
}

/// SeaBIOS's driver reads GRUB, and GRUB reads the kernel by SeaBIOS.
fn boots(host: &str, drive: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = copy("disk.img", folder.path())?;
    let mut guest = Machine::new()?.scsi_host(host).scsi_drive(&image, "raw", drive).boot()?;
    guest.wait_for("GNU GRUB", seconds(60))?;
    guest.wait_for("Linux version", seconds(120)).map(drop)
}

#[test]
#[ignore = "all: the same firmware with another driver"]
fn seabios_boots_from_a_scsi_disk() {
    for (host, drive) in [
        ("", "scsi-hd"),
        ("disable-legacy=on", "scsi-hd,scsi-id=3,lun=1,bootindex=1"),
        ("disable-modern=on", "scsi-hd,bootindex=1"),
    ] {
        case(&format!("boot from a SCSI disk {host} {drive}"), || boots(host, drive));
    }
}

/// The kernel and its initial RAM disk are checked by themselves: what is read wrongly does not start.
#[test]
fn a_live_cd_boots_from_a_scsi_drive() {
    case("boot from a SCSI CD drive", || {
        let image = guest("cloud.iso")?;
        let machine =
            Machine::new()?.memory(512).scsi_host("").scsi_drive(&image, "raw", "scsi-cd,bootindex=1");
        let mut guest = machine.boot()?;
        guest.wait_for("AILURUS-USERLAND-OK", seconds(240)).map(drop)
    });
}
