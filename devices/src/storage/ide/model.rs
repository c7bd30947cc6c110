//! The 82371SB's IDE controller.

use devices_core::model::{BusType, Category, Default, Kind, Model, Plug, Property};

/// The model.
pub static MODEL: Model = Model {
    name: "piix3-ide",
    offers: &[BusType::Ide],
    category: Category::Storage,
    desc: "IDE controller (82371SB)",
    ..Model::PCI_PART
};

/// What both kinds of drive can be given.
const DRIVE: Property = Property {
    name: "drive",
    kind: Kind::Drive,
    default: Default::None,
    help: "Node name or ID of a block device to use as a backend",
};

/// An ATA disk on one of its channels.
pub static DISK: Model = Model {
    name: "ide-hd",
    parent: "ide-device",
    bus: BusType::Ide,
    category: Category::Storage,
    desc: "ATA disk",
    properties: &[DRIVE],
    plug: Plug::Cold,
    ..Model::PART
};

/// An ATAPI CD drive.
pub static CD: Model = Model {
    name: "ide-cd",
    parent: "ide-device",
    bus: BusType::Ide,
    category: Category::Storage,
    desc: "ATAPI CD drive",
    properties: &[DRIVE],
    plug: Plug::Cold,
    ..Model::PART
};
