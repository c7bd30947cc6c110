//! The 82371SB's IDE controller, and the drives on its channels.

use devices_core::model::{
    BOOTINDEX, BusType, Category, Default, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::{Geometry, Labels, Translation};
use crate::storage::drive::{DRIVE, LCYLS, LHEADS, LSECS, RERROR, SERIAL, WERROR, check_errors};

/// The model.
pub static MODEL: Model = Model {
    name: "piix3-ide",
    offers: &[BusType::Ide],
    category: Category::Storage,
    desc: "IDE controller (82371SB)",
    ..Model::PCI_PART
};

const fn property(name: &'static str, kind: Kind, help: &'static str) -> Property {
    Property { name, kind, default: Default::None, help }
}

const VER: Property = property("ver", Kind::Text, "firmware revision, up to 8 characters");
const NAME: Property = property("model", Kind::Text, "model, up to 40 characters");
const WWN: Property = Property {
    name: "wwn",
    kind: Kind::Uint(64),
    default: Default::Uint(0),
    help: "world wide name; 0: none",
};
const LOGICAL: Property = property("logical_block_size", Kind::Uint(32), "bytes of a sector: 512");
const PHYSICAL: Property = property("physical_block_size", Kind::Uint(32), "bytes of a physical sector");
const DISCARD: Property = property("discard_granularity", Kind::Uint(32), "512, or 0: no TRIM");

/// An ATA disk on one of its channels.
pub static DISK: Model = Model {
    name: "ide-hd",
    desc: "ATA disk",
    properties: &[
        BOOTINDEX,
        DRIVE,
        SERIAL,
        VER,
        NAME,
        WWN,
        LOGICAL,
        PHYSICAL,
        DISCARD,
        RERROR,
        WERROR,
        LCYLS,
        LHEADS,
        LSECS,
        property(
            "cyls",
            Kind::Uint(32),
            "cylinders that it claims; the image tells if none of the three is given",
        ),
        property("heads", Kind::Uint(32), "heads that it claims"),
        property("secs", Kind::Uint(32), "sectors of a track that it claims"),
        property(
            "bios-chs-trans",
            Kind::Text,
            "how the BIOS makes 255 heads of it: auto, none, lba, large, rechs",
        ),
    ],
    check: check_disk,
    ..CD_DRIVE
};

/// An ATAPI CD drive.
pub static CD: Model = CD_DRIVE;

const CD_DRIVE: Model = Model {
    name: "ide-cd",
    parent: "ide-device",
    bus: BusType::Ide,
    category: Category::Storage,
    desc: "ATAPI CD drive",
    properties: &[BOOTINDEX, DRIVE, SERIAL, VER, NAME, WWN, LOGICAL, PHYSICAL, DISCARD, RERROR, WERROR],
    plug: Plug::Cold,
    several: true,
    check: check_drive,
    ..Model::PART
};

/// Largest physical sector, as in QEMU.
const BLOCK_MOST: u64 = 2 << 20;

fn check_drive(properties: &Properties) -> Result<(), PropertyError> {
    check_errors(properties)?;
    let of = |name| properties.uint(name);
    if of("logical_block_size").is_some_and(|bytes| bytes != 512) {
        return Err(properties.invalid("logical_block_size", "must be 512 for IDE"));
    }
    if of("discard_granularity").is_some_and(|bytes| bytes != 0 && bytes != 512) {
        return Err(properties.invalid("discard_granularity", "must be 512 for ide"));
    }
    if of("physical_block_size")
        .is_some_and(|bytes| !bytes.is_power_of_two() || !(512..=BLOCK_MOST).contains(&bytes))
    {
        return Err(properties.invalid("physical_block_size", "must be a power of 2 between 512 and 2 MiB"));
    }
    Ok(())
}

fn check_disk(properties: &Properties) -> Result<(), PropertyError> {
    check_drive(properties)?;
    let given = ["cyls", "heads", "secs"].iter().any(|name| properties.uint(name).unwrap_or(0) != 0);
    for (name, most) in [("cyls", 65535), ("heads", 16), ("secs", 255)] {
        if given && !(1..=most).contains(&properties.uint(name).unwrap_or(0)) {
            return Err(properties.invalid(name, format!("must be between 1 and {most}")));
        }
    }
    match properties.text("bios-chs-trans") {
        None | Some("auto" | "none" | "lba" | "large" | "rechs") => Ok(()),
        Some(_) => Err(properties.invalid("bios-chs-trans", "expected auto, none, lba, large or rechs")),
    }
}

/// What a drive with these properties says of itself.
pub fn labels(properties: &Properties) -> Labels {
    let text = |name| properties.text(name).map(str::to_owned);
    Labels {
        serial: text("serial"),
        version: text("ver"),
        model: text("model"),
        wwn: properties.uint("wwn").unwrap_or(0),
        physical_block: properties.uint("physical_block_size").and_then(|bytes| u32::try_from(bytes).ok()),
        trim: properties.uint("discard_granularity") != Some(0),
    }
}

/// The geometry of a disk with these properties, where its image tells `guessed`.
pub fn geometry(properties: &Properties, guessed: (Geometry, Translation)) -> (Geometry, Translation) {
    let of = |name| properties.uint(name).unwrap_or(0);
    let given = match (u16::try_from(of("cyls")), u8::try_from(of("heads")), u8::try_from(of("secs"))) {
        (Ok(cylinders @ 1..), Ok(heads @ 1..), Ok(sectors @ 1..)) => {
            Some(Geometry { cylinders, heads, sectors })
        }
        _ => None,
    };
    let (geometry, usual) = given.map_or(guessed, |given| (given, given.translation()));
    let translation = match properties.text("bios-chs-trans") {
        Some("none") => Translation::None,
        Some("lba") => Translation::Lba,
        Some("large") => Translation::Large,
        Some("rechs") => Translation::Rechs,
        _ => usual,
    };
    (geometry, translation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(set: &[(&str, &str)]) -> Result<Properties, PropertyError> {
        let mut properties = Properties::new(&DISK);
        set.iter().try_for_each(|(name, text)| properties.parse(name, text))?;
        check_disk(&properties).map(|()| properties)
    }

    #[test]
    fn a_geometry_is_given_whole_or_guessed() {
        let guessed = (Geometry::of_size(1 << 22), Translation::Lba);
        let of = |set: &[(&str, &str)]| geometry(&disk(set).unwrap(), guessed);
        assert_eq!(of(&[]), guessed);
        let given = [("cyls", "1025"), ("heads", "4"), ("secs", "17")];
        let whole = Geometry { cylinders: 1025, heads: 4, sectors: 17 };
        assert_eq!(of(&given), (whole, Translation::Lba));
        assert_eq!(
            of(&[given[0], given[1], given[2], ("bios-chs-trans", "rechs")]),
            (whole, Translation::Rechs)
        );
        assert_eq!(of(&[("bios-chs-trans", "none")]), (guessed.0, Translation::None));
        for wrong in [
            &given[..2],
            &[("cyls", "65536"), given[1], given[2]],
            &[given[0], ("heads", "17"), given[2]],
            &[("bios-chs-trans", "chs")],
            &[("logical_block_size", "4096")],
            &[("physical_block_size", "513")],
            &[("physical_block_size", "4194304")],
            &[("discard_granularity", "4096")],
        ] {
            disk(wrong).unwrap_err();
        }
    }
}
