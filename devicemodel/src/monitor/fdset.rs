//! Files that clients have handed over (`add-fd`), by the numbers of their sets: `/dev/fdset/N` in a file
//! name means one of them.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl};
use serde_json::{Value, json};

use super::protocol::QmpError;
use crate::whole_file::Handed;

/// Most files in all sets.
const MOST: usize = 64;
/// What a file name begins with that means a set.
const FOLDER: &str = "/dev/fdset/";

/// The sets.
#[derive(Debug, Default)]
pub struct FdSets {
    sets: BTreeMap<i64, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    fd: OwnedFd,
    opaque: Option<String>,
}

/// How a file is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Written from its beginning.
    Write,
    /// Both, as a disk is.
    Both,
}

impl FdSets {
    /// Puts a file into set `id`, or into a new one. Gives the numbers of the set and of the file.
    pub fn add(
        &mut self,
        id: Option<i64>,
        fd: OwnedFd,
        opaque: Option<String>,
    ) -> Result<(i64, i32), QmpError> {
        if self.sets.values().map(Vec::len).sum::<usize>() >= MOST {
            return Err(QmpError::generic("there are too many files in fd sets: use remove-fd"));
        }
        let free = || (0..).find(|id| !self.sets.contains_key(id));
        let id = id.or_else(free).unwrap_or_default();
        let number = fd.as_raw_fd();
        self.sets.entry(id).or_default().push(Entry { fd, opaque });
        Ok((id, number))
    }

    /// Removes one file of a set, or the whole set.
    pub fn remove(&mut self, id: i64, fd: Option<i64>) -> Result<(), QmpError> {
        let missing = || match fd {
            None => QmpError::generic(format!("File descriptor named 'fdset-id:{id}' not found")),
            Some(fd) => {
                QmpError::generic(format!("File descriptor named 'fdset-id:{id}, fd:{fd}' not found"))
            }
        };
        let set = self.sets.get_mut(&id).ok_or_else(missing)?;
        let before = set.len();
        set.retain(|entry| fd.is_some_and(|fd| i64::from(entry.fd.as_raw_fd()) != fd));
        if set.len() == before && fd.is_some() {
            return Err(missing());
        }
        if set.is_empty() {
            self.sets.remove(&id);
        }
        Ok(())
    }

    /// The answer of `query-fdsets`.
    pub fn list(&self) -> Value {
        let file = |entry: &Entry| match &entry.opaque {
            Some(opaque) => json!({ "fd": entry.fd.as_raw_fd(), "opaque": opaque }),
            None => json!({ "fd": entry.fd.as_raw_fd() }),
        };
        let set = |(id, set): (&i64, &Vec<Entry>)| json!({ "fdset-id": id, "fds": set.iter().map(file).collect::<Value>() });
        self.sets.iter().map(set).collect()
    }

    /// Closes all of them: their clients are gone. What uses one has its own duplicate.
    pub fn clear(&mut self) {
        self.sets.clear();
    }

    /// A duplicate of the file that `name` means, if `name` means a set.
    pub fn duplicate(&self, name: &Path, access: Access) -> Option<Result<OwnedFd, QmpError>> {
        let id = name.to_str()?.strip_prefix(FOLDER)?;
        Some(self.find(id, access))
    }

    fn find(&self, id: &str, access: Access) -> Result<OwnedFd, QmpError> {
        let set = id.parse().ok().and_then(|id: i64| self.sets.get(&id));
        let set = set.ok_or_else(|| QmpError::generic(format!("there is no fd set '{id}'")))?;
        let fits = |entry: &&Entry| {
            fcntl_getfl(&entry.fd).is_ok_and(|flags| match (flags & OFlags::RWMODE, access) {
                (OFlags::RDWR, _) => true,
                (OFlags::WRONLY, access) => access == Access::Write,
                (_, access) => access == Access::Read,
            })
        };
        let entry = set.iter().find(fits);
        let why = || QmpError::generic(format!("fd set {id} has no file that can be {}", access.word()));
        let fd = entry.ok_or_else(why)?.fd.as_fd().try_clone_to_owned();
        fd.map_err(|error| QmpError::generic(error.to_string()))
    }

    /// If `name` means a set, that name means the set's file for as long as the answer lives, to whoever makes a
    /// [`WholeFile`](crate::whole_file::WholeFile) of it.
    pub fn hand_over(&self, name: &Path) -> Result<Option<Handed>, QmpError> {
        let found = self.duplicate(name, Access::Write).transpose()?;
        Ok(found.map(|file| Handed::new(name, file.into())))
    }
}

impl Access {
    fn word(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "written",
            Access::Both => "read and written",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write;

    fn null(write: bool) -> OwnedFd {
        OpenOptions::new().read(!write).write(write).open("/dev/null").unwrap().into()
    }

    #[test]
    fn sets_are_numbered_and_give_the_file_that_fits() {
        let mut sets = FdSets::default();
        let added = sets.add(None, null(false), Some("raw:/a".into())).unwrap();
        assert_eq!(added.0, 0);
        assert_eq!(sets.add(None, null(true), None).unwrap().0, 1);
        assert_eq!(sets.list()[0], json!({ "fdset-id": 0, "fds": [{ "fd": added.1, "opaque": "raw:/a" }] }));
        assert!(sets.duplicate("/dev/fdset/1".as_ref(), Access::Read).unwrap().is_err());
        let found = sets.duplicate("/dev/fdset/1".as_ref(), Access::Write).unwrap().unwrap();
        std::fs::File::from(found).write_all(b"x").unwrap();
        assert!(sets.duplicate("/dev/fdset/7".as_ref(), Access::Read).unwrap().is_err());
        assert!(sets.duplicate("/dev/fdset/".as_ref(), Access::Read).unwrap().is_err());
        assert!(sets.duplicate("/dev/null".as_ref(), Access::Read).is_none());
        assert!(sets.remove(0, Some(-5)).is_err());
        sets.remove(0, Some(added.1.into())).unwrap();
        assert!(sets.remove(0, None).is_err());
        sets.remove(1, None).unwrap();
        assert_eq!(sets.list(), json!([]));
    }

    #[test]
    fn one_that_is_read_and_written_is_open_for_both() {
        let mut sets = FdSets::default();
        let (id, _) = sets.add(None, null(false), None).unwrap();
        sets.add(Some(id), null(true), None).unwrap();
        let name = format!("/dev/fdset/{id}");
        assert!(sets.duplicate(name.as_ref(), Access::Both).unwrap().is_err());
    }

    #[test]
    fn a_client_cannot_use_up_our_files() {
        let mut sets = FdSets::default();
        let added = (0..MOST + 5).filter(|_| sets.add(Some(3), null(false), None).is_ok()).count();
        assert_eq!(added, MOST);
    }
}
