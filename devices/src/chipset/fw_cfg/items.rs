//! What firmware can ask for, and how it is numbered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::spec;

/// Where an item is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under a fixed key: bit 15 for the architecture's own, below 0x20 otherwise.
    Key(u16),
    /// As a file of the directory, at most 55 bytes of ASCII: `etc/e820`.
    File(String),
}

/// An item as the machine gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where.
    pub place: Place,
    /// Content at power-on.
    pub data: Vec<u8>,
    /// Who changes it.
    pub changes: Changes,
    /// What is put into it when the guest has selected it and begins to read.
    pub latest: Option<Latest>,
}

/// Changes an item's bytes.
type Update = dyn Fn(&mut [u8]) + Send + Sync;

/// Puts what the guest has set since power-on into an item. It must not wait, and locks no device.
#[derive(Clone)]
pub struct Latest(pub(super) Arc<Update>);

impl fmt::Debug for Latest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Latest")
    }
}

impl PartialEq for Latest {
    fn eq(&self, other: &Latest) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Latest {}

/// Who changes an item after power-on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Nobody.
    No,
    /// The guest, by writing to it in place: the length stays.
    ByGuest,
    /// The machine, which gives it anew.
    ByMachine,
}

impl Item {
    /// A read-only item under a key.
    pub fn key(key: u16, data: impl Into<Vec<u8>>) -> Item {
        Item { place: Place::Key(key), data: data.into(), changes: Changes::No, latest: None }
    }
    /// A read-only file.
    pub fn file(name: impl Into<String>, data: impl Into<Vec<u8>>) -> Item {
        Item { place: Place::File(name.into()), data: data.into(), changes: Changes::No, latest: None }
    }
    /// The same, open to the guest's writes.
    pub fn writable(mut self) -> Item {
        self.changes = Changes::ByGuest;
        self
    }
    /// The same, brought up to date when the guest begins to read it.
    pub fn latest(mut self, latest: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Item {
        self.latest = Some(Latest(Arc::new(latest)));
        self
    }
    /// The same, given anew by [`FwCfg::replace`](super::FwCfg::replace).
    pub fn replaceable(mut self) -> Item {
        self.changes = Changes::ByMachine;
        self
    }
}

/// Why a list of items is refused. The machine's own mistake, or its configuration's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ItemError {
    /// Two items are under one key, or one is under the directory's.
    #[error("fw_cfg key {0:#x} is taken")]
    Key(u16),
    /// A key that is a file's, or has bit 14.
    #[error("fw_cfg key {0:#x} is out of range")]
    Range(u16),
    /// Two files have the name.
    #[error("there are two fw_cfg files named {0}")]
    Twice(String),
    /// The name is empty, too long, or not printable ASCII.
    #[error("{0:?} is not a name for a fw_cfg file")]
    Name(String),
    /// Keys hold 14 bits, sizes 32.
    #[error("too many fw_cfg files, or one is 4 GiB or more")]
    TooMuch,
}

/// An item in place.
pub(super) struct Entry {
    pub data: Vec<u8>,
    /// Content that a reset brings back, for one that the guest may write.
    pub initial: Option<Vec<u8>>,
    /// Its name, if it is a file.
    pub name: Option<String>,
    /// The machine gives it anew.
    pub replaceable: bool,
    /// Brings it up to date.
    pub latest: Option<Latest>,
}

impl Entry {
    fn new(data: Vec<u8>) -> Entry {
        Entry { data, initial: None, name: None, replaceable: false, latest: None }
    }
}

/// Numbers the files in their order and adds the directory, and signature and features if they are not
/// there.
pub(super) fn entries(items: Vec<Item>) -> Result<BTreeMap<u16, Entry>, ItemError> {
    let mut found = BTreeMap::new();
    let mut insert = |key, entry| match found.insert(key, entry) {
        Some(_) => Err(ItemError::Key(key)),
        None => Ok(()),
    };
    let mut names: Vec<String> = Vec::new();
    let mut list = Vec::new();
    for Item { place, data, changes, latest } in items {
        let size = u32::try_from(data.len()).map_err(|_| ItemError::TooMuch)?;
        let mut entry = Entry { latest, ..Entry::new(data) };
        if changes == Changes::ByGuest {
            entry.initial = Some(entry.data.clone());
        }
        let key = match place {
            Place::Key(key) => check_key(key)?,
            Place::File(name) => {
                let name = check_name(name, &names)?;
                let key = names.len() + usize::from(spec::KEY_FIRST_FILE);
                let key = u16::try_from(key).ok().filter(|&key| key <= spec::KEY_MASK);
                let key = key.ok_or(ItemError::TooMuch)?;
                list.extend(directory_entry(&name, key, size));
                entry.name = Some(name.clone());
                entry.replaceable = changes == Changes::ByMachine;
                names.push(name);
                key
            }
        };
        insert(key, entry)?;
    }
    let mut directory = (names.len() as u32).to_be_bytes().to_vec();
    directory.extend(list);
    insert(spec::KEY_DIRECTORY, Entry::new(directory))?;
    for (key, data) in [(spec::KEY_SIGNATURE, spec::SIGNATURE), (spec::KEY_ID, &spec::ID)] {
        found.entry(key).or_insert_with(|| Entry::new(data.to_vec()));
    }
    Ok(found)
}

fn check_key(key: u16) -> Result<u16, ItemError> {
    let fixed = key & !spec::KEY_ARCH < spec::KEY_FIRST_FILE || key & spec::KEY_ARCH != 0;
    let plain = key & !(spec::KEY_MASK | spec::KEY_ARCH) == 0;
    if fixed && plain { Ok(key) } else { Err(ItemError::Range(key)) }
}

fn check_name(name: String, taken: &[String]) -> Result<String, ItemError> {
    let fits = (1..=spec::NAME_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        return Err(ItemError::Name(name));
    }
    if taken.contains(&name) { Err(ItemError::Twice(name)) } else { Ok(name) }
}

/// A file has another size from now on: its directory entry says so.
pub(super) fn resize(directory: &mut [u8], key: u16, size: u32) {
    let at = 4 + usize::from(key - spec::KEY_FIRST_FILE) * DIRECTORY_ENTRY;
    if let Some(bytes) = directory.get_mut(at..at + 4) {
        bytes.copy_from_slice(&size.to_be_bytes());
    }
}

/// Bytes of a directory entry.
const DIRECTORY_ENTRY: usize = 64;

/// Size and key big-endian, two reserved bytes, the name padded with zeros.
fn directory_entry(name: &str, key: u16, size: u32) -> [u8; DIRECTORY_ENTRY] {
    let mut entry = [0; DIRECTORY_ENTRY];
    entry[..4].copy_from_slice(&size.to_be_bytes());
    entry[4..6].copy_from_slice(&key.to_be_bytes());
    entry[8..8 + name.len()].copy_from_slice(name.as_bytes());
    entry
}
