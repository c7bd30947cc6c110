//! Lines to the host: character devices.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::info::{ChardevBackend, ChardevInfo};
use super::super::protocol::{Command, QmpError};
use super::super::table::{CommandSpec, Table};
use super::{Context, arguments, nothing};

pub(super) static TABLE: Table = Table {
    types: "
object ChardevInfo label:str filename:str frontend-open:bool
object ChardevBackendInfo name:str
enum ChardevBackendKind file null pty socket
object ChardevCommon
object ChardevFile out:str ?append:bool
object ChardevFileWrapper data:ChardevFile
object ChardevCommonWrapper data:ChardevCommon
object UnixSocketAddressWrapper data:UnixSocketAddress
enum SocketAddressLegacyKind unix
union SocketAddressLegacy type type:SocketAddressLegacyKind | unix=UnixSocketAddressWrapper
object ChardevSocket addr:SocketAddressLegacy ?server:bool ?wait:bool
object ChardevSocketWrapper data:ChardevSocket
union ChardevBackend type type:ChardevBackendKind | file=ChardevFileWrapper null=ChardevCommonWrapper
  pty=ChardevCommonWrapper socket=ChardevSocketWrapper
object ChardevReturn ?pty:str
",
    commands: &[
        CommandSpec::new("query-chardev", |_, context| {
            Ok(context.monitors.iter().chain(&context.guest.chardevs()).map(chardev).collect())
        })
        .returns("[ChardevInfo]"),
        CommandSpec::new("query-chardev-backends", |_, _| {
            Ok(BACKENDS.iter().map(|name| json!({ "name": name })).collect())
        })
        .returns("[ChardevBackendInfo]"),
        CommandSpec::new("chardev-add", add_line)
            .takes("id:str backend:ChardevBackend")
            .returns("ChardevReturn"),
        CommandSpec::new("chardev-remove", |command, context| {
            nothing(arguments(command).and_then(|named| remove_line(&named, context)))
        })
        .takes("id:str"),
    ],
};

/// What a line may lead to: one that is added, and on the command line one to our own input and output too.
const BACKENDS: [&str; 5] = ["file", "null", "pty", "socket", "stdio"];

#[derive(Deserialize)]
struct Named {
    id: String,
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

fn chardev(line: &ChardevInfo) -> Value {
    json!({ "frontend-open": line.frontend_open, "filename": line.filename, "label": line.label })
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
    let (begun, pty) = context.guest.add_chardev(&id, line)?;
    context.begun(begun);
    Ok(pty.map_or_else(|| json!({}), |path| json!({ "pty": path })))
}

fn remove_line(Named { id }: &Named, context: &mut Context<'_>) -> Result<(), QmpError> {
    if context.monitors.iter().any(|line| line.label == *id) {
        return Err(QmpError::generic(format!("Chardev '{id}' is busy")));
    }
    context.guest.remove_chardev(id)
}
