//! `info`: what there is, for people to read.

use std::fmt::Write;

use devices::models;
use devices_core::model::BusType;
use devices_core::pci::class;
use serde_json::Value;

use super::super::Guest;
use super::super::commands::{self, no_balloon};
use super::super::context::Context;
use super::super::info::{DeviceInfo, PciInfo};
use super::super::protocol::{QmpError, version};
use super::super::qom;
use super::super::run_state::RunState;

/// What there is to be shown.
const TOPICS: &[(&str, &str)] = &[
    ("balloon", "how much memory a balloon leaves"),
    ("block", "drives and what is in them"),
    ("block -n", "images at hand by their names"),
    ("blockstats", "what went through drives"),
    ("chardev", "lines"),
    ("cpus", "processors"),
    ("hotpluggable-cpus", "places for processors"),
    ("inspect [PATH]", "the machine down to its registers"),
    ("iothreads", "threads for drives that a person named"),
    ("kvm", "whether KVM runs the guest"),
    ("memory_size_summary", "the guest's memory"),
    ("mice", "mice"),
    ("migrate", "a migration under way"),
    ("name", "the guest's name"),
    ("network", "network cards"),
    ("pci", "PCI functions"),
    ("qom-tree", "the object tree"),
    ("registers [-a] [VCPU]", "a processor's registers"),
    ("status", "whether the guest runs"),
    ("usb", "USB devices"),
    ("usernet", "what goes through user networks"),
    ("uuid", "the guest's UUID"),
    ("version", "the program's version"),
    ("vm-generation-id", "the guest's VM generation id"),
    ("vnc", "the VNC server"),
];

/// A line for each topic.
pub(super) fn help() -> String {
    TOPICS.iter().map(|(topic, what)| format!("info {topic}  -- {what}\n")).collect()
}

/// What hangs on USB, by its port; none: there is no USB. QEMU tells the number that the guest gave each, too.
pub(super) fn usb(devices: &[DeviceInfo]) -> Option<String> {
    let model = |device: &DeviceInfo| models::find(device.kind);
    let on_usb = |device: &&DeviceInfo| model(device).is_some_and(|model| model.bus == BusType::Usb);
    let has_usb =
        |device: &DeviceInfo| model(device).is_some_and(|model| model.offers.contains(&BusType::Usb));
    let line = |device: &DeviceInfo| {
        let port = device.properties.iter().find(|(name, ..)| *name == "port").map(|(.., port)| port.clone());
        let id = device
            .path
            .strip_prefix("/machine/peripheral/")
            .map_or(String::new(), |id| format!(", ID: {id}"));
        let speed = device.speed.map_or(String::new(), |speed| format!("Speed {} Mb/s, ", speed.rate()));
        let port = port.as_ref().and_then(Value::as_str).unwrap_or_default();
        let product = model(device).map_or("", |model| model.desc);
        format!("  Port {port}, {speed}Product {product}{id}\n")
    };
    devices.iter().any(has_usb).then(|| devices.iter().filter(on_usb).map(line).collect())
}

