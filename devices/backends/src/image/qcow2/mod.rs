//! QEMU's copy-on-write format, versions 2 and 3 (QEMU's docs/interop/qcow2.rst).
//!
//! Whatever moment the process or the host dies at, the file is whole: what was flushed is there, and clusters
//! may be lost to it but are never used twice. Metadata is written back late, in an order that syncs keep:
//!
//! 1. data, copied surroundings and refcounts that go up; L2 tables that no L1 table names yet; sync
//!    (refcount blocks before the refcount table that names them, with a sync between);
//! 2. L2 and L1 entries that name them; sync;
//! 3. refcounts that go down, of clusters that no durable entry names any more. Only then are they used again.
//!
//! A guest's flush is one such [commit](Qcow2::flush), one sync when no metadata has changed. An ordinary write
//! never syncs, but when more tables have changed than there is room for.
//!
//! What a dead writer of another kind left is mended before the first change: when the image is opened, or by whoever
//! changes it first if its tables are large, however it was left; reads go on meanwhile.
//!
//! Locks, outermost first: `looked_at`, `commit` (one at a time), `users` (shared by whoever uses what it found in the tables,
//! alone for a moment before clusters are given back), `state` (the tables; data never moves under it).
//!
//! Left out: encryption, external data files, extended L2 entries, zstd, bitmaps (dropped at the first write, as the
//! format allows), writing with internal snapshots, backing files but our own base of a throw-away layer.

mod cache;
mod check;
mod commit;
mod compressed;
mod create;
mod data;
mod header;
mod mapping;
mod refcount;
mod spec;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use super::Layer;
use super::host::HostFile;
use check::Progress;
use compressed::Inflated;
pub(super) use create::{Layout, create};
use header::Header;
pub(super) use header::{Refusal, read as read_header};
use mapping::{Limits, State};
use spec::*;

/// An open image.
pub(super) struct Qcow2 {
    file: Box<dyn HostFile>,
    /// What shows through where nothing was written.
    base: Option<Box<Layer>>,
    header: Header,
    limits: Limits,
    writable: bool,
    state: Mutex<State>,
    /// A guest cluster is not busy any more.
    settled: Condvar,
    users: RwLock<()>,
    commit: Mutex<()>,
    /// Whether all tables were looked at, as must be before a change; what was found if that forbids any.
    looked_at: Mutex<Result<bool, String>>,
    /// Nobody waits for that any more.
    given_up: AtomicBool,
    /// Somebody else may have changed the file.
    lent: AtomicBool,
    /// The header has features that a first write clears.
    autoclear: AtomicBool,
    inflated: Mutex<Inflated>,
}

impl Qcow2 {
    /// Opens a file. One that its last writer left unclean is repaired, if it is writable.
    pub(super) fn open(file: Box<dyn HostFile>, writable: bool) -> Result<Qcow2, Refusal> {
        let header = header::read(&*file, writable)?;
        let limits = Limits::of(&header);
        Qcow2::with(file, header, limits, writable, None)
    }

    /// A throw-away layer: an empty image of `base`'s size above it.
    pub(super) fn above(file: Box<dyn HostFile>, base: Layer, size: u64) -> Result<Qcow2, Refusal> {
        create(&*file, size, Layout::default())?;
        let header = header::read(&*file, true)?;
        let limits = Limits::of(&header);
        Qcow2::with(file, header, limits, true, Some(Box::new(base)))
    }

    fn with(
        file: Box<dyn HostFile>,
        header: Header,
        limits: Limits,
        writable: bool,
        base: Option<Box<Layer>>,
    ) -> Result<Qcow2, Refusal> {
        let mut state = State::load(&*file, &header, limits, writable)?;
        let given_up = AtomicBool::new(false);
        let mut mend =
            || check::mend(&*file, &header, &mut state, &Progress::new(&given_up), Some(limits.looked_at));
        let looked_at = !writable || mend()?;
        let autoclear = AtomicBool::new(header.autoclear != 0);
        Ok(Qcow2 {
            file,
            base,
            header,
            limits,
            writable,
            state: Mutex::new(state),
            settled: Condvar::new(),
            users: RwLock::new(()),
            commit: Mutex::new(()),
            looked_at: Mutex::new(Ok(looked_at)),
            given_up,
            lent: AtomicBool::new(false),
            autoclear,
            inflated: Mutex::default(),
        })
    }

    /// Bytes of the disk, whole sectors.
    pub(super) fn size(&self) -> u64 {
        self.header.disk_size()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all that is held back, and expects somebody else to use the file from now on.
    pub(super) fn lend(&self) -> io::Result<()> {
        if self.writable {
            self.settle()?;
        }
        self.lent.store(true, Ordering::Release);
        Ok(())
    }

    /// Reads the tables anew if the file was lent.
    fn returned(&self) -> io::Result<()> {
        if !self.lent.load(Ordering::Acquire) {
            return Ok(());
        }
        let _alone = self.users.write().unwrap_or_else(PoisonError::into_inner);
        if !self.lent.load(Ordering::Acquire) {
            return Ok(());
        }
        *self.state() = self.load()?;
        self.inflated.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.lent.store(false, Ordering::Release);
        Ok(())
    }

    /// The tables as they are in the file now.
    fn load(&self) -> io::Result<State> {
        let damaged = |refusal| match refusal {
            Refusal::Io(error) => error,
            other => mapping::corrupt(&format!("it was changed while it was lent ({other:?})")),
        };
        let header = header::read(&*self.file, self.writable).map_err(damaged)?;
        State::load(&*self.file, &header, self.limits, self.writable).map_err(damaged)
    }

    /// Looks at all tables if that was left for later: what their entries name and no refcount counts is counted, before
    /// it could be given out again. Nothing has changed yet, so that reads need not wait.
    fn look(&self) -> io::Result<()> {
        let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        match &*looked_at {
            Ok(true) => return Ok(()),
            Ok(false) if self.given_up.load(Ordering::Relaxed) => return Err(check::given_up()),
            Ok(false) => {}
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why.clone())),
        }
        let mut own = self.load()?;
        let mended = check::mend(&*self.file, &self.header, &mut own, &Progress::new(&self.given_up), None);
        if let Err(refusal) = mended {
            let Refusal::Io(error) = refusal else {
                let why = format!("the image takes no writes: {refusal:?}");
                *looked_at = Err(why.clone());
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            };
            return Err(error);
        }
        // Whether this has repaired the image or one before that came to no end.
        let own = self.load()?;
        let _alone = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        *state = State { broken: state.broken, ..own };
        *looked_at = Ok(true);
        Ok(())
    }

    /// Nobody waits for what is being done: looking at tables ends, and what waits for it fails.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// What must be before a piece of the disk is changed. Takes the locks itself.
    fn before_change(&self) -> io::Result<()> {
        self.returned()?;
        self.look()?;
        if self.autoclear.load(Ordering::Acquire) {
            let _one = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
            self.file.write(&0u64.to_be_bytes(), field::AUTOCLEAR_FEATURES as u64)?;
            self.file.sync()?;
            self.autoclear.store(false, Ordering::Release);
        }
        let crowded = {
            let state = self.state();
            if state.broken {
                return Err(commit::broken());
            }
            state.l2.crowded() || state.freed.len() > commit::FREED
        };
        if crowded { self.commit(false) } else { Ok(()) }
    }
}

impl Drop for Qcow2 {
    fn drop(&mut self) {
        // Another process may have the file by now.
        if self.writable
            && !self.lent.load(Ordering::Acquire)
            && let Err(error) = self.settle()
        {
            tracing::warn!(%error, "the last of a disk image could not be written");
        }
    }
}
