//! Bootable CDs: ISOLINUX and whatever it starts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::place::Place;
use crate::ui;

/// A CD: files by their path on it, and the configuration of its boot loader.
pub struct Cd {
    /// Path on the CD and the file that goes there.
    pub files: Vec<(String, PathBuf)>,
    /// Modules of syslinux that the configuration names, with what they need.
    pub modules: &'static [&'static str],
    /// The text of isolinux.cfg.
    pub config: String,
}

/// Writes the CD to `target`.
pub fn make(place: &Place, cd: &Cd, target: &Path) -> Result<()> {
    let root = place.root();
    let stage = place.build.join("stage").join(target.file_name().context("a CD image needs a file name")?);
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    let loader = stage.join("isolinux");
    fs::create_dir_all(&loader)?;
    let put = |from: &Path, to: &Path| -> Result<()> {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(())
    };
    put(&root.join("usr/lib/ISOLINUX/isolinux.bin"), &loader.join("isolinux.bin"))?;
    for module in ["ldlinux"].iter().chain(cd.modules) {
        let name = format!("{module}.c32");
        put(&root.join("usr/lib/syslinux/modules/bios").join(&name), &loader.join(&name))?;
    }
    for (name, from) in &cd.files {
        put(from, &stage.join(name))?;
    }
    fs::write(loader.join("isolinux.cfg"), &cd.config)?;
    ui::run(
        place
            .tool("xorriso")?
            .args(["-as", "mkisofs", "-quiet", "-R", "-J", "-V", "AILURUS"])
            .args(["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"])
            .args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"])
            .arg("-o")
            .arg(target)
            .arg(&stage),
    )?;
    fs::remove_dir_all(&stage)?;
    Ok(())
}

/// The configuration that starts one Linux at once, on the serial line and the screen.
pub fn linux(append: &str) -> String {
    format!(
        "serial 0 115200\ndefault linux\nprompt 0\ntimeout 1\nlabel linux\n  kernel /boot/vmlinuz\n  \
         initrd /boot/initrd\n  append {append}\n"
    )
}
