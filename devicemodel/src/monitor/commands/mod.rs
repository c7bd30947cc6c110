//! What each command does.

mod block;
mod control;
mod devices;
mod files;
mod input;
mod network;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(super) use self::devices::no_balloon;
use super::facts::ChardevFacts;
use super::fdset::FdSets;
use super::objects::Objects;
use super::protocol::{Command, QmpError};
use super::schema::Schema;
use super::{Begun, Guest, Job, queries};

/// Everything that a session sends to clients while a command runs.
pub type Notify<'a> = &'a mut dyn FnMut(&str, Value);

/// What the clients of a monitor have put there, beside what is the guest's.
#[derive(Debug, Default)]
pub struct Shared {
    /// Files that clients have handed over.
    pub fdsets: FdSets,
    /// Objects that belong to no device.
    pub objects: Objects,
}

/// What one client has.
#[derive(Debug, Default)]
pub struct Session {
    /// Files that came with this client's bytes and that no command has taken, the oldest first.
    pub received: VecDeque<OwnedFd>,
    /// Files that it has given a name.
    pub named: BTreeMap<String, OwnedFd>,
}

/// What a command can reach.
pub struct Context<'a> {
    /// The guest.
    pub guest: &'a mut dyn Guest,
    /// What all clients share.
    pub shared: &'a mut Shared,
    /// What this client has.
    pub session: &'a mut Session,
    /// The lines that monitors are on.
    pub monitors: &'a [ChardevFacts],
    /// Tells all clients.
    pub notify: Notify<'a>,
    /// None, unless the command is not over when [`execute`] returns.
    pub later: Option<Later>,
}

/// What a command waits for that is not over. If it succeeds, the answer is what [`execute`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later {
    /// The work.
    pub job: Job,
    /// An error is text for people, and no error of the protocol.
    pub people: bool,
}

impl Context<'_> {
    /// Takes down whether the command is over.
    fn begun(&mut self, begun: Begun) {
        if let Begun::Later(job) = begun {
            self.later = Some(Later { job, people: false });
        }
    }
}

/// The answer of a command, if it is one of those that the function knows.
type Answer = Option<Result<Value, QmpError>>;

/// Carries out a command of a client that has negotiated its capabilities.
pub fn execute(command: &Command, context: &mut Context<'_>) -> Result<Value, QmpError> {
    Schema::get().check(command)?;
    queries::answer(command, context)
        .or_else(|| control::run(command, context))
        .or_else(|| block::run(command, context))
        .or_else(|| devices::run(command, context))
        .or_else(|| network::run(command, context))
        .or_else(|| input::run(command, context))
        .or_else(|| files::run(command, context))
        .unwrap_or_else(|| Err(QmpError::generic(format!("{}: not available here", command.name))))
}

/// The arguments as a struct. Their types have been checked; what is left are numbers out of range.
pub(super) fn arguments<T: DeserializeOwned>(command: &Command) -> Result<T, QmpError> {
    let arguments: Map<String, Value> = command.arguments.clone();
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| QmpError::generic(format!("{}: {error}", command.name)))
}

/// The answer of a command that has nothing to say.
fn nothing(result: Result<(), QmpError>) -> Answer {
    Some(result.map(|()| json!({})))
}

/// The same of one that may not be over.
fn begins(context: &mut Context<'_>, result: Result<Begun, QmpError>) -> Answer {
    nothing(result.map(|begun| context.begun(begun)))
}

/// Whether QEMU takes a text as the id of something: a letter, then letters, digits, `-`, `.` and `_`.
pub(super) fn is_identifier(id: &str) -> bool {
    let further = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    id.starts_with(|c: char| c.is_ascii_alphabetic()) && id.chars().all(further)
}

#[cfg(test)]
pub(super) mod tests;
