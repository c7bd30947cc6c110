//! Few files by name or none, and no TCP unless the guest has user networking, by Linux's landlock.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, RestrictSelfAttr, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

/// The newest rules that we ask for; an older kernel applies those that it knows.
const NEWEST: ABI = ABI::V8;

/// Files that can still be opened by name. What is not there is passed over. A folder means all below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// To be read.
    pub(super) read: Vec<PathBuf>,
    /// To be read and written.
    pub(super) write: Vec<PathBuf>,
    /// Folders in which files can be made, written and removed.
    pub(super) folders: Vec<PathBuf>,
    /// Folders in which sockets can be made.
    pub(super) sockets: Vec<PathBuf>,
    /// Ports of TCP that can be listened on.
    pub(super) listen: Vec<u16>,
    /// Ports of TCP that can be connected to, on any host.
    pub(super) connect: Vec<u16>,
    /// All of TCP, for a guest that has a network of its own in this process.
    pub(super) internet: bool,
}

/// Takes away every other right that the kernel's landlock handles: from all threads on Linux 7.0 and later,
/// else from this one and those it starts. False: there is no landlock.
pub(super) fn restrict(files: &Files) -> io::Result<bool> {
    // A block device is asked for its size.
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let write = read | AccessFs::WriteFile | AccessFs::Truncate;
    let make = AccessFs::MakeReg | AccessFs::MakeSock | AccessFs::RemoveFile | AccessFs::Refer;
    let rules: [(&[PathBuf], BitFlags<AccessFs>); 4] = [
        (&files.read, read),
        (&files.write, write),
        (&files.folders, write | make),
        (&files.sockets, AccessFs::MakeSock.into()),
    ];
    let status = || -> Result<_, RulesetError> {
        let mut handled = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
        if !files.internet {
            handled = handled.handle_access(AccessNet::from_all(NEWEST))?;
        }
        let mut ruleset = handled.scope(Scope::AbstractUnixSocket)?.create()?;
        for (path, rights) in
            rules.iter().flat_map(|(paths, rights)| paths.iter().map(move |path| (path, *rights)))
        {
            // There are no rules for a pipe, and it needs none.
            let _ = (&mut ruleset).add_rules(path_beneath_rules([path], rights));
        }
        if !files.internet {
            let ports = [(&files.listen, AccessNet::BindTcp), (&files.connect, AccessNet::ConnectTcp)];
            for (port, access) in
                ports.iter().flat_map(|(ports, access)| ports.iter().map(move |port| (*port, *access)))
            {
                let _ = (&mut ruleset).add_rule(NetPort::new(port, access));
            }
        }
        ruleset.all_threads(true)?.restrict_self()
    };
    let status = status().map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Where images may lie that are not known yet: everywhere but where the host's own programs and settings are. None can
/// be made, removed or run. Settings of users begin with a dot.
pub(super) fn for_images() -> Vec<PathBuf> {
    const SYSTEM: &[&str] = &[
        "bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr", "var", "home",
        "root",
    ];
    let mut paths = below(Path::new("/"), SYSTEM);
    // Jobs of users, and mail, which may be run.
    paths.extend(below(Path::new("/var"), &["spool", "mail"]));
    paths.extend(below(Path::new("/root"), &[]));
    for home in below(Path::new("/home"), &[]) {
        paths.extend(below(&home, &[]));
    }
    paths
}

/// What is in a folder now, but for those names and what is hidden.
fn below(folder: &Path, except: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let shown = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        !name.starts_with('.') && !except.contains(&name.as_ref())
    });
    // A link may lead to what is left out.
    shown
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        .map(|entry| entry.path())
        .collect()
}
