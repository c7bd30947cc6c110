//! Controllers and codecs as QEMU names them.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::audio::AUDIODEV;
use devices_core::model::{
    BusType, Category, Default as Usually, Kind as Of, Model, Plug, Properties, Property, PropertyError,
};

use super::codec::{Codec, Kind};
use super::spec::config;
use super::{Hda, HdaBus, Messages, Variant};
use crate::board::{Child, ChildHandles, DeviceHandles, MadeChild, MadeDevice, MakeError, OfferedBus};

const DEBUG: Property =
    Property { name: "debug", kind: Of::Uint(32), default: Usually::Uint(0), help: "taken for QEMU's sake" };
const MSI: Property = Property {
    name: "msi",
    kind: Of::Text,
    default: Usually::None,
    help: "on or off: whether it has MSI; auto, which is on, if nobody says",
};
const OLD_MSI: Property = Property {
    name: "old_msi_addr",
    kind: Of::Bool,
    default: Usually::Bool(false),
    help: "the capability is where QEMU 2.1 and older had it",
};
const CAD: Property = Property {
    name: "cad",
    kind: Of::Uint(32),
    default: Usually::None,
    help: "address on the link, up to 14; the next one if nobody says",
};
const MIXER: Property = Property {
    name: "mixer",
    kind: Of::Bool,
    default: Usually::Bool(true),
    help: "off: it has no amplifiers, as in QEMU 1.5 and older",
};

const CONTROLLER: Model = Model {
    parent: "intel-hda-generic",
    offers: &[BusType::Hda],
    category: Category::Sound,
    properties: &[DEBUG, MSI, OLD_MSI],
    plug: Plug::Cold,
    several: true,
    check,
    ..Model::PCI_PART
};
/// That of the ICH6.
pub static ICH6: Model = Model { name: "intel-hda", desc: "Intel HD Audio Controller (ich6)", ..CONTROLLER };
/// That of the ICH9.
pub static ICH9: Model =
    Model { name: "ich9-intel-hda", desc: "Intel HD Audio Controller (ich9)", ..CONTROLLER };

/// What each is.
pub static VARIANTS: [Variant; 2] = [
    Variant { model: &ICH6, device: 0x2668, revision: 1 },
    Variant { model: &ICH9, device: 0x293e, revision: 3 },
];

const CODEC: Model = Model {
    parent: "hda-audio",
    bus: BusType::Hda,
    category: Category::Sound,
    properties: &[AUDIODEV, CAD, DEBUG, MIXER],
    plug: Plug::Cold,
    several: true,
    ..Model::PART
};
/// It plays.
pub static OUTPUT: Model =
    Model { name: "hda-output", desc: "HDA Audio Codec, output-only (line-out)", ..CODEC };
/// It plays and records.
pub static DUPLEX: Model =
    Model { name: "hda-duplex", desc: "HDA Audio Codec, duplex (line-out, line-in)", ..CODEC };
/// The same with a speaker and a microphone.
pub static MICRO: Model =
    Model { name: "hda-micro", desc: "HDA Audio Codec, duplex (speaker, microphone)", ..CODEC };

/// Whether it has MSI; none: that is no answer.
fn has_msi(properties: &Properties) -> Option<bool> {
    match properties.text(MSI.name) {
        None | Some("auto" | "on") => Some(true),
        Some("off") => Some(false),
        Some(_) => None,
    }
}

fn check(properties: &Properties) -> Result<(), PropertyError> {
    match has_msi(properties) {
        Some(_) => Ok(()),
        None => Err(properties.invalid(MSI.name, "it is on, off or auto")),
    }
}

/// Makes a controller.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let name = properties.model().name;
    let variant = VARIANTS.iter().find(|variant| variant.model.name == name).unwrap_or(&VARIANTS[0]);
    let at = if properties.is_on(OLD_MSI.name) { config::OLD_MSI } else { config::MSI };
    let messages = has_msi(properties).unwrap_or(true).then(|| Messages { at, target: parts.board.msi() });
    let [inta, ..] = parts.intx;
    let hda = Hda::new(parts.name, variant, parts.board.ram(), inta, messages, parts.wiring);
    let cell = Arc::new(DeviceCell::new(hda));
    let bus = OfferedBus::Hda(HdaBus::new(cell.clone(), parts.name));
    Ok(MadeDevice { bus: Some(bus), ..MadeDevice::at(cell) })
}

/// Makes a codec.
pub fn make_codec(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let OfferedBus::Hda(bus) = parts.bus else {
        return Err(MakeError::Other("it hangs on an HDA controller".into()));
    };
    let kind = match properties.model().name {
        name if name == OUTPUT.name => Kind::Output,
        name if name == MICRO.name => Kind::Micro,
        _ => Kind::Duplex,
    };
    let asked = properties.uint(CAD.name).filter(|cad| *cad != u64::from(u32::MAX));
    let taken = || properties.invalid(CAD.name, "there is no such address, or it is in use");
    let address = bus.address(asked).ok_or_else(taken)?;
    let backend = parts.board.audio(properties, &bus.name_of(address))?;
    bus.plug(address, Codec::new(kind, properties.is_on(MIXER.name), backend));
    Ok(MadeChild {
        place: vec![(CAD.name, address.into())],
        child: Box::new(Plugged { bus: bus.clone(), address }),
        tray: None,
        input: None,
        bus: None,
    })
}

/// A codec on its link.
struct Plugged {
    bus: HdaBus,
    address: u8,
}

impl Child for Plugged {
    fn unplug(&self) {
        self.bus.unplug(self.address);
    }
}
