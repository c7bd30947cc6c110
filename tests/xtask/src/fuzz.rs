//! `cargo xtask fuzz`: mutated bytes for everything that takes bytes from strangers.

use anyhow::{Result, bail};

use crate::place::Place;
use crate::{check, ui};

/// How long a target is fuzzed if nobody says.
const SECONDS: &str = "60";

/// Fuzzes one target, or all of them one after the other: `what` is seconds, or the file of an input to run again.
pub fn fuzz(place: &Place, target: Option<&str>, what: Option<&str>) -> Result<()> {
    ui::show(&mut check::cargo(place, &["build", "--release", "--package", "fuzz-targets"]))?;
    let targets = match target {
        Some(target) => vec![target.to_owned()],
        None => ui::run(&mut program(place, &[]))?.lines().map(str::to_owned).collect(),
    };
    let mut failed = Vec::new();
    for target in targets {
        let result = ui::show(&mut program(place, &[&target, what.unwrap_or(SECONDS)]));
        if result.is_err() {
            failed.push(target);
        }
    }
    if !failed.is_empty() {
        bail!("{} failed; the inputs are in build/fuzz", failed.join(", "));
    }
    Ok(())
}

fn program(place: &Place, words: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(place.workspace.join("target/release/fuzz"));
    command.args(words).current_dir(&place.workspace);
    command
}
