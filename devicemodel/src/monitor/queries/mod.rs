//! Commands that only ask.

mod block;
mod network;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Guest;
use super::commands::{Context, arguments};
use super::facts::{BarFacts, ChardevFacts, CpuFacts, PciFacts};
use super::protocol::{Command, QmpError, version};
use super::qom::{self, cpu_path};
use super::schema::Schema;
pub(super) use block::{inserted, node_info};
pub(super) use network::people as networks;

/// The answer, if the command is one that only asks.
pub(super) fn answer(command: &Command, context: &mut Context<'_>) -> Option<Result<Value, QmpError>> {
    let guest = &*context.guest;
    Some(Ok(match command.name.as_str() {
        "query-version" => version(),
        "query-commands" => Schema::get().commands().map(|name| json!({ "name": name })).collect(),
        "query-qmp-schema" => Schema::get().introspect(),
        "query-status" => {
            let status = guest.status();
            json!({ "status": status, "singlestep": false, "running": status == "running" })
        }
        "query-name" => match guest.name() {
            name if name.is_empty() => json!({}),
            name => json!({ "name": name }),
        },
        "query-uuid" => json!({ "UUID": uuid(&guest.machine().uuid) }),
        // No processor of ours is KVM's.
        "query-kvm" => json!({ "enabled": false, "present": false }),
        "query-target" => json!({ "arch": guest.machine().target }),
        "query-current-machine" => json!({ "wakeup-suspend-support": true }),
        "query-machines" => MACHINES.iter().map(machine).collect(),
        "query-memory-size-summary" => json!({ "base-memory": guest.machine().memory, "plugged-memory": 0 }),
        // No migration has ever begun.
        "query-migrate" => json!({}),
        "query-balloon" => return Some(Err(super::commands::no_balloon())),
        "query-rx-filter" => return Some(network::rx_filters(command, context)),
        "query-iothreads" => json!([]),
        "query-mice" => json!([{ "name": MOUSE, "index": 2, "current": true, "absolute": false }]),
        "query-chardev" => context.monitors.iter().chain(&guest.chardevs()).map(chardev).collect(),
        "query-chardev-backends" => {
            ["file", "null", "pty", "socket", "stdio"].iter().map(|name| json!({ "name": name })).collect()
        }
        "query-vnc" => vnc(guest),
        "query-pci" => json!([{ "bus": 0, "devices": guest.pci().iter().map(pci).collect::<Value>() }]),
        "query-cpus-fast" => present(guest).map(|cpu| cpu_fast(&cpu, guest.machine().target)).collect(),
        "query-cpus" => present(guest).map(|cpu| cpu_slow(&cpu)).collect(),
        // QEMU's order: the last place first.
        "query-hotpluggable-cpus" => {
            guest.cpus().iter().rev().map(|cpu| cpu_place(cpu, guest.machine().cpu_type)).collect()
        }
        "query-fdsets" => context.shared.fdsets.list(),
        _ => {
            return block::answer(command, context)
                .or_else(|| objects(command, context))
                .or_else(|| options(command));
        }
    }))
}

/// What the PS/2 mouse is called.
pub(super) const MOUSE: &str = "QEMU PS/2 Mouse";

/// Our machines: name, alias, CPUs, model of the CPUs. The first is what there is if nobody says.
const MACHINES: [(&str, Option<&str>, u32, Option<&str>); 3] = [
    ("pc-i440fx-7.2", Some("pc"), 255, Some("qemu64-x86_64-cpu")),
    ("xenfv-4.2", Some("xenfv"), 255, Some("qemu32-i386-cpu")),
    ("none", None, 1, None),
];

fn machine(machine: &(&str, Option<&str>, u32, Option<&str>)) -> Value {
    let (name, alias, cpus, model) = machine;
    let mut answer = json!({
        "name": name,
        "cpu-max": cpus,
        "hotpluggable-cpus": model.is_some(),
        "numa-mem-supported": false,
        "deprecated": false,
    });
    let Some(fields) = answer.as_object_mut() else { return answer };
    if *alias == Some("pc") {
        fields.insert("is-default".into(), true.into());
    }
    for (key, value) in [("alias", alias), ("default-cpu-type", model)] {
        if let Some(value) = value {
            fields.insert(key.into(), (*value).into());
        }
    }
    if model.is_some() {
        fields.insert("default-ram-id".into(), "pc.ram".into());
    }
    answer
}

/// The text form of a UUID.
pub(super) fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

fn chardev(line: &ChardevFacts) -> Value {
    json!({ "frontend-open": line.frontend_open, "filename": line.filename, "label": line.label })
}

fn vnc(guest: &dyn Guest) -> Value {
    let Some(vnc) = guest.vnc() else { return json!({ "enabled": false }) };
    let client = |(host, service): &(String, String)| json!({ "host": host, "service": service, "family": vnc.family, "websocket": false });
    json!({
        "enabled": true,
        "auth": vnc.auth,
        "family": vnc.family,
        "clients": vnc.clients.iter().map(client).collect::<Value>(),
        "service": vnc.service,
        "host": vnc.host,
    })
}

