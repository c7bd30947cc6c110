//! The memory of one request: the guest's, or a buffer.

use std::io;

use super::host::{Guest, HostFile, cut};

/// What a read fills.
pub(super) enum Target<'m> {
    /// A buffer.
    Bytes(&'m mut [u8]),
    /// Guest memory, pinned.
    Guest(&'m [Guest<'m>]),
}

/// What a write takes.
pub(super) enum Source<'m> {
    /// A buffer.
    Bytes(&'m [u8]),
    /// Guest memory, pinned.
    Guest(&'m [Guest<'m>]),
}

const ZEROS: [u8; 4096] = [0; 4096];

fn outside() -> io::Error {
    io::Error::other("a piece outside its request")
}

impl Target<'_> {
    /// Bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Target::Bytes(bytes) => bytes.len(),
            Target::Guest(slices) => slices.iter().map(|slice| slice.len()).sum(),
        }
    }

    /// Fills `len` bytes from `skip` on with a file's from `at` on.
    pub(super) fn load(&mut self, file: &dyn HostFile, at: u64, skip: usize, len: usize) -> io::Result<()> {
        match self {
            Target::Bytes(bytes) => file.read(bytes.get_mut(skip..skip + len).ok_or_else(outside)?, at),
            Target::Guest(slices) => file.read_guest(&cut(slices, skip, len)?, at),
        }
    }

    /// Fills the bytes from `skip` on with `data`.
    pub(super) fn put(&mut self, skip: usize, data: &[u8]) -> io::Result<()> {
        match self {
            Target::Bytes(bytes) => {
                bytes.get_mut(skip..skip + data.len()).ok_or_else(outside)?.copy_from_slice(data);
            }
            Target::Guest(slices) => {
                let mut done = 0;
                for slice in cut(slices, skip, data.len())? {
                    slice.copy_from(&data[done..done + slice.len()]);
                    done += slice.len();
                }
            }
        }
        Ok(())
    }

    /// Zeroes `len` bytes from `skip` on.
    pub(super) fn zero(&mut self, skip: usize, len: usize) -> io::Result<()> {
        if let Target::Bytes(bytes) = self {
            bytes.get_mut(skip..skip + len).ok_or_else(outside)?.fill(0);
            return Ok(());
        }
        (0..len).step_by(ZEROS.len()).try_for_each(|at| {
            let now = (len - at).min(ZEROS.len());
            self.put(skip + at, &ZEROS[..now])
        })
    }
}

impl Source<'_> {
    /// Bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Source::Bytes(bytes) => bytes.len(),
            Source::Guest(slices) => slices.iter().map(|slice| slice.len()).sum(),
        }
    }

    /// Writes `len` bytes from `skip` on to a file at `at`.
    pub(super) fn store(&self, file: &dyn HostFile, at: u64, skip: usize, len: usize) -> io::Result<()> {
        match self {
            Source::Bytes(bytes) => file.write(bytes.get(skip..skip + len).ok_or_else(outside)?, at),
            Source::Guest(slices) => file.write_guest(&cut(slices, skip, len)?, at),
        }
    }
}
