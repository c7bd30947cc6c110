//! Few files by name or none, no TCP, by Linux's landlock.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictSelfAttr, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

/// The newest rules that we ask for; an older kernel applies those that it knows.
const NEWEST: ABI = ABI::V8;

/// Which files can still be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// None.
    None,
    /// Those that are there, to read and write: images, of which the next one may be anywhere. None can be
    /// made, removed or run.
    Existing,
}

/// Takes away every other right that the kernel's landlock handles: from all threads on Linux 7.0 and later,
/// else from this one and those it starts. False: there is no landlock.
pub(super) fn restrict(files: Files) -> io::Result<bool> {
    let kept = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let roots: &[&str] = if files == Files::Existing { &["/"] } else { &[] };
    let status = || -> Result<_, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::AbstractUnixSocket)?
            .create()?
            .add_rules(path_beneath_rules(roots, kept))?
            .all_threads(true)?
            .restrict_self()
    };
    let status = status().map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
