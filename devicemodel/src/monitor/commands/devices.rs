//! Devices and objects that come and go, and lines.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::facts::ChardevBackend;
use super::super::objects::Secret;
use super::super::protocol::{Command, QmpError};
use super::super::qom;
use super::{Answer, Context, arguments, is_identifier, nothing};

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Property {
    path: String,
    property: String,
}

#[derive(Deserialize)]
struct Object {
    id: String,
    #[serde(flatten)]
    secret: Secret,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    backend: Backend,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
enum Backend {
    Null {},
    Pty {},
    File { out: PathBuf, append: Option<bool> },
    Socket { addr: Address, server: Option<bool> },
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
enum Address {
    Unix { path: PathBuf },
}

pub(super) fn run(command: &Command, context: &mut Context<'_>) -> Answer {
    match command.name.as_str() {
        "device_add" => nothing(add_device(command, context)),
        "device_del" => nothing(arguments(command).and_then(|Named { id }| delete_device(&id, context))),
        "qom-set" => nothing(set_property(command, context)),
        "object-add" => nothing(add_object(command, context)),
        "object-del" => {
            nothing(arguments(command).and_then(|Named { id }| context.shared.objects.remove(&id)))
        }
        "chardev-add" => Some(add_line(command, context)),
        "chardev-remove" => nothing(arguments(command).and_then(|Named { id }| {
            if context.monitors.iter().any(|line| line.label == id) {
                return Err(QmpError::generic(format!("Chardev '{id}' is busy")));
            }
            context.guest.remove_chardev(&id)
        })),
        "balloon" => nothing(Err(no_balloon())),
        _ => None,
    }
}

/// There is no balloon that a monitor could fill: under Xen the toolstack does it.
pub(in crate::monitor) fn no_balloon() -> QmpError {
    QmpError::device_not_active("No balloon device has been activated")
}

/// A vCPU is a device too: one whose model is that of the others, at a place that is announced.
fn add_device(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let guest = &mut *context.guest;
    let mut props = command.arguments.clone();
    let text = |value: Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let driver = text(props.shift_remove("driver")).unwrap_or_default();
    let id = text(props.shift_remove("id"));
    if id.as_deref().is_some_and(|id| !is_identifier(id)) {
        return Err(QmpError::generic("Parameter 'id' expects an identifier"));
    }
    if !driver.ends_with("-cpu") {
        return guest.device_add(&driver, id.as_deref(), &props);
    }
    let place = |key: &str| match props.get(key) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => Some(0),
    };
    if !props.contains_key("socket-id") {
        return Err(QmpError::generic("CPU socket-id is not set"));
    }
    let (socket, core, thread) = (place("socket-id"), place("core-id"), place("thread-id"));
    let index = match (socket, core, thread) {
        (Some(socket), Some(0), Some(0)) => u32::try_from(socket).ok(),
        _ => None,
    };
    let cpus = guest.cpus();
    match index.and_then(|index| cpus.iter().find(|cpu| cpu.index == index)) {
        None => Err(QmpError::generic(format!(
            "Invalid CPU socket-id: {} must be in range 0:{}",
            socket.map_or("?".into(), |socket| socket.to_string()),
            cpus.len().saturating_sub(1)
        ))),
        Some(cpu) if cpu.present => {
            Err(QmpError::generic(format!("CPU[{}] with socket-id {} exists", cpu.index, cpu.index)))
        }
        Some(cpu) => guest.plug_cpu(cpu.index, id.as_deref().unwrap_or("")),
    }
}

/// Nothing that is there can be taken out while the guest runs; each kind of thing says so in its way.
fn delete_device(id: &str, context: &mut Context<'_>) -> Result<(), QmpError> {
    let cpus = context.guest.cpus();
    let cpu =
        cpus.iter().find(|cpu| cpu.present && (cpu.id.as_deref() == Some(id) || qom::cpu_path(cpu) == id));
    match cpu {
        Some(cpu) if cpu.index == 0 => Err(QmpError::generic("Boot CPU is unpluggable")),
        Some(_) => Err(QmpError::generic("a CPU that is there cannot be taken out")),
        None => context.guest.device_del(id),
    }
}

fn set_property(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let Property { path, property } = arguments(command)?;
    qom::Tree::new(context).set(&path, &property)
}

fn add_object(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let Object { id, secret } = arguments(command)?;
    if !is_identifier(&id) {
        return Err(QmpError::generic("Parameter 'id' expects an identifier"));
    }
    context.shared.objects.add(id, secret)
}

fn add_line(command: &Command, context: &mut Context<'_>) -> Result<Value, QmpError> {
    let Line { id, backend } = arguments(command)?;
    let taken = context.monitors.iter().chain(&context.guest.chardevs()).any(|line| line.label == id);
    if taken {
        return Err(QmpError::generic(format!("Chardev with id '{id}' already exists")));
    }
    let line = match backend {
        Backend::Null {} => ChardevBackend::Null,
        Backend::Pty {} => ChardevBackend::Pty,
        Backend::File { out, append: Some(true) } => ChardevBackend::Append(out),
        Backend::File { out, .. } => ChardevBackend::File(out),
        Backend::Socket { server: Some(false), .. } => {
            return Err(QmpError::generic("a line that connects to a socket: only server=true is there"));
        }
        Backend::Socket { addr: Address::Unix { path }, .. } => ChardevBackend::Unix(path),
    };
    let pty = context.guest.add_chardev(&id, line)?;
    Ok(pty.map_or_else(|| json!({}), |path| json!({ "pty": path })))
}
