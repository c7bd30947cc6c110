//! What may be as it is: failures of QEMU that are explained, differences that we keep.

mod audio;
mod chipset;
mod display;
mod input;
mod interrupts;
mod network;
mod storage;
mod timers;
mod usb;
mod virtio;

use crate::models::Family;

/// One thing that may be as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The device.
    pub device: &'static str,
    /// The case; `*`: every one of the device.
    pub case: &'static str,
    /// What the case looked at, as it says it. A `*` at the end stands for any end.
    pub what: &'static str,
    /// Whose failure it is; for a value that no document gives, who is the odd one.
    pub family: Family,
    /// Why that is right so.
    pub reason: &'static str,
}

impl Allowed {
    /// Whether this is about something of that case.
    pub fn is_of(&self, device: &str, case: &str) -> bool {
        self.device == device && (self.case == "*" || self.case == case)
    }

    /// Whether this is about that.
    pub fn covers(&self, device: &str, case: &str, what: &str) -> bool {
        let same = match self.what.strip_suffix('*') {
            Some(begin) => what.starts_with(begin),
            None => what == self.what,
        };
        same && self.is_of(device, case)
    }
}

/// The list, by device. An entry that matches nothing any more is an error.
pub fn all() -> Vec<Allowed> {
    [
        chipset::ALLOWED,
        interrupts::ALLOWED,
        timers::ALLOWED,
        input::ALLOWED,
        storage::ALLOWED,
        display::ALLOWED,
        network::ALLOWED,
        usb::ALLOWED,
        audio::ALLOWED,
        virtio::ALLOWED,
    ]
    .concat()
}
