//! What a device model is: its name and its place among the types, what it plugs into, what can be set.
//!
//! A [`Model`] is a value beside the device that it describes. Every list that a person or a client can ask
//! for is made of models: `-device help`, `device-list-properties`, `qom-list-types`, `ailurus devices`.
//! Names, types and defaults are QEMU's, since command lines and management programs rely on them.

mod properties;

pub use properties::{Default, Kind, Properties, Property, PropertyError, Value, usb_port_text, usb_ports};

/// What a device plugs into, or what others plug into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusType {
    /// No bus: wired to the processor's.
    System,
    /// PCI.
    Pci,
    /// ISA, or LPC in its place.
    Isa,
    /// A channel of an IDE controller.
    Ide,
    /// SCSI, behind a controller.
    Scsi,
    /// The ports of a virtio console.
    VirtioSerial,
    /// USB, behind a controller.
    Usb,
    /// The link of an HD Audio controller.
    Hda,
}

impl BusType {
    /// QEMU's name.
    pub const fn name(self) -> &'static str {
        match self {
            BusType::System => "System",
            BusType::Pci => "PCI",
            BusType::Isa => "ISA",
            BusType::Ide => "IDE",
            BusType::Scsi => "SCSI",
            BusType::VirtioSerial => "virtio-serial-bus",
            BusType::Usb => "usb-bus",
            BusType::Hda => "HDA",
        }
    }

    /// Whether a device of the list has it, and not the board: what hangs on it is made after its controller.
    pub const fn is_of_device(self) -> bool {
        matches!(self, BusType::Scsi | BusType::VirtioSerial | BusType::Usb | BusType::Hda)
    }

    /// The properties that tell a device's place on such a bus.
    pub const fn place(self) -> &'static [&'static str] {
        match self {
            BusType::Scsi => &["channel", "scsi-id", "lun"],
            BusType::VirtioSerial => &["nr"],
            BusType::Usb => &["port"],
            BusType::Hda => &["cad"],
            _ => &[],
        }
    }
}

/// Under which heading a model stands in lists, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Bridges and controllers of buses.
    Bridge,
    /// Disks, CD drives and their controllers.
    Storage,
    /// Network cards.
    Network,
    /// Keyboards, pointers and serial lines.
    Input,
    /// Display adapters.
    Display,
    /// Sound cards.
    Sound,
    /// The rest.
    Misc,
    /// Watchdog timers.
    Watchdog,
}

impl Category {
    /// All, in order.
    pub const ALL: [Category; 8] = [
        Category::Bridge,
        Category::Storage,
        Category::Network,
        Category::Input,
        Category::Display,
        Category::Sound,
        Category::Misc,
        Category::Watchdog,
    ];

    /// QEMU's heading.
    pub const fn heading(self) -> &'static str {
        match self {
            Category::Bridge => "Controller/Bridge/Hub",
            Category::Storage => "Storage",
            Category::Network => "Network",
            Category::Input => "Input",
            Category::Display => "Display",
            Category::Sound => "Sound",
            Category::Misc => "Misc",
            Category::Watchdog => "Watchdog",
        }
    }
}

/// When a device of a model can come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plug {
    /// Never by itself: it is a part of the PC.
    Fixed,
    /// When the guest is put together.
    Cold,
    /// While it runs, too.
    Hot,
}

/// A device model.
#[derive(Debug)]
pub struct Model {
    /// QEMU's name of the type: `VGA`, `ide-hd`.
    pub name: &'static str,
    /// Other names that `-device` takes.
    pub aliases: &'static [&'static str],
    /// The type that it is a kind of.
    pub parent: &'static str,
    /// What it plugs into.
    pub bus: BusType,
    /// Buses that it has for others.
    pub offers: &'static [BusType],
    /// Its heading in lists.
    pub category: Category,
    /// A few words for people.
    pub desc: &'static str,
    /// What can be set, beside what everything on its bus has.
    pub properties: &'static [Property],
    /// When it can come and go.
    pub plug: Plug,
    /// The usual file with the firmware in its option ROM, if it has a place for one.
    pub rom: Option<&'static str>,
    /// Whether a guest can have several.
    pub several: bool,
    /// Whether values that are right each by itself make sense to the device.
    pub check: fn(&Properties) -> Result<(), PropertyError>,
    /// Where the PC has it in the tree of objects, if that is not just a number.
    pub path: Option<&'static str>,
}

impl Model {
    /// A nameless part of the PC: what the other fields are usually.
    pub const PART: Model = Model {
        name: "",
        aliases: &[],
        parent: "device",
        bus: BusType::System,
        offers: &[],
        category: Category::Misc,
        desc: "",
        properties: &[],
        plug: Plug::Fixed,
        rom: None,
        several: false,
        check: |_| Ok(()),
        path: None,
    };
    /// The same on the PCI bus.
    pub const PCI_PART: Model =
        Model { parent: "pci-device", bus: BusType::Pci, category: Category::Bridge, ..Model::PART };
    /// The same on the ISA bus.
    pub const ISA_PART: Model = Model { parent: "isa-device", bus: BusType::Isa, ..Model::PART };

