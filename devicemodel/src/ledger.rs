//! What a person gave to the guests of their own, and which saved files are theirs: who restores a guest that they saved
//! themselves has named its images before, and need not do so again.
//!
//! A saved file is written by the guest's process, which may be in the guest's hands, and may have been changed since, by
//! whoever had it. So the file itself is not believed. The user's folder (`$XDG_STATE_HOME/ailurus`, else
//! `~/.local/state/ailurus`) has two kinds of notes, and no confined process can write there:
//!
//! - `guests/NUMBER`: what the command line named for one guest, written before its process is confined. The number is
//!   random; only that guest's process knows it, and it goes into what the guest is saved to
//!   ([`GuestConfig::noted`](crate::config::GuestConfig::noted)). A process of another guest cannot claim it.
//! - `saved/SHA-256`: `ailurus save` wrote a file with that content for this user. One that was changed, or that comes
//!   from elsewhere, has none.
//!
//! Both must be there. Notes are lost with the folder, and the oldest when there are too many; the person is asked then, as
//! by any file ([`restore`](crate::restore)).

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

use crate::restore::Reach;

/// Most notes of a kind.
const MOST: usize = 1000;
/// Most bytes of a guest's note.
const LONGEST: u64 = 1 << 20;
const GUESTS: &str = "guests";
const SAVED: &str = "saved";

/// The notes of a user.
#[derive(Clone, Debug)]
pub struct Ledger(PathBuf);

impl Ledger {
    /// The notes of the user who runs this process; None if they have no place for such things.
    pub fn of_user() -> Option<Ledger> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
        Some(Ledger::at(state.join("ailurus")))
    }

    /// The notes in a folder, which is made when there is something to note.
    pub fn at(folder: PathBuf) -> Ledger {
        Ledger(folder)
    }

    /// Notes what a guest was given by its person. The number stands for it.
    pub fn note_guest(&self, given: &[Reach]) -> io::Result<String> {
        let mut number = [0_u8; 16];
        // So few are never given in pieces once the host has any.
        if getrandom(&mut number, GetRandomFlags::empty())? < number.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let number = hex(&number);
        let text: String = given.iter().map(|reach| line(reach) + "\n").collect();
        self.write(GUESTS, &number, text.as_bytes())?;
        Ok(number)
    }

    /// What the guest of that number was given; nothing where there is no note.
    pub fn given_to(&self, number: &str) -> Known {
        let is_number = number.len() == 32 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
        let read = || {
            let mut text = String::new();
            let file = File::open(self.folder(GUESTS).ok()?.join(number)).ok()?;
            file.take(LONGEST).read_to_string(&mut text).ok()?;
            Some(text)
        };
        let text = if is_number { read().unwrap_or_default() } else { String::new() };
        Known(text.lines().map(str::to_owned).collect())
    }

    /// Notes that a file is one that this user saved.
    pub fn note_saved(&self, file: &mut File) -> io::Result<()> {
        let name = content(file)?;
        self.write(SAVED, &name, b"")
    }

    /// Whether this user saved that file, and it is as it was then.
    pub fn has_saved(&self, file: &mut File) -> bool {
        let Ok(folder) = self.folder(SAVED) else { return false };
        let some = fs::read_dir(&folder).is_ok_and(|mut notes| notes.next().is_some());
        some && content(file).is_ok_and(|name| folder.join(name).is_file())
    }

    /// The folder of a kind of notes, if nobody else can write there.
    fn folder(&self, kind: &str) -> io::Result<PathBuf> {
        let folder = self.0.join(kind);
        for part in [&self.0, &folder] {
            let found = fs::symlink_metadata(part)?;
            let own = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
            if !found.is_dir() || !own {
                return Err(io::Error::other(format!("{}: others can write there", part.display())));
            }
        }
        Ok(folder)
    }

    fn write(&self, kind: &str, name: &str, content: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.0.join(kind))?;
        let folder = self.folder(kind)?;
        thin_out(&folder)?;
        // A note that is cut short says less, and so nothing that is wrong.
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(folder.join(name))?
            .write_all(content)
    }
}

/// Makes room for one more note: the oldest go.
fn thin_out(folder: &Path) -> io::Result<()> {
    let mut notes = Vec::new();
    for note in fs::read_dir(folder)? {
        let note = note?;
        // Somebody else may be thinning out.
        if let Ok(found) = note.metadata() {
            notes.push((found.mtime(), found.mtime_nsec(), note.path()));
        }
    }
    notes.sort();
    let surplus = (notes.len() + 1).saturating_sub(MOST);
    for (_, _, note) in &notes[..surplus] {
        let _ = fs::remove_file(note);
    }
    Ok(())
}

