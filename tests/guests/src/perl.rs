//! Programs for guests in perl, which is taken from this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A disk in `folder` with an archive of perl, what it needs, and these files in the root: `tar -xf /dev/vda -C /`.
pub fn disk(folder: &Path, files: &[(&str, &[u8])]) -> Result<PathBuf> {
    for (name, content) in files {
        std::fs::write(folder.join(name), content)?;
    }
    let needs = Command::new("ldd").arg("/usr/bin/perl").output().context("ldd")?;
    let needs = String::from_utf8(needs.stdout)?;
    let libraries = needs.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    let image = folder.join("perl.tar");
    let made = Command::new("tar")
        .args(["-P", "-hcf"])
        .arg(&image)
        .arg(format!("--transform=s,^{},,", folder.display()))
        .args(["/usr/bin/perl"])
        .args(libraries)
        .args(files.iter().map(|(name, _)| folder.join(name)))
        .status()?;
    ensure!(made.success(), "perl cannot be packed");
    Ok(image)
}
