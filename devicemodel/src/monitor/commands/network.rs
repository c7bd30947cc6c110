//! Networks: back ends that come and go, cables, and who is told where the guest is.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::facts::AnnounceParameters;
use super::super::protocol::{Command, QmpError};
use super::{Answer, Context, arguments, is_identifier, nothing};
use crate::config::NetdevConfig;

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

pub(super) fn run(command: &Command, context: &mut Context<'_>) -> Answer {
    let guest = &mut *context.guest;
    match command.name.as_str() {
        "netdev_add" => nothing(netdev(&command.arguments).and_then(|netdev| guest.netdev_add(netdev))),
        "netdev_del" => nothing(arguments(command).and_then(|Named { id }| guest.netdev_del(&id))),
        "set_link" => nothing(arguments(command).and_then(|Link { name, up }| guest.set_link(&name, up))),
        "announce-self" => nothing(arguments(command).and_then(|Announce { how, interfaces }| {
            if how.rounds > 1000 || how.max > 100_000 || how.step > 10_000 || how.initial > 100_000 {
                return Err(QmpError::generic("the announcement would take too long"));
            }
            guest.announce(how, interfaces);
            Ok(())
        })),
        _ => None,
    }
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
