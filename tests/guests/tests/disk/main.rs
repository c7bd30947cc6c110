//! The generic kernel from an IDE disk, others from virtio and SCSI disks: GRUB in the master boot record, ext4, data that survive.

mod full;
mod plug;
mod scsi;
mod vhost_user;
mod virtio;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, case, guest, seconds};

/// Where the disk's only partition begins, in bytes.
const PARTITION: u64 = 1 << 20;

/// A copy of a disk from `build/guests` that the guest may change.
fn copy(name: &str, folder: &Path) -> Result<PathBuf> {
    let to = folder.join(name);
    // cp knows holes; half a gigabyte of zeros need not be written.
    run(Command::new("cp").arg("--sparse=always").arg(guest(name)?).arg(&to))?;
    Ok(to)
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    Ok(said)
}

/// A program of the host's that a person's PATH may leave out.
fn host_tool(name: &str) -> Result<Command> {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/root");
    let folders = ["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    let ours = ["sbin", "usr/sbin", "usr/bin"].map(|part| build.join(part));
    for folder in folders.iter().chain(&ours) {
        if folder.join(name).is_file() {
            let mut command = Command::new(folder.join(name));
            if folder.starts_with(&build) {
                let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
                let libraries = libraries.map(|part| build.join(part).display().to_string());
                command.env("LD_LIBRARY_PATH", libraries.join(":"));
            }
            return Ok(command);
        }
    }
    bail!("{name} is not on this machine; `cargo xtask guests` brings it")
}

/// The file system on the image has no error.
fn check(image: &Path, format: &str, folder: &Path) -> Result<()> {
    let raw = folder.join("raw.img");
    let raw = if format == "qcow2" {
        let checked = run(host_tool("qemu-img")?.args(["check", "-f", "qcow2"]).arg(image))?;
        ensure!(checked.contains("No errors were found"), "qemu-img check: {checked}");
        run(host_tool("qemu-img")?.args(["convert", "-f", "qcow2", "-O", "raw"]).arg(image).arg(&raw))?;
        raw
    } else {
        image.to_owned()
    };
    let partition = folder.join("partition");
    let mut from = File::open(&raw)?;
    from.seek(SeekFrom::Start(PARTITION))?;
    std::io::copy(&mut from, &mut File::create(&partition)?)?;
    run(host_tool("e2fsck")?.arg("-fn").arg(&partition)).map(|_| ())
}

/// From the first boot's last line to the second boot's verdict and the power-off.
fn finish(guest: &mut Guest) -> Result<()> {
    finish_after(guest, "")
}

/// The same for a guest that said `before` in another process: it may have come to that line there.
fn finish_after(guest: &mut Guest, before: &str) -> Result<()> {
    let wrote = match before.lines().find(|line| line.contains("AILURUS-DISK-REBOOT")) {
        Some(line) => line.to_owned(),
        None => guest.wait_for_any(&["AILURUS-DISK-REBOOT", "AILURUS-DISK-BAD"], seconds(900))?,
    };
    ensure!(wrote.contains("REBOOT"), "{wrote}");
    println!("  written after {:.1} s", guest.elapsed().as_secs_f32());
    let read = guest.wait_for_any(&["AILURUS-DISK-OK", "AILURUS-DISK-BAD"], seconds(600))?;
    ensure!(read.contains("AILURUS-DISK-OK"), "{read}");
    let sum = |line: &str, key: &str| line.split_once(key).map(|(_, sum)| sum.trim().to_owned());
    ensure!(sum(&wrote, "REBOOT") == sum(&read, "OK"), "{wrote:?} but {read:?}");
    guest.wait_power_off(seconds(60))
}

/// How much the guest writes: GRUB's menu has an entry for each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Amount {
    /// 20 MB, for the ways that differ little.
    Little,
    /// 200 MB.
    Whole,
}

/// Boots from the disk and waits until the guest begins to write.
fn begin(machine: &Machine, amount: Amount) -> Result<Guest> {
    let mut guest = machine.boot()?;
    if amount == Amount::Little {
        guest.wait_for("Linux, a little data", seconds(180))?;
        guest.type_raw("\u{1b}[B\r")?;
    }
    let line = guest.wait_for("AILURUS-DISK-WRITE", seconds(400))?;
    let megabytes = if amount == Amount::Little { " 20 MB" } else { " 200 MB" };
    ensure!(line.contains(megabytes), "the wrong entry of the menu: {line}");
    println!("  disk's userland after {:.1} s", guest.elapsed().as_secs_f32());
    Ok(guest)
}

