//! Networks: cards, back ends that come and go, cables, and who is told where the guest is.

use devices_core::net::{Accepts, format_mac};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Guest;
use super::super::info::{AnnounceParameters, NicInfo};
use super::super::protocol::{Command, QmpError};
use super::super::table::{CommandSpec, Table};
use super::{Context, arguments, nothing};
use crate::config::NetdevConfig;
use crate::qemu::keyval::is_identifier;

pub(super) static TABLE: Table = Table {
    types: "
object String str:str
enum SocketAddressType inet unix fd
object InetSocketAddress host:str port:str ?numeric:bool ?to:int ?ipv4:bool ?ipv6:bool ?keep-alive:bool
object UnixSocketAddress path:str
object FdSocketAddress str:str
union SocketAddress type type:SocketAddressType | inet=InetSocketAddress unix=UnixSocketAddress fd=FdSocketAddress
enum NetClientDriver none user tap socket stream dgram hubport
object NetdevUserOptions ?hostname:str ?restrict:bool ?ipv4:bool ?ipv6:bool ?ip:str ?net:str ?host:str ?tftp:str
  ?bootfile:str ?dhcpstart:str ?dns:str ?dnssearch:[String] ?domainname:str ?ipv6-prefix:str ?ipv6-prefixlen:int
  ?ipv6-host:str ?ipv6-dns:str ?hostfwd:[String] ?guestfwd:[String] ?tftp-server-name:str
object NetdevTapOptions ?ifname:str ?fd:str ?fds:str ?script:str ?downscript:str ?br:str ?sndbuf:int ?vnet_hdr:bool
  ?vhost:bool ?queues:int
object NetdevSocketOptions ?fd:str ?listen:str ?connect:str ?mcast:str ?localaddr:str ?udp:str
object NetdevStreamOptions addr:SocketAddress ?server:bool ?reconnect:int ?reconnect-ms:int
object NetdevDgramOptions ?local:SocketAddress ?remote:SocketAddress
object NetdevHubPortOptions hubid:int ?netdev:str
union Netdev type id:str type:NetClientDriver | user=NetdevUserOptions tap=NetdevTapOptions
  socket=NetdevSocketOptions stream=NetdevStreamOptions dgram=NetdevDgramOptions hubport=NetdevHubPortOptions
enum RxState normal none all
object RxFilterInfo name:str promiscuous:bool multicast:RxState unicast:RxState vlan:RxState broadcast-allowed:bool
  multicast-overflow:bool unicast-overflow:bool main-mac:str vlan-table:[int] unicast-table:[str]
  multicast-table:[str]
object AnnounceParameters initial:int max:int rounds:int step:int ?interfaces:[str] ?id:str
",
    commands: &[
        CommandSpec::new("query-rx-filter", rx_filters).takes("?name:str").returns("[RxFilterInfo]"),
        CommandSpec::new("netdev_add", |command, context| {
            let named = &mut context.session.named;
            nothing(netdev(&command.arguments).and_then(|netdev| context.guest.netdev_add(netdev, named)))
        })
        .takes("= Netdev")
        .alone(),
        CommandSpec::new("netdev_del", |command, context| {
            nothing(arguments(command).and_then(|Named { id }| context.guest.netdev_del(&id)))
        })
        .takes("id:str")
        .alone(),
        CommandSpec::new("set_link", |command, context| {
            nothing(arguments(command).and_then(|Link { name, up }| context.guest.set_link(&name, up)))
        })
        .takes("name:str up:bool")
        .alone(),
        CommandSpec::new("announce-self", |command, context| nothing(announce(command, context)))
            .takes("= AnnounceParameters"),
    ],
};

