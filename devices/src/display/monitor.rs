//! The monitor of a display adapter, as a person asks for it: properties that all adapters have which tell a guest of it.

use devices_core::model::{Default, Kind, Properties, Property, PropertyError};

use super::edid::Monitor;

const fn side(name: &'static str, usually: u64, help: &'static str) -> Property {
    Property { name, kind: Kind::Uint(32), default: Default::Uint(usually), help }
}

/// Whether the guest is told.
pub const EDID: Property = Property {
    name: "edid",
    kind: Kind::Bool,
    default: Default::Bool(true),
    help: "the guest can ask for the monitor's EDID",
};
/// Pixels of a line.
pub const XRES: Property = side("xres", 1280, "pixels of a line that the monitor likes best");
/// Lines.
pub const YRES: Property = side("yres", 800, "its lines");

/// Checks the size, of which no side is longer than `most`.
pub fn check(properties: &Properties, most: u32) -> Result<(), PropertyError> {
    for side in [XRES, YRES] {
        if !(1..=u64::from(most)).contains(&properties.uint(side.name).unwrap_or(0)) {
            return Err(properties.invalid(side.name, format!("1 to {most} are possible")));
        }
    }
    Ok(())
}

/// The size that it likes best, which has been checked.
pub fn size(properties: &Properties) -> (u32, u32) {
    let of = |side: Property| properties.uint(side.name).unwrap_or(0) as u32;
    (of(XRES), of(YRES))
}

/// What it says of itself; nothing if the guest is not told.
pub fn edid(properties: &Properties) -> Vec<u8> {
    let monitor = Monitor { name: "Ailurus", preferred: size(properties) };
    if properties.is_on(EDID.name) { monitor.edid() } else { Vec::new() }
}
