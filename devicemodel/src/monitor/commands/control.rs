//! The guest as a whole: run, stop, save, end.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::Begun;
use super::super::facts::Actions;
use super::super::fdset::Access;
use super::super::human;
use super::super::protocol::{Command, QmpError};
use super::{Answer, Context, arguments, begins, nothing};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Human {
    command_line: String,
}

#[derive(Deserialize)]
struct Inspect {
    path: Option<String>,
}

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

pub(super) fn run(command: &Command, context: &mut Context<'_>) -> Answer {
    match command.name.as_str() {
        "qmp_capabilities" => Some(Err(QmpError::command_not_found(
            "Capabilities negotiation is already complete, command ignored",
        ))),
        "stop" => {
            let begun = context.guest.stop();
            begins(context, begun)
        }
        "cont" => {
            let begun = context.guest.cont();
            begins(context, begun)
        }
        "quit" => {
            context.guest.quit();
            nothing(Ok(()))
        }
        "system_powerdown" => {
            context.guest.powerdown();
            (context.notify)("POWERDOWN", Value::Null);
            nothing(Ok(()))
        }
        "system_reset" => nothing(context.guest.reset()),
        "set-action" => {
            nothing(arguments(command).and_then(|actions: Actions| context.guest.set_actions(&actions)))
        }
        "system_wakeup" => nothing(context.guest.wakeup()),
        "human-monitor-command" => Some(people(command, context)),
        "inspect" => Some(arguments(command).and_then(|Inspect { path }| {
            context.guest.inspect(path.as_deref().unwrap_or("")).map(Value::String)
        })),
        "save" => {
            let begun = save(command, context);
            begins(context, begun)
        }
        "xen-set-global-dirty-log" => {
            nothing(arguments(command).and_then(|Enable { enable }| context.guest.set_dirty_log(enable)))
        }
        "xen-save-devices-state" => {
            let begun = save_devices(command, context);
            begins(context, begun)
        }
        "xen-load-devices-state" => nothing(load_devices(command, context)),
        _ => None,
    }
}

fn people(command: &Command, context: &mut Context<'_>) -> Result<Value, QmpError> {
    let Human { command_line } = arguments(command)?;
    let text = human::run(&command_line, context);
    if let Some(later) = &mut context.later {
        later.people = true;
    }
    Ok(text.into())
}

fn save(command: &Command, context: &mut Context<'_>) -> Result<Begun, QmpError> {
    let Save { filename, .. } = arguments(command)?;
    let _handed = context.shared.fdsets.hand_over(Path::new(&filename))?;
    context.guest.save(Path::new(&filename))
}

fn save_devices(command: &Command, context: &mut Context<'_>) -> Result<Begun, QmpError> {
    let Save { filename, live } = arguments(command)?;
    let file = context.shared.fdsets.open(Path::new(&filename), Access::Write)?;
    context.guest.save_devices(file, live.unwrap_or(true))
}

fn load_devices(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let Save { filename, .. } = arguments(command)?;
    let file = context.shared.fdsets.open(Path::new(&filename), Access::Read)?;
    context.guest.load_devices(file)
}
