//! The commands, by subject: each beside what it does.

mod block;
mod chardev;
mod cpu;
mod devices;
mod files;
mod input;
mod machine;
mod network;
mod objects;
mod running;
mod saving;
mod session;
mod vnc;

use std::sync::LazyLock;

use ::devices::input::keys::Key;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(super) use self::block::{inserted, node_info};
pub(super) use self::machine::{no_balloon, uuid};
pub(super) use self::network::people as networks;
use super::Begun;
pub use super::context::{Context, Later, Session, Shared};
use super::events::{self, EVENTS};
use super::protocol::{Command, QmpError};
use super::run_state::RunState;
use super::schema::{Entry, Schema};
use super::table::{CommandSpec, Table};

/// Everything that there is.
static TABLES: [&Table; 13] = [
    &session::TABLE,
    &running::TABLE,
    &machine::TABLE,
    &cpu::TABLE,
    &devices::TABLE,
    &objects::TABLE,
    &block::TABLE,
    &chardev::TABLE,
    &network::TABLE,
    &files::TABLE,
    &input::TABLE,
    &vnc::TABLE,
    &saving::TABLE,
];

fn all() -> impl Iterator<Item = &'static CommandSpec> {
    TABLES.iter().flat_map(|table| table.commands)
}

/// What all commands and events take and give.
pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
        let types: Vec<&str> = TABLES.iter().map(|table| table.types).chain([events::TYPES]).collect();
        let mut schema = Schema::new(&types);
        schema.add_enum("QKeyCode", Key::all().map(Key::name).chain(["unmapped"]));
        schema.add_enum("RunState", RunState::ALL.iter().map(|state| state.name()));
        for &CommandSpec { name, arguments, returns, features, .. } in all() {
            schema.add_command(Entry { name, takes: arguments, gives: Some(returns), features });
        }
        for event in EVENTS {
            schema.add_event(Entry { name: event.name, takes: event.data, gives: None, features: &[] });
        }
        schema
    });
    &SCHEMA
}

/// Carries out a command of a client that has negotiated its capabilities.
pub fn execute(command: &Command, context: &mut Context<'_>) -> Result<Value, QmpError> {
    let spec = find(&command.name)?;
    schema().check(command)?;
    spec.permit(context.guest)?;
    (spec.handler)(command, context)
}

/// Whether a command may be carried out now: for what people write otherwise than QMP has it.
pub(super) fn permit(name: &str, context: &Context<'_>) -> Result<(), QmpError> {
    find(name)?.permit(context.guest)
}

fn find(name: &str) -> Result<&'static CommandSpec, QmpError> {
    let missing = || QmpError::command_not_found(format!("The command {name} has not been found"));
    all().find(|spec| spec.name == name).ok_or_else(missing)
}

/// The arguments as a struct. Their types have been checked; what is left are numbers out of range.
fn arguments<T: DeserializeOwned>(command: &Command) -> Result<T, QmpError> {
    let arguments: Map<String, Value> = command.arguments.clone();
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| QmpError::generic(format!("{}: {error}", command.name)))
}

/// The answer of a command that has nothing to say.
fn nothing(result: Result<(), QmpError>) -> Result<Value, QmpError> {
    result.map(|()| json!({}))
}

/// The same of one that may not be over.
fn begins(context: &mut Context<'_>, result: Result<Begun, QmpError>) -> Result<Value, QmpError> {
    nothing(result.map(|begun| context.begun(begun)))
}

#[cfg(test)]
pub(crate) mod tests;
