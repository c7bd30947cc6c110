//! `cargo xtask guests`: real operating systems and boot programs under stable names in `build/guests`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::fetch::{Group, fetch};
use crate::iso::{self, Cd};
use crate::place::{Place, only};
use crate::ui::{self, Step};
use crate::{disk, initrd, modules};

const CONSOLE: &str = "console=tty0 console=ttyS0,115200";

/// Makes every guest that is missing or older than its recipe.
pub fn guests(place: &Place) -> Result<()> {
    fetch(place, &Group::ALL, false)?;
    cloud(place)?;
    generic(place)?;
    pae(place)?;
    small(place)?;
    uefi(place)?;
    installers(place)
}

/// The cloud kernel with busybox: loose files, a CD that switches off, a CD with a shell.
pub fn cloud(place: &Place) -> Result<()> {
    fetch(place, &[Group::Firmware, Group::Iso, Group::Cloud], false)?;
    let groups = [Group::Iso, Group::Cloud];
    let (root, guests) = (place.root(), place.guests());
    let (kernel, ramdisk) = (guests.join("cloud.vmlinuz"), guests.join("cloud.initrd"));
    make(place, "cloud.vmlinuz", &groups, |target| {
        copy(&only(&root.join("boot"), "vmlinuz-", "-cloud-amd64")?, target)
    })?;
    make(place, "cloud.initrd", &groups, |target| {
        Ok(fs::write(target, initrd::make(&fs::read(root.join("bin/busybox"))?, &[])?)?)
    })?;
    make(place, "virtio.vmlinuz", &groups, |target| copy(&kernel, target))?;
    make(place, "virtio.initrd", &groups, |target| {
        let version = version(&root, "-cloud-amd64", |_| true)?;
        let modules = modules::in_order(&root.join("lib/modules").join(version), &modules::VIRTIO)?;
        Ok(fs::write(target, initrd::make(&fs::read(root.join("bin/busybox"))?, &modules)?)?)
    })?;
    for (name, todo) in [("cloud.iso", "poweroff"), ("cloud-shell.iso", "shell")] {
        make(place, name, &groups, |target| {
            let cd = Cd {
                files: vec![("boot/vmlinuz".into(), kernel.clone()), ("boot/initrd".into(), ramdisk.clone())],
                modules: &[],
                config: iso::linux(&format!("{CONSOLE} ailurus={todo}")),
            };
            iso::make(place, &cd, target)
        })?;
    }
    Ok(())
}

/// The generic kernel: loose files, and a disk in both formats.
fn generic(place: &Place) -> Result<()> {
    let groups = [Group::Cloud, Group::Disk];
    let (root, guests) = (place.root(), place.guests());
    let (kernel, ramdisk) = (guests.join("generic.vmlinuz"), guests.join("generic.initrd"));
    let version = version(&root, "-amd64", |name| !name.contains("cloud"))?;
    let busybox = root.join("bin/busybox");
    make(place, "generic.vmlinuz", &groups, |target| {
        copy(&root.join("boot").join(format!("vmlinuz-{version}")), target)
    })?;
    make(place, "generic.initrd", &groups, |target| {
        let modules = modules::in_order(&root.join("lib/modules").join(&version), &modules::DISK)?;
        Ok(fs::write(target, initrd::make(&fs::read(&busybox)?, &modules)?)?)
    })?;
    make(place, "net.vmlinuz", &groups, |target| copy(&kernel, target))?;
    make(place, "net.initrd", &groups, |target| {
        let modules = modules::in_order(&root.join("lib/modules").join(&version), &modules::NETWORK)?;
        Ok(fs::write(target, initrd::make(&fs::read(&busybox)?, &modules)?)?)
    })?;
    make(place, "vectors.vmlinuz", &groups, |target| copy(&kernel, target))?;
    make(place, "vectors.initrd", &groups, |target| {
        let modules = modules::in_order(&root.join("lib/modules").join(&version), &modules::VECTORS)?;
        Ok(fs::write(target, initrd::make(&fs::read(&busybox)?, &modules)?)?)
    })?;
    make(place, "gpu.vmlinuz", &groups, |target| copy(&kernel, target))?;
    make(place, "gpu.initrd", &groups, |target| {
        let modules = modules::in_order(&root.join("lib/modules").join(&version), &modules::GRAPHICS)?;
        Ok(fs::write(target, initrd::make(&fs::read(&busybox)?, &modules)?)?)
    })?;
    make(place, "usb.vmlinuz", &groups, |target| copy(&kernel, target))?;
    make(place, "usb.initrd", &groups, |target| {
        let modules = modules::in_order(&root.join("lib/modules").join(&version), &modules::USB)?;
        Ok(fs::write(target, initrd::make(&fs::read(&busybox)?, &modules)?)?)
    })?;
    make(place, "sound.vmlinuz", &groups, |target| copy(&kernel, target))?;
    make(place, "sound.initrd", &groups, |target| {
        let modules = modules::in_order(&root.join("lib/modules").join(&version), &modules::SOUND)?;
        Ok(fs::write(target, initrd::make(&fs::read(&busybox)?, &modules)?)?)
    })?;
    make(place, "disk.img", &groups, |target| {
        let content = disk::Content { kernel: &kernel, initrd: &ramdisk, busybox: &busybox };
        disk::make(place, &content, target)
    })?;
    make(place, "disk.qcow2", &groups, |target| {
        ui::run(
            place
                .tool("qemu-img")?
                .args(["convert", "-f", "raw", "-O", "qcow2"])
                .arg(guests.join("disk.img"))
                .arg(target),
        )?;
        Ok(())
    })
}

