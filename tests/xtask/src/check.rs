//! `cargo xtask demo`, and how cargo is asked.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::guests;
use crate::place::Place;
use crate::ui;

/// A cargo command in the workspace.
///
/// What the cargo that runs this program says of its package is not handed on: build scripts that look at it (ring's)
/// would be run again, and all that stands on them compiled, each time a person and a task of this program take turns.
pub fn cargo(place: &Place, words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(&place.workspace);
    let of_the_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| of_the_package.iter().any(|part| name.starts_with(part))) {
            command.env_remove(name);
        }
    }
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

/// Builds the program as the tests with real guests use it; where it is.
pub fn release(place: &Place) -> Result<PathBuf> {
    ui::show(&mut cargo(place, &["build", "--release", "--bin", "ailurus"]))?;
    let program = program(place);
    if !program.is_file() {
        bail!("cargo built no {}", program.display());
    }
    Ok(program)
}

fn program(place: &Place) -> PathBuf {
    place.workspace.join("target/release/ailurus")
}

/// A cargo command whose tests find the program, the guests and the firmware.
pub fn cargo_on_guests(place: &Place, words: &[&str]) -> Command {
    on_guests(place, cargo(place, words))
}

/// Any command that is to find them.
pub fn on_guests(place: &Place, mut command: Command) -> Command {
    command
        .current_dir(&place.workspace)
        .env("AILURUS", program(place))
        .env("AILURUS_GUESTS", place.guests())
        .env("AILURUS_FIRMWARE_DIR", place.root().join("usr/share/seabios"));
    command
}
