//! `cargo xtask qmp`: the monitor under a client that is not ours, the qemu.qmp package.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::place::{Place, machine_tool};
use crate::{check, fetch, ui};

/// The version that the test was written for.
const PACKAGE: &str = "qemu.qmp==0.0.6";

/// Drives `program`, or the one that it builds, with the client. Where the machine has no Python, or no way to the
/// package, nothing fails.
pub fn qmp(place: &Place, program: Option<PathBuf>) -> Result<()> {
    let Some((python, packages)) = bring_all(place)? else { return Ok(()) };
    fetch::fetch(place, &[fetch::Group::Firmware], false)?;
    let program = match program {
        Some(program) => program,
        None => check::release(place)?,
    };
    let folder = place.build.join("qmp-run");
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = Command::new(python);
    command
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AILURUS_FIRMWARE_DIR", place.root().join("usr/share/seabios"))
        .arg(place.workspace.join("tests/qmp/client.py"))
        .arg(program)
        .arg(folder);
    ui::show(&mut command)
}

/// Python and the folder with the package, brought if it is not there; none if that is not possible here, which is said.
pub fn bring_all(place: &Place) -> Result<Option<(PathBuf, PathBuf)>> {
    let Some(python) = machine_tool("python3") else {
        ui::say("the qemu.qmp client is left out: this machine has no python3");
        return Ok(None);
    };
    let Some(packages) = bring(place, &python)? else {
        ui::say("the qemu.qmp client is left out: pip could not bring the package");
        return Ok(None);
    };
    Ok(Some((python, packages)))
}

/// The folder with the package, brought if it is not there; none if that is not possible here.
fn bring(place: &Place, python: &Path) -> Result<Option<PathBuf>> {
    let folder = place.build.join("python");
    let stamp = folder.join("stamp");
    if std::fs::read_to_string(&stamp).is_ok_and(|had| had == PACKAGE) {
        return Ok(Some(folder));
    }
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]);
    pip.arg("--target").arg(&folder).arg(PACKAGE);
    if !pip.status().is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    std::fs::write(&stamp, PACKAGE).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Some(folder))
}
