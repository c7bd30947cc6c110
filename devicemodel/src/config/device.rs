//! Devices that are no part of every PC.

use std::collections::{BTreeMap, BTreeSet};

use devices::display::{bochs, cirrus, vga};
use devices::models;
use devices::usb::hub::model as hub;
use devices::virtio::gpu;
use devices_core::model::{BusType, Model, Plug, Properties, PropertyError, Value, usb_port_text, usb_ports};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::qemu::keyval::Fields;

/// Most devices of a guest: PCI has 256 functions on a bus.
const MOST: usize = 256;

/// A device as it is asked for, and as it is saved with the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// The model's name.
    pub model: String,
    /// The name that somebody gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The bus that it hangs on, where there are several of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// What is set on it, `addr` among it once it has a place.
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
}

impl DeviceSpec {
    /// A device of that model, with what is set on it.
    pub fn new(id: Option<String>, properties: &Properties) -> DeviceSpec {
        let set = properties.all().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        DeviceSpec { model: properties.model().name.to_owned(), id, bus: None, properties: set }
    }

    /// Reads `MODEL[,id=ID][,KEY=VALUE...]`.
    pub(crate) fn parse(text: &str) -> Result<DeviceSpec, ConfigError> {
        let mut fields = Fields::parse(text, Some("driver"));
        let invalid = |why: &dyn std::fmt::Display| ConfigError::Invalid(format!("device {text}: {why}"));
        let name = fields.take("driver").unwrap_or_default();
        let model = models::find(&name).filter(|model| model.plug != Plug::Fixed);
        let model = model.ok_or_else(|| invalid(&"there is no such model: `ailurus devices` lists all"))?;
        let id = fields.take("id");
        DeviceSpec::of(Properties::new(model), id, fields).map_err(|error| invalid(&error))
    }

    /// A device as its fields say, `bus=` among them, where `properties` are set on it unless they say otherwise.
    pub(crate) fn of(
        mut properties: Properties,
        id: Option<String>,
        mut fields: Fields,
    ) -> Result<DeviceSpec, ConfigError> {
        let model = properties.model();
        let bus = fields.take("bus").map(|bus| bus_of(model, &bus)).transpose()?.flatten();
        let invalid = |error: PropertyError| ConfigError::Invalid(error.to_string());
        for (name, value) in fields.rest() {
            properties.parse(&name, &value).map_err(invalid)?;
        }
        (model.check)(&properties).map_err(invalid)?;
        Ok(DeviceSpec { bus, ..DeviceSpec::new(id, &properties) })
    }

    /// Whether the machine has one, asked for or not.
    pub(super) fn is_always_there(&self) -> bool {
        models::find(&self.model).is_some_and(models::is_always_there)
    }

    /// A standard VGA with so many MiB of memory.
    pub fn vga(mib: u32) -> DeviceSpec {
        let properties = BTreeMap::from([("vgamem_mb".to_owned(), Value::Uint(mib.into()))]);
        DeviceSpec { model: vga::model::MODEL.name.to_owned(), id: None, bus: None, properties }
    }

