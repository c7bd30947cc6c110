//! The disk guest: GRUB in the master boot record and the gap behind it, one ext4 partition.
//!
//! No block device and no root are needed: mke2fs fills the file system from a folder, and GRUB's images need no
//! patching when the core image lies where its block list says by default, from sector 1 on.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::place::Place;
use crate::ui;

const SECTOR: u64 = 512;
/// First sector of the partition: 1 MiB, the usual gap.
const FIRST: u64 = 2048;
/// Size of the whole disk.
const BYTES: u64 = 512 << 20;
const BLOCK: u64 = 4096;

/// File system features that Linux 6.1 and GRUB 2.06 both know, named one by one because every release of mke2fs has
/// its own defaults.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,\
                        large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

const GRUB_CFG: &str = "serial --unit=0 --speed=115200\n\
    terminal_output console serial\n\
    terminal_input console serial\n\
    set timeout=1\n\
    menuentry 'Linux' {\n\
    \x20 linux /boot/vmlinuz root=/dev/sda1 ro ailurus=disk console=tty0 console=ttyS0,115200\n\
    \x20 initrd /boot/initrd\n\
    }\n\
    menuentry 'Linux, a little data' {\n\
    \x20 linux /boot/vmlinuz root=/dev/sda1 ro ailurus=disk ailurus.mb=20 console=tty0 console=ttyS0,115200\n\
    \x20 initrd /boot/initrd\n\
    }\n";

/// What goes on the disk.
pub struct Content<'a> {
    /// The kernel, a bzImage.
    pub kernel: &'a Path,
    /// Its initial RAM disk.
    pub initrd: &'a Path,
    /// A static busybox.
    pub busybox: &'a Path,
}

/// Writes the raw image `target`.
pub fn make(place: &Place, content: &Content<'_>, target: &Path) -> Result<()> {
    let stage = place.build.join("stage/disk");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fill(&stage, content)?;
    let part = target.with_extension("part");
    let mut disk = File::create(&part).with_context(|| format!("cannot write {}", part.display()))?;
    disk.set_len(BYTES)?;
    ui::run(
        place
            .tool("mkfs.ext4")?
            .args(["-q", "-F", "-b", "4096", "-L", "ailurus", "-O", FEATURES])
            .args(["-U", "a11a5a11-0000-4000-8000-000000000001"])
            .args(["-E", "offset=1048576,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"])
            .arg("-d")
            .arg(&stage)
            .arg(&part)
            .arg(((BYTES - FIRST * SECTOR) / BLOCK).to_string()),
    )?;
    disk.seek(SeekFrom::Start(0))?;
    disk.write_all(&boot_sectors(place)?)?;
    disk.sync_all()?;
    fs::rename(&part, target)?;
    fs::remove_dir_all(&stage)?;
    Ok(())
}

/// The files of the root file system.
fn fill(stage: &Path, content: &Content<'_>) -> Result<()> {
    for folder in ["boot/grub", "bin", "sbin", "dev", "proc", "sys", "tmp", "root", "mnt"] {
        fs::create_dir_all(stage.join(folder))?;
    }
    for (from, to) in
        [(content.kernel, "boot/vmlinuz"), (content.initrd, "boot/initrd"), (content.busybox, "bin/busybox")]
    {
        fs::copy(from, stage.join(to)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    fs::write(stage.join("boot/grub/grub.cfg"), GRUB_CFG)?;
    let init = stage.join("sbin/init");
    fs::write(&init, include_str!("disk-init.sh"))?;
    let mut permissions = fs::metadata(&init)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&init, permissions)?;
    for name in ["sh", "mount", "cat", "dd", "rm", "mv", "sync", "sha256sum", "reboot", "poweroff", "sleep"] {
        std::os::unix::fs::symlink("busybox", stage.join("bin").join(name))?;
    }
    Ok(())
}

/// Sector 0 (GRUB's boot code and the partition table) and GRUB's core image behind it.
fn boot_sectors(place: &Place) -> Result<Vec<u8>> {
    let grub = place.root().join("usr/lib/grub/i386-pc");
    let core = place.build.join("stage/core.img");
    ui::run(
        place
            .tool("grub-mkimage")?
            .args(["-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-d"])
            .arg(&grub)
            .arg("-o")
            .arg(&core)
            .args(["biosdisk", "part_msdos", "ext2", "normal", "configfile", "linux"])
            .args(["serial", "terminal", "echo", "test", "ls", "reboot", "halt"]),
    )?;
    let mut sectors = fs::read(grub.join("boot.img")).context("cannot read GRUB's boot.img")?;
    ensure!(sectors.len() == 512, "GRUB's boot.img is not one sector");
    let core = fs::read(&core)?;
    ensure!(
        core.len() as u64 <= (FIRST - 1) * SECTOR,
        "GRUB's core image does not fit in front of the partition"
    );
    sectors[440..510].fill(0);
    let mut entry = [0u8; 16];
    entry[0] = 0x80; // active
    entry[1..4].fill(0xff); // CHS out of range: use the LBA fields
    entry[4] = 0x83; // Linux
    entry[5..8].fill(0xff);
    entry[8..12].copy_from_slice(&(FIRST as u32).to_le_bytes());
    entry[12..16].copy_from_slice(&((BYTES / SECTOR - FIRST) as u32).to_le_bytes());
    sectors[446..462].copy_from_slice(&entry);
    sectors[510..512].copy_from_slice(&[0x55, 0xaa]);
    sectors.extend_from_slice(&core);
    Ok(sectors)
}
