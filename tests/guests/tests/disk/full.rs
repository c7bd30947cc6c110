//! Disks on a host that has no space left.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::{Value, json};

use super::{host_tool, run};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";

/// A file system with 12 MiB for two disks of 64 MiB, in mounts of its own, where an ordinary user may make one. It gets
/// more when it is told, and goes when this is dropped.
struct Full(Child);

const SCRIPT: &str = r#"
mkdir "$1/full"
mount -t tmpfs -o size=12m none "$1/full"
truncate -s 64M "$1/full/disk.img"
cp "$1/disk.qcow2" "$1/full/disk.qcow2"
echo ready
read line
mount -o remount,size=100m "$1/full"
echo larger
read line
"#;

impl Full {
    fn start(folder: &Path) -> Result<Full> {
        let child = Command::new("unshare")
            .args(["-Urnm", "--fork", "--kill-child", "sh", "-e", "-c", SCRIPT, "full"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare (util-linux) does not start")?;
        let mut full = Full(child);
        full.says("ready")?;
        Ok(full)
    }

    /// It says nothing else, and that byte by byte.
    fn says(&mut self, word: &str) -> Result<()> {
        let output = self.0.stdout.as_mut().context("it has no output")?;
        let mut line = String::new();
        BufReader::with_capacity(1, output).read_line(&mut line)?;
        ensure!(line.trim() == word, "it said {line:?}");
        Ok(())
    }

    fn grow(&mut self) -> Result<()> {
        let input = self.0.stdin.as_mut().context("it has no input")?;
        input.write_all(b"grow\n")?;
        self.says("larger")
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The guest was stopped, for a disk that the monitor names.
fn stopped(guest: &mut Guest) -> Result<()> {
    let monitor = guest.monitor()?;
    let error = monitor.wait_event("BLOCK_IO_ERROR")?;
    ensure!(
        error["action"] == "stop" && error["nospace"] == true && error["operation"] == "write",
        "{error}"
    );
    monitor.wait_event("STOP")?;
    let status = monitor.execute("query-status", json!({}))?;
    ensure!(status["status"] == "io-error" && status["running"] == false, "{status}");
    let drives = monitor.execute("query-block", json!({}))?;
    let full = |drive: &Value| drive["io-status"] == "nospace" && drive["device"] == error["device"];
    ensure!(drives.as_array().is_some_and(|drives| drives.iter().any(full)), "{drives}");
    Ok(())
}

/// As QEMU's `werror=enospc`, which nobody needs to ask for: the guest hears nothing and loses nothing.
#[test]
fn a_guest_waits_until_the_host_has_space() {
    case("disks on a full host: stopped, given room, and on", || {
        let folder = tempfile::tempdir()?;
        let qcow2 = folder.path().join("disk.qcow2");
        run(host_tool("qemu-img")?.args(["create", "-q", "-f", "qcow2"]).arg(&qcow2).arg("64M"))?;
        let mut host = Full::start(folder.path())?;
        let image = |name: &str| folder.path().join("full").join(name);
        let machine = Machine::new()?
            .within(host.0.id())
            .virtio_disk(&image("disk.img"), "raw", "")
            .virtio_disk(&image("disk.qcow2"), "qcow2", "packed=on");
        let mut guest = machine.kernel("virtio", APPEND)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        guest.type_line("head -c 8388608 /dev/urandom > x; sum=\"$(md5sum < x)\"")?;
        let fill = "for disk in vda vdb; do for at in 0 8 16; do dd if=x of=/dev/$disk bs=1M seek=$at conv=fsync || break; done; done";
        guest
            .type_line(&format!("{fill}; echo 3 > /proc/sys/vm/drop_caches; echo it-is-$((40+2))-written"))?;
        stopped(&mut guest)?;
        let refused = guest.save(&folder.path().join("saved")).err().context("it was saved")?;
        ensure!(format!("{refused:#}").contains("cannot read or write a disk"), "{refused:#}");
        // There is no more space yet.
        guest.monitor()?.execute("cont", json!({}))?;
        stopped(&mut guest)?;
        host.grow()?;
        guest.monitor()?.execute("cont", json!({}))?;
        guest.wait_for("it-is-42-written", seconds(240))?;
        let sums = "for disk in vda vdb; do for at in 0 8 16; do dd if=/dev/$disk bs=1M skip=$at count=8 | md5sum; done; done";
        guest.type_line(&format!("{sums} | grep -c \"$sum\" | sed s/^/it-is-$((40+2))-with-/"))?;
        guest.wait_for("it-is-42-with-6", seconds(240))?;
        let errors = "dmesg | grep -c 'I/O error' | sed s/^/it-is-$((40+2))-errors-/";
        guest.type_line(errors)?;
        guest.wait_for("it-is-42-errors-0", seconds(60))?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
