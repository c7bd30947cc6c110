//! Reads the framing of a saved guest far enough to compare two and to damage one on purpose.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Bytes before the first record: the magic and the version.
pub const PROLOGUE: usize = 12;

/// One record of a saved guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which part of the machine.
    pub path: String,
    /// Where it begins in the file.
    pub at: usize,
    /// Everything of it but the checksum.
    pub bytes: Vec<u8>,
}

/// The records of a saved file.
pub fn records(file: &Path) -> Result<Vec<Record>> {
    let bytes = fs::read(file)?;
    let mut rest = Cursor { bytes: &bytes, at: PROLOGUE };
    let mut records = Vec::new();
    while rest.at < bytes.len() {
        let at = rest.at;
        let path_len = rest.number(2)?;
        let path = String::from_utf8_lossy(rest.take(path_len)?).into_owned();
        let kind_len = rest.number(2)?;
        // Kind, version, codec, length when unpacked.
        rest.take(kind_len + 2 + 1 + 4)?;
        let stored = rest.number(4)?;
        rest.take(stored)?;
        records.push(Record { path, at, bytes: bytes[at..rest.at].to_vec() });
        rest.take(4)?;
    }
    ensure!(records.last().is_some_and(|last| last.path == "end"), "no end record");
    Ok(records)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8]> {
        let taken = self.bytes.get(self.at..self.at + len).context("the file ends inside a record")?;
        self.at += len;
        Ok(taken)
    }

    fn number(&mut self, len: usize) -> Result<usize> {
        Ok(self.take(len)?.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}

/// The paths of the records that differ between two files, with the RAM records' numbers, but for the header.
pub fn differences(one: &Path, other: &Path) -> Result<Vec<String>> {
    // The header has the number of the guest's own note, which is random.
    let of_guest = |file| {
        records(file).map(|mut all| {
            all.retain(|record| record.path != "header");
            all
        })
    };
    let (one, other) = (of_guest(one)?, of_guest(other)?);
    let mut found = Vec::new();
    if one.len() != other.len() {
        found.push(format!("{} records against {}", one.len(), other.len()));
    }
    for (index, (a, b)) in one.iter().zip(&other).enumerate() {
        if a.path != b.path || a.bytes != b.bytes {
            found.push(format!("{} (record {index})", a.path));
        }
    }
    Ok(found)
}
