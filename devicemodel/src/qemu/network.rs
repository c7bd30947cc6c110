//! `-netdev`, `-nic` and `-net`.

use devices::models;
use devices_core::model::{Category, Kind, Model, Properties};

use super::Refusal;
use super::config::{Chardev, ChardevTarget, QemuConfig};
use super::drivers::{Driver, driver};
use super::keyval::Fields;
use crate::config::{DeviceSpec, NetdevConfig, SerialConfig, USUAL_CARD};

/// The kind of back end that names a character device.
const SWITCH: &str = "vhost-user";

/// A network card that `-nic` or `-net nic` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicArg {
    /// `model=`; none: the machine's usual one.
    pub model: Option<String>,
    /// `mac=` or `macaddr=`.
    pub mac: Option<String>,
    /// `addr=`.
    pub addr: Option<String>,
    /// Where its cable leads.
    pub to: NicTo,
}

impl NicArg {
    /// The back end that it has for itself.
    pub(super) fn own(&self) -> Option<&Backend> {
        match &self.to {
            NicTo::Own(backend) => Some(backend),
            NicTo::Hub | NicTo::Netdev(_) => None,
        }
    }
}

/// Where the cable of a card leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NicTo {
    /// To hub 0, with all other `-net`.
    #[default]
    Hub,
    /// To a back end of that name.
    Netdev(String),
    /// To a back end of its own.
    Own(Backend),
}

/// A back end that need not have a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// Its name, if it has one.
    pub id: Option<String>,
    /// Its type.
    pub kind: String,
    /// What is set on it.
    pub options: Vec<(String, String)>,
}

/// `-nic` and `-net`: what the machine has on its board.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nics {
    /// Something was said, so that there is no usual card.
    pub said: bool,
    /// Cards, in their order.
    pub cards: Vec<NicArg>,
    /// Back ends on hub 0.
    pub on_hub: Vec<Backend>,
}

pub(super) fn netdev(value: &str) -> Result<NetdevConfig, Refusal> {
    let mut fields = Fields::of_option(value, "type")?;
    let (kind, id) = (fields.required("type")?, fields.required("id")?);
    checked(NetdevConfig { id, kind, options: fields.rest() })
}

/// The character device that a back end names.
pub(super) fn chardev(options: &[(String, String)]) -> Option<&str> {
    options.iter().find(|(key, _)| key == "chardev").map(|(_, id)| id.as_str())
}

/// Writes into a back end what the character device says that it names, which may come later on the command line.
pub(super) fn complete(netdev: &mut NetdevConfig, chardevs: &[Chardev]) {
    let named = chardev(&netdev.options).filter(|_| netdev.kind == SWITCH);
    let Some(chardev) = named.and_then(|id| chardevs.iter().find(|chardev| chardev.id == id)) else { return };
    let (key, place, server) = match &chardev.target {
        ChardevTarget::Serial(SerialConfig::Unix(path)) => ("path", path.display().to_string(), true),
        ChardevTarget::Serial(SerialConfig::Connect(path)) => ("path", path.display().to_string(), false),
        ChardevTarget::Fd(fd) => ("fd", fd.to_string(), true),
        ChardevTarget::Serial(_) => return,
    };
    netdev.options.push((key.into(), place));
    netdev.options.push(("server".into(), if server { "on" } else { "off" }.into()));
    let seconds = u64::from(chardev.reconnect) + chardev.reconnect_ms.div_ceil(1000);
    if seconds > 0 {
        netdev.options.push(("reconnect".into(), seconds.to_string()));
    }
}

fn checked(netdev: NetdevConfig) -> Result<NetdevConfig, Refusal> {
    if netdev.kind == SWITCH {
        // With what its character device says, and then with the whole guest.
        return Ok(netdev);
    }
    netdev.spec().map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(netdev)
}

pub(super) fn nic(nics: &mut Nics, value: &str) -> Result<(), Refusal> {
    nics.said = true;
    if value == "none" {
        return Ok(());
    }
    let mut fields = Fields::parse(value, Some("type"));
    let mut card = card(&mut fields);
    let (id, kind) = (fields.take("id"), fields.take("type").unwrap_or_else(|| "user".into()));
    card.to = NicTo::Own(Backend { id, kind, options: fields.rest() });
    nics.cards.push(card);
    Ok(())
}

