//! What a device tells whoever watches the machine from outside, beside what it does.

use std::sync::Arc;

use crate::block::{ErrorAction, Retry};

/// Something that happened in a device. The guest can make any of them happen as often as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// The tray of a drive for removable media opened or closed, by the guest or from outside.
    TrayMoved {
        /// The drive, by its place on the controller (IDE: 0 to 3).
        drive: u32,
        /// It is open now.
        open: bool,
    },
    /// A request to a medium failed.
    BlockError {
        /// The drive, likewise.
        drive: u32,
        /// It was a write, a flush or a discard.
        write: bool,
        /// The host's file system is full.
        no_space: bool,
        /// What was done about it.
        action: ErrorAction,
    },
    /// The guest put pages into its balloon, or took some out.
    BalloonMoved {
        /// Bytes that it has now.
        actual: u64,
    },
    /// The guest set the real-time clock, or let it go on after it stood.
    ClockSet {
        /// What it shows now, in seconds since 1970.
        seconds: i64,
    },
    /// The driver has changed what a network card lets in, for the first time since somebody looked.
    FilterChanged,
    /// The driver has opened a port of a virtio console, or closed it.
    PortOpened {
        /// The port.
        port: u32,
        /// It is open now.
        open: bool,
    },
}

/// Who watches one device, and knows which. Called with the device's lock held: it must not block, and must bound what it keeps.
pub trait Observer: Send + Sync {
    /// Takes note.
    fn observe(&self, event: DeviceEvent);

    /// Whether the guest will be stopped, and `requests` sent again when it goes on. From any thread, with locks of the
    /// device and its requests held.
    fn stops(&self, _requests: Arc<dyn Retry>) -> bool {
        false
    }
}

/// Who is told what happens in a drive, if anybody is.
#[derive(Clone, Default)]
pub struct Watch(Option<(u32, Arc<dyn Observer>)>);

impl Watch {
    /// `observer` is told of drive `number`.
    pub fn new(number: u32, observer: Arc<dyn Observer>) -> Watch {
        Watch(Some((number, observer)))
    }

    /// Tells of something in the drive, whose number it is given.
    pub fn tell(&self, event: impl FnOnce(u32) -> DeviceEvent) {
        if let Some((number, observer)) = &self.0 {
            observer.observe(event(*number));
        }
    }

    /// [`Observer::stops`], if there is one.
    pub(crate) fn stops(&self, requests: Arc<dyn Retry>) -> bool {
        self.0.as_ref().is_some_and(|(_, observer)| observer.stops(requests))
    }
}
