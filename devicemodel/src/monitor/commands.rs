//! What each command does.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::facts::ChardevFacts;
use super::fdset::{Access, FdSets};
use super::protocol::{Command, QmpError, version};
use super::{Guest, human, queries};

/// Everything that a session sends to clients while a command runs.
pub type Notify<'a> = &'a mut dyn FnMut(&str, Value);

/// What a command can reach.
pub struct Context<'a> {
    /// The guest.
    pub guest: &'a mut dyn Guest,
    /// Files that clients have handed over.
    pub fdsets: &'a mut FdSets,
    /// Files that came with this client's bytes and that no command has taken, the oldest first.
    pub received: &'a mut VecDeque<OwnedFd>,
    /// The lines that monitors are on.
    pub monitors: &'a [ChardevFacts],
    /// Tells all clients.
    pub notify: Notify<'a>,
}

/// The commands, in the order in which `query-commands` gives them.
pub const COMMANDS: &[&str] = &[
    "qmp_capabilities",
    "query-version",
    "query-commands",
    "query-status",
    "query-name",
    "query-chardev",
    "query-vnc",
    "query-pci",
    "query-cpus-fast",
    "query-cpus",
    "query-hotpluggable-cpus",
    "query-block",
    "query-blockstats",
    "query-fdsets",
    "query-command-line-options",
    "stop",
    "cont",
    "quit",
    "system_powerdown",
    "system_reset",
    "system_wakeup",
    "screendump",
    "send-key",
    "eject",
    "blockdev-change-medium",
    "change-vnc-password",
    "device_add",
    "device_del",
    "add-fd",
    "remove-fd",
    "xen-set-global-dirty-log",
    "xen-save-devices-state",
    "xen-load-devices-state",
    "human-monitor-command",
    "inspect",
    "save",
];

/// Carries out a command of a client that has negotiated its capabilities.
pub fn execute(command: &Command, context: &mut Context<'_>) -> Result<Value, QmpError> {
    if let Some(answer) = queries::answer(command, context) {
        return answer;
    }
    let nothing = Ok(json!({}));
    let guest = &mut *context.guest;
    match command.name.as_str() {
        "qmp_capabilities" => {
            Err(QmpError::command_not_found("Capabilities negotiation is already complete, command ignored"))
        }
        "query-version" => Ok(version()),
        "query-commands" => Ok(COMMANDS.iter().map(|name| json!({ "name": name })).collect()),
        "stop" => {
            guest.stop();
            nothing
        }
        "cont" => guest.cont().and(nothing),
        "quit" => {
            guest.quit();
            nothing
        }
        "system_powerdown" => {
            guest.powerdown();
            (context.notify)("POWERDOWN", Value::Null);
            nothing
        }
        "system_reset" => {
            guest.reset();
            nothing
        }
        "system_wakeup" => guest.wakeup().and(nothing),
        "screendump" => {
            let Screendump { filename, format } = arguments(command)?;
            if format.is_some_and(|format| format != "png") {
                return Err(QmpError::generic("screendump: the only format is png"));
            }
            guest.screendump(Path::new(&filename)).and(nothing)
        }
        "send-key" => {
            let SendKey { keys, hold_time } = arguments(command)?;
            let keys = keys.into_iter().map(|key| key.data).collect::<Vec<_>>();
            guest.send_key(&keys, hold_time.unwrap_or(100)).and(nothing)
        }
        "human-monitor-command" => {
            let Human { command_line, .. } = arguments(command)?;
            Ok(human::run(&command_line, context).into())
        }
        "inspect" => {
            let Inspect { path } = arguments(command)?;
            guest.inspect(path.as_deref().unwrap_or("")).map(Value::String)
        }
        "save" => {
            let Save { filename } = arguments(command)?;
            let mut progress = |done, total| {
                (context.notify)("SAVE_PROGRESS", json!({ "transferred": done, "total": total }))
            };
            guest.save(Path::new(&filename), &mut progress).and(nothing)
        }
        _ => device_command(command, context),
    }
}

