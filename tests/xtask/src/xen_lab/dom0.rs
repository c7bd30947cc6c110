//! dom0: its root disk, its initial RAM disk, its kernel, and Xen itself, all made without root.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cpio::Archive;
use crate::place::{Place, only};
use crate::xen_lab::packages;
use crate::{modules, ui};

const INIT: &str = include_str!("../../../xen-lab/dom0/init");
const AGENT: &str = include_str!("../../../xen-lab/dom0/agent");
const RAMDISK_INIT: &str = include_str!("../../../xen-lab/dom0/ramdisk-init");
const VIF: &str = include_str!("../../../xen-lab/dom0/vif");

/// Size of the root disk: room for saved guests and test disks. The file is sparse.
const BYTES: u64 = 3 << 30;

/// Parts of packages that nothing reads here.
const LEFT_OUT: [&str; 9] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/gcc",
    "usr/include",
    ".unpacked",
];

/// Kernel modules that dom0 loads at its start: its own disk and share, then what Xen's tools and device models use.
const MODULES: [&str; 17] = [
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "libcrc32c",
    "ext4",
    "9pnet_virtio",
    "9p",
    "xen_evtchn",
    "xen_privcmd",
    "xen_gntdev",
    "xen_gntalloc",
    "xenfs",
    "xen_blkback",
    "xen_netback",
    "loop",
    "tun",
    "bridge",
];

/// Users that libxl gives to restricted device models: a base to which it adds the domain's number, and the one that
/// ends them.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                      nobody:x:65534:65534:nobody:/:/bin/false\n\
                      xen-qemuuser-range-base:x:131072:131072::/:/bin/false\n\
                      xen-qemuuser-reaper:x:200000:200000::/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\nxen-qemuuser-range-base:x:131072:\n\
                     xen-qemuuser-reaper:x:200000:\n";

/// Makes the disk `target` that holds dom0's root file system, with `srv` as the files of /srv.
pub fn disk(place: &Place, srv: &[(&str, PathBuf)], target: &Path) -> Result<()> {
    let stage = place.build.join("stage/dom0");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    tree(place, &stage)?;
    for (name, from) in srv {
        put(from, &stage.join("srv").join(name))?;
    }
    let file = File::create(target).with_context(|| format!("cannot write {}", target.display()))?;
    file.set_len(BYTES)?;
    ui::run(
        place
            .tool("mkfs.ext4")?
            .args(["-q", "-F", "-b", "4096", "-m", "0", "-O", "^metadata_csum,^64bit"])
            .args(["-E", "lazy_itable_init=1,root_owner=0:0", "-d"])
            .arg(&stage)
            .arg(target),
    )?;
    fs::remove_dir_all(&stage)?;
    Ok(())
}

/// The root file system as a folder, of hard links to the unpacked packages where it can be.
fn tree(place: &Place, stage: &Path) -> Result<()> {
    let packages = packages::root(place);
    for folder in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(stage.join("usr").join(folder))?;
        symlink(format!("usr/{folder}"), stage.join(folder))?;
    }
    overlay(&packages, Path::new(""), stage)?;
    for folder in ["proc", "sys", "dev", "run", "tmp", "root", "share", "srv", "mnt", "etc/xen"] {
        fs::create_dir_all(stage.join(folder))?;
    }
    for folder in ["lib/xen", "lib/xenstored", "log/xen", "lock"] {
        fs::create_dir_all(stage.join("var").join(folder))?;
    }
    symlink("/run", stage.join("var/run"))?;
    busybox(place, stage)?;
    xen_tools(stage)?;
    for (name, text) in [
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ("etc/hosts", "127.0.0.1 localhost dom0\n"),
    ] {
        fs::write(stage.join(name), text)?;
    }
    program(&stage.join("usr/sbin/init"), INIT)?;
    program(&stage.join("usr/sbin/lab-agent"), AGENT)?;
    program(&stage.join("etc/xen/scripts/vif-lab"), VIF)
}

/// Lays the packages' folder `from`/`inner` over the stage. What packages still ship in /bin, /sbin and /lib goes to
/// the same place under /usr, where the links of a merged system lead.
fn overlay(from: &Path, inner: &Path, stage: &Path) -> Result<()> {
    let folder = from.join(inner);
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let inner = inner.join(entry.file_name());
        if LEFT_OUT.iter().any(|out| inner == Path::new(out)) || inner == Path::new("var/run") {
            continue;
        }
        let target = stage.join(&inner);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // The links of the merged system are followed here.
            fs::create_dir_all(&target)?;
            overlay(from, &inner, stage)?;
        } else if kind.is_symlink() {
            if target.symlink_metadata().is_err() {
                symlink(fs::read_link(entry.path())?, &target)?;
            }
        } else if target.symlink_metadata().is_err() {
            put(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Busybox stands in for every tool that has no package here.
fn busybox(place: &Place, stage: &Path) -> Result<()> {
    let bin = stage.join("usr/bin");
    let list = ui::run(Command::new(place.root().join("bin/busybox")).arg("--list"))?;
    for name in list.lines() {
        let there = ["usr/bin", "usr/sbin"].map(|folder| stage.join(folder).join(name));
        if there.iter().all(|path| path.symlink_metadata().is_err()) {
            symlink("busybox", bin.join(name))?;
        }
    }
    Ok(())
}

/// Xen's tools lie in a folder of their version, and wrappers in PATH look which version runs: here there is one.
fn xen_tools(stage: &Path) -> Result<()> {
    let tools = only(&stage.join("usr/lib"), "xen-4.", "")?.join("bin");
    for entry in fs::read_dir(&tools).with_context(|| format!("cannot read {}", tools.display()))? {
        let entry = entry?;
        let link = stage.join("usr/sbin").join(entry.file_name());
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link)?;
        }
        let inside = Path::new("/").join(entry.path().strip_prefix(stage)?);
        symlink(inside, &link)?;
    }
    Ok(())
}

/// A hard link where it can be, a copy where the folders lie on two file systems.
fn put(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The initial RAM disk: modules, in loading order, and the step to the root disk.
pub fn ramdisk(place: &Place, version: &str, target: &Path) -> Result<()> {
    let root = place.root();
    let busybox = fs::read(root.join("bin/busybox")).context("no busybox")?;
    let modules = modules::in_order(&root.join("lib/modules").join(version), &MODULES)?;
    ensure!(modules.iter().any(|(name, _)| name == "xen_privcmd"), "kernel {version} has no Xen modules");
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "root", "modules"] {
        archive.folder(folder);
    }
    archive.character("dev/console", 5, 1);
    archive.character("dev/null", 1, 3);
    archive.program("bin/busybox", &busybox);
    archive.symlink("bin/sh", "busybox");
    for (place, (name, content)) in modules.iter().enumerate() {
        archive.program(&format!("modules/{place:02}-{name}.ko"), content);
    }
    archive.program("init", RAMDISK_INIT.as_bytes());
    Ok(fs::write(target, archive.finish()?)?)
}

/// Xen, unpacked as a multiboot loader wants it.
pub fn xen(place: &Place, target: &Path) -> Result<()> {
    let packed = only(&packages::root(place).join("boot"), "xen-4.", "-amd64.gz")?;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(File::open(&packed)?)
        .read_to_end(&mut plain)
        .with_context(|| format!("{} is damaged", packed.display()))?;
    Ok(fs::write(target, plain)?)
}