/// What QEMU calls a class of PCI functions.
pub(super) fn class_name(class: u16) -> Option<&'static str> {
    Some(match class {
        0x0101 => "IDE controller",
        0x0200 => "Ethernet controller",
        0x0300 => "VGA controller",
        0x0600 => "Host bridge",
        0x0601 => "ISA bridge",
        0x0680 => "Bridge",
        _ => return None,
    })
}

fn pci(function: &PciFacts) -> Value {
    let region = |bar: &BarFacts| {
        let kind = if bar.io { "io" } else { "memory" };
        let address = bar.address.map_or(json!(-1), Value::from);
        json!({ "bar": bar.index, "type": kind, "address": address, "size": bar.size })
    };
    let mut class = Map::new();
    class.insert("class".into(), function.class.into());
    if let Some(name) = class_name(function.class) {
        class.insert("desc".into(), name.into());
    }
    json!({
        "bus": 0,
        "slot": function.slot,
        "function": function.function,
        "class_info": class,
        "id": {
            "vendor": function.vendor,
            "device": function.device,
            "subsystem-vendor": function.subsystem.0,
            "subsystem": function.subsystem.1,
        },
        "irq": function.irq,
        "irq_pin": function.pin,
        "qdev_id": function.id,
        "regions": function.bars.iter().map(region).collect::<Value>(),
    })
}

fn present(guest: &dyn Guest) -> impl Iterator<Item = CpuFacts> {
    guest.cpus().into_iter().filter(|cpu| cpu.present)
}

fn cpu_props(cpu: &CpuFacts) -> Value {
    json!({ "core-id": 0, "thread-id": 0, "socket-id": cpu.index })
}

fn cpu_fast(cpu: &CpuFacts, target: &str) -> Value {
    json!({
        "thread-id": cpu.thread,
        "props": cpu_props(cpu),
        "qom-path": cpu_path(cpu),
        "cpu-index": cpu.index,
        "target": target,
    })
}

/// The form of QEMU before 2.12.
fn cpu_slow(cpu: &CpuFacts) -> Value {
    json!({
        "CPU": cpu.index,
        "thread_id": cpu.thread,
        "props": cpu_props(cpu),
        "qom_path": cpu_path(cpu),
        "current": cpu.index == 0,
        "halted": false,
        "arch": "x86",
    })
}

fn cpu_place(cpu: &CpuFacts, model: &str) -> Value {
    let mut place = json!({ "props": cpu_props(cpu), "vcpus-count": 1, "type": model });
    if let (true, Some(place)) = (cpu.present, place.as_object_mut()) {
        place.insert("qom-path".into(), cpu_path(cpu).into());
    }
    place
}

#[derive(Deserialize)]
struct Ask {
    #[serde(default)]
    path: String,
    #[serde(default)]
    property: String,
    implements: Option<String>,
    r#abstract: Option<bool>,
    option: Option<String>,
    typename: Option<String>,
}

/// The object tree.
fn objects(command: &Command, context: &mut Context<'_>) -> Option<Result<Value, QmpError>> {
    let ask = || arguments::<Ask>(command);
    Some(match command.name.as_str() {
        "qom-list" => ask().and_then(|ask| qom::Tree::new(context).list(&ask.path)),
        "qom-get" => ask().and_then(|ask| qom::Tree::new(context).get(&ask.path, &ask.property)),
        "qom-list-types" => {
            ask().map(|ask| qom::types(ask.implements.as_deref(), ask.r#abstract.unwrap_or(false)))
        }
        "device-list-properties" => {
            ask().and_then(|ask| qom::device_properties(&ask.typename.unwrap_or_default()))
        }
        _ => return None,
    })
}

/// Options whose parameters clients ask about before they use them.
const OPTIONS: &[(&str, &[&str])] = &[
    ("run-with", &["chroot", "user", "async-teardown"]),
    ("vnc", &["vnc", "to", "password"]),
    ("mon", &["chardev", "mode", "pretty"]),
    ("smp-opts", &["cpus", "maxcpus", "sockets", "cores", "threads"]),
    ("boot-opts", &["order"]),
];

fn options(command: &Command) -> Option<Result<Value, QmpError>> {
    if command.name != "query-command-line-options" {
        return None;
    }
    let option = match arguments::<Ask>(command) {
        Ok(ask) => ask.option,
        Err(error) => return Some(Err(error)),
    };
    let wanted = |name: &str| option.as_deref().is_none_or(|option| option == name);
    let parameters = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({ "name": name, "type": "string" })).collect()
    };
    let found: Vec<Value> = OPTIONS
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, names)| json!({ "option": name, "parameters": parameters(names) }))
        .collect();
    Some(match option {
        Some(name) if found.is_empty() => Err(QmpError::generic(format!("invalid option name: {name}"))),
        _ => Ok(found.into()),
    })
}
