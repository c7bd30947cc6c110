//! What a command can reach while it is carried out.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use serde_json::Value;

use super::events::EventSpec;
use super::fdset::FdSets;
use super::info::ChardevInfo;
use super::objects::Objects;
use super::{Begun, Guest, Job};

/// Tells all clients of an event.
pub type Notify<'a> = &'a mut dyn FnMut(&'static EventSpec, Value);

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
    pub monitors: &'a [ChardevInfo],
    /// Tells all clients.
    pub notify: Notify<'a>,
    /// None, unless the command is not over when [`execute`](super::commands::execute) returns.
    pub later: Option<Later>,
}

/// What a command waits for that is not over. If it succeeds, the answer is what
/// [`execute`](super::commands::execute) has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later {
    /// The work.
    pub job: Job,
    /// An error is text for people, and no error of the protocol.
    pub people: bool,
}

impl Context<'_> {
    /// Takes down whether the command is over.
    pub(super) fn begun(&mut self, begun: Begun) {
        if let Begun::Later(job) = begun {
            self.later = Some(Later { job, people: false });
        }
    }
}
