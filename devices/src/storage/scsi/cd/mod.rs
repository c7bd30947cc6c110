//! A CD drive: its tray, its medium, and the commands that are the same whatever brings them (MMC-5). It claims to be
//! QEMU's, with QEMU's pages.
//!
//! Left out: audio, multi-session discs, writing.

mod commands;
mod toc;

use std::sync::Arc;

use devices_core::Node;
use devices_core::block::{BlockBackend, MediumChange, Tray};
use devices_core::events::{DeviceEvent, Watch};
use serde::{Deserialize, Serialize};

use super::spec::{FRAME, Sense};
pub use commands::{Answer, mode_pages};
pub use toc::raw_frames;

/// A CD drive's own part.
pub struct Cd {
    pub(in crate::storage) medium: Option<Arc<dyn BlockBackend>>,
    tray: Tray,
    pub(in crate::storage) state: CdState,
    pub(in crate::storage) watch: Watch,
}

/// What a CD drive remembers. Part of the saved state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CdState {
    /// The tray is open.
    pub open: bool,
    /// The guest keeps it shut.
    pub locked: bool,
    /// Why the last command failed.
    pub sense: Sense,
    /// How the guest gets to know of a new medium: first that there was none, then that there is another.
    pub changed: Changed,
    /// Event for GET EVENT STATUS: a new medium.
    pub event_new: bool,
    /// Event: somebody wants the medium out.
    pub event_eject: bool,
}

/// Steps of a change of medium, as commands are told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changed {
    /// All told.
    #[default]
    No,
    /// The next command finds no medium.
    Gone,
    /// The next finds that it may have changed.
    Attention,
}

impl Cd {
    /// A drive with or without a medium in it.
    pub(in crate::storage) fn new(medium: Option<Arc<dyn BlockBackend>>, tray: Tray) -> Cd {
        Cd { medium, tray, state: CdState::default(), watch: Watch::default() }
    }

    pub(in crate::storage) fn tray(&self) -> Tray {
        self.tray.clone()
    }

    pub(in crate::storage) fn idle(&self) -> bool {
        self.medium.as_ref().is_none_or(|medium| medium.idle())
    }

    /// Reset line: the tray stays as it is.
    pub(in crate::storage) fn reset(&mut self) {
        let CdState { open, .. } = self.state;
        self.state = CdState { open, ..CdState::default() };
        self.tray.set_locked(false);
    }

    /// Takes over a saved state; a medium that was not there then is taken out.
    pub(in crate::storage) fn restore(&mut self, state: CdState, present: bool) {
        self.state = state;
        self.tray.set_locked(state.locked);
        self.tray.set_open(state.open);
        if !present {
            self.replace(None);
        } else if self.medium.is_none() {
            self.state.changed = Changed::Gone;
        }
    }

    pub(in crate::storage) fn inspect(&self, node: &mut Node) {
        let state = &self.state;
        node.value("medium", self.medium.as_ref().map_or(0, |medium| medium.info().size));
        node.value("tray_open", state.open).value("tray_locked", state.locked);
        node.hex("sense_key", state.sense.key).hex("sense_code", state.sense.code);
    }

    /// The medium, if it can be read.
    pub(in crate::storage) fn ready(&self) -> Option<&Arc<dyn BlockBackend>> {
        self.medium.as_ref().filter(|_| !self.state.open)
    }

    /// Frames on the medium.
    fn frames(&self) -> u32 {
        let frames = self.ready().map_or(0, |medium| medium.info().size / FRAME);
        u32::try_from(frames).unwrap_or(u32::MAX)
    }

    fn set_locked(&mut self, locked: bool) {
        self.state.locked = locked;
        self.tray.set_locked(locked);
    }

    fn set_open(&mut self, open: bool) {
        if self.state.open != open {
            self.state.open = open;
            self.tray.set_open(open);
            self.watch.tell(|drive| DeviceEvent::TrayMoved { drive, open });
        }
    }

    fn replace(&mut self, medium: Option<Arc<dyn BlockBackend>>) {
        if let Some(old) = std::mem::replace(&mut self.medium, medium) {
            self.tray.hand_out(old);
        }
    }

    /// Does what the monitor wants done to the tray.
    pub(in crate::storage) fn take_changes(&mut self) {
        while let Some(change) = self.tray.take() {
            self.changed(change);
        }
    }

    fn changed(&mut self, change: MediumChange) {
        match change {
            MediumChange::Insert(medium) => {
                // Whoever watches sees the tray open for it.
                self.set_open(true);
                self.replace(Some(medium));
                self.set_open(false);
                self.state.event_new = true;
            }
            MediumChange::Remove => {
                self.replace(None);
                self.set_open(true);
                self.set_locked(false);
            }
            MediumChange::Place(medium) => self.replace(Some(medium)),
            MediumChange::Lift => self.replace(None),
            MediumChange::Open => {
                self.set_open(true);
                self.set_locked(false);
            }
            MediumChange::Close => {
                self.set_open(false);
                self.state.event_new = self.medium.is_some();
            }
            MediumChange::Button => {
                self.state.event_eject = true;
                return;
            }
        }
        self.state.event_eject = false;
        self.state.changed = Changed::Gone;
    }
}
