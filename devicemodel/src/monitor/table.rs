//! What a command is: one value that says all of it, beside the function that carries it out.
//!
//! A module of [`commands`](super::commands) has one [`Table`]; the tables joined are all that there is. From them come
//! the list of commands, the introspection data, the check of arguments, and in which run states a command is let
//! through.

use serde_json::Value;

use super::context::Context;
use super::protocol::{Command, QmpError};
use super::run_state::RunState;
use super::{Guest, busy};

/// Carries out a command whose arguments have been checked and which is allowed now.
pub(super) type Handler = fn(&Command, &mut Context<'_>) -> Result<Value, QmpError>;

/// Commands of one subject, and the types that they bring along.
pub(super) struct Table {
    /// In the form that [`schema`](super::schema) describes. Those of other tables may be used too.
    pub(super) types: &'static str,
    pub(super) commands: &'static [CommandSpec],
}

/// A command.
pub(super) struct CommandSpec {
    pub(super) name: &'static str,
    /// The members of its arguments, or `= TYPE`; in the form that [`schema`](super::schema) describes.
    pub(super) arguments: &'static str,
    /// The type of its answer; empty: one with no members.
    pub(super) returns: &'static str,
    /// QAPI's special features, for introspection.
    pub(super) features: &'static [&'static str],
    allowed: Allowed,
    alone: bool,
    pub(super) handler: Handler,
}

/// When a command is allowed, and what is said when it is not.
enum Allowed {
    Always,
    In(&'static [RunState], &'static str),
    NotIn(&'static [RunState], &'static str),
}

impl CommandSpec {
    /// A command with no arguments and no answer to speak of, which is always allowed.
    pub(super) const fn new(name: &'static str, handler: Handler) -> CommandSpec {
        CommandSpec {
            name,
            arguments: "",
            returns: "",
            features: &[],
            allowed: Allowed::Always,
            alone: false,
            handler,
        }
    }

    /// What it takes.
    pub(super) const fn takes(mut self, arguments: &'static str) -> CommandSpec {
        self.arguments = arguments;
        self
    }

    /// What it answers.
    pub(super) const fn returns(mut self, of: &'static str) -> CommandSpec {
        self.returns = of;
        self
    }

    /// It is allowed in these run states; in others the client is told `otherwise`.
    pub(super) const fn only_in(
        mut self,
        states: &'static [RunState],
        otherwise: &'static str,
    ) -> CommandSpec {
        self.allowed = Allowed::In(states, otherwise);
        self
    }

    /// It is allowed in all run states but these, in which the client is told `otherwise`.
    pub(super) const fn not_in(
        mut self,
        states: &'static [RunState],
        otherwise: &'static str,
    ) -> CommandSpec {
        self.allowed = Allowed::NotIn(states, otherwise);
        self
    }

    /// It changes the guest, which must stay as it is while another command is at work on it.
    pub(super) const fn alone(mut self) -> CommandSpec {
        self.alone = true;
        self
    }

    /// It has these features.
    pub(super) const fn features(mut self, features: &'static [&'static str]) -> CommandSpec {
        self.features = features;
        self
    }

    /// Whether it may be carried out now.
    pub(super) fn permit(&self, guest: &dyn Guest) -> Result<(), QmpError> {
        let state = guest.status();
        match self.allowed {
            Allowed::In(states, otherwise) if !states.contains(&state) => {
                return Err(QmpError::generic(otherwise));
            }
            Allowed::NotIn(states, otherwise) if states.contains(&state) => {
                return Err(QmpError::generic(otherwise));
            }
            _ => {}
        }
        match guest.work() {
            Some(word) if self.alone => Err(busy(word)),
            _ => Ok(()),
        }
    }
}
