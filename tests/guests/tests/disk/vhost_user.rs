//! The same kernel on a disk that QEMU's storage daemon serves, by `vhost-user-blk-pci`.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, case, place, seconds};

use super::{Amount, check, copy, finish, host_tool, interrupt};

/// The disk's own userland, which writes 20 MB, boots again and reads them.
const APPEND: &str = "console=ttyS0,115200 ailurus=disk root=/dev/vda1 ailurus.mb=20 panic=-1 quiet";

/// The storage daemon, with an image for whoever comes. Dropping it kills it.
struct Daemon(Child);

impl Daemon {
    fn start(image: &Path, socket: &Path) -> Result<Daemon> {
        let _ = std::fs::remove_file(socket);
        let mut command = host_tool("qemu-storage-daemon")?;
        command.arg("--blockdev").arg(format!("file,node-name=file,filename={}", image.display()));
        command.args(["--blockdev", "raw,node-name=disk,file=file", "--export"]);
        command.arg(format!(
            "vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path={},writable=on,num-queues=2",
            socket.display()
        ));
        let daemon = Daemon(command.stdin(Stdio::null()).spawn()?);
        let begun = Instant::now();
        while !socket.exists() {
            ensure!(begun.elapsed() < seconds(20), "the storage daemon does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGKILL, which it hears nothing of.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn begin(socket: &Path, device: &str, options: &str) -> Result<Guest> {
    let machine = Machine::new()?.vcpus(2).served(device, &format!("path={}{options}", socket.display()));
    let mut guest = machine.kernel("virtio", APPEND)?.boot()?;
    guest.wait_for("AILURUS-DISK-WRITE", seconds(400))?;
    Ok(guest)
}

fn written(device: &str) -> Result<()> {
    let folder = place::temporary()?;
    let (image, socket) = (copy("disk.img", folder.path())?, folder.path().join("socket"));
    let daemon = Daemon::start(&image, &socket)?;
    finish(&mut begin(&socket, device, "")?)?;
    drop(daemon);
    check(&image, "raw", folder.path())
}

#[test]
#[ignore = "all: the guest of the virtio disk with another process behind it"]
fn a_disk_of_another_process_keeps_what_was_written() {
    case("vhost-user disk: 20 MB written, rebooted, read, fsck", || written("vhost-user-blk-pci"));
    case("vhost-user disk, packed, 2 queues", || {
        written("vhost-user-blk-pci,packed=on,num-queues=2,disable-legacy=on")
    });
    case("vhost-user disk, legacy, INTx", || {
        written("vhost-user-blk-pci,disable-modern=on,vectors=0,queue-size=16")
    });
}

#[test]
#[ignore = "all: kills a process three times in 20 MB"]
fn the_guest_goes_on_when_that_process_is_killed_and_comes_again() {
    case("vhost-user disk: the storage daemon killed in mid-write, three times", || {
        let folder = place::temporary()?;
        let (image, socket) = (copy("disk.img", folder.path())?, folder.path().join("socket"));
        let mut daemon = Daemon::start(&image, &socket)?;
        let device = "vhost-user-blk-pci,num-queues=2";
        let mut guest = begin(&socket, device, ",reconnect-ms=50")?;
        for _ in 0..3 {
            // It writes without a pause: something is in flight.
            std::thread::sleep(Duration::from_millis(150));
            drop(daemon);
            daemon = Daemon::start(&image, &socket)?;
        }
        finish(&mut guest)?;
        let gone = guest.errors().matches("has gone").count();
        ensure!(gone == 3, "it was killed, and {gone} times that was seen: {}", guest.errors());
        drop(daemon);
        check(&image, "raw", folder.path())
    });
}

#[test]
#[ignore = "all: the guest of the virtio disk with another process behind it"]
fn a_disk_of_another_process_is_saved_in_mid_write() {
    case("vhost-user disk: saved, killed and continued in mid-write", || {
        let folder = place::temporary()?;
        let (image, socket) = (copy("disk.img", folder.path())?, folder.path().join("socket"));
        let _daemon = Daemon::start(&image, &socket)?;
        let guest = begin(&socket, "vhost-user-blk-pci", "")?;
        interrupt(guest, (&image, "raw"), folder.path(), Amount::Little)
    });
}
