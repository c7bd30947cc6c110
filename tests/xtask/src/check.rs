//! `cargo xtask demo` and `cargo xtask test`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::guests;
use crate::place::{Place, machine_tool};
use crate::ui;

/// A cargo command in the workspace.
pub fn cargo(place: &Place, words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(&place.workspace);
    command
}

/// Boots the CD with a shell and leaves the person in it.
pub fn demo(place: &Place) -> Result<()> {
    guests::cloud(place)?;
    release(place)?;
    ui::say("Debian's kernel boots from the CD; a shell follows. Ctrl-A x ends it at any time.");
    let mut command = Command::new(program(place));
    command
        .current_dir(&place.workspace)
        .env("AILURUS_FIRMWARE_DIR", place.root().join("usr/share/seabios"))
        .args(["run", "--memory", "512", "--cdrom", "build/guests/cloud-shell.iso"])
        .args(["--serial", "stdio"]);
    ui::show(&mut command)
}

/// Brings what the tests need and runs all of them, cheapest first.
pub fn test(place: &Place, quick: bool) -> Result<()> {
    ui::show(&mut cargo(place, &["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    ui::show(&mut cargo(place, &clippy))?;
    let mut doc = cargo(place, &["doc", "--workspace", "--no-deps"]);
    ui::show(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    // The firmware tests read real SeaBIOS images and ask iasl for its opinion of our tables.
    crate::fetch::fetch(place, &[crate::fetch::Group::Firmware, crate::fetch::Group::Acpica], false)?;
    let most: &[&str] = if machine_tool("cargo-nextest").is_some() {
        &["nextest", "run", "--no-fail-fast"]
    } else {
        ui::say("cargo-nextest is not installed; `cargo test` does the same, more slowly");
        &["test", "--lib", "--bins", "--tests"]
    };
    let workspace = ["--workspace", "--exclude", "guest-tests"];
    ui::show(cargo(place, most).args(workspace))?;
    ui::show(cargo(place, &["test", "--doc"]).args(workspace))?;
    crate::qmp::qmp(place)?;
    if quick {
        ui::say("real guests are left out");
        return Ok(());
    }
    guests::guests(place)?;
    release(place)?;
    crate::conformance::all(place)?;
    let run = ["test", "--release", "--package", "guest-tests", "--", "--nocapture", "--test-threads", "1"];
    ui::show(&mut cargo_on_guests(place, &run))?;
    crate::xen_lab::smoke(place)
}

/// Builds the program as the tests with real guests use it.
pub fn release(place: &Place) -> Result<()> {
    ui::show(&mut cargo(place, &["build", "--release", "--bin", "ailurus"]))?;
    let program = program(place);
    if !program.is_file() {
        bail!("cargo built no {}", program.display());
    }
    Ok(())
}

fn program(place: &Place) -> PathBuf {
    place.workspace.join("target/release/ailurus")
}

/// A cargo command whose tests find the program, the guests and the firmware.
pub fn cargo_on_guests(place: &Place, words: &[&str]) -> Command {
    let mut command = cargo(place, words);
    command
        .env("AILURUS", program(place))
        .env("AILURUS_GUESTS", place.guests())
        .env("AILURUS_FIRMWARE_DIR", place.root().join("usr/share/seabios"));
    command
}
