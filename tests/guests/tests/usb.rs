//! USB with Debian's kernel: what hangs on an xHCI controller, and disks on both controllers.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, case, place, seconds};
use serde_json::json;

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

/// The guest's checksum of that many MiB of a disk, read past the cache.
fn sum(guest: &mut Guest, name: &str, mib: usize) -> Result<String> {
    let read = format!("dd if=/dev/{name} bs=64k count={} 2>/dev/null", mib * 16);
    guest.type_line(&format!("echo 3 > /proc/sys/vm/drop_caches; echo \"sum <$({read} | cksum)>\""))?;
    let said = guest.wait_for("sum <", seconds(600))? + &guest.wait_for(">", seconds(600))?;
    let (_, rest) = said.rsplit_once("sum <").unwrap_or_default();
    Ok(rest.trim_end_matches('>').trim().to_owned())
}

/// The checksum that POSIX's cksum gives, and the length.
fn cksum(bytes: &[u8]) -> String {
    let lengths = (0..8).map(|n| (bytes.len() >> (8 * n)) as u8).take_while(|byte| *byte != 0);
    let lengths: Vec<u8> = lengths.collect();
    let mut table = [0u32; 256];
    for (n, entry) in (0u32..).zip(&mut table) {
        *entry = (0..8).fold(n << 24, |crc, _| crc << 1 ^ if crc >> 31 != 0 { 0x04c1_1db7 } else { 0 });
    }
    let step = |crc: u32, byte: &u8| crc << 8 ^ table[usize::from((crc >> 24) as u8 ^ byte)];
    let crc = bytes.iter().chain(&lengths).fold(0, step);
    format!("{} {}", !crc, bytes.len())
}

/// Reads the disk, writes a part of it back elsewhere, is saved in the middle of that, and unplugs it.
fn storage(controller: &str, mib: usize) -> Result<()> {
    let (folder, path, mut bytes) = noise(mib)?;
    let machine = Machine::new()?.device(controller);
    let machine = machine.scsi_drive(&path, "raw", "usb-storage,id=s,bus=u.0,serial=AILURUS1");
    let mut guest = machine.kernel("usb", APPEND)?.boot()?;
    guest.wait_for("ailurus:/root#", seconds(240))?;
    disk(&mut guest, "sda")?;
    ensure!(sum(&mut guest, "sda", mib)? == cksum(&bytes), "what is read differs");

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
    ensure!(sum(&mut guest, "sda", mib)? == cksum(&bytes), "what was written differs");

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

#[test]
#[ignore = "all: 2 MiB at 1.2 MB/s of guest time, twice; the small cases have every transfer"]
fn a_disk_on_uhci() {
    case("USB storage on UHCI: read, written, saved in the middle, unplugged", || {
        storage("piix3-usb-uhci,id=u", 2)
    });
}

#[test]
#[ignore = "all: 100 MiB on a CPU in software"]
fn a_large_disk_on_xhci() {
    case("USB storage on xHCI: 100 MiB", || storage("nec-usb-xhci,id=u", 100));
}
