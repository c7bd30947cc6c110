//! Disks that come and go under Debian's cloud kernel.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::{Value, json};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";

/// The guest asks itself until it is so, and answers with what was not typed.
fn wait(guest: &mut Guest, until: &str, answer: &str) -> Result<()> {
    guest.type_line(&format!("until {until}; do sleep 0.1; done; echo it-is-$((40+2))-{answer}"))?;
    guest.wait_for(&format!("it-is-42-{answer}"), seconds(120)).map(drop)
}

fn add_disk(guest: &mut Guest, image: &Path, node: &str, model: &str, id: &str) -> Result<()> {
    let file = json!({ "driver": "file", "filename": image });
    let node = json!({ "driver": "raw", "node-name": node, "file": file });
    guest.monitor()?.execute("blockdev-add", node.clone())?;
    let device = json!({ "driver": model, "id": id, "drive": node["node-name"] });
    guest.monitor()?.execute("device_add", device).map(drop)
}

/// The device is asked for; when the guest has let it go, its drive is gone too.
fn remove(guest: &mut Guest, id: &str) -> Result<()> {
    let drives = |guest: &mut Guest| -> Result<usize> {
        let all = guest.monitor()?.execute("query-block", json!({}))?;
        Ok(all.as_array().map_or(0, Vec::len))
    };
    let before = drives(guest)?;
    guest.monitor()?.execute("device_del", json!({ "id": id }))?;
    let end = Instant::now() + seconds(60);
    while drives(guest)? == before {
        ensure!(Instant::now() < end, "{id} is still there");
        std::thread::sleep(seconds(1) / 20);
    }
    Ok(())
}

#[test]
fn a_disk_is_plugged_written_and_taken_to_another_bus() {
    case("a virtio disk plugged, written, saved, unplugged, and read on SCSI", || {
        let mut guest = Machine::new()?.scsi_host("").kernel("virtio", APPEND)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        let first_folder = guest.folder().to_owned();
        let image = first_folder.join("plugged.img");
        File::create(&image)?.set_len(32 << 20)?;
        add_disk(&mut guest, &image, "n", "virtio-blk-pci", "d")?;
        wait(&mut guest, "test -b /dev/vda", "there")?;
        guest.type_line("head -c 8388608 /dev/urandom > x; sum=\"$(md5sum < x)\"")?;
        wait(&mut guest, "dd if=x of=/dev/vda bs=1M conv=fsync", "written")?;
        let file = first_folder.join("plugged.saved");
        guest.save(&file)?;
        let mut guest = Guest::restore(&file)?;
        let same = |disk: &str| format!("test \"$(head -c 8388608 {disk} | md5sum)\" = \"$sum\"");
        wait(&mut guest, "echo 3 > /proc/sys/vm/drop_caches", "dropped")?;
        wait(&mut guest, &same("/dev/vda"), "read")?;
        wait(&mut guest, "dd if=x of=/dev/vda bs=1M seek=8 conv=fsync", "written-on")?;
        remove(&mut guest, "d")?;
        wait(&mut guest, "! test -e /dev/vda", "gone")?;

        let there = guest.folder().join("plugged.img");
        std::fs::copy(&image, &there)?;
        add_disk(&mut guest, &there, "m", "scsi-hd", "s")?;
        wait(&mut guest, "test -b /dev/sda", "there-again")?;
        wait(&mut guest, &same("/dev/sda"), "read-again")?;
        let second = "test \"$(tail -c +8388609 /dev/sda | head -c 8388608 | md5sum)\" = \"$sum\"";
        wait(&mut guest, second, "read-on")?;
        remove(&mut guest, "s")?;
        wait(&mut guest, "! test -e /dev/sda", "gone-again")?;
        let left = guest.monitor()?.execute("blockdev-del", json!({ "node-name": "m" }))?;
        ensure!(left == Value::Object(serde_json::Map::new()), "{left}");
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
