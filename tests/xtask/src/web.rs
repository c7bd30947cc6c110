//! `cargo xtask web`: the page of `--display web` in a browser that nobody sees, driven by Playwright.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::place::{Place, machine_tool};
use crate::{check, fetch, guests, ui};

/// What drives the browser, and what the page's own copy is compared with.
const PACKAGES: [&str; 2] = ["playwright-core@1.64.1", "@novnc/novnc@1.7.0"];

/// Runs the test, with the release's program. Where the machine has no node or no way to the packages, nothing fails.
pub fn web(place: &Place) -> Result<()> {
    let (Some(node), Some(npm)) = (machine_tool("node"), machine_tool("npm")) else {
        ui::say("the page is not tried: this machine has no node and npm");
        return Ok(());
    };
    let Some(modules) = bring(place, &npm)? else {
        ui::say("the page is not tried: npm could not bring playwright-core and noVNC");
        return Ok(());
    };
    compare(&place.workspace.join("devicemodel/web/novnc"), &modules.join("@novnc/novnc"))?;
    fetch::fetch(place, &[fetch::Group::Firmware, fetch::Group::Browser], false)?;
    guests::guests(place)?;
    check::release(place)?;
    let folder = place.build.join("web-run");
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = Command::new(node);
    command
        .env("NODE_PATH", &modules)
        .env("BROWSER_ROOT", place.browser())
        .env("AILURUS", place.workspace.join("target/release/ailurus"))
        .env("AILURUS_FIRMWARE_DIR", place.root().join("usr/share/seabios"))
        .env("AILURUS_GUESTS", place.guests())
        .arg(place.workspace.join("tests/web/page.cjs"))
        .arg(folder);
    ui::show(&mut command)
}

/// The folder with the packages, brought if they are not there; none if that is not possible here.
fn bring(place: &Place, npm: &Path) -> Result<Option<PathBuf>> {
    let folder = place.build.join("web");
    let stamp = folder.join("stamp");
    let modules = folder.join("node_modules");
    if std::fs::read_to_string(&stamp).is_ok_and(|had| had == PACKAGES.join(" ")) {
        return Ok(Some(modules));
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = Command::new(npm);
    command.args([
        "install",
        "--silent",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ]);
    command.arg(&folder).args(PACKAGES);
    if !command.status().is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    std::fs::write(&stamp, PACKAGES.join(" "))
        .with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Some(modules))
}

/// Each script of ours is the package's.
fn compare(ours: &Path, theirs: &Path) -> Result<()> {
    let mut folders = vec![PathBuf::from("core"), PathBuf::from("vendor")];
    while let Some(folder) = folders.pop() {
        let at = ours.join(&folder);
        let entries = std::fs::read_dir(&at).with_context(|| format!("cannot read {}", at.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(name);
            } else if std::fs::read(ours.join(&name))?
                != std::fs::read(theirs.join(&name)).unwrap_or_default()
            {
                bail!("{} is not that of {}", ours.join(&name).display(), PACKAGES[1]);
            }
        }
    }
    Ok(())
}
