//! `ailurus install-xen`: puts the program where libxl finds it, and says what a guest's configuration
//! needs. Without `--apply` it only says what it would do.

mod guest;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where the program goes. libxl starts it by its full path, so that it need not be in `$PATH`.
pub const PROGRAM: &str = "/usr/libexec/ailurus";
/// Where the manual page goes.
const MANUAL: &str = "/usr/share/man/man1/ailurus.1";
/// The manual page.
const MANUAL_TEXT: &str = include_str!("../../man/ailurus.1");

/// Where toolstacks are built to look for their device model: Debian 12 and later, Debian before, upstream
/// and XCP-ng, upstream's own default.
const STOCK: &[&str] = &[
    "/usr/libexec/xen-qemu-system-i386",
    "/usr/lib/xen/bin/qemu-system-i386",
    "/usr/lib64/xen/bin/qemu-system-i386",
    "/usr/local/lib/xen/bin/qemu-system-i386",
];
/// What is appended to the name of the device model that was there.
const KEPT: &str = ".before-ailurus";

/// What is to be installed.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Root of the system that is changed; none is this one's, if it is a Xen host.
    pub root: Option<PathBuf>,
    /// xl.cfg files of guests that shall run on us.
    pub guests: Vec<PathBuf>,
    /// All guests shall.
    pub all: bool,
    /// The opposite: everything as it was.
    pub undo: bool,
}

/// Why it was not installed.
#[derive(Debug, Error)]
pub enum InstallError {
    /// A file.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// A guest's file is not one that xl reads.
    #[error("{}: {why}", .path.display())]
    Guest {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The toolstack's device model is nowhere.
    #[error("no device model of a Xen toolstack was found under {}: none of {}", .0.display(), STOCK.join(", "))]
    NoStock(PathBuf),
    /// Nobody said which system, and this one has no use for us.
    #[error(
        "this is no Xen host, and --root does not say which system is meant; --root / is this one all the same"
    )]
    NoHost,
    /// An empty root would be the current folder.
    #[error("--root is empty")]
    EmptyRoot,
    /// A link in the root leads out of it.
    #[error("{} leads to {}, outside the root {}", .path.display(), .to.display(), .root.display())]
    Outside {
        /// Which place.
        path: PathBuf,
        /// Where it leads.
        to: PathBuf,
        /// The root.
        root: PathBuf,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    |source| InstallError::File { path, source }
}

/// One change of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Copies this program.
    Copy { from: PathBuf, to: PathBuf },
    /// Writes a text file.
    Write { to: PathBuf, text: Vec<u8>, what: String },
    /// Gives a file another name.
    Rename { from: PathBuf, to: PathBuf },
    /// Makes a symbolic link.
    Link { at: PathBuf, to: PathBuf },
    /// Removes a file of ours.
    Remove { path: PathBuf },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Copy { from, to } => write!(f, "copy {} to {}", from.display(), to.display()),
            Step::Write { to, what, .. } => write!(f, "write {}: {what}", to.display()),
            Step::Rename { from, to } => write!(f, "rename {} to {}", from.display(), to.display()),
            Step::Link { at, to } => write!(f, "link {} to {}", at.display(), to.display()),
            Step::Remove { path } => write!(f, "remove {}", path.display()),
        }
    }
}

impl Step {
    /// The places that it changes.
    fn places(&self) -> Vec<&Path> {
        match self {
            Step::Copy { to, .. } | Step::Write { to, .. } => vec![to],
            Step::Rename { from, to } => vec![from, to],
            Step::Link { at, .. } => vec![at],
            Step::Remove { path } => vec![path],
        }
    }