fn write_and_reboot(format: &'static str, name: &str, amount: Amount) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = copy(name, folder.path())?;
    let mut guest = begin(&Machine::new()?.memory(512).disk(&image, format), amount)?;
    finish(&mut guest)?;
    check(&image, format, folder.path())
}

/// Saved, killed and continued in the middle of the write.
fn interrupted(format: &'static str, name: &str, amount: Amount) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = copy(name, folder.path())?;
    let guest = begin(&Machine::new()?.memory(512).disk(&image, format), amount)?;
    interrupt(guest, (&image, format), folder.path(), amount)
}

/// Saves, kills and continues a guest that has begun to write.
fn interrupt(mut guest: Guest, (image, format): (&Path, &str), folder: &Path, amount: Amount) -> Result<()> {
    let mut random = Random::new();
    let saved = folder.join("saved");
    let began = Instant::now();
    let tens = 1 + random.below(if amount == Amount::Little { 1 } else { 18 });
    let megabytes = 10 * tens;
    guest.wait_for(&format!("AILURUS-DISK-WROTE {megabytes} MB"), seconds(900))?;
    // Somewhere in the next ten, which take less than one of those before: their code is translated by now.
    let part = began.elapsed().as_millis() as u64 / tens / 8;
    std::thread::sleep(Duration::from_millis(random.below(part.clamp(1, 500))));
    guest.save(&saved)?;
    let before = guest.said();
    drop(guest);
    println!("  saved after {megabytes} MB, {} MiB of state", fs::metadata(&saved)?.len() >> 20);
    let mut guest = Guest::restore(&saved)?;
    finish_after(&mut guest, &before)?;
    check(image, format, folder)
}

#[test]
#[ignore = "all: ten times what the other disk tests write, in the same way"]
fn raw_disk_keeps_200_mb_over_a_reboot() {
    case("IDE disk, raw: 200 MB written, rebooted, read, fsck", || {
        write_and_reboot("raw", "disk.img", Amount::Whole)
    });
}

#[test]
fn raw_disk_survives_a_save_in_the_middle_of_the_write() {
    case("IDE disk, raw: saved and restored while it writes 20 MB", || {
        interrupted("raw", "disk.img", Amount::Little)
    });
}

#[test]
fn qcow2_disk_survives_a_save_in_the_middle_of_the_write() {
    case("IDE disk, qcow2: saved and restored while it writes 20 MB", || {
        interrupted("qcow2", "disk.qcow2", Amount::Little)
    });
}

#[test]
#[ignore = "soak: 200 MB on qcow2"]
fn soak_qcow2_disk_keeps_200_mb_over_a_reboot() {
    case("IDE disk, qcow2: 200 MB written, rebooted, read, fsck", || {
        write_and_reboot("qcow2", "disk.qcow2", Amount::Whole)
    });
}

#[test]
#[ignore = "soak: 200 MB on raw and qcow2 with a save"]
fn soak_disks_survive_a_save_in_the_middle_of_200_mb() {
    case("IDE disk, raw: saved and restored while it writes 200 MB", || {
        interrupted("raw", "disk.img", Amount::Whole)
    });
    case("IDE disk, qcow2: saved and restored while it writes 200 MB", || {
        interrupted("qcow2", "disk.qcow2", Amount::Whole)
    });
}

/// The same guest on an image that must not change.
#[test]
fn a_snapshot_leaves_the_image_alone() {
    case("IDE disk, snapshot: 20 MB written, image unchanged", || {
        let folder = tempfile::tempdir()?;
        let image = copy("disk.qcow2", folder.path())?;
        let before = fs::read(&image)?;
        let machine = Machine::new()?.memory(512).snapshot_of(&image, "qcow2");
        let mut guest = begin(&machine, Amount::Little)?;
        finish(&mut guest)?;
        ensure!(fs::read(&image)? == before, "the image changed");
        Ok(())
    });
}