    /// Its model.
    pub fn model(&self) -> Result<&'static Model, ConfigError> {
        let unknown = || ConfigError::Invalid(format!("'{}' is not a valid device model name", self.model));
        models::find(&self.model).filter(|model| model.plug != Plug::Fixed).ok_or_else(unknown)
    }

    /// What is set on it, checked.
    pub fn properties(&self) -> Result<Properties, ConfigError> {
        let invalid = |error| ConfigError::Invalid(format!("device {}: {error}", self.model));
        let model = self.model()?;
        let mut properties = Properties::new(model);
        for (name, value) in &self.properties {
            properties.put(name, value.clone()).map_err(invalid)?;
        }
        (model.check)(&properties).map_err(invalid)?;
        Ok(properties)
    }

    /// Whether it hangs on the bus of another device of the list.
    pub(crate) fn is_child(&self) -> bool {
        models::find(&self.model).is_some_and(|model| model.bus.is_of_device())
    }

    /// Its place on the bus of another device, in numbers, as far as they are set.
    pub(crate) fn place(&self) -> impl Iterator<Item = u64> {
        let names = models::find(&self.model).map_or(&[][..], |model| model.bus.place());
        names.iter().filter_map(|name| match self.properties.get(*name) {
            Some(Value::Uint(at)) => Some(*at),
            _ => None,
        })
    }

    /// The same as people read it.
    pub(crate) fn place_text(&self) -> String {
        let is_usb = models::find(&self.model).is_some_and(|model| model.bus == BusType::Usb);
        let text = |at: u64| if is_usb { usb_port_text(at) } else { at.to_string() };
        self.place().map(text).collect::<Vec<_>>().join(":")
    }

    /// Whether it is on USB behind that hub.
    pub(crate) fn is_behind(&self, hub: &DeviceSpec) -> bool {
        let is_hub = hub.model == hub::MODEL.name && hub.bus == self.bus && self.is_child();
        let ports = |of: &DeviceSpec| of.place().flat_map(usb_ports).collect::<Vec<u8>>();
        is_hub && ports(self).strip_prefix(&ports(hub)[..]).is_some_and(|rest| !rest.is_empty())
    }

    /// Its devfn on the PCI bus, if it has one.
    pub fn devfn(&self) -> Option<u8> {
        match self.properties.get("addr") {
            Some(Value::Uint(devfn)) => u8::try_from(*devfn).ok(),
            _ => None,
        }
    }

    /// It is there from now on.
    pub(crate) fn set_devfn(&mut self, devfn: u8) {
        self.properties.insert("addr".into(), Value::Uint(devfn.into()));
    }

    /// Most bytes of pictures that it has outside of guest memory.
    pub(crate) fn pictures(&self) -> u64 {
        let is_gpu = [gpu::model::MODEL.name, gpu::model::VGA.name].contains(&self.model.as_str());
        self.properties().ok().filter(|_| is_gpu).map_or(0, |properties| gpu::model::memory(&properties))
    }

    /// Bytes of memory that it brings into the guest.
    pub(crate) fn memory(&self) -> u64 {
        let Ok(properties) = self.properties() else { return 0 };
        let vgas = [vga::model::MODEL.name, vga::model::SECONDARY.name, cirrus::model::MODEL.name];
        match &*self.model {
            model if vgas.contains(&model) => vga::model::memory(&properties),
            model if model == bochs::model::MODEL.name => bochs::model::memory(&properties),
            model if model == gpu::model::VGA.name => gpu::model::VIDEO_MEMORY,
            _ => 0,
        }
    }

    /// Whether a guest that has one of them has none of the other: it is the same, or the ports and the window of a VGA
    /// are both's.
    pub(crate) fn is_instead_of(&self, model: &str) -> bool {
        let vgas = [vga::model::MODEL.name, cirrus::model::MODEL.name, gpu::model::VGA.name];
        self.model == model || vgas.contains(&self.model.as_str()) && vgas.contains(&model)
    }
}

/// The bus of that name for a device of the model; none where there is only one. Whether another device has it for it is
/// seen when all are known.
pub(crate) fn bus_of(model: &Model, name: &str) -> Result<Option<String>, ConfigError> {
    match (model.bus, name) {
        (BusType::Pci, "pci.0" | "pci") | (BusType::Isa, "isa.0") => Ok(None),
        (BusType::Ide, "ide.0" | "ide.1") => Ok(Some(name.to_owned())),
        (kind, _) if kind.is_of_device() => Ok(Some(name.to_owned())),
        _ => Err(ConfigError::Invalid(format!("Bus '{name}' not found"))),
    }
}

/// Checks each by itself, and that no two are the same.
pub(crate) fn check(devices: &[DeviceSpec]) -> Result<(), ConfigError> {
    if devices.len() > MOST {
        return Err(ConfigError::Invalid(format!("there are more than {MOST} devices")));
    }
    let (mut ids, mut turns) = (BTreeSet::new(), BTreeSet::new());
    for device in devices {
        let properties = device.properties()?;
        if let Some(turn) = properties.uint("bootindex").filter(|turn| !turns.insert(*turn)) {
            return Err(ConfigError::Invalid(format!("The bootindex {turn} has already been used")));
        }
        if let Some(id) = &device.id
            && !ids.insert(id)
        {
            return Err(ConfigError::Invalid(format!("Duplicate device ID '{id}'")));
        }
        // Ports and memory of the VGA are at fixed places.
        let others = devices.iter().filter(|other| other.model == device.model).count();
        if others > 1 && !device.model()?.several {
            return Err(ConfigError::Invalid(format!("there can be only one {}", device.model)));
        }
    }
    let vgas = devices.iter().filter(|device| device.is_instead_of(vga::model::MODEL.name));
    if vgas.count() > 1 {
        return Err(ConfigError::Invalid("there can be only one of VGA, cirrus-vga and virtio-vga".into()));
    }
    Ok(())
}

/// The display adapter as builds wrote it that had no list of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum OldVga {
    /// There is none.
    None,
    /// The standard VGA.
    Std {
        /// Its memory in MiB.
        mib: u32,
    },
}

impl OldVga {
    /// The devices of such a guest.
    pub(super) fn devices(self) -> Vec<DeviceSpec> {
        match self {
            OldVga::None => Vec::new(),
            OldVga::Std { mib } => vec![DeviceSpec::vga(mib)],
        }
    }
}