    fn apply(&self) -> Result<(), InstallError> {
        match self {
            Step::Copy { from, to } => {
                let bytes = fs::read(from).map_err(at(from))?;
                replace(to, &bytes, 0o755)
            }
            Step::Write { to, text, .. } => {
                let mode = fs::metadata(to).map_or(0o644, |meta| meta.permissions().mode() & 0o7777);
                replace(to, text, mode)
            }
            Step::Rename { from, to } => fs::rename(from, to).map_err(at(from)),
            Step::Link { at: place, to } => symlink(to, place).map_err(at(place)),
            Step::Remove { path } => fs::remove_file(path).map_err(at(path)),
        }
    }
}

fn broken(path: &Path) -> impl FnOnce(String) -> InstallError {
    let path = path.to_owned();
    |why| InstallError::Guest { path, why }
}

/// Writes a file beside its place and moves it there: whoever reads it meanwhile, or runs it, has the old
/// one whole.
fn replace(to: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
    // A file that a link leads to is replaced, not the link.
    let to = &fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    let folder = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(at(folder))?;
    let mut beside = to.clone().into_os_string();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&beside)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, to)
    };
    written().map_err(|error| {
        // What could not be moved is of no use.
        let _ = fs::remove_file(&beside);
        at(to)(error)
    })
}

/// Everything that would be done, and what a person has to know or to do.
#[derive(Debug, Default)]
pub struct Todo {
    steps: Vec<Step>,
    /// For the person.
    pub notes: Vec<String>,
}

impl Todo {
    /// What it takes to fulfil `wish`. `program` is the file of this program.
    pub fn new(wish: &Wish, program: &Path) -> Result<Todo, InstallError> {
        let root = match &wish.root {
            Some(root) if root.as_os_str().is_empty() => return Err(InstallError::EmptyRoot),
            Some(root) => root.clone(),
            None if is_xen_host(Path::new("/")) => PathBuf::from("/"),
            None => return Err(InstallError::NoHost),
        };
        let mut todo = Todo::default();
        if wish.undo {
            todo.undo(wish, &root)?;
        } else {
            todo.install(wish, &root, program)?;
        }
        let guests: Vec<&Path> = wish.guests.iter().map(PathBuf::as_path).collect();
        for place in todo.steps.iter().flat_map(Step::places).filter(|place| !guests.contains(place)) {
            stays_inside(&root, place)?;
        }
        Ok(todo)
    }

    fn install(&mut self, wish: &Wish, root: &Path, program: &Path) -> Result<(), InstallError> {
        let installed = inside(root, PROGRAM);
        if fs::canonicalize(program).ok() != fs::canonicalize(&installed).ok() {
            self.steps.push(Step::Copy { from: program.to_owned(), to: installed });
        }
        self.write(inside(root, MANUAL), MANUAL_TEXT.into(), "the manual page");
        for path in &wish.guests {
            let file = fs::read(path).map_err(at(path))?;
            let (file, hints) = guest::point_at_us(&file).map_err(broken(path))?;
            self.write(path.clone(), file, &format!("device_model_override = \"{PROGRAM}\""));
            self.notes.extend(hints.into_iter().map(|hint| format!("{}: {hint}", path.display())));
        }
        if wish.all {
            self.stand_in(root)?;
        } else if wish.guests.is_empty() {
            self.notes.push(format!(
                "for one guest, put this into its xl.cfg:\n    device_model_version = \"qemu-xen\"\n    \
                 device_model_override = \"{PROGRAM}\"\n  or give its file here: --guest FILE"
            ));
            self.notes.push("for all guests: --all (xl.conf has no setting for it)".into());
        }
        Ok(())
    }

    /// Takes the place of the toolstack's device model.
    fn stand_in(&mut self, root: &Path) -> Result<(), InstallError> {
        let mut found = false;
        for name in STOCK {
            let (stock, kept) = (inside(root, name), kept(root, name));
            found |= exists(&stock) || exists(&kept);
            if exists(&kept) {
                self.notes.push(format!("{name} is ours already"));
            } else if exists(&stock) {
                self.steps.push(Step::Rename { from: stock.clone(), to: kept });
                self.steps.push(Step::Link { at: stock, to: PROGRAM.into() });
            }
        }
        if found { Ok(()) } else { Err(InstallError::NoStock(root.to_owned())) }
    }