pub(super) fn net(nics: &mut Nics, value: &str) -> Result<(), Refusal> {
    nics.said = true;
    if value == "none" {
        return Ok(());
    }
    let mut fields = Fields::parse(value, Some("type"));
    let kind = fields.required("type")?;
    let name = fields.take("id").or(fields.take("name"));
    if kind == "nic" {
        let mut card = card(&mut fields);
        card.to = fields.take("netdev").map_or(NicTo::Hub, NicTo::Netdev);
        // How many interrupts a virtio card has.
        fields.ignore(&["vectors"]);
        fields.end()?;
        nics.cards.push(card);
    } else {
        nics.on_hub.push(Backend { id: name, kind, options: fields.rest() });
    }
    Ok(())
}

fn card(fields: &mut Fields) -> NicArg {
    NicArg {
        model: fields.take("model"),
        mac: fields.take("mac").or(fields.take("macaddr")),
        addr: fields.take("addr"),
        to: NicTo::Hub,
    }
}

/// Cards and back ends of the machine itself.
#[derive(Default)]
pub(super) struct OnBoard {
    pub cards: Vec<DeviceSpec>,
    pub netdevs: Vec<NetdevConfig>,
}

impl OnBoard {
    /// What a command line asks for; the usual card where it says nothing of networks.
    pub(super) fn of(config: &QemuConfig) -> Result<OnBoard, Refusal> {
        let mut board = OnBoard::default();
        let said = config.nics.said || config.nodefaults || !config.netdevs.is_empty();
        if !said && models::find(USUAL_CARD).is_some() {
            let usual = NicArg {
                to: NicTo::Own(Backend { kind: "user".into(), ..Backend::default() }),
                ..NicArg::default()
            };
            board.card(&usual)?;
        }
        let Nics { cards, on_hub, .. } = &config.nics;
        let on_it: Vec<&NicArg> = cards.iter().filter(|card| card.to == NicTo::Hub).collect();
        // A hub with one card and one back end is a cable.
        if let ([_], [only]) = (on_it.as_slice(), on_hub.as_slice()) {
            for card in cards {
                let own = NicTo::Own(only.clone());
                let to = if card.to == NicTo::Hub { own } else { card.to.clone() };
                board.card(&NicArg { to, ..card.clone() })?;
            }
            return Ok(board);
        }
        for card in cards {
            board.card(card)?;
        }
        for backend in on_hub {
            let id = board.backend(backend)?;
            board.hub_port(Some(id))?;
        }
        Ok(board)
    }

    fn card(&mut self, card: &NicArg) -> Result<(), Refusal> {
        let model = model(card.model.as_deref().unwrap_or(USUAL_CARD))?;
        let netdev = match &card.to {
            NicTo::Hub => self.hub_port(None)?,
            NicTo::Netdev(id) => id.clone(),
            NicTo::Own(backend) => self.backend(backend)?,
        };
        let mut properties = Properties::new(model);
        let all = model.all_properties();
        let backend = all.iter().find(|property| property.kind == Kind::Netdev).map(|property| property.name);
        for (name, value) in
            [(backend, Some(&netdev)), (Some("mac"), card.mac.as_ref()), (Some("addr"), card.addr.as_ref())]
        {
            if let (Some(name), Some(value)) = (name, value) {
                properties.parse(name, value).map_err(|error| Refusal::bad(error.to_string()))?;
            }
        }
        self.cards.push(DeviceSpec::new(None, &properties));
        Ok(())
    }

    /// A back end; a name that nobody gave it begins with `#`, which no id does.
    fn backend(&mut self, backend: &Backend) -> Result<String, Refusal> {
        let Backend { id, kind, options } = backend.clone();
        let id = id.unwrap_or_else(|| format!("#net{}", self.netdevs.len()));
        let netdev = NetdevConfig { id: id.clone(), kind, options };
        self.netdevs.push(checked(netdev)?);
        Ok(id)
    }

    /// One more port of hub 0, for a card or for a back end.
    fn hub_port(&mut self, netdev: Option<String>) -> Result<String, Refusal> {
        let id =
            format!("#hub0port{}", self.netdevs.iter().filter(|netdev| netdev.kind == "hubport").count());
        let mut options = vec![("hubid".to_owned(), "0".to_owned())];
        options.extend(netdev.map(|netdev| ("netdev".to_owned(), netdev)));
        self.backend(&Backend { id: Some(id), kind: "hubport".into(), options })
    }
}

/// A model of network cards by a name of its.
fn model(name: &str) -> Result<&'static Model, Refusal> {
    match driver(name) {
        Some(Driver::Built(model)) if model.category == Category::Network => Ok(model),
        Some(Driver::NotBuilt(what)) => Err(Refusal::not_built(format!("{name} ({what})"))),
        // A short name that only `model=` has.
        None if name == "virtio" => Err(Refusal::not_built("virtio (network card)")),
        _ => Err(Refusal::bad(format!("Unsupported NIC model: {name}"))),
    }
}
