//! `cargo xtask fetch`: Debian packages that the guests, the tests and the benches are made of.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::apt::Apt;
use crate::place::Place;
use crate::ui;
use crate::xen_lab;

/// A group of packages that serve one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Group {
    /// SeaBIOS and its VGA BIOS; iPXE as the ROMs of network cards
    Firmware,
    /// What makes a bootable CD: ISOLINUX, xorriso
    Iso,
    /// Debian's cloud kernel and a static busybox
    Cloud,
    /// Debian's generic kernel, GRUB, and tools that make disk images
    Disk,
    /// Debian's 32-bit PAE kernel and its busybox
    Pae,
    /// memtest86+, GRUB rescue CD, grub-invaders, U-Boot
    Small,
    /// OVMF, which is UEFI for the PC, and what writes its boot disk
    Uefi,
    /// Debian's installer, i386 and amd64 (240 MB)
    Installer,
    /// Open vSwitch with DPDK, and passt
    Switches,
    /// Processes that serve virtio devices: QEMU's storage daemon and virtiofsd
    BackEnds,
    /// The ACPI disassembler, a second reader of our tables
    Acpica,
    /// A browser that needs no screen, for the page of `--display web` (not part of `all`)
    Browser,
    /// QEMU, the measure of the benches (not part of `all`)
    Qemu,
    /// Xen, its tools, its own QEMU and what a dom0 is made of (not part of `all`)
    Xen,
}

impl Group {
    /// Every group that guests and tests need.
    pub const ALL: [Group; 11] = [
        Group::Firmware,
        Group::Iso,
        Group::Cloud,
        Group::Disk,
        Group::Pae,
        Group::Small,
        Group::Uefi,
        Group::Installer,
        Group::Switches,
        Group::BackEnds,
        Group::Acpica,
    ];

    /// The file that says that the group was brought, and by its date when.
    pub fn stamp(self, place: &Place) -> PathBuf {
        stamps(place).join(format!("{self:?}").to_lowercase())
    }

    /// Packages of files, taken alone; and packages of programs, taken with the libraries they need.
    fn packages(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Group::Firmware => (&["seabios", "ipxe-qemu"], &[]),
            Group::Iso => (&["isolinux", "syslinux-common"], &["xorriso"]),
            Group::Cloud => (&["linux-image-cloud-amd64>linux-image-", "busybox-static"], &[]),
            Group::Disk => (
                &["linux-image-amd64>linux-image-", "busybox-static", "grub-pc-bin"],
                &["grub-common", "e2fsprogs", "qemu-utils"],
            ),
            Group::Pae => (&["linux-image-686-pae:i386>linux-image-", "busybox-static:i386"], &[]),
            Group::Small => {
                (&["memtest86+", "grub-rescue-pc", "grub-invaders", "u-boot-qemu", "pci.ids"], &[])
            }
            Group::Uefi => (&["ovmf"], &["mtools"]),
            Group::Installer => {
                (&["debian-installer-12-netboot-i386", "debian-installer-12-netboot-amd64"], &[])
            }
            Group::Switches => (&[], &["openvswitch-switch-dpdk", "librte-mempool-ring23", "passt"]),
            Group::BackEnds => (&[], &["qemu-system-common"]),
            Group::Acpica => (&[], &["acpica-tools"]),
            Group::Browser => (&[], &["chromium", "fonts-dejavu-core"]),
            Group::Qemu => (&["seabios", "ipxe-qemu"], &["qemu-system-x86"]),
            Group::Xen => (&xen_lab::packages::DOM0, &[]),
        }
    }
}

fn stamps(place: &Place) -> PathBuf {
    place.build.join("stamps")
}

/// Brings the groups that are not there yet. A group that was brought once costs nothing again, unless `fresh`.
pub fn fetch(place: &Place, groups: &[Group], fresh: bool) -> Result<()> {
    let stamps = stamps(place);
    fs::create_dir_all(&stamps).with_context(|| format!("cannot make {}", stamps.display()))?;
    let lock = fs::File::create(place.build.join(".lock"))?;
    if lock.try_lock().is_err() {
        ui::say("another task is at work in the build folder; waiting for it");
        lock.lock()?;
    }
    let apt = Apt::new(&place.build)?;
    if fresh {
        apt.update()?;
    }
    for group in groups {
        let (plain, whole) = group.packages();
        let stamp = group.stamp(place);
        let wanted = format!("{plain:?} {whole:?}\n");
        if !fresh && fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
            continue;
        }
        let root = match group {
            Group::Pae => place.root_i386(),
            Group::Browser => place.browser(),
            Group::Qemu => place.qemu(),
            Group::Xen => xen_lab::packages::root(place),
            _ => place.root(),
        };
        apt.bring(&root, plain, whole)
            .with_context(|| format!("cannot bring the packages of `{group:?}`"))?;
        fs::write(&stamp, wanted)?;
    }
    Ok(())
}