    fn undo(&mut self, wish: &Wish, root: &Path) -> Result<(), InstallError> {
        for path in &wish.guests {
            let file = fs::read(path).map_err(at(path))?;
            let file = guest::point_elsewhere(&file).map_err(broken(path))?;
            self.write(path.clone(), file, "without device_model_override");
        }
        for name in STOCK {
            let (stock, kept) = (inside(root, name), kept(root, name));
            if exists(&kept) {
                if fs::read_link(&stock).is_ok_and(|to| to == Path::new(PROGRAM)) {
                    self.steps.push(Step::Remove { path: stock.clone() });
                } else if exists(&stock) {
                    self.notes.push(format!("{name} is not ours any more, and is left as it is"));
                    continue;
                }
                self.steps.push(Step::Rename { from: kept, to: stock });
            }
        }
        // Guests that would not start any more keep their device model.
        let users = guests_of_ours(root, &wish.guests);
        if !users.is_empty() {
            let users: Vec<String> = users.iter().map(|path| path.display().to_string()).collect();
            self.notes.push(format!("{PROGRAM} stays, for it is named by {}", users.join(", ")));
            return Ok(());
        }
        let files = [inside(root, PROGRAM), inside(root, MANUAL)];
        self.steps.extend(files.into_iter().filter(|path| exists(path)).map(|path| Step::Remove { path }));
        Ok(())
    }

    /// A file that is so already is no step.
    fn write(&mut self, to: PathBuf, text: Vec<u8>, what: &str) {
        if fs::read(&to).ok().as_ref() != Some(&text) {
            self.steps.push(Step::Write { to, text, what: what.into() });
        }
    }

    /// Does it; the first failure ends it.
    pub fn apply(&self) -> Result<(), InstallError> {
        self.steps.iter().try_for_each(Step::apply)
    }
}

impl fmt::Display for Todo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

/// `path`, which begins with a slash, under `root`.
fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn kept(root: &Path, name: &str) -> PathBuf {
    inside(root, &format!("{name}{KEPT}"))
}

/// Also a link that leads nowhere.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether a Xen toolstack is there: its kernel's folder, its command, or a device model of its own.
fn is_xen_host(root: &Path) -> bool {
    let tools = ["/proc/xen/capabilities", "/usr/sbin/xl", "/usr/local/sbin/xl", "/opt/xensource/bin/xe"];
    tools.iter().chain(STOCK).any(|path| exists(&inside(root, path)))
}

/// Refuses a place in `root` that a link takes elsewhere: a link of another system's means a place of that system.
fn stays_inside(root: &Path, path: &Path) -> Result<(), InstallError> {
    let Ok(whole) = fs::canonicalize(root) else { return Ok(()) };
    // What is renamed or removed is a link itself, where it is one; its folder is what must lie inside.
    let folders = path.ancestors().skip(1);
    let to = folders.map(fs::canonicalize).find_map(Result::ok).unwrap_or_else(|| whole.clone());
    if to.starts_with(&whole) || whole.starts_with(&to) {
        return Ok(());
    }
    Err(InstallError::Outside { path: path.to_owned(), to, root: root.to_owned() })
}

/// The files in Xen's folder of guests, apart from `others`, that name us as their device model.
fn guests_of_ours(root: &Path, others: &[PathBuf]) -> Vec<PathBuf> {
    let others: Vec<PathBuf> = others.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    let folders = ["/etc/xen", "/etc/xen/auto"].map(|folder| fs::read_dir(inside(root, folder)));
    let mut found: Vec<PathBuf> = folders
        .into_iter()
        .flatten()
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| fs::canonicalize(path).is_ok_and(|path| path.is_file() && !others.contains(&path)))
        .filter(|path| fs::read(path).is_ok_and(|file| guest::is_ours(&file)))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests;