#[derive(Deserialize)]
struct Filters {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Link {
    name: String,
    up: bool,
}

#[derive(Deserialize)]
struct Announce {
    #[serde(flatten)]
    how: AnnounceParameters,
    interfaces: Option<Vec<String>>,
}

fn announce(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let Announce { how, interfaces } = arguments(command)?;
    if how.rounds > 1000 || how.max > 100_000 || how.step > 10_000 || how.initial > 100_000 {
        return Err(QmpError::generic("the announcement would take too long"));
    }
    context.guest.announce(how, interfaces);
    Ok(())
}

/// What a `-netdev` of these arguments would say.
fn netdev(arguments: &Map<String, Value>) -> Result<NetdevConfig, QmpError> {
    let text = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, id) = (text("type"), text("id"));
    if !is_identifier(&id) {
        return Err(QmpError::generic("Parameter 'id' expects an identifier"));
    }
    let mut options = Vec::new();
    let own = arguments.iter().filter(|(key, _)| !matches!(key.as_str(), "type" | "id"));
    own.for_each(|(key, value)| flat(key, value, &mut options));
    Ok(NetdevConfig { id, kind, options })
}

/// A value as a command line has it: members of an object with dots, a list's items one after the other.
fn flat(key: &str, value: &Value, to: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(member, value)| flat(&format!("{key}.{member}"), value, to));
        }
        Value::Array(items) => items.iter().for_each(|item| flat(key, item.get("str").unwrap_or(item), to)),
        Value::Bool(on) => to.push((key.to_owned(), if *on { "on" } else { "off" }.to_owned())),
        Value::String(text) => to.push((key.to_owned(), text.clone())),
        Value::Number(number) => to.push((key.to_owned(), number.to_string())),
        Value::Null => {}
    }
}

/// `query-rx-filter`.
fn rx_filters(command: &Command, context: &mut Context<'_>) -> Result<Value, QmpError> {
    let Filters { name } = arguments(command)?;
    let guest = &*context.guest;
    let nics = guest.nics();
    let Some(name) = name else { return Ok(nics.iter().map(filter).collect()) };
    match nics.iter().find(|nic| nic.name == name) {
        Some(nic) => Ok(json!([filter(nic)])),
        None if guest.netdevs().iter().any(|netdev| netdev.id == name) => {
            Err(QmpError::generic(format!("net client({name}) isn't a NIC")))
        }
        None => Err(QmpError::generic(format!("invalid net client name: {name}"))),
    }
}

fn filter(nic: &NicInfo) -> Value {
    let state = |accepts| match accepts {
        Accepts::Normal => "normal",
        Accepts::None => "none",
        Accepts::All => "all",
    };
    let table = |table: &[[u8; 6]]| table.iter().map(|mac| format_mac(*mac)).collect::<Vec<_>>();
    let filter = &nic.filter;
    json!({
        "name": nic.name,
        "promiscuous": filter.promiscuous,
        "multicast": state(filter.multicast),
        "unicast": state(filter.unicast),
        "vlan": state(filter.vlan),
        "broadcast-allowed": filter.broadcast,
        "multicast-overflow": false,
        "unicast-overflow": false,
        "main-mac": format_mac(filter.main_mac),
        "vlan-table": filter.vlan_table,
        "unicast-table": table(&filter.unicast_table),
        "multicast-table": table(&filter.multicast_table),
    })
}

/// `info network`: each card, and behind it its back end; then back ends that no card has.
pub(in crate::monitor) fn people(guest: &dyn Guest) -> String {
    let (nics, netdevs) = (guest.nics(), guest.netdevs());
    let mut text = String::new();
    for nic in &nics {
        let mac = format_mac(nic.mac);
        text.push_str(&format!("{}: index=0,type=nic,model={},macaddr={mac}\n", nic.name, nic.model));
        let of_it = netdevs.iter().filter(|netdev| nic.netdev.as_ref() == Some(&netdev.id));
        of_it.for_each(|netdev| text.push_str(&format!(" \\ {}: {}\n", netdev.id, netdev.info)));
    }
    let is_loose = |id: &str| nics.iter().all(|nic| nic.netdev.as_deref() != Some(id));
    let loose = netdevs.iter().filter(|netdev| is_loose(&netdev.id));
    loose.for_each(|netdev| text.push_str(&format!("{}: {}\n", netdev.id, netdev.info)));
    text
}
