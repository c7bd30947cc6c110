//! `cargo xtask conformance`: the devices, ours and QEMU's, judged by one suite.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::check::{cargo, cargo_on_guests, on_guests};
use crate::fetch::{Group, fetch};
use crate::place::Place;
use crate::ui;

/// What to run on what.
#[derive(Args)]
pub struct Arguments {
    /// Models to judge, with commas between: qemu, ailurus (by qtest), rig, agent (on our own CPU)
    #[arg(long, default_value = "qemu,ailurus")]
    against: String,
    /// Only cases whose name contains this
    #[arg(long)]
    case: Option<String>,
    /// Machines that run at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print everything that was looked at
    #[arg(long)]
    values: bool,
    /// Once more if something is wrong: guest time goes on in QEMU between two steps of a case, and what was wrong by
    /// chance is right then
    #[arg(long)]
    twice: bool,
    /// The suite's program as it was compiled before, instead of one that is compiled now
    #[arg(long)]
    program: Option<PathBuf>,
    /// Devices; all of them when none is named
    devices: Vec<String>,
}

/// Brings QEMU, builds, runs the suite; its exit status.
pub fn conformance(place: &Place, arguments: &Arguments) -> Result<u8> {
    fetch(place, &[Group::Firmware, Group::Qemu], false)?;
    let mut command = match &arguments.program {
        Some(program) => on_guests(place, Command::new(place.workspace.join(program))),
        None => {
            let build = ["build", "--release", "--bin", "ailurus", "--bin", "conformance"];
            ui::show(&mut cargo(place, &build))?;
            cargo_on_guests(place, &["run", "--release", "--quiet", "--bin", "conformance", "--"])
        }
    };
    command.env("AILURUS_QEMU", place.qemu());
    command.args(["--against", &arguments.against]).args(["--jobs", &arguments.jobs.to_string()]);
    if let Some(case) = &arguments.case {
        command.args(["--case", case]);
    }
    if arguments.values {
        command.arg("--values");
    }
    command.arg("--page").arg(place.build.join("conformance.html")).args(&arguments.devices);
    let text = ui::line(&command);
    let mut judge = || command.status().with_context(|| format!("cannot start `{text}`"));
    let mut status = judge()?;
    if arguments.twice && !status.success() {
        ui::say("once more: what was wrong by chance is right now");
        status = judge()?;
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
