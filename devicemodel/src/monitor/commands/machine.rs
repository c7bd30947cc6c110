//! The machine as a whole: what it is called, its memory, its processors.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Guest;
use super::super::info::CpuInfo;
use super::super::objects::{MemoryBackend, Object};
use super::super::protocol::QmpError;
use super::super::qom::cpu_path;
use super::super::table::{CommandSpec, Table};
use super::{Context, arguments, nothing};

pub(super) static TABLE: Table = Table {
    types: "
object NameInfo ?name:str
object UuidInfo UUID:str
object KvmInfo enabled:bool present:bool
enum SysEmuTarget i386 x86_64
object TargetInfo arch:SysEmuTarget
object GuidInfo guid:str
object CurrentMachineParams wakeup-suspend-support:bool
object MachineInfo name:str ?alias:str ?is-default:bool cpu-max:int hotpluggable-cpus:bool
  numa-mem-supported:bool deprecated:bool ?default-cpu-type:str ?default-ram-id:str
object MemoryInfo base-memory:int ?plugged-memory:int
enum HostMemPolicy default preferred bind interleave
object Memdev ?id:str size:int merge:bool dump:bool prealloc:bool share:bool host-nodes:[int] policy:HostMemPolicy
object BalloonInfo actual:int
object CpuInstanceProperties ?node-id:int ?socket-id:int ?core-id:int ?thread-id:int
object CpuInfoFast cpu-index:int qom-path:str thread-id:int ?props:CpuInstanceProperties target:SysEmuTarget
object CpuInfo CPU:int current:bool halted:bool qom_path:str thread_id:int ?props:CpuInstanceProperties arch:str
object HotpluggableCPU type:str vcpus-count:int props:CpuInstanceProperties ?qom-path:str
",
    commands: &[
        CommandSpec::new("query-name", |_, context| Ok(name(context.guest))).returns("NameInfo"),
        CommandSpec::new("query-uuid", |_, context| Ok(json!({ "UUID": uuid(&context.guest.machine().uuid) })))
            .returns("UuidInfo"),
        CommandSpec::new("query-vm-generation-id", |_, context| match context.guest.machine().generation {
            Some(id) => Ok(json!({ "guid": uuid(&id) })),
            None => Err(QmpError::generic("VM Generation ID device not found")),
        })
        .returns("GuidInfo"),
        // No processor of ours is KVM's.
        CommandSpec::new("query-kvm", |_, _| Ok(json!({ "enabled": false, "present": false }))).returns("KvmInfo"),
        CommandSpec::new("query-target", |_, context| Ok(json!({ "arch": context.guest.machine().target })))
            .returns("TargetInfo"),
        CommandSpec::new("query-current-machine", |_, _| Ok(json!({ "wakeup-suspend-support": true })))
            .returns("CurrentMachineParams"),
        CommandSpec::new("query-machines", |_, _| Ok(MACHINES.iter().map(machine).collect()))
            .returns("[MachineInfo]"),
        CommandSpec::new("query-memdev", |_, context| Ok(memdevs(context))).returns("[Memdev]"),
        CommandSpec::new("query-memory-size-summary", |_, context| {
            Ok(json!({ "base-memory": context.guest.machine().memory, "plugged-memory": 0 }))
        })
        .returns("MemoryInfo"),
        CommandSpec::new("query-balloon", |_, context| match context.guest.balloon() {
            Some(actual) => Ok(json!({ "actual": actual })),
            None => Err(no_balloon()),
        })
        .returns("BalloonInfo"),
        CommandSpec::new("balloon", |command, context| {
            let Target { value } = arguments(command)?;
            let value = u64::try_from(value).ok().filter(|value| *value > 0);
            // QEMU looks for the device first.
            context.guest.balloon().ok_or_else(no_balloon)?;
            let value = value.ok_or_else(|| QmpError::generic("Parameter 'target' expects a size"))?;
            nothing(context.guest.set_balloon(value))
        })
        .takes("value:int"),
        CommandSpec::new("query-cpus-fast", |_, context| {
            let guest = &*context.guest;
            Ok(present(guest).map(|cpu| cpu_fast(&cpu, guest.machine().target)).collect())
        })
        .returns("[CpuInfoFast]"),
        // QEMU has had no such command since 6.0, and called it deprecated before.
        CommandSpec::new("query-cpus", |_, context| {
            Ok(present(&*context.guest).map(|cpu| cpu_slow(&cpu)).collect())
        })
        .returns("[CpuInfo]")
        .features(&["deprecated"]),
        // QEMU's order: the last place first.
        CommandSpec::new("query-hotpluggable-cpus", |_, context| {
            let model = context.guest.machine().cpu_type;
            Ok(context.guest.cpus().iter().rev().map(|cpu| cpu_place(cpu, model)).collect())
        })
        .returns("[HotpluggableCPU]"),
    ],
};

#[derive(Deserialize)]
struct Target {
    value: i64,
}

/// There is no balloon that a monitor could fill: under Xen the toolstack does it, by its own.
pub(in crate::monitor) fn no_balloon() -> QmpError {
    QmpError::device_not_active("No balloon device has been activated")
}

fn name(guest: &dyn Guest) -> Value {
    match guest.name() {
        name if name.is_empty() => json!({}),
        name => json!({ "name": name }),
    }
}

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
pub(in crate::monitor) fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

fn present(guest: &dyn Guest) -> impl Iterator<Item = CpuInfo> {
    guest.cpus().into_iter().filter(|cpu| cpu.present)
}

fn cpu_props(cpu: &CpuInfo) -> Value {
    json!({ "core-id": 0, "thread-id": 0, "socket-id": cpu.index })
}

/// The memory back ends that were asked for; what nobody chose for the machine's RAM is as QEMU has it then.
fn memdevs(context: &Context<'_>) -> Value {
    let machine = context.guest.machine();
    let objects = context.shared.objects.list().into_iter();
    let mut all: Vec<(String, MemoryBackend)> = objects
        .filter_map(|(id, object)| match object {
            Object::Memory(memory) => Some((id, memory)),
            Object::Secret(_) | Object::Rng(_) => None,
        })
        .collect();
    if machine.memory > 0 && all.iter().all(|(_, memory)| !memory.is_ram) {
        let id = if machine.kind == "none" { "ram" } else { "pc.ram" };
        all.insert(0, (id.into(), MemoryBackend::new("memory-backend-ram", machine.memory)));
    }
    let memdev = |(id, memory): (String, MemoryBackend)| {
        json!({
            "id": id,
            "size": memory.size,
            "merge": memory.merge,
            "dump": memory.dump,
            "prealloc": false,
            "share": memory.share,
            "host-nodes": [],
            "policy": "default",
        })
    };
    all.into_iter().map(memdev).collect()
}

fn cpu_fast(cpu: &CpuInfo, target: &str) -> Value {
    json!({
        "thread-id": cpu.thread,
        "props": cpu_props(cpu),
        "qom-path": cpu_path(cpu),
        "cpu-index": cpu.index,
        "target": target,
    })
}

/// The form of QEMU before 2.12.
fn cpu_slow(cpu: &CpuInfo) -> Value {
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

fn cpu_place(cpu: &CpuInfo, model: &str) -> Value {
    let mut place = json!({ "props": cpu_props(cpu), "vcpus-count": 1, "type": model });
    if let (true, Some(place)) = (cpu.present, place.as_object_mut()) {
        place.insert("qom-path".into(), cpu_path(cpu).into());
    }
    place
}
