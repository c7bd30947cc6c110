//! What every drive has, whatever it hangs on.

use std::sync::Arc;

use devices_core::block::{BlockBackend, ErrorPolicy, OnError};
use devices_core::model::{Default as Usually, Kind, Properties, Property, PropertyError};

use super::geometry::{Geometry, Translation};

/// The image that is in it. Put among a model's own properties.
pub const DRIVE: Property = Property {
    name: "drive",
    kind: Kind::Drive,
    default: Usually::None,
    help: "Node name or ID of a block device to use as a backend",
};

/// What it says of itself.
pub const SERIAL: Property = Property {
    name: "serial",
    kind: Kind::Text,
    default: Usually::None,
    help: "serial number, up to 20 characters",
};

/// What is done when the host cannot read.
pub const RERROR: Property = Property {
    name: "rerror",
    kind: Kind::Text,
    default: Usually::None,
    help: "when the host cannot read: report, ignore, stop; auto: report",
};

/// What is done when the host cannot write.
pub const WERROR: Property = Property {
    name: "werror",
    kind: Kind::Text,
    default: Usually::None,
    help: "when the host cannot write: report, ignore, stop, enospc (stop if it is full); auto: enospc",
};

const fn firmware_geometry(name: &'static str, help: &'static str) -> Property {
    Property { name, kind: Kind::Uint(32), default: Usually::None, help }
}

/// The geometry that the firmware is to give to the guest's programs in the place of its own guess (SeaBIOS: the file
/// "bios-geometry").
pub const LCYLS: Property = firmware_geometry("lcyls", "cylinders, as the firmware is to tell of them");
/// Heads of that.
pub const LHEADS: Property = firmware_geometry("lheads", "heads, as the firmware is to tell of them");
/// Sectors of a track of that.
pub const LSECS: Property =
    firmware_geometry("lsecs", "sectors of a track, as the firmware is to tell of them");

/// What a person does not set.
const AUTO: &str = "auto";

fn on_error(properties: &Properties, name: &str, usually: OnError) -> Option<OnError> {
    match properties.text(name) {
        None | Some(AUTO) => Some(usually),
        // A read needs no space.
        Some(word) => word.parse().ok().filter(|how| name != RERROR.name || *how != OnError::Enospc),
    }
}

/// Refuses other words than those.
pub fn check_errors(properties: &Properties) -> Result<(), PropertyError> {
    let known = |name| on_error(properties, name, OnError::Report).is_some();
    if !known(RERROR.name) {
        return Err(properties.invalid(RERROR.name, "expected report, ignore, stop or auto"));
    }
    if !known(WERROR.name) {
        return Err(properties.invalid(WERROR.name, "expected report, ignore, stop, enospc or auto"));
    }
    Ok(())
}

/// What is done about errors of a drive with these properties.
pub fn error_policy(properties: &Properties) -> ErrorPolicy {
    let ErrorPolicy { read, write } = ErrorPolicy::default();
    ErrorPolicy {
        read: on_error(properties, RERROR.name, read).unwrap_or(read),
        write: on_error(properties, WERROR.name, write).unwrap_or(write),
    }
}

/// The image of a drive, opened.
pub struct DriveImage {
    /// Where the data is.
    pub backend: Arc<dyn BlockBackend>,
    /// As its partition table tells, or its size.
    pub geometry: Geometry,
    /// How a BIOS presents that.
    pub translation: Translation,
}