/// Commands about media, devices and the devices' state.
fn device_command(command: &Command, context: &mut Context<'_>) -> Result<Value, QmpError> {
    let nothing = Ok(json!({}));
    let guest = &mut *context.guest;
    match command.name.as_str() {
        "eject" => {
            let Eject { device, id, force } = arguments(command)?;
            guest.eject(&either(device, id)?, force.unwrap_or(false)).and(nothing)
        }
        "blockdev-change-medium" => {
            let Change { device, id, filename, format, .. } = arguments(command)?;
            let (device, file) = (either(device, id)?, Path::new(&filename));
            match context.fdsets.duplicate(file, Access::Read) {
                Some(fd) => guest.change_medium_to(&device, fd?, format.as_deref()).and(nothing),
                None => guest.change_medium(&device, file).and(nothing),
            }
        }
        "change-vnc-password" => {
            let Password { password } = arguments(command)?;
            guest.set_vnc_password(&password).and(nothing)
        }
        "device_add" => add_device(command, guest).and(nothing),
        "device_del" => {
            let Named { id } = arguments(command)?;
            guest.device_del(&id).and(nothing)
        }
        "add-fd" => {
            // The file is taken whatever becomes of the command: it came for this one.
            let fd = context.received.pop_front();
            let AddFd { fdset_id, opaque } = arguments(command)?;
            let fd = fd.ok_or_else(|| QmpError::generic("No file descriptor supplied via SCM_RIGHTS"))?;
            context.fdsets.add(fdset_id, fd, opaque)
        }
        "remove-fd" => {
            let RemoveFd { fdset_id, fd } = arguments(command)?;
            context.fdsets.remove(fdset_id, fd).and(nothing)
        }
        "xen-set-global-dirty-log" => {
            let Enable { enable } = arguments(command)?;
            guest.set_dirty_log(enable).and(nothing)
        }
        "xen-save-devices-state" => {
            let SaveDevices { filename, live } = arguments(command)?;
            let file = context.fdsets.open(Path::new(&filename), Access::Write)?;
            guest.save_devices(file, live.unwrap_or(true)).and(nothing)
        }
        "xen-load-devices-state" => {
            let Save { filename } = arguments(command)?;
            let file = context.fdsets.open(Path::new(&filename), Access::Read)?;
            guest.load_devices(file).and(nothing)
        }
        name => Err(QmpError::command_not_found(format!("The command {name} has not been found"))),
    }
}

/// A vCPU is a device too: one whose model is that of the others, at a place that is announced.
fn add_device(command: &Command, guest: &mut dyn Guest) -> Result<(), QmpError> {
    let mut props = command.arguments.clone();
    let text = |value: Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let driver = text(props.shift_remove("driver"));
    let driver = driver.ok_or_else(|| QmpError::generic("Parameter 'driver' is missing"))?;
    let id = text(props.shift_remove("id"));
    if !driver.ends_with("-cpu") {
        return guest.device_add(&driver, id.as_deref(), &props);
    }
    let place = |key: &str| match props.get(key) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => Some(0),
    };
    let (socket, core, thread) = (place("socket-id"), place("core-id"), place("thread-id"));
    let index = match (socket, core, thread) {
        (Some(socket), Some(0), Some(0)) => u32::try_from(socket).ok(),
        _ => None,
    };
    let cpus = guest.cpus();
    match index.and_then(|index| cpus.iter().find(|cpu| cpu.index == index)) {
        None => Err(QmpError::generic(
            "Invalid CPU: there is no place with these socket-id, core-id and thread-id",
        )),
        Some(cpu) if cpu.present => {
            Err(QmpError::generic(format!("CPU[{}] with socket-id {} exists", cpu.index, cpu.index)))
        }
        Some(cpu) => guest.plug_cpu(cpu.index, id.as_deref().unwrap_or("")),
    }
}

/// The arguments as a struct; unknown and missing ones are errors that name them.
pub(super) fn arguments<T: DeserializeOwned>(command: &Command) -> Result<T, QmpError> {
    let arguments: Map<String, Value> = command.arguments.clone();
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| QmpError::generic(format!("{}: {error}", command.name)))
}

fn either(device: Option<String>, id: Option<String>) -> Result<String, QmpError> {
    id.or(device).ok_or_else(|| QmpError::generic("Parameter 'id' is missing"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Screendump {
    filename: String,
    format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SendKey {
    keys: Vec<KeyValue>,
    hold_time: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    #[serde(rename = "type")]
    _kind: Qcode,
    data: String,
}

/// The only kind of key value we take: QKeyCode names.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Qcode {
    Qcode,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Eject {
    device: Option<String>,
    id: Option<String>,
    force: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Change {
    device: Option<String>,
    id: Option<String>,
    filename: String,
    format: Option<String>,
    /// The media of our drives are read-only whatever is said, and the tray moves as `force` lets it.
    #[serde(rename = "read-only-mode")]
    _read_only_mode: Option<String>,
    #[serde(rename = "force")]
    _force: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AddFd {
    fdset_id: Option<u64>,
    opaque: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RemoveFd {
    fdset_id: u64,
    fd: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enable {
    enable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaveDevices {
    filename: String,
    live: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Human {
    command_line: String,
    /// Which CPU a register dump would be of: nothing here asks.
    #[serde(rename = "cpu-index")]
    _cpu_index: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inspect {
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Save {
    filename: String,
}

#[cfg(test)]
pub(super) mod tests;
