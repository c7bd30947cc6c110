//! The guest's networks: where the cables of its network cards lead.

use std::collections::BTreeSet;
use std::path::PathBuf;

use backends::net::{self, Address, NetSpec, StreamSpec, VhostUserSpec};
use devices::models;
use devices_core::model::{Category, Kind, Model, Properties, Value};
use serde::{Deserialize, Serialize};

use super::{BackEndConfig, ConfigError, DeviceSpec, GuestConfig};
use crate::sandbox::Reach;

/// The card of a guest of which nobody says which it is to be.
pub(crate) const USUAL_CARD: &str = "e1000";

/// How many bytes of a frame a dump keeps where nobody says.
pub(crate) const MOST_OF_A_FRAME: u32 = 65_536;
/// Most back ends of a guest.
const MOST: usize = 256;

/// A back end as `-netdev` names it, and as it is saved with the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetdevConfig {
    /// Its name.
    pub id: String,
    /// `user`, `tap`, `stream`, ...
    pub kind: String,
    /// What is set on it, in QEMU's spelling; a key may come several times.
    #[serde(default)]
    pub options: Vec<(String, String)>,
}

impl NetdevConfig {
    /// What it says, checked.
    pub fn spec(&self) -> Result<NetSpec, ConfigError> {
        net::parse(&self.kind, &self.options).map_err(ConfigError::Invalid)
    }
}

/// A file that gets what passes a back end (`filter-dump`). It is the host's, and not saved with the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpConfig {
    /// Its name.
    pub id: String,
    /// Which back end.
    pub netdev: String,
    /// Which file.
    pub file: PathBuf,
    /// How many bytes of a frame are kept.
    pub longest: u32,
}

impl DumpConfig {
    /// What `object-add` and `-object` have set, in QEMU's spelling, its type and id apart.
    pub fn new(id: String, options: &[(String, String)]) -> Result<DumpConfig, ConfigError> {
        let invalid = ConfigError::Invalid;
        let set =
            |key: &str| options.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let known = ["netdev", "file", "maxlen"];
        if let Some((key, _)) = options.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            return Err(invalid(format!("Property 'filter-dump.{key}' not found")));
        }
        let netdev = set("netdev").ok_or_else(|| invalid("Parameter 'netdev' is required".into()))?;
        let file = set("file").ok_or_else(|| invalid("dump filter needs 'file' property set".into()))?;
        let longest = match set("maxlen") {
            None => MOST_OF_A_FRAME,
            Some(text) => text.parse::<u32>().ok().filter(|len| *len > 0).ok_or_else(|| {
                invalid(format!("Property 'filter-dump.maxlen' doesn't take value '{text}'"))
            })?,
        };
        Ok(DumpConfig { id, netdev: netdev.to_owned(), file: file.into(), longest })
    }
}

/// Checks that no two have one name, and that each names a back end that frames of a card go through.
pub(crate) fn check_dumps(dumps: &[DumpConfig], netdevs: &[NetdevConfig]) -> Result<(), ConfigError> {
    let invalid = |why: String| Err(ConfigError::Invalid(why));
    if dumps.len() > MOST {
        return invalid(format!("there are more than {MOST} dumps of networks"));
    }
    let mut ids = BTreeSet::new();
    for DumpConfig { id, netdev, .. } in dumps {
        if !ids.insert(id) {
            return invalid(format!("attempt to add duplicate property '{id}' to object (type 'container')"));
        }
        if !netdevs.iter().any(|other| other.id == *netdev) {
            return invalid(format!("Parameter 'netdev' expects a network backend id, and not '{netdev}'"));
        }
        if netdevs.iter().any(|port| port.on_port() == Some(netdev)) {
            return invalid(format!("netdev '{netdev}' is on a port of a hub: dump what a card has there"));
        }
    }
    Ok(())
}

