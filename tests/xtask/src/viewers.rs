//! `cargo xtask viewers`: the VNC server under a client that is not ours, vncdotool.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::place::{Place, machine_tool};
use crate::{check, fetch, guests, ui};

/// The version that the test was written for.
const PACKAGE: &str = "vncdotool==1.4.2";

/// Runs the test, with the release's program. Where the machine has no Python, or no way to the package, nothing fails.
pub fn viewers(place: &Place) -> Result<()> {
    let Some(python) = machine_tool("python3") else {
        ui::say("vncdotool is left out: this machine has no python3");
        return Ok(());
    };
    let Some(packages) = bring(place, &python)? else {
        ui::say("vncdotool is left out: pip could not bring the package");
        return Ok(());
    };
    fetch::fetch(place, &[fetch::Group::Firmware], false)?;
    guests::guests(place)?;
    check::release(place)?;
    let folder = place.build.join("viewers-run");
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = Command::new(python);
    command
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AILURUS_FIRMWARE_DIR", place.root().join("usr/share/seabios"))
        .arg(place.workspace.join("tests/vnc/client.py"))
        .arg(place.workspace.join("target/release/ailurus"))
        .arg(place.guests())
        .arg(folder);
    ui::show(&mut command)
}

/// The folder with the package and what it needs, brought if it is not there; none if that is not possible here.
fn bring(place: &Place, python: &Path) -> Result<Option<PathBuf>> {
    let folder = place.build.join("vncdotool");
    let stamp = folder.join("stamp");
    if std::fs::read_to_string(&stamp).is_ok_and(|had| had == PACKAGE) {
        return Ok(Some(folder));
    }
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"]);
    if !pip.arg(&folder).arg(PACKAGE).status().is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    std::fs::write(&stamp, PACKAGE).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Some(folder))
}
