//! Virtio beside QEMU's virtio, and a disk on the IDE controller beside both.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use guest_tests::{Guest, Machine, Program, place, seconds};

use super::Better;
use super::aio::{self, Load};
use super::measures::{Measure, shell, timed};
use super::network::{Peer, download, packets, ping, row, upload};
use crate::cpio::Archive;

/// A way to the disk.
#[derive(Clone, Copy)]
enum Bus {
    Virtio,
    Ide,
}

/// The rows, all with `virtio` in their names.
pub const MEASURES: &[Measure] = &[
    row("virtio-blk sequential read", "MB/s", Better::More, |p| sequential(p, Bus::Virtio, false)),
    row("(virtio) IDE sequential read", "MB/s", Better::More, |p| sequential(p, Bus::Ide, false)),
    row("virtio-blk sequential write", "MB/s", Better::More, |p| sequential(p, Bus::Virtio, true)),
    row("(virtio) IDE sequential write", "MB/s", Better::More, |p| sequential(p, Bus::Ide, true)),
    row("virtio-blk 4 KiB reads, 1 at once", "1/s", Better::More, |p| random(p, Bus::Virtio, false, 1)),
    row("(virtio) IDE 4 KiB reads, 1 at once", "1/s", Better::More, |p| random(p, Bus::Ide, false, 1)),
    row("virtio-blk 4 KiB reads, 32 at once", "1/s", Better::More, |p| random(p, Bus::Virtio, false, 32)),
    row("(virtio) IDE 4 KiB reads, 32 at once", "1/s", Better::More, |p| random(p, Bus::Ide, false, 32)),
    row("virtio-blk 4 KiB writes, 32 at once", "1/s", Better::More, |p| random(p, Bus::Virtio, true, 32)),
    row("virtio-blk boot by SeaBIOS and GRUB", "s", Better::Less, boot),
    row("virtio-net download", "MB/s", Better::More, |p| Ok(download(p, CARD)?.rate)),
    row("virtio-net download, CPU", "s/GB", Better::Less, |p| Ok(download(p, CARD)?.cpu)),
    row("virtio-net upload", "MB/s", Better::More, |p| Ok(upload(p, CARD)?.rate)),
    row("virtio-net upload, CPU", "s/GB", Better::Less, |p| Ok(upload(p, CARD)?.cpu)),
    row("virtio-net ping, user", "µs", Better::Less, |p| ping(p, CARD, Peer::User)),
    row("virtio-net 64-byte packets", "1/s", Better::More, |p| packets(p, CARD)),
];

const CARD: &str = "virtio-net-pci";
/// Bytes of the disk.
const DISK: u64 = 256 << 20;
/// Requests of a measure.
const REQUESTS: u32 = 40_000;

/// A guest at its shell with a disk, whose name there is given.
fn guest(
    program: &Program,
    bus: Bus,
    load: Option<Load>,
) -> Result<(Guest, &'static str, tempfile::TempDir)> {
    let folder = place::temporary()?;
    let image = folder.path().join("disk");
    // Real data in the host's page cache, which has nothing to write back any more.
    let mut random = File::open("/dev/urandom")?.take(DISK);
    let mut file = File::create(&image)?;
    std::io::copy(&mut random, &mut file).and_then(|_| file.sync_all()).context("cannot write the disk")?;
    let machine = Machine::on(program.clone()).memory(512);
    let append = "console=ttyS0,115200 quiet ailurus=shell";
    let (machine, disk) = match bus {
        Bus::Virtio => (machine.kernel("virtio", append)?.virtio_disk(&image, "raw", ""), "/dev/vda"),
        Bus::Ide => (machine.kernel("generic", append)?.disk(&image, "raw"), "/dev/sda"),
    };
    let machine = match load {
        None => machine,
        Some(load) => {
            let mut archive = Archive::default();
            archive.program("bin/aio", &aio::program(load)?);
            machine.initrd_with(&archive.finish()?, folder.path())?
        }
    };
    let mut guest = shell(machine)?;
    timed(&mut guest, &format!("while [ ! -b {disk} ]; do sleep 0.1; done"))?;
    Ok((guest, disk, folder))
}

fn sequential(program: &Program, bus: Bus, write: bool) -> Result<f64> {
    let (mut guest, disk, _folder) = guest(program, bus, None)?;
    let count = DISK >> 20;
    let line = match write {
        false => format!("dd if={disk} of=/dev/null bs=1M iflag=direct"),
        true => format!("dd if=/dev/zero of={disk} bs=1M count={count} oflag=direct"),
    };
    let times = 6;
    let time = timed(&mut guest, &vec![line; times].join(" && "))?;
    Ok(times as f64 * DISK as f64 / 1e6 / time)
}

/// Requests a second.
fn random(program: &Program, bus: Bus, write: bool, depth: u32) -> Result<f64> {
    let load = Load { write, depth, count: REQUESTS, span: DISK };
    let (mut guest, disk, _folder) = guest(program, bus, Some(load))?;
    let time = timed(&mut guest, &format!("aio {disk}"))?;
    Ok(f64::from(REQUESTS) / time)
}

/// Seconds until the kernel speaks that GRUB has read from the disk.
fn boot(program: &Program) -> Result<f64> {
    let folder = place::temporary()?;
    let image = folder.path().join("disk");
    std::fs::copy(place::guest("disk.img")?, &image)?;
    let mut guest = Machine::on(program.clone()).virtio_disk(&image, "raw", "").boot()?;
    guest.wait_for("Linux version", seconds(300))?;
    Ok(guest.elapsed().as_secs_f64())
}