/// The property of a model that names a back end, and what is set there.
fn netdev(device: &DeviceSpec) -> Result<Option<(&'static str, &str)>, ConfigError> {
    let model = device.model()?;
    let property = model.all_properties().into_iter().find(|property| property.kind == Kind::Netdev);
    let set = property.and_then(|property| Some((property.name, device.properties.get(property.name)?)));
    Ok(match set {
        Some((name, Value::Text(id))) => Some((name, id)),
        _ => None,
    })
}

/// Checks each by itself, that no two have one name, and that every card names one of its own.
pub(crate) fn check(netdevs: &[NetdevConfig], devices: &[DeviceSpec]) -> Result<(), ConfigError> {
    let invalid = |why: String| Err(ConfigError::Invalid(why));
    if netdevs.len() > MOST {
        return invalid(format!("there are more than {MOST} netdevs"));
    }
    let mut ids = BTreeSet::new();
    for netdev in netdevs {
        if !ids.insert(netdev.id.as_str()) {
            return invalid(format!("Duplicate ID '{}' for netdev", netdev.id));
        }
        netdev.spec()?;
    }
    let mut used = BTreeSet::new();
    for on_port in netdevs.iter().filter_map(NetdevConfig::on_port) {
        if !ids.contains(on_port) {
            return invalid(format!("netdev '{on_port}' not found"));
        }
        if !used.insert(on_port) {
            return invalid(format!("netdev '{on_port}' is on another port of a hub"));
        }
    }
    for device in devices {
        let Some((property, id)) = netdev(device)? else { continue };
        let property = format!("Property '{}.{property}'", device.model);
        if !ids.contains(id) {
            return invalid(format!("{property} can't find value '{id}'"));
        }
        if !used.insert(id) {
            return invalid(format!("{property} can't take value '{id}', it's in use"));
        }
    }
    Ok(())
}

impl DeviceSpec {
    /// The back end that it names, if it is a network card that names one.
    pub(crate) fn netdev(&self) -> Option<&str> {
        netdev(self).ok().flatten().map(|(_, id)| id)
    }
}

/// A network card that is asked for in a few words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Card {
    /// The device's id.
    pub id: Option<String>,
    /// The model's name.
    pub model: String,
    /// What is set on it, its address among it.
    pub properties: Vec<(String, String)>,
}

/// A model of network cards by a name of its.
fn nic_model(name: &str) -> Result<&'static Model, ConfigError> {
    let is_card = |model: &&Model| model.category == Category::Network;
    models::find(name).filter(is_card).ok_or_else(|| {
        let known: Vec<&str> = models::all().filter(is_card).map(|model| model.name).collect();
        ConfigError::value("network card", name, &known.join(", "))
    })
}

impl GuestConfig {
    /// Puts a network card in, whose cable leads to user networking.
    pub(crate) fn add_card(&mut self, card: &Card) -> Result<(), ConfigError> {
        let invalid = |error| ConfigError::Invalid(format!("network card {}: {error}", card.model));
        let netdev = format!("net{}", self.netdevs.len());
        let mut properties = Properties::new(nic_model(&card.model)?);
        for (name, value) in &card.properties {
            properties.parse(name, value).map_err(invalid)?;
        }
        (properties.model().check)(&properties).map_err(invalid)?;
        // Where it leads is told by --net.
        properties.parse("netdev", &netdev).map_err(invalid)?;
        self.devices.push(DeviceSpec::new(card.id.clone(), &properties));
        self.netdevs.push(NetdevConfig { id: netdev, kind: "user".into(), options: Vec::new() });
        Ok(())
    }

    /// Whom this process connects to as the guest wishes.
    pub(crate) fn reach(&self) -> Reach {
        let again = self.connected_again();
        let processes = self.back_ends.iter().any(BackEndConfig::is_connected_again);
        Reach {
            internet: self.netdevs.iter().any(|netdev| netdev.kind == "user"),
            hosts: again.iter().any(|(_, to)| matches!(to, Address::Inet { .. })),
            programs: processes
                || self.devices.iter().any(|device| device.host_socket().is_some())
                || again.iter().any(|(_, to)| matches!(to, Address::Unix { .. })),
        }
    }

