//! The device as QEMU names it. One that a person has given no number has another each time that the guest is started or
//! goes on from a saved state.

use devices_core::model::{Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError};
use devices_core::uuid;

use super::Vmgenid;
use crate::board::{DeviceHandles, MadeDevice, MakeError};

/// The number.
pub const GUID: Property = Property {
    name: "guid",
    kind: Kind::Text,
    default: Usually::None,
    help: "a UUID, or \"auto\" for a random one [auto]",
};

/// The model.
pub static MODEL: Model = Model {
    name: "vmgenid",
    desc: "VM generation id",
    properties: &[GUID],
    plug: Plug::Cold,
    check,
    ..Model::PART
};

fn check(properties: &Properties) -> Result<(), PropertyError> {
    match chosen(properties) {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(())) => Err(properties.invalid(GUID.name, "expected a UUID, or auto")),
    }
}

/// The number that a person has chosen, in the order of its text form; an error: it is none.
pub fn chosen(properties: &Properties) -> Option<Result<[u8; 16], ()>> {
    let text = properties.text(GUID.name).filter(|text| *text != "auto")?;
    Some(uuid::parse(text).ok_or(()))
}

/// Makes one.
pub fn make(_: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    Ok(MadeDevice::of(Vmgenid::new(parts.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_uuid_or_our_choice() {
        let chosen = |text: &str| {
            let mut properties = Properties::new(&MODEL);
            properties.parse("guid", text).unwrap();
            chosen(&properties)
        };
        assert_eq!(chosen("auto"), None);
        let id =
            [0x32, 0x4e, 0x6e, 0xaf, 0xd1, 0xd1, 0x4b, 0xf6, 0xbf, 0x41, 0xb9, 0xbb, 0x6c, 0x91, 0xfb, 0x87];
        assert_eq!(chosen("324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87"), Some(Ok(id)));
        for wrong in ["", "324e6eaf", "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fbxx"] {
            assert_eq!(chosen(wrong), Some(Err(())), "{wrong}");
        }
    }
}
