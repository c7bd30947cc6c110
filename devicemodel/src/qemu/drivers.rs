//! QEMU's device models by name, as a command line asks for them: those that a guest can have and those that are not
//! built.

use devices::models;
use devices_core::model::{Model, Plug};

/// A model to be had, or what it would be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Driver {
    /// A guest can have one.
    Built(&'static Model),
    /// Not yet: what it is.
    NotBuilt(&'static str),
}

/// A model that a person can add; none: there is no such model.
pub(super) fn driver(name: &str) -> Option<Driver> {
    if let Some(model) = models::find(name).filter(|model| model.plug != Plug::Fixed) {
        return Some(Driver::Built(model));
    }
    models::not_built(name).map(Driver::NotBuilt)
}

/// Whether a guest can have a device of that model.
pub fn is_built(name: &str) -> bool {
    matches!(driver(name), Some(Driver::Built(_)))
}

/// The properties of a model, for `-device MODEL,help`; none: there is no such model.
pub(super) fn properties(name: &str) -> Option<String> {
    Some(match driver(name)? {
        Driver::Built(model) => model.help(),
        Driver::NotBuilt(what) => format!("{name} ({what}) is not built yet\n"),
    })
}