    /// Networks that are connected to again when their other end has gone, and where that is.
    pub(crate) fn connected_again(&self) -> Vec<(&str, Address)> {
        let again = |netdev: &'_ NetdevConfig| netdev.connected_again();
        self.netdevs.iter().filter_map(|netdev| Some((netdev.id.as_str(), again(netdev)?))).collect()
    }

    /// The ports of TCP among those.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let port = |(_, to): (&str, Address)| match to {
            Address::Inet { port, .. } => Some(port),
            _ => None,
        };
        self.connected_again().into_iter().filter_map(port).collect()
    }

    /// Takes all network cards out.
    pub(crate) fn remove_cards(&mut self) {
        self.devices.retain(|device| device.model().is_ok_and(|model| model.category != Category::Network));
        self.netdevs.clear();
    }
}

impl GuestConfig {
    /// Changes the devices of a command line to what a saved guest has of them: their addresses, and no cards that its
    /// PV drivers have had unplugged.
    pub(crate) fn follow(&mut self, saved: &GuestConfig) {
        let devices = std::mem::take(&mut self.devices);
        for mut device in devices {
            let same = |other: &&DeviceSpec| other.model == device.model && other.id == device.id;
            match saved.devices.iter().find(same) {
                Some(other) => {
                    for name in ["addr", "mac"] {
                        if let Some(value) = other.properties.get(name) {
                            device.properties.insert(name.into(), value.clone());
                        }
                    }
                }
                None if device.model().is_ok_and(|model| model.category == Category::Network) => {
                    let netdev = device.netdev();
                    self.netdevs.retain(|other| Some(other.id.as_str()) != netdev);
                    continue;
                }
                None => {}
            }
            self.devices.push(device);
        }
    }
}

impl NetdevConfig {
    /// Where it is connected to again when the other end has gone, if it is.
    pub(crate) fn connected_again(&self) -> Option<Address> {
        match self.spec().ok()? {
            NetSpec::Stream(StreamSpec { address, server: false, reconnect: Some(_), .. })
            | NetSpec::VhostUser(VhostUserSpec { address, server: false, reconnect: Some(_), .. }) => {
                Some(address)
            }
            _ => None,
        }
    }

    /// Leads the cable elsewhere: `user[,hostfwd=..]`, `tap:NAME`, `stream:PATH`, `vhost-user:PATH`
    /// (a switch comes there), or as `-netdev` has it without `id`.
    pub(crate) fn lead(&mut self, to: &str) -> Result<(), ConfigError> {
        let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        (self.kind, self.options) = match to.split_once(':') {
            Some(("tap", name)) => (
                "tap".into(),
                vec![option("ifname", name), option("script", "no"), option("downscript", "no")],
            ),
            Some(("stream", path)) => {
                ("stream".into(), vec![option("addr.type", "unix"), option("addr.path", path)])
            }
            Some(("vhost-user", path)) => {
                ("vhost-user".into(), vec![option("path", path), option("server", "on")])
            }
            _ => {
                let mut fields = crate::qemu::keyval::Fields::parse(to, Some("type"));
                (fields.take("type").unwrap_or_default(), fields.rest())
            }
        };
        self.spec().map(drop)
    }

    /// The back end that is on this port of a hub, if it is such a port.
    pub(crate) fn on_port(&self) -> Option<&str> {
        let netdev = self.options.iter().find(|(key, _)| key == "netdev").map(|(_, id)| id.as_str());
        netdev.filter(|_| self.kind == "hubport")
    }

    /// What it reaches of this host beside what any program of the user's does, for people; none: nothing.
    pub(crate) fn reaches(&self) -> Option<String> {
        const HOSTS: &[&str] = &["hostfwd", "guestfwd", "tftp", "smb"];
        let named = self.kind != "user" || self.options.iter().any(|(key, _)| HOSTS.contains(&key.as_str()));
        let options: String = self.options.iter().map(|(key, value)| format!(",{key}={value}")).collect();
        named.then(|| format!("{}{options}", self.kind))
    }
}