/// The 32-bit PAE kernel.
fn pae(place: &Place) -> Result<()> {
    let root = place.root_i386();
    make(place, "pae.vmlinuz", &[Group::Pae], |target| {
        copy(&only(&root.join("boot"), "vmlinuz-", "-686-pae")?, target)
    })?;
    make(place, "pae.initrd", &[Group::Pae], |target| {
        let version = version(&root, "-686-pae", |_| true)?;
        let modules = modules::in_order(&root.join("lib/modules").join(version), &modules::DISK)?;
        Ok(fs::write(target, initrd::make(&fs::read(root.join("bin/busybox"))?, &modules)?)?)
    })
}

/// memtest86+, GRUB's rescue CD, invaders, HDT, U-Boot.
fn small(place: &Place) -> Result<()> {
    let root = place.root();
    for (name, from) in [
        ("memtest-ia32.iso", "usr/lib/memtest86+/memtest86+ia32.iso"),
        ("memtest-x64.iso", "usr/lib/memtest86+/memtest86+x64.iso"),
        ("memtest-ia32.bin", "boot/memtest86+ia32.bin"),
        ("memtest-x64.bin", "boot/memtest86+x64.bin"),
        ("grub-rescue.iso", "usr/lib/grub-rescue/grub-rescue-cdrom.iso"),
        ("grub-rescue.img", "usr/lib/grub-rescue/grub-rescue-floppy.img"),
        ("u-boot.rom", "usr/lib/u-boot/qemu-x86/u-boot.rom"),
        ("u-boot-x64.rom", "usr/lib/u-boot/qemu-x86_64/u-boot.rom"),
    ] {
        make(place, name, &[Group::Small], |target| copy(&root.join(from), target))?;
    }
    let groups = [Group::Small, Group::Iso];
    make(place, "invaders.iso", &groups, |target| {
        let cd = Cd {
            files: vec![("invaders.exec".into(), root.join("boot/invaders.exec"))],
            modules: &["mboot", "libcom32"],
            config:
                "default invaders\nprompt 0\nlabel invaders\n  kernel mboot.c32\n  append /invaders.exec\n"
                    .into(),
        };
        iso::make(place, &cd, target)
    })?;
    // The menu is the default; at the prompt (Shift or a key within two seconds) `cli` gives HDT's command line.
    make(place, "hdt.iso", &groups, |target| {
        let cd = Cd {
            files: vec![("isolinux/pci.ids".into(), root.join("usr/share/misc/pci.ids"))],
            modules: &["hdt", "libcom32", "libgpl", "libmenu", "libutil"],
            config: "default hdt\nprompt 1\ntimeout 20\nlabel hdt\n  kernel hdt.c32\nlabel cli\n  kernel hdt.c32\n  \
                     append nomenu\n"
                .into(),
        };
        iso::make(place, &cd, target)
    })
}

