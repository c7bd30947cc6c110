//! Commands that only ask.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Guest;
use super::commands::{Context, arguments};
use super::facts::{BarFacts, BlockFacts, ChardevFacts, CpuFacts, PciFacts};
use super::protocol::{Command, QmpError};

/// The model that QEMU's Xen machine has; libxl gives it back when it adds a vCPU.
const CPU_TYPE: &str = "qemu32-i386-cpu";

/// The answer, if the command is one that only asks.
pub(super) fn answer(command: &Command, context: &mut Context<'_>) -> Option<Result<Value, QmpError>> {
    let guest = &*context.guest;
    Some(match command.name.as_str() {
        "query-status" => {
            let status = guest.status();
            Ok(json!({ "status": status, "singlestep": false, "running": status == "running" }))
        }
        "query-name" => Ok(json!({ "name": guest.name() })),
        "query-chardev" => Ok(context.monitors.iter().chain(&guest.chardevs()).map(chardev).collect()),
        "query-vnc" => Ok(vnc(guest)),
        "query-pci" => Ok(json!([{ "bus": 0, "devices": guest.pci().iter().map(pci).collect::<Value>() }])),
        "query-cpus-fast" => Ok(present(guest).map(|cpu| cpu_fast(&cpu)).collect()),
        "query-cpus" => Ok(present(guest).map(|cpu| cpu_slow(&cpu)).collect()),
        // QEMU's order: the last place first.
        "query-hotpluggable-cpus" => Ok(guest.cpus().iter().rev().map(cpu_place).collect()),
        "query-block" => Ok(guest.blocks().iter().map(block).collect()),
        "query-blockstats" => Ok(guest.blocks().iter().map(block_stats).collect()),
        "query-fdsets" => Ok(context.fdsets.list()),
        "query-command-line-options" => command_line_options(command),
        _ => return None,
    })
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

fn pci(function: &PciFacts) -> Value {
    let region = |bar: &BarFacts| {
        let kind = if bar.io { "io" } else { "memory" };
        json!({ "bar": bar.index, "type": kind, "address": bar.address, "size": bar.size })
    };
    json!({
        "bus": 0,
        "slot": function.slot,
        "function": function.function,
        "class_info": { "class": function.class },
        "id": { "vendor": function.vendor, "device": function.device },
        "irq": function.irq,
        "irq_pin": function.pin,
        "qdev_id": function.id,
        "regions": function.bars.iter().map(region).collect::<Value>(),
    })
}

fn present(guest: &dyn Guest) -> impl Iterator<Item = CpuFacts> {
    guest.cpus().into_iter().filter(|cpu| cpu.present)
}

fn cpu_path(cpu: &CpuFacts) -> String {
    match &cpu.id {
        Some(id) => format!("/machine/peripheral/{id}"),
        None => format!("/machine/unattached/cpu[{}]", cpu.index),
    }
}

fn cpu_props(cpu: &CpuFacts) -> Value {
    json!({ "core-id": 0, "thread-id": 0, "socket-id": cpu.index })
}

fn cpu_fast(cpu: &CpuFacts) -> Value {
    json!({
        "thread-id": cpu.thread,
        "props": cpu_props(cpu),
        "qom-path": cpu_path(cpu),
        "cpu-index": cpu.index,
        "target": "i386",
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

fn cpu_place(cpu: &CpuFacts) -> Value {
    let mut place = json!({ "props": cpu_props(cpu), "vcpus-count": 1, "type": CPU_TYPE });
    if let (true, Some(place)) = (cpu.present, place.as_object_mut()) {
        place.insert("qom-path".into(), cpu_path(cpu).into());
    }
    place
}

fn block(drive: &BlockFacts) -> Value {
    let mut answer = json!({
        "device": drive.device,
        "qdev": drive.device,
        "type": "unknown",
        "removable": drive.removable,
        "locked": drive.locked,
    });
    let Some(fields) = answer.as_object_mut() else { return answer };
    if drive.removable {
        fields.insert("tray_open".into(), drive.tray_open.into());
    }
    if let Some(file) = &drive.file {
        let inserted = json!({ "file": file, "drv": drive.format, "ro": drive.readonly, "encrypted": false });
        fields.insert("inserted".into(), inserted);
    }
    answer
}

fn block_stats(drive: &BlockFacts) -> Value {
    let stats = &drive.stats;
    json!({
        "device": drive.device,
        "qdev": drive.device,
        "stats": {
            "rd_bytes": stats.rd_bytes,
            "wr_bytes": stats.wr_bytes,
            "rd_operations": stats.rd_operations,
            "wr_operations": stats.wr_operations,
            "flush_operations": stats.flush_operations,
        },
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneOption {
    option: Option<String>,
}

/// Options whose parameters clients ask about before they use them.
const OPTIONS: &[(&str, &[&str])] = &[
    ("run-with", &["chroot", "user", "async-teardown"]),
    ("vnc", &["vnc", "to", "password"]),
    ("mon", &["chardev", "mode", "pretty"]),
    ("smp-opts", &["cpus", "maxcpus", "sockets", "cores", "threads"]),
    ("boot-opts", &["order"]),
];

fn command_line_options(command: &Command) -> Result<Value, QmpError> {
    let OneOption { option } = arguments(command)?;
    let wanted = |name: &str| option.as_deref().is_none_or(|option| option == name);
    let parameters = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({ "name": name, "type": "string" })).collect()
    };
    let found: Vec<Value> = OPTIONS
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, names)| json!({ "option": name, "parameters": parameters(names) }))
        .collect();
    match option {
        Some(name) if found.is_empty() => Err(QmpError::generic(format!("invalid option name: {name}"))),
        _ => Ok(found.into()),
    }
}