/// What was noted of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(BTreeSet<String>);

impl Known {
    /// Whether the person named that, to be used in this way.
    pub fn has(&self, reach: &Reach) -> bool {
        self.0.contains(&line(reach))
    }
}

/// A line of a note. A name counts from the folder in which it was given.
fn line(Reach { at, written, .. }: &Reach) -> String {
    let way = if *written { "written" } else { "read" };
    let at = std::path::absolute(at).map_or_else(|_| at.clone(), |path| path.to_string_lossy().into_owned());
    format!("{way} {}", at.escape_debug())
}

/// The name of a file's content: its SHA-256.
fn content(file: &mut File) -> io::Result<String> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    file.rewind()?;
    let mut digest = Sha256::new();
    io::copy(file, &mut digest)?;
    file.rewind()?;
    Ok(hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(at: &str, written: bool) -> Reach {
        Reach { what: "disk".into(), at: at.into(), written }
    }

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(folder.path().join("state/ailurus"));
        (folder, ledger)
    }

    #[test]
    fn what_was_given_to_one_guest_is_not_anothers() {
        let (_folder, ledger) = ledger();
        let one = ledger.note_guest(&[reach("/a.img", true), reach("/b\nwritten /c", false)]).unwrap();
        let other = ledger.note_guest(&[reach("/other.img", true)]).unwrap();
        let known = ledger.given_to(&one);
        assert!(known.has(&reach("/a.img", true)) && known.has(&reach("/b\nwritten /c", false)));
        for no in [reach("/a.img", false), reach("/other.img", true), reach("/c", true), reach("/", false)] {
            assert!(!known.has(&no), "{no:?}");
        }
        assert!(ledger.given_to(&other).has(&reach("/other.img", true)));
        let traversal = format!("../guests/{}", &one[..20]);
        for number in ["", "..", &traversal, &one[..31], "00000000000000000000000000000000"] {
            assert_eq!(ledger.given_to(number), Known::default(), "{number}");
        }
    }

    #[test]
    fn a_name_counts_from_the_folder_where_it_was_given() {
        let (_folder, ledger) = ledger();
        let number = ledger.note_guest(&[reach("disk.img", true)]).unwrap();
        let whole = std::env::current_dir().unwrap().join("disk.img");
        assert!(ledger.given_to(&number).has(&reach(whole.to_str().unwrap(), true)));
        assert!(!ledger.given_to(&number).has(&reach("/elsewhere/disk.img", true)));
    }

    #[test]
    fn a_file_that_was_changed_is_nobodys() {
        let (folder, ledger) = ledger();
        let path = folder.path().join("saved");
        fs::write(&path, "a guest").unwrap();
        let mut file = File::open(&path).unwrap();
        assert!(!ledger.has_saved(&mut file), "nobody has saved anything");
        ledger.note_saved(&mut file).unwrap();
        assert!(ledger.has_saved(&mut file));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a guest", "who reads it begins at its start");
        fs::write(&path, "b guest").unwrap();
        assert!(!ledger.has_saved(&mut file));
        assert!(!ledger.has_saved(&mut File::open("/dev/zero").unwrap()), "what has no end is no file");
    }

    #[test]
    fn a_folder_where_others_write_is_not_believed() {
        let (folder, ledger) = ledger();
        let number = ledger.note_guest(&[reach("/a", true)]).unwrap();
        let guests = folder.path().join("state/ailurus/guests");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&guests, open).unwrap();
        assert_eq!(ledger.given_to(&number), Known::default());
        assert!(ledger.note_guest(&[]).is_err());
        fs::remove_dir_all(&guests).unwrap();
        std::os::unix::fs::symlink("/tmp", &guests).unwrap();
        assert!(ledger.note_guest(&[]).is_err());
    }

    #[test]
    fn notes_do_not_pile_up() {
        let (folder, ledger) = ledger();
        let first = ledger.note_guest(&[reach("/a", true)]).unwrap();
        let guests = folder.path().join("state/ailurus/guests");
        let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        File::options().append(true).open(guests.join(&first)).unwrap().set_times(old).unwrap();
        (0..MOST - 1).for_each(|n| fs::write(guests.join(format!("note{n}")), "").unwrap());
        let last = ledger.note_guest(&[reach("/b", true)]).unwrap();
        assert_eq!(fs::read_dir(&guests).unwrap().count(), MOST);
        assert_eq!(ledger.given_to(&first), Known::default());
        assert!(ledger.given_to(&last).has(&reach("/b", true)));
    }
}
