//! What the process gives up before it serves a guest.

use std::path::PathBuf;

/// Who the process becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By number; no name service is asked.
    Ids {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A name of the host's user database, with that user's own group.
    Name(String),
}

/// What to give up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Root folder of the process; an empty one is best.
    pub chroot: Option<PathBuf>,
    /// Who it becomes.
    pub user: Option<User>,
}