pub(super) fn run(what: &str, rest: &[&str], context: &mut Context<'_>) -> Result<String, QmpError> {
    let guest = &mut *context.guest;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = match what {
        "status" => match guest.status() {
            RunState::Running => writeln!(text, "VM status: running"),
            state => writeln!(text, "VM status: paused ({})", state.name()),
        },
        "name" if guest.name().is_empty() => Ok(()),
        "name" => writeln!(text, "{}", guest.name()),
        "uuid" => writeln!(text, "{}", commands::uuid(&guest.machine().uuid)),
        "vm-generation-id" => match guest.machine().generation {
            Some(id) => writeln!(text, "{}", commands::uuid(&id)),
            None => return Err(QmpError::generic("VM Generation ID device not found")),
        },
        "version" => writeln!(text, "{}", version()["package"].as_str().unwrap_or("")),
        "kvm" => writeln!(text, "kvm support: not compiled"),
        "mice" => guest.mice().iter().try_for_each(|mouse| {
            let (before, after) =
                (if mouse.current { '*' } else { ' ' }, if mouse.absolute { " (absolute)" } else { "" });
            writeln!(text, "{before} Mouse #{}: {}{after}", mouse.index, mouse.name)
        }),
        "balloon" => match guest.balloon() {
            Some(actual) => writeln!(text, "balloon: actual={}", actual >> 20),
            None => return Err(no_balloon()),
        },
        "usb" => match usb(&guest.devices()) {
            Some(devices) => write!(text, "{devices}"),
            None => return Err(QmpError::generic("USB support not enabled")),
        },
        "network" => {
            text = commands::networks(guest);
            Ok(())
        }
        "usernet" => {
            guest.user_networks().iter().try_for_each(|(id, table)| write!(text, "Hub -1 ({id}):\n{table}"))
        }
        "iothreads" | "migrate" => Ok(()),
        "memory_size_summary" => {
            writeln!(text, "base memory: {}\nplugged memory: 0", guest.machine().memory)
        }
        "inspect" => {
            text = guest.inspect(rest.first().unwrap_or(&""))?;
            Ok(())
        }
        "qom-tree" => {
            text = qom::Tree::new(context).text();
            Ok(())
        }
        "chardev" => context
            .monitors
            .iter()
            .chain(&guest.chardevs())
            .try_for_each(|line| writeln!(text, "{}: filename={}", line.label, line.filename)),
        "cpus" => guest.cpus().iter().filter(|cpu| cpu.present).try_for_each(|cpu| {
            let current = if cpu.index == 0 { '*' } else { ' ' };
            writeln!(text, "{current} CPU #{}: thread_id={}", cpu.index, cpu.thread)
        }),
        "hotpluggable-cpus" => places(guest, &mut text),
        "block" if rest.contains(&"-n") => guest
            .nodes()
            .iter()
            .try_for_each(|node| writeln!(text, "{}: {}", node.name, commands::inserted(node))),
        "block" => blocks(guest, &mut text),
        "blockstats" => guest.blocks().iter().try_for_each(|drive| {
            let stats = &drive.stats;
            writeln!(
                text,
                "{}: rd_bytes={} wr_bytes={} rd_operations={} wr_operations={} flush_operations={}",
                drive.device,
                stats.rd_bytes,
                stats.wr_bytes,
                stats.rd_operations,
                stats.wr_operations,
                stats.flush_operations
            )
        }),
        "pci" => guest.pci().iter().try_for_each(|function| pci(function, &mut text)),
        "vnc" => match guest.vnc() {
            None => writeln!(text, "Server: disabled"),
            Some(vnc) => {
                let other = vnc.websocket.map(|(host, port)| (host, port, "websocket"));
                let all = [Some((vnc.host, vnc.service, vnc.family)), other];
                all.into_iter().flatten().try_for_each(|(host, service, kind)| {
                    writeln!(text, "Server: {host}:{service} ({kind})\n  Auth: {}", vnc.auth)
                })
            }
        },
        _ => writeln!(text, "unknown command: 'info {what}'"),
    };
    Ok(text)
}

fn places(guest: &dyn Guest, text: &mut String) -> std::fmt::Result {
    writeln!(text, "Hotpluggable CPUs:")?;
    let model = guest.machine().cpu_type;
    for cpu in guest.cpus().iter().rev() {
        writeln!(text, "  type: \"{model}\"\n  vcpus_count: \"1\"")?;
        if cpu.present {
            writeln!(text, "  qom_path: \"{}\"", qom::cpu_path(cpu))?;
        }
        writeln!(text, "  CPUInstance Properties:\n    socket-id: \"{}\"", cpu.index)?;
        writeln!(text, "    core-id: \"0\"\n    thread-id: \"0\"")?;
    }
    Ok(())
}

