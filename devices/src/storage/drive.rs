//! What every drive has, whatever it hangs on.

use std::sync::Arc;

use devices_core::block::BlockBackend;
use devices_core::events::{DeviceEvent, Observer};
use devices_core::model::{Default as Usually, Kind, Property};

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

/// The image of a drive, opened.
pub struct DriveImage {
    /// Where the data is.
    pub backend: Arc<dyn BlockBackend>,
    /// As its partition table tells, or its size.
    pub geometry: Geometry,
    /// How a BIOS presents that.
    pub translation: Translation,
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
}
