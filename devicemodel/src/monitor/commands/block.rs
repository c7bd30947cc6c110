//! Trays, media and images.

use std::path::PathBuf;

use serde::Deserialize;

use super::super::facts::{NewMedium, NewNode, NewNodeKind, Source};
use super::super::fdset::Access;
use super::super::protocol::{Command, QmpError};
use super::{Answer, Context, arguments, is_identifier, nothing};

/// A drive by the name of its medium's place or by its own id, and what is to be done to it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Drive {
    device: Option<String>,
    id: Option<String>,
    #[serde(default)]
    force: bool,
    node_name: Option<String>,
    filename: Option<String>,
    format: Option<String>,
}

impl Drive {
    fn name(&self) -> Result<&str, QmpError> {
        match (&self.device, &self.id) {
            (Some(name), None) | (None, Some(name)) => Ok(name),
            _ => Err(QmpError::generic("Need exactly one of 'device' and 'id'")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Named {
    node_name: String,
}

/// An image to be opened; the table knows which driver has which members. How it is cached, locked and read is
/// ours to choose, whatever is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Node {
    driver: String,
    node_name: Option<String>,
    #[serde(default)]
    read_only: bool,
    filename: Option<PathBuf>,
    file: Option<Reference>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Name(String),
    Inline(Box<Node>),
}

/// What is done to a drive.
type Act = fn(&Drive, &mut Context<'_>) -> Result<(), QmpError>;

pub(super) fn run(command: &Command, context: &mut Context<'_>) -> Answer {
    let act: Act = match command.name.as_str() {
        "eject" => |drive: &Drive, context: &mut Context<'_>| context.guest.eject(drive.name()?, drive.force),
        "blockdev-open-tray" => {
            |drive: &Drive, context: &mut Context<'_>| context.guest.open_tray(drive.name()?, drive.force)
        }
        "blockdev-close-tray" => {
            |drive: &Drive, context: &mut Context<'_>| context.guest.close_tray(drive.name()?)
        }
        "blockdev-insert-medium" => |drive: &Drive, context: &mut Context<'_>| {
            context.guest.insert_medium(drive.name()?, drive.node_name.as_deref().unwrap_or(""))
        },
        "blockdev-remove-medium" => {
            |drive: &Drive, context: &mut Context<'_>| context.guest.remove_medium(drive.name()?)
        }
        "blockdev-change-medium" => change_medium,
        "blockdev-add" => return nothing(add_node(command, context)),
        "blockdev-del" => {
            return nothing(
                arguments(command).and_then(|Named { node_name }| context.guest.remove_node(&node_name)),
            );
        }
        _ => return None,
    };
    nothing(arguments(command).and_then(|drive| act(&drive, context)))
}

/// A file by its name, which may mean one that was handed over.
fn source(context: &Context<'_>, path: PathBuf, access: Access) -> Result<Source, QmpError> {
    Ok(match context.shared.fdsets.duplicate(&path, access) {
        Some(fd) => Source::File(fd?, path),
        None => Source::Path(path),
    })
}

fn change_medium(drive: &Drive, context: &mut Context<'_>) -> Result<(), QmpError> {
    let name = drive.name()?;
    let path = drive.filename.clone().unwrap_or_default().into();
    // The media of our drives are read-only, whatever is said of them.
    let source = source(context, path, Access::Read)?;
    let medium = NewMedium { source, format: drive.format.clone(), force: drive.force };
    context.guest.change_medium(name, medium)
}

fn add_node(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let node: Node = arguments(command)?;
    let Some(name) = node.node_name else {
        return Err(QmpError::generic("'node-name' must be specified for the root node"));
    };
    if !is_identifier(&name) || name.len() > 31 {
        return Err(QmpError::generic(format!("Invalid node-name: '{name}'")));
    }
    let access = if node.read_only { Access::Read } else { Access::Both };
    let kind = match (node.driver, node.filename, node.file) {
        (_, Some(path), _) => NewNodeKind::File(source(context, path, access)?),
        (format, None, Some(Reference::Name(of))) => NewNodeKind::FormatOf(format, of),
        (format, None, Some(Reference::Inline(file))) => match file.filename {
            Some(path) => NewNodeKind::Format(format, source(context, path, access)?),
            None => return Err(QmpError::generic("a format over a format: name the lower one first")),
        },
        (_, None, None) => return Err(QmpError::generic("Parameter 'file' is missing")),
    };
    context.guest.add_node(NewNode { name, kind, readonly: node.read_only })
}