    /// Whether that is one of its names.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// What can be set, in the order of the names: its own, and what everything on its bus has.
    pub fn all_properties(&self) -> Vec<&'static Property> {
        let of_bus: &[Property] = match self.bus {
            BusType::Pci => PCI_PROPERTIES,
            BusType::Ide => IDE_PROPERTIES,
            BusType::Scsi => SCSI_PROPERTIES,
            BusType::Isa | BusType::System | BusType::VirtioSerial | BusType::Usb | BusType::Hda => &[],
        };
        let of_rom = if self.rom.is_some() { ROM_PROPERTIES } else { &[] };
        let mut all: Vec<_> = self.properties.iter().chain(of_bus).chain(of_rom).collect();
        all.sort_by_key(|property| property.name);
        all
    }

    /// A property by its name.
    pub fn property(&self, name: &str) -> Option<&'static Property> {
        self.all_properties().into_iter().find(|property| property.name == name)
    }

    /// Its line in a list: `name "VGA", bus PCI, desc "standard VGA"`.
    pub fn line(&self) -> String {
        let aliases: String = self.aliases.iter().map(|alias| format!(", alias \"{alias}\"")).collect();
        let desc = if self.desc.is_empty() { String::new() } else { format!(", desc \"{}\"", self.desc) };
        format!("name \"{}\", bus {}{aliases}{desc}", self.name, self.bus.name())
    }

    /// What can be set, as people read it.
    pub fn help(&self) -> String {
        let mut text = format!("{} options:\n", self.name);
        for property in self.all_properties() {
            let head = format!("{}=<{}>", property.name, property.kind.type_name());
            let default =
                property.default.text().map_or_else(String::new, |text| format!(" (default: {text})"));
            text.push_str(&format!("  {head:<22} - {}{default}\n", property.help));
        }
        text
    }
}

/// What every device has that the firmware can boot from. Put among a model's own properties.
pub const BOOTINDEX: Property = Property {
    name: "bootindex",
    kind: Kind::BootIndex,
    default: Default::None,
    help: "in which turn the firmware boots from it, the lowest first",
};

/// The line of a device that has one. Put among a model's own properties.
pub const CHARDEV: Property = Property {
    name: "chardev",
    kind: Kind::Chardev,
    default: Default::None,
    help: "id of a -chardev: where it leads; nowhere if nobody says",
};

/// What every PCI function has.
const PCI_PROPERTIES: &[Property] = &[
    Property {
        name: "addr",
        kind: Kind::PciAddress,
        default: Default::None,
        help: "Slot and optional function number, example: 06.0 or 06",
    },
    Property {
        name: "multifunction",
        kind: Kind::Bool,
        default: Default::Bool(false),
        help: "there are more functions in its slot",
    },
];

/// What every function with an option ROM has.
const ROM_PROPERTIES: &[Property] = &[
    Property {
        name: "rombar",
        kind: Kind::Uint(32),
        default: Default::Uint(1),
        help: "0: there is no option ROM",
    },
    Property {
        name: "romfile",
        kind: Kind::Text,
        default: Default::None,
        help: "file of the option ROM; empty: there is none",
    },
];

/// What every drive on an IDE channel has.
const IDE_PROPERTIES: &[Property] = &[Property {
    name: "unit",
    kind: Kind::Uint(32),
    default: Default::None,
    help: "0 (master) or 1 (slave)",
}];

/// What every device on a SCSI bus has.
const SCSI_PROPERTIES: &[Property] = &[
    Property {
        name: "channel",
        kind: Kind::Uint(32),
        default: Default::Uint(0),
        help: "0: there is no other",
    },
    Property {
        name: "scsi-id",
        kind: Kind::Uint(32),
        default: Default::None,
        help: "target; the first that is free if nobody says",
    },
    Property {
        name: "lun",
        kind: Kind::Uint(32),
        default: Default::None,
        help: "logical unit; 0, or the first that is free, if nobody says",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: Model = Model {
        name: "card",
        aliases: &["kard"],
        desc: "a card",
        properties: &[Property {
            name: "size",
            kind: Kind::Uint(32),
            default: Default::Uint(16),
            help: "how large",
        }],
        plug: Plug::Hot,
        ..Model::PCI_PART
    };

    #[test]
    fn a_model_is_shown_as_clients_read_it() {
        assert_eq!(CARD.line(), "name \"card\", bus PCI, alias \"kard\", desc \"a card\"");
        let help = CARD.help();
        let lines: Vec<&str> = help.lines().collect();
        assert_eq!(lines[0], "card options:");
        assert_eq!(
            lines[1],
            "  addr=<int32>           - Slot and optional function number, example: 06.0 or 06"
        );
        assert_eq!(lines[3], "  size=<uint32>          - how large (default: 16)");
        assert!(CARD.is_called("kard") && !CARD.is_called("cart"));
    }
}
