//! OVMF, which is UEFI for the PC: from flash memory, which keeps its variables, and from a ROM; and what it boots from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, case, guest, place, seconds};

const PROMPT: &str = "ailurus:/root#";
const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";
/// The vendor of the variables: nobody.
const VENDOR: &str = "12345678-1234-1234-1234-123456789abc";

/// Mounts the variables, in a shell.
fn mount(guest: &mut Guest) -> Result<()> {
    guest.wait_for(PROMPT, seconds(240))?;
    guest.type_line("mkdir /v; mount -t efivarfs v /v && echo moun''ted")?;
    guest.wait_for("mounted", seconds(60))?;
    Ok(())
}

/// Makes a variable: non-volatile, for boot services and at run time. One that is there is not changed by accident.
fn set(guest: &mut Guest, name: &str, value: &str) -> Result<()> {
    guest.type_line(&format!("printf '\\007\\0\\0\\0{value}' > /v/{name}-{VENDOR} && echo s''et"))?;
    guest.wait_for("set", seconds(60))?;
    Ok(())
}

fn expect(guest: &mut Guest, name: &str, value: &str) -> Result<()> {
    guest.type_line(&format!("echo \"<$(tail -c +5 /v/{name}-{VENDOR})>\""))?;
    guest.wait_for(&format!("<{value}>"), seconds(60))?;
    Ok(())
}

fn off(mut guest: Guest) -> Result<()> {
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))
}

/// What Linux sets by UEFI's runtime services is there after a save, after a restore elsewhere, and at the next start.
#[test]
fn variables_are_kept_in_flash_memory() {
    case("OVMF in flash memory, Linux makes variables", || -> Result<()> {
        let folder = place::temporary()?;
        let machine = Machine::new()?.memory(384).ovmf(folder.path())?.kernel("uefi", APPEND)?;
        let new = fs::read(guest("ovmf-vars.fd")?)?;
        let mut guest = machine.boot()?;
        mount(&mut guest)?;
        set(&mut guest, "One", "first")?;
        expect(&mut guest, "One", "first")?;
        let file = folder.path().join("saved");
        guest.save(&file)?;
        let kept = fs::read(folder.path().join("vars"))?;
        ensure!(kept.len() == new.len() && kept != new, "the image has the variable");

        // The image is of another day: what was saved counts.
        fs::write(folder.path().join("vars"), &new)?;
        let mut guest = Guest::restore(&file)?;
        expect(&mut guest, "One", "first")?;
        set(&mut guest, "Two", "second")?;
        off(guest)?;

        let mut guest = machine.boot()?;
        mount(&mut guest)?;
        expect(&mut guest, "One", "first")?;
        expect(&mut guest, "Two", "second")?;
        off(guest)
    });
}

/// A disk of the test's own.
fn disk(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("disk");
    fs::copy(guest("uefi.img")?, &path)?;
    Ok(path)
}

/// Its shell runs the script of the first FAT file system that it finds by its own drivers, and that starts a kernel.
fn boots(machine: Machine) -> Result<()> {
    let mut guest = machine.memory(384).boot()?;
    guest.wait_for("UEFI Interactive Shell", seconds(240))?;
    guest.wait_for(PROMPT, seconds(240))?;
    off(guest)
}

#[test]
fn it_boots_from_a_virtio_disk() {
    case("OVMF in flash memory boots from virtio-blk", || -> Result<()> {
        let folder = place::temporary()?;
        let disk = disk(folder.path())?;
        boots(Machine::new()?.ovmf(folder.path())?.virtio_disk(&disk, "raw", ""))
    });
}

#[test]
#[ignore = "all: OVMF starts three times"]
fn it_boots_from_other_disks() {
    case("OVMF in a ROM boots from IDE, SCSI and USB", || -> Result<()> {
        let folder = place::temporary()?;
        let machine = || Machine::new()?.firmware("ovmf.fd");
        let disk = disk(folder.path())?;
        boots(machine()?.disk(&disk, "raw"))?;
        boots(machine()?.scsi_host("").scsi_drive(&disk, "raw", "scsi-hd"))?;
        boots(machine()?.device("qemu-xhci").scsi_drive(&disk, "raw", "usb-storage"))
    });
}
