//! What every drive has, whatever it hangs on.

use std::sync::Arc;

use devices_core::block::BlockBackend;
use devices_core::model::{Default, Kind, Property};

use super::geometry::{Geometry, Translation};

/// The image that is in it. Put among a model's own properties.
pub const DRIVE: Property = Property {
    name: "drive",
    kind: Kind::Drive,
    default: Default::None,
    help: "Node name or ID of a block device to use as a backend",
};

/// What it says of itself.
pub const SERIAL: Property = Property {
    name: "serial",
    kind: Kind::Text,
    default: Default::None,
    help: "serial number, up to 20 characters",
};

/// The image of a drive, opened.
pub struct DriveImage {
    /// Where the data is.
    pub backend: Arc<dyn BlockBackend>,
    /// As its partition table tells, or its size.
    pub geometry: Geometry,
    /// How a BIOS presents that.
    pub translation: Translation,
}
