//! The lab's Linux guests: Debian's cloud kernel, or the generic one with drivers of network cards, with an initial RAM
//! disk whose shell listens on the serial port.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cpio::Archive;
use crate::guests::version;
use crate::place::Place;
use crate::xen_lab::sectors;
use crate::{iso, modules};

const INIT: &str = include_str!("../../../xen-lab/guest/init");

/// Its kernel says nothing on the serial port, where every letter is a trip to the device model; Xen's console has it.
const COMMAND_LINE: &str = "console=hvc0 quiet no_timer_check mitigations=off audit=0 panic=-1";

/// PV disks and networks, IDE disks and CDs (for a machine without PV devices), the power button.
const MODULES: [&str; 11] = [
    "crc32c_generic",
    "crct10dif_generic",
    "crc64_rocksoft_generic",
    "xen_blkfront",
    "xen_netfront",
    "ata_piix",
    "sd_mod",
    "sr_mod",
    "isofs",
    "button",
    "evdev",
];

/// Which kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Small and quick.
    Cloud,
    /// With drivers of emulated network cards.
    Generic,
    /// The same kernel, with drivers of what is on a desk.
    Desk,
}

impl Kernel {
    fn version(self, place: &Place) -> Result<String> {
        match self {
            Kernel::Cloud => version(&place.root(), "-cloud-amd64", |_| true),
            Kernel::Generic | Kernel::Desk => {
                version(&place.root(), "-amd64", |name| !name.contains("cloud"))
            }
        }
    }

    /// What it loads beside [`MODULES`].
    fn drivers(self) -> Vec<&'static str> {
        match self {
            Kernel::Cloud => Vec::new(),
            // The bench sends packets.
            Kernel::Generic => [&modules::NETWORK[..], &["pktgen"]].concat(),
            Kernel::Desk => [&modules::USB[..], &["snd-hda-codec-generic", "snd-hda-intel"]].concat(),
        }
    }

    fn file(self, place: &Place) -> Result<PathBuf> {
        Ok(place.root().join("boot").join(format!("vmlinuz-{}", self.version(place)?)))
    }
}

/// The files of a Linux guest.
fn ramdisk(place: &Place, kernel: Kernel) -> Result<Vec<u8>> {
    let root = place.root();
    let version = kernel.version(place)?;
    let mut archive = Archive::default();
    for folder in ["bin", "sbin", "dev", "proc", "sys", "modules"] {
        archive.folder(folder);
    }
    archive.character("dev/console", 5, 1);
    archive.program("bin/busybox", &fs::read(root.join("bin/busybox")).context("no busybox")?);
    archive.symlink("bin/sh", "busybox");
    // The kernel calls these by name when the toolstack asks it to shut down or reboot.
    for (name, applet) in [("sbin/poweroff", "poweroff"), ("sbin/reboot", "reboot")] {
        archive.program(name, format!("#!/bin/sh\nexec /bin/busybox {applet} -f\n").as_bytes());
    }
    let names = [&MODULES[..], &kernel.drivers()].concat();
    let modules = modules::in_order(&root.join("lib/modules").join(version), &names)?;
    for (place, (name, content)) in modules.iter().enumerate() {
        archive.program(&format!("modules/{place:02}-{name}.ko"), content);
    }
    archive.program("init", INIT.as_bytes());
    archive.finish()
}

/// A CD that boots it as firmware and a boot loader do, port by port.
pub fn cd(place: &Place, target: &Path) -> Result<()> {
    let initrd = target.with_extension("initrd");
    fs::write(&initrd, ramdisk(place, Kernel::Cloud)?)?;
    let files =
        vec![("boot/vmlinuz".into(), Kernel::Cloud.file(place)?), ("boot/initrd".into(), initrd.clone())];
    let config = iso::linux(COMMAND_LINE);
    iso::make(place, &iso::Cd { files, modules: &[], config }, target)?;
    Ok(fs::remove_file(initrd)?)
}

/// A disk that boots it by DMA.
pub fn disk(place: &Place, kernel: Kernel, target: &Path) -> Result<()> {
    let file = kernel.file(place)?;
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(fs::write(target, sectors::loader(&bytes, &ramdisk(place, kernel)?, COMMAND_LINE)?)?)
}
