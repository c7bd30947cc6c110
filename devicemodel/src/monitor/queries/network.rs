//! What network cards let in.

use devices_core::net::{Accepts, format_mac};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Guest;
use super::super::commands::{Context, arguments};
use super::super::facts::NicFacts;
use super::super::protocol::{Command, QmpError};

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

/// `query-rx-filter`.
pub(super) fn rx_filters(command: &Command, context: &Context<'_>) -> Result<Value, QmpError> {
    let Named { name } = arguments(command)?;
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

fn filter(nic: &NicFacts) -> Value {
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
