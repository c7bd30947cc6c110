//! The tray of a drive for removable media.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use thiserror::Error;

use super::{BlockBackend, lock};
use crate::device::Wake;
use crate::wiring::Waker;

/// What the monitor wants of a removable medium's drive.
pub enum MediumChange {
    /// Put this in, in the place of what is there.
    Insert(Arc<dyn BlockBackend>),
    /// Take out what is there.
    Remove,
    /// Put this in, where the tray is, and leave the tray as it is.
    Place(Arc<dyn BlockBackend>),
    /// Take out what is there, likewise.
    Lift,
    /// Open the tray.
    Open,
    /// Close the tray.
    Close,
    /// Somebody pressed the eject button of a locked drive.
    Button,
}

/// The guest has locked the tray.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the guest has locked the tray; it has been asked to let go")]
pub struct Locked;

/// Hand on the tray of a removable medium's drive. Clones are handles: one is the drive's, the others are
/// the monitor's.
#[derive(Clone)]
pub struct Tray {
    changes: Arc<Mutex<VecDeque<MediumChange>>>,
    removed: Arc<Mutex<Vec<Arc<dyn BlockBackend>>>>,
    locked: Arc<AtomicBool>,
    open: Arc<AtomicBool>,
    waker: Waker,
    number: u32,
}

/// Most changes that wait for the drive; the oldest goes.
pub(super) const CHANGES: usize = 8;

impl Tray {
    /// A tray whose drive is woken with [`Wake::Backend`]`(number)`.
    pub fn new(waker: Waker, number: u32) -> Tray {
        let (locked, open) = Default::default();
        Tray { changes: Arc::default(), removed: Arc::default(), locked, open, waker, number }
    }

    /// Inserts a medium, taking out what is there. A locked tray opens only by `force`.
    pub fn insert(&self, backend: Arc<dyn BlockBackend>, force: bool) -> Result<(), Locked> {
        self.change(MediumChange::Insert(backend), force)
    }

    /// Takes the medium out, likewise.
    pub fn eject(&self, force: bool) -> Result<(), Locked> {
        self.change(MediumChange::Remove, force)
    }

    /// Opens the tray with the medium in it, likewise.
    pub fn open_tray(&self, force: bool) -> Result<(), Locked> {
        self.change(MediumChange::Open, force)
    }

    /// Closes the tray.
    pub fn close_tray(&self) {
        // A closed tray is no matter of the lock.
        let _ = self.change(MediumChange::Close, true);
    }

    /// Puts a medium in, or takes it out, and leaves the tray alone: for one that is open.
    pub fn place(&self, backend: Option<Arc<dyn BlockBackend>>) {
        // An open tray holds nothing back.
        let _ = self.change(backend.map_or(MediumChange::Lift, MediumChange::Place), true);
    }

    fn change(&self, change: MediumChange, force: bool) -> Result<(), Locked> {
        let refused = self.locked.load(Ordering::Acquire) && !force;
        {
            let mut changes = lock(&self.changes);
            if changes.len() >= CHANGES {
                changes.pop_front();
            }
            changes.push_back(if refused { MediumChange::Button } else { change });
        }
        self.waker.wake(Wake::Backend(self.number));
        // Closing a medium waits for its threads, which may be waiting for the drive.
        let removed = std::mem::take(&mut *lock(&self.removed));
        drop(removed);
        if refused { Err(Locked) } else { Ok(()) }
    }

    /// What the drive has taken out. It is closed when the drive's lock is not held any more.
    pub fn hand_out(&self, medium: Arc<dyn BlockBackend>) {
        lock(&self.removed).push(medium);
    }

    /// The next change, for the drive.
    pub fn take(&self) -> Option<MediumChange> {
        lock(&self.changes).pop_front()
    }

    /// Whether the guest keeps the tray shut, from the drive.
    pub fn set_locked(&self, locked: bool) {
        self.locked.store(locked, Ordering::Release);
    }

    /// Where the tray is, from the drive.
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// Whether the guest keeps the tray shut.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Acquire)
    }

    /// Whether the tray is open.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}
