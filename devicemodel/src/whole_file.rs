//! Files of ours that are there whole or not at all: saved guests, recordings, pictures.
//!
//! What is written goes to a file of another name in the same folder, `NAME.partial-PID`, which nobody else may
//! read (a saved guest is the guest's memory) and which is made anew: nothing that lies under that name is
//! followed or written to. When all of it is on the disk it takes the name, and that too is on the disk before the
//! caller goes on. Who finds a `.partial-` file whose process is gone may delete it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Owner alone.
const MODE: u32 = 0o600;
/// Most bytes of a file's name (Linux, `NAME_MAX`).
const NAME_MOST: usize = 255;
/// How many files of ours there can be for one name.
const TRIES: u32 = 64;

/// Files that have not got their names yet, for [`abandon_all`].
static PARTIAL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn partial() -> MutexGuard<'static, Vec<PathBuf>> {
    PARTIAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what has not got its name: the process ends in the middle of it. May wait for a host's disk.
pub fn abandon_all() {
    let mut partial = partial();
    for path in partial.drain(..) {
        // It is of no use to anybody; gone already is as good.
        let _ = fs::remove_file(path);
    }
}

/// Files that are open and were handed over, by the names that mean them.
static HANDED: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());

fn handed() -> MutexGuard<'static, BTreeMap<PathBuf, File>> {
    HANDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While this lives its name means an open file.
#[derive(Debug)]
pub struct Handed(PathBuf);

impl Handed {
    /// A file that somebody has opened who will give it its name. The name is not looked for on the host.
    pub fn new(name: &Path, file: File) -> Handed {
        handed().insert(name.to_owned(), file);
        Handed(name.to_owned())
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        handed().remove(&self.0);
    }
}

/// A file that takes its name when it is whole. Dropped before that, it is gone.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    /// None: there is nothing to rename. The name is `/dev/null`, or somebody else's to give.
    partial: Option<PathBuf>,
    name: PathBuf,
}

/// Ends a file that somebody else writes.
#[derive(Debug)]
pub struct Abandoner(Option<PathBuf>);

impl Abandoner {
    /// It does not get its name, unless it has it already. May wait for a host's disk.
    pub fn abandon(&self) {
        let mut partial = partial();
        if let Some(path) = &self.0
            && let Some(at) = partial.iter().position(|other| other == path)
        {
            partial.remove(at);
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
    }
}

impl WholeFile {
    /// The file that was handed over under that name, if one was.
    pub fn handed(name: &Path) -> Option<WholeFile> {
        let file = handed().remove(name)?;
        Some(WholeFile { file, partial: None, name: name.to_owned() })
    }

