//! No files by name, no TCP, by Linux's landlock.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictSelfAttr, Ruleset, RulesetAttr, RulesetError, RulesetStatus,
    Scope,
};

/// The newest rules that we ask for; an older kernel applies those that it knows.
const NEWEST: ABI = ABI::V8;

/// Takes away every right that the kernel's landlock handles: from all threads on Linux 7.0 and later, else
/// from this one and those it starts. False: there is no landlock.
pub(super) fn restrict() -> io::Result<bool> {
    let status = || -> Result<_, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::AbstractUnixSocket)?
            .create()?
            .all_threads(true)?
            .restrict_self()
    };
    let status = status().map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