/// OVMF for two chips of flash memory and for a ROM, a kernel that looks at its variables, and a disk that it boots from.
fn uefi(place: &Place) -> Result<()> {
    let root = place.root();
    for (name, from) in [
        ("ovmf-code.fd", "usr/share/OVMF/OVMF_CODE_4M.fd"),
        ("ovmf-vars.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("ovmf.fd", "usr/share/ovmf/OVMF.fd"),
    ] {
        make(place, name, &[Group::Uefi], |target| copy(&root.join(from), target))?;
    }
    let groups = [Group::Cloud, Group::Uefi];
    let guests = place.guests();
    let (kernel, ramdisk) = (guests.join("uefi.vmlinuz"), guests.join("uefi.initrd"));
    make(place, "uefi.vmlinuz", &groups, |target| copy(&guests.join("cloud.vmlinuz"), target))?;
    make(place, "uefi.initrd", &groups, |target| {
        let version = version(&root, "-cloud-amd64", |_| true)?;
        let modules = modules::in_order(&root.join("lib/modules").join(version), &modules::UEFI)?;
        Ok(fs::write(target, initrd::make(&fs::read(root.join("bin/busybox"))?, &modules)?)?)
    })?;
    make(place, "uefi.img", &groups, |target| boot_disk(place, &kernel, &ramdisk, target))
}

/// A FAT file system with a kernel, its initial RAM disk, and the script that the UEFI shell runs.
fn boot_disk(place: &Place, kernel: &Path, ramdisk: &Path, target: &Path) -> Result<()> {
    let script = target.with_extension("nsh");
    let line = "vmlinuz.efi initrd=\\initrd console=ttyS0,115200 ailurus=shell quiet";
    fs::write(&script, format!("fs0:\r\n{line}\r\n"))?;
    let tool = |name: &str| -> Result<Command> {
        let mut command = place.tool(name)?;
        // The machine may have an mtools.conf of its own.
        command.env("MTOOLSRC", "/dev/null").arg("-i").arg(target);
        Ok(command)
    };
    // 48 MiB.
    let format = ["-C", "-T", "98304", "-h", "16", "-s", "63", "-v", "UEFI", "::"];
    ui::run(tool("mformat")?.args(format))?;
    let copied: [(&Path, &str); 3] =
        [(kernel, "::vmlinuz.efi"), (ramdisk, "::initrd"), (script.as_path(), "::startup.nsh")];
    for (from, to) in copied {
        ui::run(tool("mcopy")?.arg(from).arg(to))?;
    }
    Ok(fs::remove_file(&script)?)
}

/// Debian's installer as kernels with their initial RAM disks, text and graphical.
fn installers(place: &Place) -> Result<()> {
    for architecture in ["i386", "amd64"] {
        for kind in ["text", "gtk"] {
            let from = place.root().join(format!(
                "usr/lib/debian-installer/images/12/{architecture}/{kind}/debian-installer/{architecture}"
            ));
            for (file, suffix) in [("linux", "vmlinuz"), ("initrd.gz", "initrd")] {
                let name = format!("installer-{architecture}-{kind}.{suffix}");
                make(place, &name, &[Group::Installer], |target| copy(&from.join(file), target))?;
            }
        }
    }
    Ok(())
}

/// The version of the newest kernel under `root` whose name ends with `suffix` and pleases `wanted`.
pub fn version(root: &Path, suffix: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let mut found: Vec<String> = fs::read_dir(root.join("lib/modules"))
        .with_context(|| format!("no kernel modules in {}", root.display()))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(suffix) && wanted(name))
        .collect();
    found.sort();
    found.pop().with_context(|| format!("no kernel *{suffix} in {}", root.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// Makes one file in `build/guests` as [`make_at`] does.
fn make(place: &Place, name: &str, groups: &[Group], recipe: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    make_at(place, &place.guests().join(name), groups, recipe)
}

/// Makes the file `target` in the build folder unless it is newer than this program and the packages it comes from. It
/// appears under its name only when it is whole.
pub fn make_at(
    place: &Place,
    target: &Path,
    groups: &[Group],
    recipe: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let folder = target.parent().context("a file without a folder")?;
    let name = target.file_name().context("a file without a name")?.to_string_lossy();
    fs::create_dir_all(folder)?;
    let age = |path: PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
    let newest = groups
        .iter()
        .map(|group| age(group.stamp(place)))
        .chain([std::env::current_exe().ok().and_then(age)])
        .flatten()
        .max()
        .unwrap_or_else(SystemTime::now);
    if age(target.to_path_buf()).is_some_and(|made| made > newest) {
        return Ok(());
    }
    let step =
        Step::begin(format!("make {}", target.strip_prefix(&place.workspace).unwrap_or(target).display()));
    let whole = folder.join(format!(".{name}"));
    recipe(&whole).with_context(|| format!("cannot make {name}"))?;
    // A copy keeps no date of its own, but a recipe may: what counts is when it was made here.
    fs::File::options().write(true).open(&whole)?.set_modified(SystemTime::now())?;
    fs::rename(&whole, target)?;
    step.done();
    Ok(())
}
