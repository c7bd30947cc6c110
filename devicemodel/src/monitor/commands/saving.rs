//! Guests that are written down, or go elsewhere.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::super::fdset::Access;
use super::super::info::Source;
use super::super::protocol::{Command, QmpError};
use super::super::run_state::RunState;
use super::super::table::{CommandSpec, Table};
use super::super::{Begun, not_here};
use super::{Context, arguments, begins, nothing};

pub(super) static TABLE: Table = Table {
    types: "
object MigrationInfo
",
    commands: &[
        // No migration has ever begun.
        CommandSpec::new("query-migrate", |_, _| Ok(json!({}))).returns("MigrationInfo"),
        // Ours.
        CommandSpec::new("save", |command, context| {
            let begun = save(command, context);
            begins(context, begun)
        })
        .takes("filename:str")
        .not_in(&[RunState::Suspended], "a guest that sleeps (ACPI S3) cannot be saved")
        .alone(),
        CommandSpec::new("xen-set-global-dirty-log", |command, context| {
            nothing(arguments(command).and_then(|Enable { enable }| context.guest.set_dirty_log(enable)))
        })
        .takes("enable:bool"),
        CommandSpec::new("xen-save-devices-state", |command, context| {
            let begun = save_devices(command, context);
            begins(context, begun)
        })
        .takes("filename:str ?live:bool")
        .not_in(&[RunState::Running], "the guest runs: stop it first")
        .alone(),
        // A guest that comes is read by a process that is started for it.
        CommandSpec::new("xen-load-devices-state", |_, _| Err(not_here("loading the devices alone")))
            .takes("filename:str"),
    ],
};

#[derive(Deserialize)]
struct Enable {
    enable: bool,
}

#[derive(Deserialize)]
struct Save {
    filename: String,
    /// Of a save of the devices alone: the guest goes on elsewhere.
    live: Option<bool>,
}

fn save(command: &Command, context: &mut Context<'_>) -> Result<Begun, QmpError> {
    let Save { filename, .. } = arguments(command)?;
    let _handed = context.shared.fdsets.hand_over(Path::new(&filename))?;
    context.guest.save(Path::new(&filename))
}

fn save_devices(command: &Command, context: &mut Context<'_>) -> Result<Begun, QmpError> {
    let Save { filename, live } = arguments(command)?;
    let path = PathBuf::from(filename);
    let to = match context.shared.fdsets.duplicate(&path, Access::Write) {
        Some(fd) => Source::File(fd?, path),
        None => Source::Path(path),
    };
    context.guest.save_devices(to, live.unwrap_or(true))
}