    /// Begins a file. What has the name now stays as it is until [`commit`](WholeFile::commit); a link is
    /// replaced, not followed. Anything but a plain file is refused, with `/dev/null` as the only exception: that
    /// takes everything.
    pub fn create(name: &Path) -> io::Result<WholeFile> {
        if let Some(whole) = WholeFile::handed(name) {
            return Ok(whole);
        }
        match kind(name)? {
            Kind::File => {}
            Kind::Nowhere => {
                let file = OpenOptions::new().write(true).open(name)?;
                return Ok(WholeFile { file, partial: None, name: name.to_owned() });
            }
            Kind::Other(what) => {
                let text = format!("it is {what}; only a file can be written");
                return Err(io::Error::new(ErrorKind::InvalidInput, text));
            }
        }
        for number in 0..TRIES {
            let partial_name = partial_name(name, number)?;
            let mut options = OpenOptions::new();
            // O_EXCL follows no link; read, so that the file can be looked at again.
            options.read(true).write(true).create_new(true).mode(MODE).custom_flags(libc::O_NOFOLLOW);
            match options.open(&partial_name) {
                Ok(file) => {
                    partial().push(partial_name.clone());
                    return Ok(WholeFile { file, partial: Some(partial_name), name: name.to_owned() });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        let text = "too many files of that name and .partial- lie beside it: delete them";
        Err(io::Error::new(ErrorKind::AlreadyExists, text))
    }

    /// Where to write.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// For somebody else than who writes it.
    pub fn abandoner(&self) -> Abandoner {
        Abandoner(self.partial.clone())
    }

    /// The name that it will have.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// All that is written is on the disk, and has the name. The file can be written on. An error, if it was
    /// abandoned before.
    pub fn commit(mut self) -> io::Result<()> {
        let Some(partial_name) = &self.partial else { return Ok(()) };
        self.file.sync_all()?;
        // Somebody may have put something there in the meantime.
        if let Kind::Other(what) = kind(&self.name)? {
            let text = format!("it is {what}; only a file can be written");
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        {
            // Whoever abandons it now waits for the lock, or has it already.
            let partial = partial();
            if !partial.contains(partial_name) {
                return Err(io::Error::new(ErrorKind::Interrupted, "it was given up"));
            }
            fs::rename(partial_name, &self.name)?;
        }
        self.forget();
        sync_folder(&self.name)
    }

    fn forget(&mut self) {
        if let Some(path) = self.partial.take() {
            partial().retain(|other| *other != path);
        }
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(path) = &self.partial {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
        self.forget();
    }
}

/// Writes a whole file. `write` gets a buffer before it.
pub fn write<E: From<io::Error>>(
    name: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    write_to(WholeFile::create(name)?, write)
}

/// The same of one that was begun.
pub fn write_to<E: From<io::Error>>(
    whole: WholeFile,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut to = io::BufWriter::with_capacity(1 << 16, whole.file());
    write(&mut to)?;
    to.flush()?;
    drop(to);
    Ok(whole.commit()?)
}

/// What lies under a name.
enum Kind {
    /// A plain file, a link to one or to nothing, or nothing.
    File,
    /// The null device.
    Nowhere,
    Other(&'static str),
}

/// The null device's number (Linux, `Documentation/admin-guide/devices.txt`).
fn is_null(meta: &fs::Metadata) -> bool {
    meta.rdev() == rustix::fs::makedev(1, 3)
}

fn kind(name: &Path) -> io::Result<Kind> {
    // Links are followed: `/dev/stdout` is one, and must not be replaced by a file.
    let meta = match fs::metadata(name) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Kind::File),
        Err(error) => return Err(error),
    };
    let kind = meta.file_type();
    Ok(if kind.is_char_device() && is_null(&meta) {
        Kind::Nowhere
    } else if kind.is_dir() {
        Kind::Other("a folder")
    } else if kind.is_char_device() || kind.is_block_device() {
        Kind::Other("a device")
    } else if kind.is_fifo() {
        Kind::Other("a pipe")
    } else if kind.is_socket() {
        Kind::Other("a socket")
    } else {
        Kind::File
    })
}

/// The name while it is not whole. A long name is cut to make room.
fn partial_name(name: &Path, number: u32) -> io::Result<PathBuf> {
    let wrong = || io::Error::new(ErrorKind::InvalidInput, "it has no name of a file");
    let own = name.file_name().ok_or_else(wrong)?.as_bytes();
    let process = std::process::id();
    let end = match number {
        0 => format!(".partial-{process}"),
        _ => format!(".partial-{process}-{number}"),
    };
    let own = own.get(..own.len().min(NAME_MOST.saturating_sub(end.len()))).unwrap_or_default();
    let mut partial = OsString::from_vec(own.to_vec());
    partial.push(OsStr::new(&end));
    Ok(name.with_file_name(partial))
}

/// The folder's entry is on the disk.
fn sync_folder(name: &Path) -> io::Result<()> {
    let folder = match name.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(folder);
    match opened {
        // A folder that may be written to and not read: the file is there, when it reaches the disk is the host's.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            tracing::warn!("{}: it cannot be synchronised: {error}", folder.display());
            Ok(())
        }
        opened => match opened?.sync_all() {
            // Some file systems have nothing to synchronise.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            other => other,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn write_text(name: &Path, text: &str) -> io::Result<()> {
        write(name, |to| to.write_all(text.as_bytes()))
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all_and_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("saved");
        fs::write(&name, "before").unwrap();
        let whole = WholeFile::create(&name).unwrap();
        whole.file().write_all(b"half").unwrap();
        let partial = format!("saved.partial-{}", std::process::id());
        assert_eq!(names(folder.path()), ["saved", &partial]);
        let mode = |name: &Path| fs::metadata(name).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join(&partial)), 0o600);
        drop(whole);
        assert_eq!(
            (names(folder.path()), fs::read_to_string(&name).unwrap()),
            (vec!["saved".into()], "before".into())
        );
        write_text(&name, "after").unwrap();
        assert_eq!(
            (names(folder.path()), fs::read_to_string(&name).unwrap()),
            (vec!["saved".into()], "after".into())
        );
        assert_eq!(mode(&name), 0o600);
    }

    #[test]
    fn no_link_is_followed_and_none_is_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("precious"), "precious").unwrap();
        // Where an older build wrote, where this one writes first, and where the file is wanted.
        let ours = format!("shot.png.partial-{}", std::process::id());
        for link in ["shot.png.partial", &ours, "shot.png"] {
            symlink(at("precious"), at(link)).unwrap();
        }
        write_text(&at("shot.png"), "picture").unwrap();
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "precious");
        assert_eq!(fs::read_to_string(at("shot.png")).unwrap(), "picture");
        assert!(fs::symlink_metadata(at("shot.png")).unwrap().is_file());
        assert!(fs::symlink_metadata(at(&ours)).unwrap().is_symlink(), "what is not ours stays");
    }

    #[test]
    fn what_is_no_file_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let link = folder.path().join("link");
        symlink("/dev/full", &link).unwrap();
        for (name, what) in [
            (folder.path(), "a folder"),
            (&pipe, "a pipe"),
            (Path::new("/dev/full"), "a device"),
            (&link, "a device"),
        ] {
            let error = write_text(name, "x").unwrap_err().to_string();
            assert_eq!(error, format!("it is {what}; only a file can be written"));
        }
        write_text(Path::new("/dev/null"), "x").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert_eq!(names(folder.path()), ["link", "pipe"]);
    }

    #[test]
    fn the_longest_name_has_room_for_its_partial_one() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("n".repeat(NAME_MOST));
        write_text(&name, "x").unwrap();
        assert_eq!(fs::read_to_string(&name).unwrap(), "x");
        assert!(WholeFile::create(Path::new("/")).is_err());
    }
}
