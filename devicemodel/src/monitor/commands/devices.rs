//! Devices that come and go, and what is on the PCI bus.

use devices_core::pci::class;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::info::{BarInfo, PciInfo};
use super::super::protocol::{Command, QmpError};
use super::super::qom;
use super::super::table::{CommandSpec, Table};
use super::{Context, arguments, nothing};
use crate::qemu::keyval::is_identifier;

pub(super) static TABLE: Table = Table {
    types: "
enum PciMemoryType io memory
object PciMemoryRegion bar:int type:PciMemoryType address:int size:int
object PciDeviceClass ?desc:str class:int
object PciDeviceId device:int vendor:int ?subsystem:int ?subsystem-vendor:int
object PciDeviceInfo bus:int slot:int function:int class_info:PciDeviceClass id:PciDeviceId ?irq:int irq_pin:int
  qdev_id:str regions:[PciMemoryRegion]
object PciInfo bus:int devices:[PciDeviceInfo]
object IOThreadInfo id:str thread-id:int
",
    commands: &[
        CommandSpec::new("query-pci", |_, context| {
            Ok(json!([{ "bus": 0, "devices": context.guest.pci().iter().map(pci).collect::<Value>() }]))
        })
        .returns("[PciInfo]"),
        CommandSpec::new("query-iothreads", |_, _| Ok(json!([]))).returns("[IOThreadInfo]"),
        CommandSpec::new("device_add", |command, context| nothing(add_device(command, context)))
            .takes("driver:str ?bus:str ...")
            .alone(),
        CommandSpec::new("device_del", |command, context| {
            nothing(arguments(command).and_then(|Named { id }| delete_device(&id, context)))
        })
        .takes("id:str")
        .alone(),
        // Ours: the machine down to its registers.
        CommandSpec::new("inspect", |command, context| {
            let Inspect { path } = arguments(command)?;
            context.guest.inspect(path.as_deref().unwrap_or("")).map(Value::String)
        })
        .takes("?path:str")
        .returns("str"),
    ],
};

#[derive(Deserialize)]
struct Inspect {
    path: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// A vCPU is a device too: one whose model is that of the others, at a place that is announced.
fn add_device(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let guest = &mut *context.guest;
    let mut props = command.arguments.clone();
    let text = |value: Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let driver = text(props.shift_remove("driver")).unwrap_or_default();
    let id = text(props.shift_remove("id"));
    if id.as_deref().is_some_and(|id| !is_identifier(id)) {
        return Err(QmpError::generic("Parameter 'id' expects an identifier"));
    }
    if let Some(rng) = text(props.get("rng").cloned()).filter(|_| driver.starts_with("virtio-rng"))
        && !context.shared.objects.is_rng(&rng)
    {
        let why = format!("Property 'virtio-rng-device.rng' can't find value '{rng}'");
        return Err(QmpError::generic(why));
    }
    if !driver.ends_with("-cpu") {
        return guest.device_add(&driver, id.as_deref(), &props);
    }
    let place = |key: &str| match props.get(key) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => Some(0),
    };
    if !props.contains_key("socket-id") {
        return Err(QmpError::generic("CPU socket-id is not set"));
    }
    let (socket, core, thread) = (place("socket-id"), place("core-id"), place("thread-id"));
    let index = match (socket, core, thread) {
        (Some(socket), Some(0), Some(0)) => u32::try_from(socket).ok(),
        _ => None,
    };
    let cpus = guest.cpus();
    match index.and_then(|index| cpus.iter().find(|cpu| cpu.index == index)) {
        None => Err(QmpError::generic(format!(
            "Invalid CPU socket-id: {} must be in range 0:{}",
            socket.map_or("?".into(), |socket| socket.to_string()),
            cpus.len().saturating_sub(1)
        ))),
        Some(cpu) if cpu.present => {
            Err(QmpError::generic(format!("CPU[{}] with socket-id {} exists", cpu.index, cpu.index)))
        }
        Some(cpu) => guest.plug_cpu(cpu.index, id.as_deref().unwrap_or("")),
    }
}

/// Nothing that is there can be taken out while the guest runs; each kind of thing says so in its way.
fn delete_device(id: &str, context: &mut Context<'_>) -> Result<(), QmpError> {
    let cpus = context.guest.cpus();
    let cpu =
        cpus.iter().find(|cpu| cpu.present && (cpu.id.as_deref() == Some(id) || qom::cpu_path(cpu) == id));
    match cpu {
        Some(cpu) if cpu.index == 0 => Err(QmpError::generic("Boot CPU is unpluggable")),
        Some(_) => Err(QmpError::generic("a CPU that is there cannot be taken out")),
        None => context.guest.device_del(id),
    }
}

fn pci(function: &PciInfo) -> Value {
    let region = |bar: &BarInfo| {
        let kind = if bar.io { "io" } else { "memory" };
        let address = bar.address.map_or(json!(-1), Value::from);
        json!({ "bar": bar.index, "type": kind, "address": address, "size": bar.size })
    };
    let mut class = Map::new();
    class.insert("class".into(), function.class.into());
    if let Some(name) = class::name(function.class) {
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