fn blocks(guest: &dyn Guest, text: &mut String) -> std::fmt::Result {
    for drive in guest.blocks() {
        match &drive.medium {
            None => writeln!(text, "{}: [not inserted]", drive.device)?,
            Some(medium) => {
                writeln!(text, "{} ({}): {}", drive.device, medium.name, commands::inserted(medium))?;
            }
        }
        writeln!(text, "    Attached to:      {}", drive.qdev)?;
        if drive.removable {
            let locked = if drive.locked { "locked" } else { "not locked" };
            let tray = if drive.tray_open { "open" } else { "closed" };
            writeln!(text, "    Removable device: {locked}, tray {tray}")?;
        }
        if let Some(medium) = &drive.medium {
            let info = commands::node_info(medium);
            let on = |key: &str| info["cache"][key] == Value::Bool(true);
            let (direct, unsafe_) = (on("direct"), on("no-flush"));
            let direct = if direct { ", direct" } else { "" };
            let unsafe_ = if unsafe_ { ", ignore flushes" } else { "" };
            writeln!(text, "    Cache mode:       writeback{direct}{unsafe_}")?;
        }
    }
    Ok(())
}

fn pci(function: &PciInfo, text: &mut String) -> std::fmt::Result {
    writeln!(text, "  Bus  0, device {:3}, function {}:", function.slot, function.function)?;
    let (vendor, device) = (function.vendor, function.device);
    let class = match class::name(function.class) {
        Some(name) => name.to_owned(),
        None => format!("Class {:04x}", function.class),
    };
    writeln!(text, "    {class}: PCI device {vendor:04x}:{device:04x}")?;
    if function.subsystem != (0, 0) {
        writeln!(text, "      PCI subsystem {:04x}:{:04x}", function.subsystem.0, function.subsystem.1)?;
    }
    if let pin @ 1..=4 = function.pin {
        writeln!(text, "      IRQ {}, pin {}", function.irq, char::from(b'A' + pin - 1))?;
    }
    for bar in &function.bars {
        let prefetch = if bar.prefetch { " prefetchable" } else { "" };
        let kind = if bar.io { "I/O".into() } else { format!("32 bit{prefetch} memory") };
        // As QEMU writes it: an address of -1 while there is none, and the sum with it.
        let address = bar.address.unwrap_or(u64::MAX);
        let last = address.wrapping_add(bar.size.saturating_sub(1));
        let digits = if bar.io { 4 } else { 8 };
        writeln!(text, "      BAR{}: {kind} at 0x{address:0digits$x} [0x{last:0digits$x}].", bar.index)?;
    }
    writeln!(text, "      id \"{}\"", function.id)
}

#[cfg(test)]
mod tests {
    use devices::usb::Speed;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_hangs_on_usb_is_listed() {
        let on = |path: &str, kind, port: Option<&str>, speed| DeviceInfo {
            path: path.into(),
            kind,
            properties: port.map(|port| ("port", "str", json!(port))).into_iter().collect(),
            speed,
        };
        let device = |path, kind, port| on(path, kind, port, None);
        let mut devices = vec![device("/machine/unattached/device[1]", "i8042", None)];
        assert_eq!(usb(&devices), None);
        devices.push(device("/machine/unattached/device[2]", "piix3-usb-uhci", None));
        assert_eq!(usb(&devices), Some(String::new()));
        devices.push(on("/machine/peripheral/t", "usb-tablet", Some("2"), Some(Speed::High)));
        devices.push(on("/machine/peripheral-anon/k", "usb-kbd", Some("1.4"), Some(Speed::Full)));
        let expected = "  Port 2, Speed 480 Mb/s, Product USB tablet, ID: t\n  Port 1.4, Speed 12 Mb/s, Product USB keyboard\n";
        assert_eq!(usb(&devices).unwrap(), expected);
    }
}
